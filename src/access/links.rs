//! Links that are signed and expire: `?exp=…&sig=…`, and optionally `net=…` and `session=…`. The signature covers the
//! action, the stream and all of these.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use ipnet::IpNet;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::{
    Action, Cause,
    networks::contains,
    shown::{Shown, decoded},
};

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// What it allows to do.
    pub action: Action,
    /// The stream, `app/name`.
    pub name: &'a str,
    /// Until when a session may begin, Unix seconds.
    pub expires: u64,
    /// Where the client has to come from.
    pub network: Option<IpNet>,
    /// When the session has to end, Unix seconds.
    pub session_until: Option<u64>,
}

impl Link<'_> {
    /// Parameters for the end of an address, without `?`.
    pub fn query(&self, secret: &str) -> String {
        self.signed_with(mac(secret))
    }

    fn signed_with(&self, key: Hmac<Sha256>) -> String {
        let (exp, net) = (self.expires.to_string(), self.network.map(|it| it.to_string()));
        let session = self.session_until.map(|it| it.to_string());
        let signed = signed_text(self.action, self.name, &exp, net.as_deref(), session.as_deref());
        let signature = key.chain_update(signed).finalize().into_bytes();
        let mut query = format!("exp={exp}");
        // FFmpeg splits an address at each slash, also after the question mark.
        let net = net.map(|net| net.replace('/', "%2F"));
        for (name, value) in [("net", net), ("session", session)] {
            query += &value.map(|value| format!("&{name}={value}")).unwrap_or_default();
        }
        query + "&sig=" + &BASE64_URL_SAFE_NO_PAD.encode(signature)
    }
}

/// Secrets that links may be signed with.
#[derive(Clone, Default)]
pub(super) struct LinkKeys(Vec<Hmac<Sha256>>);

/// A link that is right, as far as time is concerned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Until {
    /// Until when a session may begin, Unix seconds.
    pub(super) expires: u64,
    /// When the session has to end, if the link says that.
    pub(super) session: Option<u64>,
}

impl LinkKeys {
    pub(super) fn of(secrets: &[String]) -> Self {
        Self(secrets.iter().map(|secret| mac(secret)).collect())
    }

    /// Parameters of a link, signed with the first one.
    pub(super) fn sign(&self, link: &Link<'_>) -> Option<String> {
        self.0.first().map(|key| link.signed_with(key.clone()))
    }

    /// Checks the signature first, so that only those that have a link learn what else is wrong with it.
    pub(super) fn check(
        &self,
        shown: &Shown<'_>,
        (action, name): (Action, &str),
        peer: IpAddr,
        now: u64,
    ) -> Result<Until, Cause> {
        let Some((exp, sig)) = shown.exp.zip(shown.sig) else {
            let is_incomplete = shown.exp.is_some() || shown.sig.is_some();
            return Err(if is_incomplete { Cause::WrongCredentials } else { Cause::NoCredentials });
        };
        let seconds = |text: &str| seconds(text).ok_or(Cause::WrongCredentials);
        let (net, sent_session) = (shown.net.map(decoded), shown.session);
        let (expires, session) = (seconds(exp)?, sent_session.map(seconds).transpose()?);
        let network = net.as_deref().map(str::parse::<IpNet>).transpose();
        let network = network.map_err(|_| Cause::WrongCredentials)?;
        let mut signature = [0; 32];
        // It has exactly this length without padding.
        if sig.len() != SIGNATURE_CHARACTERS
            || BASE64_URL_SAFE_NO_PAD.decode_slice(sig, &mut signature).is_err()
        {
            return Err(Cause::WrongCredentials);
        }
        let signed = signed_text(action, name, exp, net.as_deref(), sent_session);
        let is_signed = self.0.iter().fold(Choice::from(0), |found, key| {
            let right: [u8; 32] = key.clone().chain_update(&signed).finalize().into_bytes().into();
            found | right.ct_eq(&signature)
        });
        if !bool::from(is_signed) {
            return Err(Cause::WrongCredentials);
        }
        if network.is_some_and(|network| !contains(&network, peer)) {
            return Err(Cause::NotForThis);
        }
        if expires <= now || session.is_some_and(|until| until <= now) {
            return Err(Cause::Expired);
        }
        Ok(Until { expires, session })
    }
}

/// The text that is signed: four lines, and a fifth one where the link says when the session has to end.
fn signed_text(action: Action, name: &str, exp: &str, net: Option<&str>, session: Option<&str>) -> String {
    let mut text = format!("{}\n{name}\n{exp}\n{}", action.name(), net.unwrap_or_default());
    if let Some(session) = session {
        text.push('\n');
        text += session;
    }
    text
}

fn mac(secret: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length")
}

/// Digits alone: a text that is signed has one form.
fn seconds(text: &str) -> Option<u64> {
    let is_number = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// 32 bytes in base64 without padding.
const SIGNATURE_CHARACTERS: usize = 43;
/// Beyond the year 30,000.
const MAX_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn keys() -> LinkKeys {
        LinkKeys::of(&["an-older-secret-of-ours".to_owned(), "a-secret-of-ours".to_owned()])
    }

    fn link(expires: u64) -> Link<'static> {
        Link { action: Action::Play, name: "live/show", expires, network: None, session_until: None }
    }

    fn check(query: &str, action: Action, name: &str, peer: IpAddr, now: u64) -> Result<Until, Cause> {
        keys().check(&Shown::in_query(query), (action, name), peer, now)
    }

    /// Of Python: `base64.urlsafe_b64encode(hmac.new(b"a-secret-of-ours", text, "sha256").digest()).rstrip(b"=")`.
    #[test]
    fn the_signature_is_that_of_the_documented_text() {
        let query = link(1_700_003_600).query("a-secret-of-ours");
        assert_eq!(query, "exp=1700003600&sig=BGJzxRvG0qh3KJVYzpzHKkctQObS3qmVZo8HwUTsmTk");
        let network = Some("203.0.113.0/24".parse().unwrap());
        let query = Link { network, session_until: Some(1_700_007_200), ..link(1_700_003_600) };
        let query = query.query("a-secret-of-ours");
        assert_eq!(
            query,
            "exp=1700003600&net=203.0.113.0%2F24&session=1700007200&sig=dMysn2zAmnBG2r1yQBnNKQ3fm7J7yIQ3bi3Ul9jXgrI"
        );
    }

    #[test]
    fn a_link_is_right_for_its_action_stream_network_and_time_alone() {
        let query = link(NOW + 1).query("a-secret-of-ours");
        let until = Until { expires: NOW + 1, session: None };
        assert_eq!(check(&query, Action::Play, "live/show", PEER, NOW), Ok(until));
        assert_eq!(check(&query, Action::Play, "live/show", PEER, NOW + 1), Err(Cause::Expired));
        assert_eq!(check(&query, Action::Publish, "live/show", PEER, NOW), Err(Cause::WrongCredentials));
        assert_eq!(check(&query, Action::Play, "live/other", PEER, NOW), Err(Cause::WrongCredentials));
        let old = link(NOW + 1).query("an-older-secret-of-ours");
        assert!(check(&old, Action::Play, "live/show", PEER, NOW).is_ok());
        let other = link(NOW + 1).query("a-secret-of-others");
        assert_eq!(check(&other, Action::Play, "live/show", PEER, NOW), Err(Cause::WrongCredentials));

        let near = Link { network: Some("203.0.113.0/24".parse().unwrap()), ..link(NOW + 9) };
        let query = near.query("a-secret-of-ours");
        assert!(check(&query, Action::Play, "live/show", PEER, NOW).is_ok());
        assert!(check(&query.replace("%2F", "/"), Action::Play, "live/show", PEER, NOW).is_ok());
        let far = "203.0.114.7".parse().unwrap();
        assert_eq!(check(&query, Action::Play, "live/show", far, NOW), Err(Cause::NotForThis));

        let short = Link { session_until: Some(NOW + 5), ..link(NOW + 9) }.query("a-secret-of-ours");
        let until = Until { expires: NOW + 9, session: Some(NOW + 5) };
        assert_eq!(check(&short, Action::Play, "live/show", PEER, NOW), Ok(until));
        assert_eq!(check(&short, Action::Play, "live/show", PEER, NOW + 5), Err(Cause::Expired));
    }

    #[test]
    fn parts_cannot_be_left_out_or_moved_between_parameters() {
        let whole = Link {
            network: Some("203.0.113.0/24".parse().unwrap()),
            session_until: Some(NOW + 5),
            ..link(NOW + 9)
        };
        let query = whole.query("a-secret-of-ours");
        for part in ["net=203.0.113.0%2F24&", "session=1700000005&", "exp=1700000009&"] {
            let without = query.replace(part, "");
            assert!(without.len() < query.len());
            assert_eq!(
                check(&without, Action::Play, "live/show", PEER, NOW),
                Err(Cause::WrongCredentials),
                "{part}"
            );
        }
        let more = format!("{}&session=1800000000", link(NOW + 9).query("a-secret-of-ours"));
        assert_eq!(check(&more, Action::Play, "live/show", PEER, NOW), Err(Cause::WrongCredentials));
        let more = format!("{}&net=0.0.0.0/0", link(NOW + 9).query("a-secret-of-ours"));
        assert_eq!(check(&more, Action::Play, "live/show", PEER, NOW), Err(Cause::WrongCredentials));
        assert_eq!(check("", Action::Play, "live/show", PEER, NOW), Err(Cause::NoCredentials));
        for exp in ["", "+1800000000", "-1", "1e12", "0x7fffffff", "18000000000000000000", "1800000000%20"] {
            let query = query.replace("1700000009", exp);
            assert_eq!(
                check(&query, Action::Play, "live/show", PEER, NOW),
                Err(Cause::WrongCredentials),
                "{exp}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_link_with_a_byte_changed_is_refused(at in 0usize..200, to in 0x20u8..0x7f, all in any::<bool>()) {
            let network = all.then(|| "203.0.113.0/24".parse().unwrap());
            let whole = Link { network, session_until: all.then_some(NOW + 5), ..link(NOW + 9) };
            // A percent encoding has two forms.
            let query = whole.query("a-secret-of-ours").replace("%2F", "/");
            let at = at % query.len();
            let mut changed = query.clone().into_bytes();
            prop_assume!(changed[at] != to);
            changed[at] = to;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(check(&changed, Action::Play, "live/show", PEER, NOW).is_err(), "{}", changed);
        }

        #[test]
        fn no_text_is_a_link(text in "(exp|sig|net|session|=|&|[0-9a-zA-Z_%./-]{1,44}){0,12}") {
            prop_assert!(check(&text, Action::Play, "live/show", PEER, NOW).is_err());
        }
    }
}

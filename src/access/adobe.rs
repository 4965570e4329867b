//! Adobe's challenge to a user over RTMP, as FFmpeg and librtmp answer it: `authmod=adobe`. Each step is a connection of
//! its own, refused with a description that says what the next one has to send with its `connect`:
//!
//! 1. nothing: `code=403 need auth`;
//! 2. `authmod=adobe&user=U`: `?reason=needauth&user=U&salt=S&challenge=C&opaque=O`;
//! 3. and `challenge=D&response=R&opaque=O`, where D is the client's own and R is
//!    `base64(md5(base64(md5(U + S + password)) + O + D))`: the connection is accepted.
//!
//! Nothing is kept in between: O says when and for whom it was made, and is authenticated by a key of this process. A
//! client that knows no opaque value takes the challenge in its place, so both are the same.

use std::{net::IpAddr, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Cause, KeyRing, shown::Shown, users::Accounts};

/// Makes challenges, and checks answers to them.
pub(super) struct Challenges {
    mac: Hmac<Sha256>,
}

/// Why a connection is refused: the description for the client.
pub(super) type Refusal = (Cause, String);

impl Challenges {
    pub(super) fn new(ring: &KeyRing) -> Self {
        let mac = Hmac::new_from_slice(ring.challenge_key()).expect("HMAC takes a key of any length");
        Self { mac }
    }

    /// The user that a client has proved to be, or what it is sent instead.
    pub(super) fn check(
        &self,
        shown: &Shown<'_>,
        accounts: &Accounts,
        peer: IpAddr,
        now: u64,
    ) -> Result<Arc<str>, Refusal> {
        let failed = || (Cause::WrongCredentials, format!("{REJECT} [ authmod=adobe ] : ?reason=authfailed"));
        if shown.authmod != Some("adobe") {
            let text = format!("{REJECT} [ code=403 need auth; authmod=adobe ] : ");
            return Err((Cause::NoCredentials, text));
        }
        let user = shown.user.filter(|user| is_plain(user)).ok_or_else(failed)?;
        let salt = self.salt(user);
        let Some(response) = shown.response else {
            let opaque = self.opaque(user, peer, now);
            let text = format!(
                "{REJECT} [ authmod=adobe ] : \
                 ?reason=needauth&user={user}&salt={salt}&challenge={opaque}&opaque={opaque}"
            );
            return Err((Cause::NoCredentials, text));
        };
        let opaque =
            shown.opaque.filter(|opaque| self.is_ours(opaque, user, peer, now)).ok_or_else(failed)?;
        let own = shown.challenge.unwrap_or_default();
        if response.len() > MAX_RESPONSE_BYTES || own.len() > MAX_RESPONSE_BYTES {
            return Err(failed());
        }
        let is_right = |password: &str| {
            let right = answer(user, &salt, password, opaque, own);
            right.as_bytes().ct_eq(response.as_bytes()).into()
        };
        accounts.prove(user, is_right).ok_or_else(failed)
    }

    /// The same for each challenge, so it does not depend on whether the user exists.
    fn salt(&self, user: &str) -> String {
        let mac = self.mac.clone().chain_update("salt\n").chain_update(user).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode(&mac[..6])
    }

    fn opaque(&self, user: &str, peer: IpAddr, now: u64) -> String {
        let mut bytes = [0; OPAQUE_BYTES];
        // Until the year 2106.
        let made = (now as u32).to_be_bytes();
        bytes[..4].copy_from_slice(&made);
        bytes[4..].copy_from_slice(&self.mac_of(made, user, peer));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn is_ours(&self, opaque: &str, user: &str, peer: IpAddr, now: u64) -> bool {
        let mut bytes = [0; OPAQUE_BYTES];
        if opaque.len() != OPAQUE_CHARACTERS
            || BASE64_URL_SAFE_NO_PAD.decode_slice(opaque, &mut bytes).is_err()
        {
            return false;
        }
        let (made, mac) = bytes.split_at(4);
        let made: [u8; 4] = made.try_into().expect("4 bytes");
        let is_authentic: bool = self.mac_of(made, user, peer).ct_eq(mac).into();
        let age = now.checked_sub(u32::from_be_bytes(made).into());
        is_authentic && age.is_some_and(|age| age <= VALID_SECONDS)
    }

    fn mac_of(&self, made: [u8; 4], user: &str, peer: IpAddr) -> [u8; 16] {
        let peer = peer.to_canonical().to_string();
        let mac =
            self.mac.clone().chain_update(made).chain_update(peer).chain_update("\n").chain_update(user);
        mac.finalize().into_bytes()[..16].try_into().expect("32 bytes are more")
    }
}

/// What a client that knows the password answers.
pub(super) fn answer(user: &str, salt: &str, password: &str, opaque: &str, own: &str) -> String {
    let inner = Md5::new().chain_update(user).chain_update(salt).chain_update(password).finalize();
    let outer = Md5::new().chain_update(BASE64_STANDARD.encode(inner)).chain_update(opaque).chain_update(own);
    BASE64_STANDARD.encode(outer.finalize())
}

/// A name that can be a parameter of an address and a part of a log line as it is. FFmpeg takes 49 bytes.
fn is_plain(user: &str) -> bool {
    user.len() <= MAX_USER_BYTES
        && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@+".contains(&byte))
}

/// With what Adobe's servers begin a description.
const REJECT: &str = "[ AccessManager.Reject ] :";
/// A time and a code for it.
const OPAQUE_BYTES: usize = 4 + 16;
const OPAQUE_CHARACTERS: usize = 27;
/// 16 bytes in base64 are 24; the client's own challenge has 8.
const MAX_RESPONSE_BYTES: usize = 64;
/// FFmpeg reads 255 bytes of a description.
const MAX_USER_BYTES: usize = 64;
/// A client reconnects at once.
const VALID_SECONDS: u64 = 60;

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::HashMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        access::{Access, Action, Decision, Denial, Grant, Party, Question, Rules, Verdict},
        config::Config,
    };

    const ENCODER: &str = "FMLE/3.0 (compatible; Lavf59.27.100)";
    const PLAYER: &str = "LNX 9,0,124,2";

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(1_700_000_000) };
    }

    fn rules(toml: &str) -> Rules {
        rules_with(toml, KeyRing::new())
    }

    fn rules_with(toml: &str, ring: KeyRing) -> Rules {
        let toml = format!("{toml}\n[users]\nann = ['old', 'anns password']\nbob = 'bobs'\n");
        Rules::new(&Config::from_toml("f", &toml).unwrap(), ring, || NOW.get()).unwrap()
    }

    fn users_only() -> Rules {
        rules("[[access]]\nstreams = 'live/*'\nusers = ['ann']\n")
    }

    fn connect_from(rules: &Rules, peer: &str, client: &str, app: &str) -> Result<Grant, Denial> {
        let (app, query) = app.split_once('?').unwrap_or((app, ""));
        let peer = (peer.parse::<IpAddr>().unwrap(), 9).into();
        let party = Arc::new(Party { client: client.to_owned(), ..Party::default() });
        let question = Question::new(Action::Connect, app, peer, "rtmp");
        match rules.decide(&Question { query: query.to_owned(), party, ..question }) {
            Decision::Verdict(Verdict::Allow(grant)) => Ok(grant),
            Decision::Verdict(Verdict::Deny(denial)) => Err(denial),
            other => panic!("{other:?}"),
        }
    }

    fn connect(rules: &Rules, client: &str, app: &str) -> Result<Grant, Denial> {
        connect_from(rules, "203.0.113.7", client, app)
    }

    /// The parameters of a description, as FFmpeg reads them.
    fn parameters(denial: &Denial) -> HashMap<&str, &str> {
        let (_, text) = denial.reason.split_once("?reason=needauth&").expect("a challenge");
        text.split('&').map(|pair| pair.split_once('=').unwrap()).collect()
    }

    /// What a client sends that knows a password.
    fn answered(denial: &Denial, password: &str) -> String {
        let sent = parameters(denial);
        let response = answer(sent["user"], sent["salt"], password, sent["opaque"], "deadbeef");
        let (user, opaque) = (sent["user"], sent["opaque"]);
        format!("live?authmod=adobe&user={user}&challenge=deadbeef&response={response}&opaque={opaque}")
    }

    /// As OBS sends it: with padding, and after what it had sent before.
    #[test]
    fn the_own_challenge_of_a_client_may_be_base64() {
        let rules = users_only();
        let challenge = connect(&rules, ENCODER, "live?authmod=adobe&user=ann").unwrap_err();
        let sent = parameters(&challenge);
        let response = answer("ann", sent["salt"], "old", sent["opaque"], "q83vEg==");
        let opaque = sent["opaque"];
        let app =
            format!("live?authmod=adobe&user=ann&challenge=q83vEg==&response={response}&opaque={opaque}");
        assert_eq!(connect(&rules, ENCODER, &app).unwrap().user.as_deref(), Some("ann"));
    }

    /// By Python: `b64encode(md5(b64encode(md5(b"ann" + b"salt" + b"anns password").digest()) + b"opaque" + b"deadbeef"))`.
    #[test]
    fn an_answer_is_computed_as_clients_do() {
        assert_eq!(answer("ann", "salt", "anns password", "opaque", "deadbeef"), "1zv887g6EvmNPXnTVSNxaQ==");
    }

    #[test]
    fn a_client_is_led_to_its_answer_and_gets_in_with_the_right_password() {
        let rules = users_only();
        for client in [ENCODER, PLAYER] {
            let first = connect(&rules, client, "live").unwrap_err();
            assert_eq!(first.reason, "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ");
            assert_eq!((first.cause, &*first.rule), (Cause::NoCredentials, "1"));
            let second = connect(&rules, client, "live?authmod=adobe&user=ann").unwrap_err();
            assert!(second.reason.starts_with(
                "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=ann&salt="
            ));
            assert!(second.reason.len() <= 255, "FFmpeg reads no more");
            assert_eq!((second.cause, &*second.rule), (Cause::NoCredentials, "1"));
            for password in ["old", "anns password"] {
                let third = connect(&rules, client, &answered(&second, password));
                assert_eq!(third.unwrap().user.as_deref(), Some("ann"));
            }
            for password in ["", "bobs", "Old"] {
                let third = connect(&rules, client, &answered(&second, password)).unwrap_err();
                assert_eq!(third.reason, "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed");
                assert_eq!(third.cause, Cause::WrongCredentials);
            }
        }
    }

    #[test]
    fn an_answer_is_good_for_its_user_its_address_and_a_minute() {
        let ring = KeyRing::new();
        let toml = "[[access]]\nusers = ['*']\n";
        let rules = rules_with(toml, ring.clone());
        let challenge = connect(&rules, ENCODER, "live?authmod=adobe&user=ann").unwrap_err();
        let right = answered(&challenge, "old");
        assert!(connect(&rules, ENCODER, &right).is_ok());
        assert!(
            connect(&rules_with(toml, ring), ENCODER, &right).is_ok(),
            "rules may be read again in between"
        );
        assert!(connect(&rules_with(toml, KeyRing::new()), ENCODER, &right).is_err(), "of another process");
        assert!(connect_from(&rules, "203.0.113.8", ENCODER, &right).is_err());
        assert!(connect_from(&rules, "::ffff:203.0.113.7", ENCODER, &right).is_ok());
        assert!(connect(&rules, ENCODER, &right.replace("user=ann", "user=bob")).is_err());
        for part in ["challenge=deadbeef&", "authmod=adobe&", "user=ann&"] {
            assert!(connect(&rules, ENCODER, &right.replace(part, "")).is_err(), "{part}");
        }
        NOW.set(NOW.get() + 60);
        assert!(connect(&rules, ENCODER, &right).is_ok());
        NOW.set(NOW.get() + 1);
        assert!(connect(&rules, ENCODER, &right).is_err());
    }

    /// Also where the clock was set back.
    #[test]
    fn a_challenge_from_the_future_is_none() {
        let rules = users_only();
        let right = answered(&connect(&rules, ENCODER, "live?authmod=adobe&user=ann").unwrap_err(), "old");
        NOW.set(NOW.get() - 1);
        assert!(connect(&rules, ENCODER, &right).is_err());
    }

    #[test]
    fn a_user_that_does_not_exist_is_challenged_like_one_that_does() {
        let rules = users_only();
        let challenge = connect(&rules, ENCODER, "live?authmod=adobe&user=eve").unwrap_err();
        assert_eq!(connect(&rules, ENCODER, "live?authmod=adobe&user=eve").unwrap_err(), challenge);
        for password in ["", "old", "eve"] {
            let refusal = connect(&rules, ENCODER, &answered(&challenge, password)).unwrap_err();
            assert_eq!(refusal.cause, Cause::WrongCredentials);
        }
    }

    #[test]
    fn a_name_that_could_forge_a_description_is_not_repeated() {
        let rules = users_only();
        for name in ["a b", "a%26b", "ann?reason", "\u{fc}", "[x]", &"a".repeat(65)] {
            let refusal = connect(&rules, ENCODER, &format!("live?authmod=adobe&user={name}")).unwrap_err();
            assert!(refusal.reason.ends_with("?reason=authfailed"), "{}", refusal.reason);
        }
    }

    #[test]
    fn only_a_client_that_could_do_nothing_else_is_challenged() {
        let is_challenged = |toml: &str, client: &str, app: &str| connect(&rules(toml), client, app).is_err();
        let publish = "[[access]]\nstreams = 'live/*'\naction = 'publish'\nusers = ['*']\n";
        assert!(is_challenged(publish, ENCODER, "live") && !is_challenged(publish, PLAYER, "live"));
        assert!(
            is_challenged(publish, ENCODER, "live/") && is_challenged(publish, ENCODER, "live/_definst_")
        );
        assert!(!is_challenged(publish, ENCODER, "other"));
        let one = publish.replace("live/*", "live/one");
        assert!(!is_challenged(&one, ENCODER, "live"), "other streams need no user");
        let all = publish.replace("live/*", "*");
        assert!(is_challenged(&all, ENCODER, "a/b") && is_challenged(&all, ENCODER, ""));
        for also in ["keys = 'k'", "links = 'sixteen-bytes-of-ours'", "from = ['10.0.0.0/8']"] {
            let toml = publish.replace("users", &format!("{also}\nusers"));
            assert!(!is_challenged(&toml, ENCODER, "live"), "{also}");
        }
        let open = format!("[[access]]\nfrom = ['203.0.113.0/24']\n{publish}");
        assert!(!is_challenged(&open, ENCODER, "live"));
    }

    #[test]
    fn a_rule_for_connecting_that_takes_users_challenges_each_client() {
        let rules = rules(
            "[[access]]\naction = 'connect'\nstreams = 'live'\nusers = ['ann']\nsession_expire = '9s'\n",
        );
        for client in [ENCODER, PLAYER] {
            let first = connect(&rules, client, "live/").unwrap_err();
            assert!(first.reason.contains("code=403 need auth"), "{}", first.reason);
            let challenge = connect(&rules, client, "live?authmod=adobe&user=ann").unwrap_err();
            let grant = connect(&rules, client, &answered(&challenge, "old")).unwrap();
            assert_eq!((grant.user.as_deref(), grant.lasts_ms), (Some("ann"), Some(9000)));
            let challenge = connect(&rules, client, "live?authmod=adobe&user=bob").unwrap_err();
            let other = connect(&rules, client, &answered(&challenge, "bobs")).unwrap_err();
            assert_eq!(other.cause, Cause::NotForThis);
            assert!(connect(&rules, client, "live?user=ann&pass=old").is_ok());
            assert!(connect(&rules, client, "live?user=ann&pass=bobs").is_err());
            assert_eq!(connect(&rules, client, "other"), Ok(Grant::default()));
        }
    }

    #[test]
    fn a_client_that_shows_its_password_at_once_is_not_challenged() {
        let rules = users_only();
        let grant = connect(&rules, ENCODER, "live?user=ann&pass=old").unwrap();
        assert_eq!(grant.user.as_deref(), Some("ann"));
        assert_eq!(
            connect(&rules, ENCODER, "live?user=ann&pass=odl").unwrap_err().cause,
            Cause::WrongCredentials
        );
        // Not needed, and right: rules for single streams may want it.
        let grant = connect(&rules, ENCODER, "other?user=bob&pass=bobs").unwrap();
        assert_eq!(grant.user.as_deref(), Some("bob"));
        assert_eq!(connect(&rules, ENCODER, "other?user=bob&pass=wrong").unwrap().user, None);
    }

    proptest! {
        #[test]
        fn no_text_is_an_answer(text in "(authmod=adobe|user=ann|response=|opaque=|challenge=|&|[!-~]{1,30}){0,12}") {
            let outcome = connect(&users_only(), ENCODER, &format!("live?{text}"));
            prop_assert!(outcome.is_err());
        }

        #[test]
        fn an_answer_with_a_byte_changed_is_refused(at in 0usize..200, to in 0x21u8..0x7f) {
            let rules = users_only();
            let right = answered(&connect(&rules, ENCODER, "live?authmod=adobe&user=ann").unwrap_err(), "old");
            let mut changed = right.clone().into_bytes();
            // Another application is another question.
            let at = 5 + at % (right.len() - 5);
            prop_assume!(changed[at] != to);
            changed[at] = to;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert!(connect(&rules, ENCODER, &changed).is_err(), "{}", changed);
        }
    }
}

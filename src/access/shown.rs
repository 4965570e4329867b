//! What a peer shows to prove that it may: the parameters of its address. Bounded before anything is computed from it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The parameters that rules know, as sent. Of several with one name the last one counts, as everywhere: over RTMP those
/// of the stream come after those of the application.
#[derive(Default, Hash)]
pub(super) struct Shown<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) pass: Option<&'a str>,
    pub(super) token: Option<&'a str>,
    pub(super) exp: Option<&'a str>,
    pub(super) sig: Option<&'a str>,
    pub(super) net: Option<&'a str>,
    pub(super) session: Option<&'a str>,
    pub(super) authmod: Option<&'a str>,
    pub(super) challenge: Option<&'a str>,
    pub(super) response: Option<&'a str>,
    pub(super) opaque: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// Nothing where the query is longer than any that is right.
    pub(super) fn in_query(query: &'a str) -> Self {
        let mut shown = Self::default();
        if query.len() > MAX_QUERY_BYTES {
            return shown;
        }
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let parameter = match name {
                "key" => &mut shown.key,
                "user" => &mut shown.user,
                "pass" => &mut shown.pass,
                "jwt" | "token" => &mut shown.token,
                "exp" => &mut shown.exp,
                "sig" => &mut shown.sig,
                "net" => &mut shown.net,
                "session" => &mut shown.session,
                "authmod" => &mut shown.authmod,
                "challenge" => &mut shown.challenge,
                "response" => &mut shown.response,
                "opaque" => &mut shown.opaque,
                _ => continue,
            };
            *parameter = Some(value).filter(|value| !value.is_empty());
        }
        shown
    }

    /// Whether none of those came that could be guessed.
    pub(super) fn is_empty(&self) -> bool {
        let guesses = [self.key, self.pass, self.token, self.sig, self.response];
        guesses.iter().all(Option::is_none)
    }

    /// User and password, decoded.
    pub(super) fn password(&self) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
        self.user.zip(self.pass).map(|(user, password)| (decoded(user), decoded(password)))
    }
}

/// The text with its percent signs decoded, or unchanged if the result is not UTF-8. Clients send what is written in an
/// address, whether it is encoded or not.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

/// Twice what an address over RTMP can have.
const MAX_QUERY_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_parameters_with_one_name_the_last_one_counts() {
        let shown = Shown::in_query("key=a&start=live&key=b&token=1&jwt=2&flag&=&user=ann");
        assert_eq!(
            (shown.key, shown.token, shown.user, shown.pass),
            (Some("b"), Some("2"), Some("ann"), None)
        );
        assert!(Shown::in_query("key=a&key=").key.is_none(), "an empty one is none");
        assert!(Shown::in_query("KEY=a&Key=b&%6Bey=c& key=d").key.is_none());
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let query = format!("key=a&x={}", "y".repeat(MAX_QUERY_BYTES));
        assert!(Shown::in_query(&query).key.is_none());
    }

    #[test]
    fn user_and_password_are_decoded() {
        let shown = Shown::in_query("user=ann%40home&pass=100%25+1");
        assert_eq!(shown.password(), Some(("ann@home".into(), "100%+1".into())));
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%ff"), "%ff");
    }
}

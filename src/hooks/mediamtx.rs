//! MediaMTX's request: one for all questions.

use percent_encoding::percent_decode_str;

use super::{hook::Subject, identity::Identity, json::Object};
use crate::access::{Action, Login, Question};

/// What MediaMTX sends, escaped as Go does: `<`, `>`, `&` and two line separators as well.
pub(super) fn body(identity: &Identity, subject: &Subject<'_>) -> String {
    let question = subject.question;
    let Credentials { user, password, token } = Credentials::of(question);
    let action = if question.action == Action::Publish { "publish" } else { "read" };
    let text = Object::new()
        .text("ip", &subject.ip())
        .text("user", &user)
        .text("password", &password)
        .text("token", &token)
        .text("action", action)
        .text("path", subject.name())
        .text("protocol", question.protocol)
        .text("id", &identity.uuid(question.connection))
        .text("query", &question.query)
        .text("userAgent", &question.party.client)
        .end();
    let special = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    if !text.contains(special) {
        return text;
    }
    let escape = |c: char| if special(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// What a client shows to prove who it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub user: String,
    pub password: String,
    pub token: String,
}

impl Credentials {
    /// Those of the request's header or of the user part of its URL come before those among the parameters. A password
    /// is a token as well, as with MediaMTX.
    pub(super) fn of(question: &Question) -> Self {
        let parameter = |name| parameter(&question.query, name).unwrap_or_default();
        let mut credentials = match &question.party.login {
            Some(Login::Password { user, password }) => {
                Self { user: user.clone(), password: password.clone(), token: String::new() }
            }
            Some(Login::Token(token)) => Self { token: token.clone(), ..Self::default() },
            None => Self { user: parameter("user"), password: parameter("pass"), token: String::new() },
        };
        if credentials.user.is_empty()
            && let Some(user) = &question.party.user
        {
            credentials.user = user.to_string();
        }
        if credentials.token.is_empty() {
            credentials.token = credentials.password.clone();
        }
        for name in ["token", "jwt"] {
            if credentials.token.is_empty() {
                credentials.token = parameter(name);
            }
        }
        credentials
    }

    pub(super) fn are_missing(&self) -> bool {
        *self == Self::default()
    }
}

/// The decoded value of a parameter. The last one counts, as everywhere in the relay: the stream's comes after the
/// application's.
fn parameter(query: &str, name: &str) -> Option<String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.rfind(|(key, _)| decode(key) == name).map(|(_, value)| decode(value))
}

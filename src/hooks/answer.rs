//! What an answer to a question means, in each dialect. What is not an answer in the dialect's terms is a failure.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::mediamtx::Credentials;
use crate::{
    access::{Action, Cause, Denial, Grant, Login, Question, Verdict},
    config::Dialect,
};

/// An answer of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// Whether the body matters, given the status: otherwise it is not waited for.
pub(super) fn needs_body(dialect: Dialect, status: u16) -> bool {
    let is_refusal = (400..500).contains(&status);
    match dialect {
        Dialect::Fanfare | Dialect::Srs => is_refusal || [200, 201].contains(&status),
        Dialect::NginxRtmp | Dialect::Mediamtx => is_refusal,
    }
}

/// What the service decides.
///
/// # Errors
/// What is wrong with the answer. It contains nothing of it.
pub(super) fn verdict(dialect: Dialect, question: &Question, answer: &Answer) -> Result<Verdict, String> {
    let status = answer.status;
    match (dialect, status) {
        // It is asked too much, which says nothing about the client.
        (_, 408 | 429) => Err(format!("status {status}")),
        (_, 400..=499) => Ok(refusal(dialect, question, answer)),
        (Dialect::Fanfare | Dialect::Srs, 200 | 201) => by_code(dialect, question, &answer.body),
        (Dialect::NginxRtmp | Dialect::Mediamtx, 200..=299) => Ok(Verdict::allow()),
        (Dialect::NginxRtmp, 300..=399) => match answer.location.as_deref() {
            None | Some("") => Ok(Verdict::allow()),
            Some(location) => elsewhere(question, location),
        },
        (_, 300..=399) => Err(format!("status {status}: redirects are not followed")),
        _ => Err(format!("status {status}")),
    }
}

/// Whether a session goes on, by the answer to a notification.
pub(super) fn goes_on(dialect: Dialect, answer: &Answer) -> bool {
    match dialect {
        Dialect::NginxRtmp => (200..=399).contains(&answer.status),
        Dialect::Fanfare => match (answer.status, code(&answer.body)) {
            (200 | 201, Ok((code, _))) => code == 0,
            _ => true,
        },
        Dialect::Srs | Dialect::Mediamtx => true,
    }
}

/// Whether the service took a notification.
pub(super) fn is_taken(dialect: Dialect, status: u16) -> bool {
    match dialect {
        // A status that refuses is an answer all the same.
        Dialect::NginxRtmp => status < 500,
        _ => (200..=299).contains(&status),
    }
}

/// The code of SRS's answer: the number itself, or that of an object.
fn code(body: &[u8]) -> Result<(i64, Value), String> {
    if body.is_empty() {
        return Err("empty body".to_owned());
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON".to_owned())?;
    let code = match &value {
        Value::Object(object) => object.get("code").and_then(Value::as_i64),
        other => other.as_i64(),
    };
    code.map(|code| (code, value)).ok_or_else(|| "the body has no integer code".to_owned())
}

fn by_code(dialect: Dialect, question: &Question, body: &[u8]) -> Result<Verdict, String> {
    match code(body)? {
        (0, value) if dialect == Dialect::Fanfare => own_grant(question, &value["data"]),
        (0, _) => Ok(Verdict::allow()),
        (code, _) => Ok(Verdict::deny(reason(question, body).unwrap_or(format!("code {code}")))),
    }
}

/// `data` of an answer in fanfare's own dialect: what comes with the permission.
fn own_grant(question: &Question, data: &Value) -> Result<Verdict, String> {
    let text = |name: &str| match &data[name] {
        Value::Null => Ok(None),
        Value::String(text) if !text.is_empty() => Ok(Some(text.as_str())),
        _ => Err(format!("data.{name} is not a text")),
    };
    if let Some(address) = text("redirect")? {
        return elsewhere(question, address);
    }
    let lasts_ms = match &data["expire"] {
        Value::Null => None,
        expire => {
            let seconds = expire.as_f64().filter(|seconds| *seconds > 0.0);
            Some((seconds.ok_or("data.expire is not a number of seconds")? * 1000.0) as u64)
        }
    };
    let name = text("name")?.map(|name| in_application(question, name));
    Ok(Verdict::Allow(Grant { name, user: text("user")?.map(Arc::from), lasts_ms }))
}

/// Another name, or another server.
fn elsewhere(question: &Question, location: &str) -> Result<Verdict, String> {
    let scheme = location.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let expected = if question.protocol == "rtmp" { ["rtmp", "rtmps"] } else { ["http", "https"] };
    match scheme {
        None => Ok(Verdict::allow_as(in_application(question, location))),
        Some(scheme) if expected.contains(&scheme.as_str()) => Ok(Verdict::Redirect(location.to_owned())),
        Some(scheme) => Err(format!("it sends a client of {} to {scheme}://", question.protocol)),
    }
}

/// A name without a slash stays in its application.
fn in_application(question: &Question, name: &str) -> String {
    let name = name.trim_start_matches('/');
    match question.name.rsplit_once('/') {
        Some((app, _)) if question.action != Action::Connect && !name.contains('/') => {
            format!("{app}/{name}")
        }
        _ => name.to_owned(),
    }
}

fn refusal(dialect: Dialect, question: &Question, answer: &Answer) -> Verdict {
    let status = answer.status;
    let reason = reason(question, &answer.body).unwrap_or(format!("status {status}"));
    let cause = match (dialect, status) {
        (Dialect::Mediamtx, 401) if Credentials::of(question).are_missing() => Cause::NoCredentials,
        (Dialect::Mediamtx, 401) => Cause::WrongCredentials,
        _ => Cause::Service,
    };
    Verdict::Deny(Denial { reason, cause, rule: "hook".into() })
}

/// The service's reason, if it gives one: a text of a JSON object, or the first line of a plain text.
fn reason(question: &Question, body: &[u8]) -> Option<String> {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => REASONS.iter().find_map(|name| value.get(name)?.as_str().map(str::to_owned))?,
        Err(_) => std::str::from_utf8(body).ok()?.trim_start().lines().next()?.to_owned(),
    };
    if text.starts_with(['<', '{']) {
        return None;
    }
    let text = without_secrets(question, text);
    // What could forge a log line, or change the direction of its text.
    let is_shown = |c: &char| {
        !c.is_control() && !matches!(*c as u32, 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069)
    };
    let text: String = text.chars().filter(is_shown).take(MAX_REASON_CHARS).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A reason goes to the client and to the log. A service may repeat what proves who the client is.
fn without_secrets(question: &Question, mut text: String) -> String {
    let login = match &question.party.login {
        Some(Login::Password { password: secret, .. } | Login::Token(secret)) => Some(secret.clone()),
        None => None,
    };
    let values = question.query.split('&').filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    let values = values
        .flat_map(|value| [value.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()]);
    for secret in values.chain(login).filter(|secret| secret.len() >= MIN_SECRET_BYTES) {
        text = text.replace(&secret, "***");
    }
    text
}

/// Where services put the reason for a refusal.
const REASONS: [&str; 6] = ["msg", "message", "reason", "error", "detail", "data"];
/// It has to fit into a WebSocket's close frame of 125 bytes together with what is before it, or be cut there.
const MAX_REASON_CHARS: usize = 200;
/// Shorter values are words such as `live`, not secrets.
const MIN_SECRET_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::access::Party;

    const DIALECTS: [Dialect; 4] = [Dialect::Fanfare, Dialect::Srs, Dialect::NginxRtmp, Dialect::Mediamtx];

    fn question(action: Action) -> Question {
        let name = if action == Action::Connect { "live" } else { "live/show" };
        Question {
            query: "key=hunter22&start=live".to_owned(),
            ..Question::new(action, name, ([192, 0, 2, 7], 1).into(), "rtmp")
        }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, location: None, body: body.into() }
    }

    fn of(dialect: Dialect, status: u16, body: &str) -> Result<Verdict, String> {
        verdict(dialect, &question(Action::Play), &answer(status, body))
    }

    #[test]
    fn srs_s_yes_is_a_zero_with_200_or_201() {
        for body in
            ["0", "{\"code\":0}", " 0\n", "{\"code\":0,\"msg\":\"fine\"}", "{\"code\": 0, \"data\": \"\"}"]
        {
            for status in [200, 201] {
                assert_eq!(of(Dialect::Srs, status, body), Ok(Verdict::allow()), "{body}");
                assert_eq!(of(Dialect::Fanfare, status, body), Ok(Verdict::allow()), "{body}");
            }
        }
        for (status, body, wrong) in [
            (200, "", "empty body"),
            (200, "OK", "not JSON"),
            (200, "\"0\"", "no integer code"),
            (200, "{}", "no integer code"),
            (200, "{\"code\":\"0\"}", "no integer code"),
            (200, "{\"code\":0.0}", "no integer code"),
            (200, "0.0", "no integer code"),
            (200, "[0]", "no integer code"),
            (200, "null", "no integer code"),
            (200, "0 0", "not JSON"),
            (202, "0", "status 202"),
            (204, "", "status 204"),
            (302, "0", "status 302: redirects are not followed"),
            (500, "0", "status 500"),
            (503, "{\"code\":0}", "status 503"),
            (429, "{\"code\":0}", "status 429"),
            (100, "0", "status 100"),
        ] {
            let error = of(Dialect::Srs, status, body).unwrap_err();
            assert!(error.contains(wrong), "{status} {body}: {error}");
        }
    }

    /// Beyond what the parser takes.
    #[test]
    fn nesting_without_end_is_not_an_answer() {
        assert_eq!(of(Dialect::Srs, 200, &"[".repeat(60_000)), Err("the body is not JSON".to_owned()));
    }

    fn reason_of(dialect: Dialect, status: u16, body: &str) -> String {
        match of(dialect, status, body) {
            Ok(Verdict::Deny(Denial { reason, cause: Cause::Service, rule })) if &*rule == "hook" => reason,
            other => panic!("{status} {body}: {other:?}"),
        }
    }

    #[test]
    fn a_refusal_has_the_service_s_reason() {
        for (status, body, reason) in [
            (200, "1", "code 1"),
            (200, "{\"code\":403}", "code 403"),
            (200, "{\"code\":403,\"msg\":\"no such stream\"}", "no such stream"),
            (200, "{\"code\":-1,\"data\":\"blocked\"}", "blocked"),
            (403, "{\"message\":\"not your stream\"}", "not your stream"),
            (401, "who are you?\nsecond line", "who are you?"),
            (403, "<html><h1>403</h1>", "status 403"),
            (404, "", "status 404"),
            (403, "  ", "status 403"),
        ] {
            assert_eq!(reason_of(Dialect::Srs, status, body), reason);
        }
        for dialect in [Dialect::NginxRtmp, Dialect::Mediamtx] {
            assert_eq!(reason_of(dialect, 403, "not with this key"), "not with this key");
        }
    }

    #[test]
    fn a_reason_contains_no_secret_and_forges_no_line() {
        assert_eq!(
            reason_of(Dialect::Srs, 403, "the key hunter22 is wrong for live"),
            "the key *** is wrong for live"
        );
        let forged = "{\"code\":1,\"msg\":\"a\\nb\\u001b[31m\\u202ec\\r\\n\\u2028d\"}";
        assert_eq!(reason_of(Dialect::Srs, 200, forged), "ab[31mcd");
        assert_eq!(reason_of(Dialect::Srs, 403, &"x".repeat(5_000)).len(), MAX_REASON_CHARS);
        let login = Some(Login::Password { user: "ann".to_owned(), password: "correct horse".to_owned() });
        let party = Arc::new(Party { login, ..Party::default() });
        let question = Question { party, query: "pass=correct%20horse".to_owned(), ..question(Action::Play) };
        let denied = verdict(Dialect::Srs, &question, &answer(403, "correct horse? correct%20horse?"));
        assert_eq!(denied, Ok(Verdict::deny("***? ***?")));
    }

    #[test]
    fn the_own_dialect_grants_more() {
        let granted = |data: &str| of(Dialect::Fanfare, 200, &format!("{{\"code\":0,\"data\":{data}}}"));
        let grant = |name: Option<&str>, user: Option<&str>, lasts_ms| {
            Ok(Verdict::Allow(Grant { name: name.map(str::to_owned), user: user.map(Arc::from), lasts_ms }))
        };
        assert_eq!(granted("null"), grant(None, None, None));
        assert_eq!(granted("{\"name\":\"other\"}"), grant(Some("live/other"), None, None));
        assert_eq!(
            granted("{\"name\":\"x/other\",\"user\":\"ann\"}"),
            grant(Some("x/other"), Some("ann"), None)
        );
        assert_eq!(granted("{\"expire\":1.5}"), grant(None, None, Some(1500)));
        assert_eq!(
            granted("{\"redirect\":\"rtmp://b/live/c\"}"),
            Ok(Verdict::Redirect("rtmp://b/live/c".to_owned()))
        );
        for (data, wrong) in [
            ("{\"name\":5}", "data.name is not a text"),
            ("{\"user\":\"\"}", "data.user is not a text"),
            ("{\"expire\":\"1h\"}", "data.expire is not a number of seconds"),
            ("{\"expire\":0}", "data.expire is not a number of seconds"),
            ("{\"redirect\":\"http://b/c\"}", "it sends a client of rtmp to http://"),
        ] {
            assert_eq!(granted(data), Err(wrong.to_owned()));
        }
        assert_eq!(of(Dialect::Srs, 200, "{\"code\":0,\"data\":{\"name\":\"other\"}}"), Ok(Verdict::allow()));
    }

    fn located(action: Action, protocol: &'static str, location: &str) -> Result<Verdict, String> {
        let question = Question { protocol, ..question(action) };
        let answer = Answer { status: 302, location: Some(location.to_owned()), body: Vec::new() };
        verdict(Dialect::NginxRtmp, &question, &answer)
    }

    #[test]
    fn nginx_rtmp_s_location_renames_or_redirects() {
        for (action, location, name) in [
            (Action::Publish, "other", "live/other"),
            (Action::Publish, "/other", "live/other"),
            (Action::Play, "vod/other", "vod/other"),
            (Action::Connect, "vod", "vod"),
            (Action::Connect, "a/b", "a/b"),
        ] {
            assert_eq!(located(action, "rtmp", location), Ok(Verdict::allow_as(name)), "{location}");
        }
        for action in [Action::Connect, Action::Publish, Action::Play] {
            let address = "RTMP://198.51.100.1/live/show";
            assert_eq!(located(action, "rtmp", address), Ok(Verdict::Redirect(address.to_owned())));
        }
        assert_eq!(
            located(Action::Play, "http_flv", "https://b/c.flv"),
            Ok(Verdict::Redirect("https://b/c.flv".to_owned()))
        );
        assert!(located(Action::Play, "http_flv", "rtmp://b/c").is_err());
        assert!(located(Action::Play, "rtmp", "http://b/c").is_err());
        assert_eq!(located(Action::Play, "rtmp", ""), Ok(Verdict::allow()));
        assert_eq!(of(Dialect::NginxRtmp, 304, ""), Ok(Verdict::allow()), "no Location");
    }

    #[test]
    fn by_status_2xx_is_yes_4xx_is_no_and_all_else_a_failure() {
        for dialect in [Dialect::NginxRtmp, Dialect::Mediamtx] {
            for status in [200, 201, 204, 299] {
                assert_eq!(of(dialect, status, ""), Ok(Verdict::allow()));
            }
            assert_eq!(of(dialect, 500, ""), Err("status 500".to_owned()));
        }
        assert!(of(Dialect::Mediamtx, 302, "").is_err());
        for dialect in DIALECTS {
            assert!(matches!(of(dialect, 403, ""), Ok(Verdict::Deny(_))), "no `on_error` lets a refusal in");
        }
    }

    #[test]
    fn mediamtx_s_401_asks_for_credentials() {
        let cause = |query: &str| {
            let question = Question { query: query.to_owned(), ..question(Action::Play) };
            match verdict(Dialect::Mediamtx, &question, &answer(401, "")) {
                Ok(Verdict::Deny(denial)) => denial.cause,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(cause("start=live"), Cause::NoCredentials);
        assert_eq!(cause("user=ann&pass=wrong"), Cause::WrongCredentials);
        assert_eq!(cause("jwt=a.b.c"), Cause::WrongCredentials);
    }

    #[test]
    fn a_session_goes_on_unless_the_answer_says_no() {
        let goes_on = |dialect, status, body: &str| super::goes_on(dialect, &answer(status, body));
        for (status, is_on) in [(200, true), (302, true), (403, false), (500, false)] {
            assert_eq!(goes_on(Dialect::NginxRtmp, status, ""), is_on);
        }
        for (status, body, is_on) in [
            (200, "{\"code\":0}", true),
            (200, "0", true),
            (200, "", true),
            (200, "garbage", true),
            (200, "1", false),
            (200, "{\"code\":403}", false),
            (204, "", true),
        ] {
            assert_eq!(goes_on(Dialect::Fanfare, status, body), is_on, "{status} {body}");
        }
        assert!(goes_on(Dialect::Srs, 200, "1"), "SRS ignores what answers a notification");
    }

    proptest! {
        /// Only a zero lets in, and no reason forges a line.
        #[test]
        fn any_bytes_are_an_answer_or_a_failure(
            body in "(\\PC|[\\x00-\\x1f\\u{200b}-\\u{2069}]|[{}\":,0-9]|code|msg|null){0,30}",
            status in prop_oneof![Just(200u16), Just(403), 100..600u16],
        ) {
            for dialect in DIALECTS {
                match of(dialect, status, &body) {
                    Ok(Verdict::Allow(_)) if matches!(dialect, Dialect::Srs | Dialect::Fanfare) => {
                        prop_assert!([200, 201].contains(&status));
                        let value: Value = serde_json::from_str(&body).unwrap();
                        prop_assert!(value == 0 || value["code"] == 0, "{body}");
                    }
                    Ok(Verdict::Deny(Denial { reason, .. })) => {
                        prop_assert!(!reason.is_empty() && reason.chars().count() <= MAX_REASON_CHARS);
                        prop_assert!(!reason.chars().any(char::is_control), "{reason:?}");
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
}

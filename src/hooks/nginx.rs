//! nginx-rtmp's forms.
//!
//! nginx-rtmp appends the client's arguments as they came, so that `?addr=10.0.0.1` replaces the address in a service
//! that takes the last value of a name. Here arguments are left out that a service may take for one of the fields.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::hook::{Hook, Subject};
use crate::access::{Action, Details};

/// The fields as a body.
pub(super) fn form(subject: &Subject<'_>) -> String {
    let mut text = String::new();
    let fields = fields(subject);
    for (name, value) in &fields {
        let separator = if text.is_empty() { "" } else { "&" };
        text += &format!("{separator}{name}={}", escape(value));
    }
    for argument in arguments(subject).split('&').filter(|argument| !argument.is_empty()) {
        if !may_be_taken_for_a_field(argument, &fields) {
            text.push('&');
            text += argument;
        }
    }
    text
}

/// The fields as a query: what a URL cannot contain is escaped.
pub(super) fn query(subject: &Subject<'_>) -> String {
    utf8_percent_encode(&form(subject), NOT_IN_A_QUERY).to_string()
}

fn fields(subject: &Subject<'_>) -> Vec<(&'static str, String)> {
    let question = subject.question;
    let party = &question.party;
    let (app, key) = subject.app_and_key();
    let owned = str::to_owned;
    let mut fields = vec![
        ("app", owned(app)),
        ("flashver", party.client.clone()),
        ("swfurl", party.swf_url.clone()),
        ("tcurl", party.tc_url.clone()),
        ("pageurl", party.page_url.clone()),
        ("addr", subject.ip()),
    ];
    if subject.hook == Hook::Connect {
        // The time when the client connected, which wraps around like nginx-rtmp's.
        fields.extend([("epoch", (subject.now_ms as u32).to_string()), ("call", owned("connect"))]);
        return fields;
    }
    fields.push(("clientid", question.connection.to_string()));
    let is_publisher = question.action == Action::Publish;
    match subject.hook {
        Hook::Publish => {
            let kind = match &question.details {
                Details::Publish { kind } => kind.clone(),
                Details::None | Details::Play { .. } => String::new(),
            };
            fields.extend([("call", owned("publish")), ("name", owned(key)), ("type", kind)]);
        }
        Hook::Play => {
            let [start, duration, reset] = play_numbers(&question.details).map(|number| number.to_string());
            fields.extend([("call", owned("play")), ("name", owned(key))]);
            fields.extend([("start", start), ("duration", duration), ("reset", reset)]);
        }
        Hook::Update => {
            let (time_s, timestamp) = subject.notice.map_or((0, 0), |notice| {
                // nginx-rtmp's number has a sign.
                (notice.duration_ms / 1000, notice.timestamp_ms as i32)
            });
            let call = if is_publisher { "update_publish" } else { "update_play" };
            fields.extend([("call", owned(call)), ("time", time_s.to_string())]);
            fields.extend([("timestamp", timestamp.to_string()), ("name", owned(key))]);
        }
        Hook::Close => fields.extend([("call", owned("disconnect")), ("app", owned(app))]),
        Hook::Unpublish | Hook::Stop | Hook::Connect => {
            let call = if is_publisher { "publish_done" } else { "play_done" };
            fields.extend([("call", owned(call)), ("name", owned(key))]);
        }
    }
    fields
}

/// Start, duration and reset, as nginx-rtmp's integers of 32 bits. What the client did not send is 0.
fn play_numbers(details: &Details) -> [u32; 3] {
    let Details::Play { start, duration, reset } = *details else { return [0; 3] };
    let number = |value: f64, not_sent: f64| if value == not_sent { 0 } else { value as i64 as u32 };
    [number(start, -2.0), number(duration, -1.0), reset.into()]
}

/// What the client appended. Those of `connect` belong to `on_connect` and `on_close` alone.
fn arguments<'a>(subject: &Subject<'a>) -> &'a str {
    let question = subject.question;
    let (_, of_connect) = question.party.tc_url.split_once('?').unwrap_or_default();
    let is_of_stream =
        question.action != Action::Connect && question.protocol == "rtmp" && !of_connect.is_empty();
    let without = question.query.strip_prefix(of_connect).filter(|_| is_of_stream);
    match without {
        Some("") => "",
        Some(rest) => rest.strip_prefix('&').unwrap_or(&question.query),
        None => &question.query,
    }
}

/// Whether some service may read this argument as one of the fields: names may be escaped, PHP ignores spaces before
/// them and what follows `[` and NUL, and others separate arguments by semicolons as well.
fn may_be_taken_for_a_field(argument: &str, fields: &[(&str, String)]) -> bool {
    argument.split(';').any(|part| {
        let name = part.split('=').next().unwrap_or_default().replace('+', " ");
        let name = percent_decode_str(&name).decode_utf8_lossy();
        let name = name.trim_start().split(['[', '\0']).next().unwrap_or_default().trim_end();
        // Decoding may have brought more separators.
        name.split(['&', ';', '='])
            .any(|name| fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name.trim())))
    })
}

/// As nginx does (`NGX_ESCAPE_ARGS`, since 1.21.1).
fn escape(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Of what a client may have sent as it is: what would end or break the line of a request.
const NOT_IN_A_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

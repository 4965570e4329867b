//! SRS's requests, and fanfare's own, which are SRS's with more fields. The order of fields is that of SRS 5 to 7.

use std::borrow::Cow;

use super::{
    hook::{Hook, Subject},
    identity::Identity,
    json::Object,
};
use crate::access::{Action, Details};

/// What SRS sends. It has no notification about a session that goes on: that one is made like the others.
pub(super) fn body(identity: &Identity, subject: &Subject<'_>) -> String {
    fields(identity, subject).end()
}

/// What SRS sends, and more.
pub(super) fn own_body(identity: &Identity, subject: &Subject<'_>) -> String {
    let question = subject.question;
    let user = question.granted.user.as_deref().or(question.party.user.as_deref());
    let mut object = fields(identity, subject)
        .text("protocol", question.protocol)
        .text("name", subject.name())
        .number("connection", question.connection)
        .number("port", question.peer.port().into())
        .text("user", user.unwrap_or_default())
        .text("client", &question.party.client);
    if let Details::Publish { kind } = &question.details {
        object = object.text("type", kind);
    }
    let Some(notice) = subject.notice else { return object.end() };
    if subject.hook != Hook::Close {
        object = object.number("send_bytes", notice.sent_bytes).number("recv_bytes", notice.received_bytes);
    }
    object = object.number("duration_ms", notice.duration_ms);
    match subject.hook {
        Hook::Update => {
            let role = if question.action == Action::Publish { "publish" } else { "play" };
            object.number("timestamp_ms", notice.timestamp_ms.into()).text("role", role).end()
        }
        _ => object.text("reason", notice.reason).end(),
    }
}

fn fields(identity: &Identity, subject: &Subject<'_>) -> Object {
    let question = subject.question;
    let party = &question.party;
    let (app, key) = subject.app_and_key();
    let app = if app.is_empty() { DEFAULT_APP } else { app };
    let param = if question.query.is_empty() { String::new() } else { format!("?{}", question.query) };
    let tc_url = &tc_url(&party.tc_url, app);
    let object = Object::new()
        .text("server_id", &identity.server_id)
        .text("service_id", &identity.service_id)
        .text("action", subject.hook.name())
        .text("client_id", &identity.client_id(question.connection))
        .text("ip", &subject.ip())
        .text("vhost", DEFAULT_VHOST)
        .text("app", app);
    let of_stream = |object: Object| {
        // SRS leaves out what it takes for an extension.
        let without_extension = key.rsplit_once('.').map_or(key, |(stem, _)| stem);
        object
            .text("stream_url", &format!("/{app}/{without_extension}"))
            .text("stream_id", &identity.stream_id(subject.name()))
    };
    match subject.hook {
        Hook::Connect => {
            let object = object.text("stream", "").text("param", &param);
            object.text("tcUrl", tc_url).text("pageUrl", &party.page_url)
        }
        Hook::Close => {
            let bytes = subject.notice.map_or((0, 0), |notice| (notice.sent_bytes, notice.received_bytes));
            object.number("send_bytes", bytes.0).number("recv_bytes", bytes.1)
        }
        Hook::Play => {
            let object = object.text("stream", key).text("tcUrl", tc_url).text("param", &param);
            of_stream(object.text("pageUrl", &party.page_url))
        }
        Hook::Publish | Hook::Unpublish | Hook::Stop | Hook::Update => {
            of_stream(object.text("tcUrl", tc_url).text("stream", key).text("param", &param))
        }
    }
}

/// Of a player over HTTP, SRS makes the address that an RTMP player would have named: of the virtual host and the
/// application, without parameters.
fn tc_url<'a>(url: &'a str, app: &str) -> Cow<'a, str> {
    match url.starts_with("http://") || url.starts_with("https://") {
        true => format!("rtmp://{DEFAULT_VHOST}/{app}").into(),
        false => url.into(),
    }
}

/// The relay has no virtual hosts: what an SRS without any sends.
const DEFAULT_VHOST: &str = "__defaultVhost__";
/// What SRS puts in place of an empty application.
const DEFAULT_APP: &str = "__defaultApp__";

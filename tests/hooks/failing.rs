//! A service that does not answer, or not in its terms.

use std::time::{Duration, Instant};

use fanfare::rtmp::client::Role;

use crate::asked::relay_with;
use crate::peer::Rtmp;
use crate::support::web_service::{Reply, WebService};

#[test]
fn what_is_not_an_answer_refuses_and_the_name_is_free_at_once() {
    let mut free_within = Vec::new();
    for (reply, reason) in [
        (Reply::Status(500, "0".to_owned()), "status 500"),
        (Reply::Status(200, "<html>".to_owned()), "the body is not JSON"),
        (Reply::Status(200, String::new()), "empty body"),
        (Reply::Status(200, "{}".to_owned()), "the body has no integer code"),
        (Reply::Location(302, "/hooks".to_owned()), "status 302: redirects are not followed"),
        (Reply::Endless, "the body is larger than 64 KiB"),
        (Reply::Close, "connection closed before message completed"),
        (Reply::Bytes(b"\0garbage\xff\r\n\r\n".to_vec()), "invalid HTTP version parsed"),
        (Reply::Nothing, "no answer within 500ms"),
    ] {
        let is_first = std::sync::atomic::AtomicBool::new(true);
        let service =
            WebService::start(move |_| match is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                true => reply.clone(),
                false => Reply::yes(),
            });
        let relay = relay_with(&service, "timeout = '500ms'");
        let (code, description) = Rtmp::refusal(&relay, Role::Publish, "live/show");
        let refused = Instant::now();
        assert_eq!(code, "NetStream.Publish.Denied");
        assert_eq!(description, format!("the web service failed: {reason}"));
        // At the first attempt.
        drop(Rtmp::started(&relay, Role::Publish, "live/show"));
        free_within.push(refused.elapsed());
        let line = relay.wait_for_log(&["hook failed", reason]);
        assert!(line.contains("on_publish") && line.contains(&service.url("/hooks")), "{line}");
        assert_eq!(service.requests().len(), 2, "a redirect is not followed, a failure not repeated");
    }
    // A busy machine may need longer for a handshake, but not each time.
    assert!(free_within.iter().min().unwrap() < &Duration::from_millis(100), "{free_within:?}");
}

#[test]
fn by_choice_a_failure_lets_in_and_a_refusal_does_not() {
    let service = WebService::start(|request| match request.action().as_str() {
        "on_publish" => Reply::Close,
        _ => Reply::Status(403, String::new()),
    });
    let relay = relay_with(&service, "on_error = 'allow'");
    let _publisher = Rtmp::publishing(&relay, "live/show");
    let (code, description) = Rtmp::refusal(&relay, Role::Play, "live/show");
    assert_eq!((code.as_str(), description.as_str()), ("NetStream.Play.Failed", "status 403"));
}

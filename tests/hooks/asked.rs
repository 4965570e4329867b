//! Questions and their answers.

use fanfare::rtmp::client::Role;

use crate::peer::{Rtmp, get};
use crate::support::Relay;
use crate::support::web_service::{Reply, WebService};

/// A relay that asks this service to publish and to play.
pub fn relay_with(service: &WebService, more: &str) -> Relay {
    let url = service.url("/hooks");
    Relay::start(&format!("[hooks]\non_publish = ['{url}']\non_play = ['{url}']\n{more}\n"))
}

#[test]
fn srs_s_service_is_asked_and_lets_in() {
    let service = WebService::start(|_| Reply::yes());
    let relay = relay_with(&service, "dialect = 'srs'");
    let _publisher = Rtmp::publishing(&relay, "live/show?key=hunter22");
    relay.wait_for_publisher("live/show");
    let _player = Rtmp::started(&relay, Role::Play, "live/show?token=1");
    let requests = service.wait_for(2);
    let [publish, play] = [requests[0].json(), requests[1].json()];
    assert_eq!(requests[0].method, "POST");
    assert_eq!(requests[0].path, "/hooks");
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert_eq!(publish["action"], "on_publish");
    assert_eq!(publish["ip"], "127.0.0.1");
    assert_eq!(publish["app"], "live");
    assert_eq!(publish["stream"], "show");
    assert_eq!(publish["param"], "?key=hunter22");
    assert_eq!(publish["tcUrl"], format!("rtmp://{}/live", relay.address()));
    assert_eq!(publish["stream_url"], "/live/show");
    assert_eq!((&play["action"], &play["param"]), (&"on_play".into(), &"?token=1".into()));
    assert_ne!(publish["client_id"], play["client_id"]);
    assert_eq!(publish["stream_id"], play["stream_id"]);
    assert_eq!(publish["server_id"], play["server_id"]);
    assert_eq!(service.connections(), 1, "the connection is used again");
}

#[test]
fn the_reason_for_a_refusal_reaches_the_client_and_the_log_and_no_secret_does() {
    let service = WebService::start(|_| Reply::no("no such key: hunter22"));
    let relay = relay_with(&service, "");
    let refusal = Rtmp::refusal(&relay, Role::Publish, "live/show?key=hunter22");
    assert_eq!(refusal, ("NetStream.Publish.Denied".to_owned(), "no such key: ***".to_owned()));
    let refusal = Rtmp::refusal(&relay, Role::Play, "live/show?key=hunter22");
    assert_eq!(refusal, ("NetStream.Play.Failed".to_owned(), "no such key: ***".to_owned()));
    let answer = get(&relay, "/live/show.flv?key=hunter22");
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (403, Some("no such key: ***")));
    relay.wait_for_log(&["publisher refused: access denied", "no such key: ***", "hook"]);
    relay.wait_for_log(&["player refused: access denied", "no such key: ***", "hook"]);
    assert!(!relay.log().iter().any(|line| line.contains("hunter22")), "{:#?}", relay.log());
    let metrics = get(&relay, "/metrics").text();
    assert!(
        metrics.contains("fanfare_hook_requests_total{hook=\"on_publish\",result=\"no\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("fanfare_hook_requests_total{hook=\"on_play\",result=\"no\"} 2"), "{metrics}");
}

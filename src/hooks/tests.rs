//! Golden bodies: what each server sends, field by field. They follow the sources of SRS 6 (`srs_app_http_hooks.cpp`),
//! nginx-rtmp 1.2.2 (`ngx_rtmp_notify_module.c`) and MediaMTX 1.18 (`internal/auth/manager.go`). And what is not handed
//! to the thread.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
};

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use tokio::sync::mpsc::unbounded_channel;

use super::{
    Inbox, MAX_QUESTIONS,
    counts::Counts,
    hook::{Hook, Subject},
    identity::Identity,
    mediamtx::Credentials,
    request::{Format, Request},
};
use crate::{
    access::{Action, Details, Grant, Login, Notice, NoticeKind, Open, Party, Question, Service, Verdict},
    config::{Config, Dialect, Hooks, NotifyMethod},
    net,
};

/// FFmpeg, as it publishes or plays `rtmp://relay.example/live?room=7` with the key `show?key=a%20b`.
fn question(action: Action) -> Question {
    let party = Party {
        app: "live".to_owned(),
        tc_url: "rtmp://relay.example:1935/live?room=7".to_owned(),
        swf_url: String::new(),
        page_url: "http://site.example/watch?a=1&b=\"2\"".to_owned(),
        client: "LNX 9,0,124,2".to_owned(),
        user: None,
        login: None,
    };
    let (name, query, details) = match action {
        Action::Publish => ("live/show", "room=7&key=a%20b", Details::Publish { kind: "live".to_owned() }),
        Action::Play => {
            let details = Details::Play { start: -2000.0, duration: -1.0, reset: false };
            ("live/show", "room=7&key=a%20b", details)
        }
        Action::Connect | Action::Api => ("live", "room=7", Details::None),
    };
    Question {
        query: query.to_owned(),
        connection: 27,
        party: Arc::new(party),
        details,
        ..Question::new(action, name, "[::ffff:192.0.2.7]:50017".parse().unwrap(), "rtmp")
    }
}

fn notice(kind: NoticeKind, question: Question) -> Notice {
    Notice {
        kind,
        name: question.name.clone(),
        question: Arc::new(question),
        sent_bytes: 3_421,
        received_bytes: 1_048_576,
        duration_ms: 61_500,
        timestamp_ms: 60_040,
        reason: if kind == NoticeKind::Update { "" } else { "client" },
    }
}

fn request(hooks: &Hooks, hook: Hook, question: &Question, notice: Option<&Notice>) -> Request {
    Request::new(hooks, &Identity::fixed(), &Subject { hook, question, notice, now_ms: 1_234_567 })
}

/// The request about this.
fn asked(dialect: Dialect, action: Action) -> String {
    text_of(dialect, &question(action))
}

fn text_of(dialect: Dialect, question: &Question) -> String {
    let hook = Hook::asked(question.action).unwrap();
    request(&Hooks { dialect, ..Hooks::default() }, hook, question, None).text
}

fn notified(dialect: Dialect, kind: NoticeKind, action: Action) -> String {
    let notice = notice(kind, question(action));
    let hooks = Hooks { dialect, ..Hooks::default() };
    request(&hooks, Hook::notified(kind), &notice.question, Some(&notice)).text
}

/// With the stream's identifier, which differs from run to run, replaced.
fn without_stream_id(text: &str) -> String {
    let Some((before, rest)) = text.split_once("\"stream_id\":\"vid-") else { return text.to_owned() };
    format!("{before}\"stream_id\":\"vid-1234567{}", &rest[7..])
}

/// What all of SRS's begin with.
const SRS: &str = r#"{"server_id":"vid-0xk989d","service_id":"382k890r","action":"ACTION","client_id":"27-341w361a","ip":"192.0.2.7","vhost":"__defaultVhost__","app":"live","#;
const TC_URL: &str = r#""tcUrl":"rtmp://relay.example:1935/live?room=7","#;
const PARAM: &str = r#""param":"?room=7&key=a%20b","#;
const STREAM_URL: &str = r#""stream_url":"/live/show","stream_id":"vid-1234567""#;

fn srs(action: &str) -> String {
    SRS.replace("ACTION", action)
}

#[test]
fn srs_is_asked_in_its_order() {
    let connect = format!(
        r#"{}"stream":"","param":"?room=7",{TC_URL}"pageUrl":"http://site.example/watch?a=1&b=\"2\""}}"#,
        srs("on_connect")
    );
    assert_eq!(asked(Dialect::Srs, Action::Connect), connect);
    let publish = format!(r#"{}{TC_URL}"stream":"show",{PARAM}{STREAM_URL}}}"#, srs("on_publish"));
    assert_eq!(without_stream_id(&asked(Dialect::Srs, Action::Publish)), publish);
    let play = format!(
        r#"{}"stream":"show",{TC_URL}{PARAM}"pageUrl":"http://site.example/watch?a=1&b=\"2\"",{STREAM_URL}}}"#,
        srs("on_play")
    );
    assert_eq!(without_stream_id(&asked(Dialect::Srs, Action::Play)), play);
}

#[test]
fn srs_is_notified_in_its_order() {
    for (kind, action, name) in [
        (NoticeKind::Unpublished, Action::Publish, "on_unpublish"),
        (NoticeKind::Stopped, Action::Play, "on_stop"),
        (NoticeKind::Update, Action::Play, "on_update"),
    ] {
        let expected = format!(r#"{}{TC_URL}"stream":"show",{PARAM}{STREAM_URL}}}"#, srs(name));
        assert_eq!(without_stream_id(&notified(Dialect::Srs, kind, action)), expected);
    }
    let close = format!(r#"{}"send_bytes":3421,"recv_bytes":1048576}}"#, srs("on_close"));
    assert_eq!(notified(Dialect::Srs, NoticeKind::Closed, Action::Connect), close);
}

#[test]
fn the_own_dialect_is_srs_with_more_fields() {
    let own = |srs: &str, more: &str| format!("{},{more}}}", srs.strip_suffix('}').unwrap());
    let of_stream = r#""protocol":"rtmp","name":"live/show","connection":27,"port":50017,"user":"","client":"LNX 9,0,124,2""#;
    for (dialect_srs, dialect_own, more) in [
        (
            asked(Dialect::Srs, Action::Connect),
            asked(Dialect::Fanfare, Action::Connect),
            of_stream.replace("live/show", "live"),
        ),
        (
            asked(Dialect::Srs, Action::Publish),
            asked(Dialect::Fanfare, Action::Publish),
            format!(r#"{of_stream},"type":"live""#),
        ),
        (asked(Dialect::Srs, Action::Play), asked(Dialect::Fanfare, Action::Play), of_stream.to_owned()),
        (
            notified(Dialect::Srs, NoticeKind::Unpublished, Action::Publish),
            notified(Dialect::Fanfare, NoticeKind::Unpublished, Action::Publish),
            format!(
                r#"{of_stream},"type":"live","send_bytes":3421,"recv_bytes":1048576,"duration_ms":61500,"reason":"client""#
            ),
        ),
        (
            notified(Dialect::Srs, NoticeKind::Stopped, Action::Play),
            notified(Dialect::Fanfare, NoticeKind::Stopped, Action::Play),
            format!(
                r#"{of_stream},"send_bytes":3421,"recv_bytes":1048576,"duration_ms":61500,"reason":"client""#
            ),
        ),
        (
            notified(Dialect::Srs, NoticeKind::Closed, Action::Connect),
            notified(Dialect::Fanfare, NoticeKind::Closed, Action::Connect),
            format!(r#"{},"duration_ms":61500,"reason":"client""#, of_stream.replace("live/show", "live")),
        ),
        (
            notified(Dialect::Srs, NoticeKind::Update, Action::Play),
            notified(Dialect::Fanfare, NoticeKind::Update, Action::Play),
            format!(
                r#"{of_stream},"send_bytes":3421,"recv_bytes":1048576,"duration_ms":61500,"timestamp_ms":60040,"role":"play""#
            ),
        ),
    ] {
        assert_eq!(without_stream_id(&dialect_own), own(&without_stream_id(&dialect_srs), &more));
    }
}

#[test]
fn the_own_dialect_names_the_user_that_the_rules_found() {
    let mut question = question(Action::Play);
    question.granted = Grant { user: Some("ann".into()), ..Grant::default() };
    assert!(text_of(Dialect::Fanfare, &question).contains(r#""user":"ann""#));
    question.granted = Grant::default();
    question.party = Arc::new(Party { user: Some("bob".into()), ..Party::default() });
    assert!(text_of(Dialect::Fanfare, &question).contains(r#""user":"bob""#));
}

/// A player of `http://relay.example:8080/live/show.flv?key=1` has the `tcUrl` that SRS makes
/// (`SrsHttpMessage::to_request`).
#[test]
fn a_player_over_http_has_the_address_of_its_application() {
    for (url, name, tc_url) in [
        ("http://relay.example:8080/live/show.flv?key=1", "live/show", "rtmp://__defaultVhost__/live"),
        ("https://relay.example/a/b/show.flv", "a/b/show", "rtmp://__defaultVhost__/a/b"),
        ("http://relay.example/li%76e//show.flv?a=/b", "live/show", "rtmp://__defaultVhost__/live"),
    ] {
        let party = Arc::new(Party { tc_url: url.to_owned(), ..Party::default() });
        let question =
            Question { name: name.to_owned(), protocol: "http_flv", party, ..question(Action::Play) };
        let expected = format!(r#""tcUrl":"{tc_url}","#);
        assert!(text_of(Dialect::Srs, &question).contains(&expected), "{url}");
        let notice = notice(NoticeKind::Stopped, question);
        let hooks = Hooks { dialect: Dialect::Srs, ..Hooks::default() };
        let stopped = request(&hooks, Hook::Stop, &notice.question, Some(&notice)).text;
        assert!(stopped.contains(&expected), "{stopped}");
    }
}

#[test]
fn a_stream_without_an_application_has_srs_s_default_one() {
    let question = Question { name: "show".to_owned(), ..question(Action::Play) };
    let text = text_of(Dialect::Srs, &question);
    assert!(text.contains(r#""app":"__defaultApp__","stream":"show""#), "{text}");
    assert!(text.contains(r#""stream_url":"/__defaultApp__/show""#), "{text}");
}

/// What every form begins with.
const FORM: &str = "app=live&flashver=LNX%209,0,124,2&swfurl=&tcurl=rtmp://relay.example:1935/live%3Froom=7&pageurl=http://site.example/watch%3Fa=1%26b=%222%22&addr=192.0.2.7";

#[test]
fn nginx_rtmp_is_asked_in_its_order() {
    let connect = format!("{FORM}&epoch=1234567&call=connect&room=7");
    assert_eq!(asked(Dialect::NginxRtmp, Action::Connect), connect);
    let publish = format!("{FORM}&clientid=27&call=publish&name=show&type=live&key=a%20b");
    assert_eq!(asked(Dialect::NginxRtmp, Action::Publish), publish);
    // -2000, as FFmpeg sends it, is an unsigned number of 32 bits there; what was not sent is 0.
    let play =
        format!("{FORM}&clientid=27&call=play&name=show&start=4294965296&duration=0&reset=0&key=a%20b");
    assert_eq!(asked(Dialect::NginxRtmp, Action::Play), play);
}

#[test]
fn nginx_rtmp_is_notified_in_its_order() {
    for (kind, action, fields) in [
        (NoticeKind::Unpublished, Action::Publish, "call=publish_done&name=show&key=a%20b"),
        (NoticeKind::Stopped, Action::Play, "call=play_done&name=show&key=a%20b"),
        (
            NoticeKind::Update,
            Action::Publish,
            "call=update_publish&time=61&timestamp=60040&name=show&key=a%20b",
        ),
        (NoticeKind::Update, Action::Play, "call=update_play&time=61&timestamp=60040&name=show&key=a%20b"),
        (NoticeKind::Closed, Action::Connect, "call=disconnect&app=live&room=7"),
    ] {
        assert_eq!(notified(Dialect::NginxRtmp, kind, action), format!("{FORM}&clientid=27&{fields}"));
    }
}

#[test]
fn arguments_that_a_service_may_take_for_a_field_are_left_out() {
    let arguments = |query: &str| {
        let question = Question { query: query.to_owned(), ..question(Action::Publish) };
        let text = text_of(Dialect::NginxRtmp, &question);
        text.split_once("&type=live").expect("a field").1.to_owned()
    };
    for hidden in [
        "addr=10.0.0.1",
        "name=other",
        "ADDR=10.0.0.1",
        "addr",
        "add%72=10.0.0.1",
        "%20addr=10.0.0.1",
        "+addr=10.0.0.1",
        "addr[]=10.0.0.1",
        "addr[0]=10.0.0.1",
        "addr%5B0%5D=10.0.0.1",
        "addr%00=10.0.0.1",
        "a=1;addr=10.0.0.1",
        "a%3Daddr=10.0.0.1",
        "a%26addr=10.0.0.1",
        "call=publish_done",
        "clientid=1",
        "app=other",
    ] {
        assert_eq!(arguments(&format!("{hidden}&key=1")), "&key=1", "{hidden}");
        assert_eq!(arguments(&format!("key=1&{hidden}")), "&key=1", "{hidden}");
    }
    // Those of other requests are not fields of this one, and values may be anything.
    for shown in ["key=addr", "start=live", "epoch=1", "address=1", "a=b=name", "token=x%26addr=1"] {
        assert_eq!(arguments(shown), format!("&{shown}"));
    }
    assert_eq!(arguments("&&a=1&&"), "&a=1");
}

/// `&name=x` in a name would be a field of its own.
#[test]
fn a_name_is_escaped_as_nginx_does() {
    let question =
        Question { name: "live/a&name=b+c;\"<d>\\^`{|}\u{e4}~".to_owned(), ..question(Action::Publish) };
    let text = text_of(Dialect::NginxRtmp, &question);
    assert!(text.contains("&name=a%26name=b%2Bc%3B%22%3Cd%3E%5C%5E%60%7B%7C%7D%C3%A4~&type="), "{text}");
}

#[test]
fn in_a_query_nothing_ends_the_line_of_the_request() {
    let hooks = Hooks { dialect: Dialect::NginxRtmp, notify_method: NotifyMethod::Get, ..Hooks::default() };
    let question = Question { query: "a=b c\r\nHost: x#\u{e4}%41".to_owned(), ..question(Action::Publish) };
    let Request { format, text } = request(&hooks, Hook::Publish, &question, None);
    assert_eq!(format, Format::Query);
    assert!(text.starts_with(FORM) && text.ends_with("&a=b%20c%0D%0AHost:%20x%23%C3%A4%41"), "{text}");
}

/// The identifier differs from run to run.
fn without_id(text: &str) -> String {
    let (before, rest) = text.split_once("\"id\":\"").expect("an id");
    format!("{before}\"id\":\"ID{}", &rest[36..])
}

#[test]
fn mediamtx_is_asked_in_its_order_and_escapes_as_go_does() {
    let publish = concat!(
        r#"{"ip":"192.0.2.7","user":"","password":"","token":"","action":"publish","path":"live/show","#,
        r#""protocol":"rtmp","id":"ID","query":"room=7\u0026key=a%20b","userAgent":"LNX 9,0,124,2"}"#
    );
    assert_eq!(without_id(&asked(Dialect::Mediamtx, Action::Publish)), publish);
    assert_eq!(
        without_id(&asked(Dialect::Mediamtx, Action::Play)),
        publish.replace(r#""action":"publish""#, r#""action":"read""#)
    );
    let query = "a=<b>\u{2028}".to_owned();
    let text = text_of(Dialect::Mediamtx, &Question { query, ..question(Action::Play) });
    assert!(text.contains(r#""query":"a=\u003cb\u003e\u2028""#), "{text}");
}

#[test]
fn mediamtx_s_credentials_are_those_of_the_header_or_among_the_parameters() {
    let credentials = |login: Option<Login>, query: &str| {
        let party = Arc::new(Party { login, ..Party::default() });
        let Credentials { user, password, token } =
            Credentials::of(&Question { query: query.to_owned(), party, ..question(Action::Play) });
        [user, password, token]
    };
    let basic = || Some(Login::Password { user: "ann".to_owned(), password: "p w".to_owned() });
    assert_eq!(credentials(None, ""), ["", "", ""]);
    assert_eq!(credentials(None, "user=bob&pass=s%26+1"), ["bob", "s& 1", "s& 1"]);
    assert_eq!(credentials(None, "jwt=a.b.c"), ["", "", "a.b.c"]);
    assert_eq!(credentials(None, "jwt=a.b.c&token=d"), ["", "", "d"]);
    assert_eq!(credentials(basic(), "user=bob&pass=s&token=t"), ["ann", "p w", "p w"]);
    assert_eq!(credentials(Some(Login::Token("a.b.c".to_owned())), "token=d"), ["", "", "a.b.c"]);
}

/// No body carries a control character as it is.
#[test]
fn control_characters_are_escaped_in_json() {
    let party = Arc::new(Party { page_url: "a\u{1}\n\"\\\u{7f}/".to_owned(), ..Party::default() });
    let text = text_of(Dialect::Srs, &Question { party, ..question(Action::Play) });
    assert!(text.contains("\"pageUrl\":\"a\\u0001\\n\\\"\\\\\u{7f}/\""), "{text}");
}

/// Without the thread, or beyond what it takes.
#[test]
fn a_question_that_cannot_wait_is_answered_at_once() {
    let relay = net::without_cores(Config::default(), Box::new(Open));
    let (jobs, inbox) = unbounded_channel();
    let counts = Arc::<Counts>::default();
    let service = Inbox { relay, jobs, counts: counts.clone() };
    let answered = |service: &Inbox| {
        let (sender, receiver) = mpsc::channel();
        service.ask(question(Action::Play), Box::new(move |verdict| sender.send(verdict).unwrap()));
        receiver.try_recv().ok()
    };
    counts.questions.store(MAX_QUESTIONS - 1, Relaxed);
    assert_eq!(answered(&service), None, "it waits");
    assert_eq!(counts.questions.load(Relaxed), MAX_QUESTIONS);
    let full = Verdict::undecided("the web service failed: too many questions wait");
    assert_eq!(answered(&service), Some(full.clone()));
    assert_eq!(counts.questions.load(Relaxed), MAX_QUESTIONS);
    counts.questions.store(0, Relaxed);
    drop(inbox);
    assert_eq!(answered(&service), Some(full));
    assert_eq!(counts.questions.load(Relaxed), 0);
    service.tell(notice(NoticeKind::Stopped, question(Action::Play)));
    assert_eq!((service.report().notices, service.report().dropped), (0, 1));
}

#[test]
fn updates_leave_room_for_what_has_ended() {
    let hooks = Hooks { queue: 4, ..Hooks::default() };
    let relay = net::without_cores(Config { hooks, ..Config::default() }, Box::new(Open));
    let (jobs, _inbox) = unbounded_channel();
    let service = Inbox { relay, jobs, counts: Arc::default() };
    let told = |kind| {
        service.tell(notice(kind, question(Action::Play)));
        (service.report().notices, service.report().dropped)
    };
    let update = NoticeKind::Update;
    assert_eq!([told(update), told(update), told(update)], [(1, 0), (2, 0), (2, 1)]);
    let stopped = NoticeKind::Stopped;
    assert_eq!([told(stopped), told(stopped), told(stopped)], [(3, 1), (4, 1), (4, 2)]);
}

/// The fields as PHP reads a form, or as what also separates by semicolons does: the last value of a name counts.
fn read(form: &str, separators: &[char]) -> HashMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = form.split(separators).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let name = |name: &str| {
        let name = decode(name);
        name.trim_start_matches(' ').split(['[', '\0']).next().unwrap_or_default().to_ascii_lowercase()
    };
    pairs.map(|(key, value)| (name(key), decode(value))).collect()
}

proptest! {
    #[test]
    fn no_argument_changes_a_field(
        arguments in prop::collection::vec("(addr|name|call|%61ddr|a|k)?[=&;%+ \\[\\]\\x00-\\x0120-9ad]{0,6}(addr|name|x)?", 0..6),
        get in any::<bool>(),
    ) {
        let question = Question { query: arguments.join("&"), ..question(Action::Publish) };
        let notify_method = if get { NotifyMethod::Get } else { NotifyMethod::Post };
        let hooks = Hooks { dialect: Dialect::NginxRtmp, notify_method, ..Hooks::default() };
        let text = request(&hooks, Hook::Publish, &question, None).text;
        for separators in [&['&'][..], &['&', ';']] {
            let fields = read(&text, separators);
            for (name, value) in [("addr", "192.0.2.7"), ("name", "show"), ("call", "publish"), ("app", "live")] {
                prop_assert_eq!(fields.get(name).map(String::as_str), Some(value), "{} in {}", name, text);
            }
        }
    }
}

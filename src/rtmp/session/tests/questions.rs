//! Questions and answers: the messages of each answer. No message is read before the answer, and its delay changes nothing.

use super::*;

/// A client whose `connect` waits for the answer of the test.
fn unanswered() -> Peer {
    let mut peer = Peer::new();
    peer.allows_connect = false;
    peer
}

fn call(name: &str, id: f64, argument: impl Into<Value>) -> Vec<u8> {
    let body = Command::call(name, id, [argument.into()]).to_bytes();
    wire(&message(type_id::COMMAND_AMF0, 0, &body))
}

fn wire(message: &Message) -> Vec<u8> {
    let mut wire = Vec::new();
    Encoder::new().encode(message, &mut wire);
    wire
}

fn connect_wire() -> Vec<u8> {
    wire(&message(type_id::COMMAND_AMF0, 0, &connect().to_bytes()))
}

fn stream(name: &str) -> StreamName {
    StreamName { app: "other".to_owned(), name: name.to_owned() }
}

/// The name and the information object of the one command that the session sends.
fn next_information(peer: &mut Peer) -> (String, Value) {
    let Ok(Some(Output::Send(bytes))) = peer.session.poll() else { panic!("nothing to send") };
    let [(type_id::COMMAND_AMF0, _, body)] = &messages(&bytes, &mut peer.chunk_size)[..] else {
        panic!("not one command");
    };
    let mut command = Command::parse(body).unwrap();
    (command.name, command.arguments.remove(0))
}

#[test]
fn a_connect_request_has_what_a_web_service_needs() {
    let mut peer = Peer::new();
    let mut connect = Command::call("connect", 1.0, []);
    connect.object = Value::object([
        ("app", "live?token=a%20b".into()),
        ("tcUrl", "rtmp://host/live?token=a%20b".into()),
        ("flashVer", "FMLE/3.0 (compatible)".into()),
        ("swfUrl", "rtmp://host/live".into()),
        ("pageUrl", "https://host/page?x=1".into()),
    ]);
    peer.session.receive(wire(&message(type_id::COMMAND_AMF0, 0, &connect.to_bytes())).into(), 0).unwrap();
    let Ok(Some(Output::Connect(request))) = peer.session.poll() else { panic!("no connect") };
    let expected = ConnectRequest {
        question: QuestionId(1),
        app: "live".into(),
        query: "token=a%20b".into(),
        tc_url: "rtmp://host/live?token=a%20b".into(),
        flash_ver: "FMLE/3.0 (compatible)".into(),
        swf_url: "rtmp://host/live".into(),
        page_url: "https://host/page?x=1".into(),
    };
    assert_eq!(*request, expected);
    assert!(peer.session.connect().is_none() && peer.session.has_open_question());
}

#[test]
fn the_strings_of_a_connect_request_are_bounded_and_may_be_missing() {
    let request = |object: Value| {
        let mut peer = Peer::new();
        let mut connect = Command::call("connect", 1.0, []);
        connect.object = object;
        let wire = wire(&message(type_id::COMMAND_AMF0, 0, &connect.to_bytes()));
        peer.session.receive(wire.into(), 0).unwrap();
        let Ok(Some(Output::Connect(request))) = peer.session.poll() else { panic!("no connect") };
        *request
    };
    let nothing = request(Value::Null);
    let texts = [&nothing.app, &nothing.query, &nothing.tc_url, &nothing.flash_ver, &nothing.page_url];
    assert!(texts.iter().all(|text| text.is_empty()));
    let of_tc_url = request(Value::object([("tcurl", "rtmp://host/a/b?c=d".into())]));
    assert_eq!((of_tc_url.app.as_str(), of_tc_url.query.as_str()), ("a/b", "c=d"));
    let long = "é".repeat(1_700);
    let keys = ["app", "tcUrl", "flashVer", "swfUrl"];
    let long = request(Value::object(keys.map(|key| (key, long.as_str().into()))));
    let texts = [&long.app, &long.query, &long.tc_url, &long.flash_ver, &long.swf_url, &long.page_url];
    assert!(texts.iter().map(|text| text.len()).sum::<usize>() < 10_000);
    assert!(long.flash_ver.len() <= 256 && long.swf_url.len() <= 2_050);
}

#[test]
fn connect_is_not_answered_before_the_answer_arrives() {
    let mut peer = unanswered();
    assert_eq!(peer.command(&connect()), ["Connect live"]);
    peer.session.ping(1_000);
    assert_eq!(peer.transcript(), NOTHING);
    peer.allow();
    let answer = [
        "WindowAcknowledgementSize(2500000)",
        "SetPeerBandwidth(2500000, Dynamic)",
        "User(StreamBegin(0))",
        "SetChunkSize 65536",
        "_result 1 NetConnection.Connect.Success on 0",
    ];
    assert_eq!(peer.transcript(), answer);
    assert_eq!(peer.session.connect().unwrap().client, "test");
}

#[test]
fn a_denied_connect_gets_an_error_of_these_bytes_and_is_closed() {
    let mut peer = unanswered();
    peer.command(&connect());
    peer.deny("NetStream.Publish.Denied", "No.");
    let body = b"\x02\0\x06_error\0\x3f\xf0\0\0\0\0\0\0\x05\x03\
        \0\x05level\x02\0\x05error\
        \0\x04code\x02\0\x1eNetConnection.Connect.Rejected\
        \0\x0bdescription\x02\0\x03No.\0\0\x09";
    let header = [3, 0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0];
    assert!(body.len() <= 128, "one chunk");
    assert!(
        matches!(peer.session.poll(), Ok(Some(Output::Send(bytes))) if bytes == [&header[..], body].concat())
    );
    let reason = CloseReason::Refused("NetConnection.Connect.Rejected".into());
    assert!(matches!(peer.session.poll(), Ok(Some(Output::Close(why))) if why == reason));
    assert_eq!(peer.call("publish", 0.0, ["key".into()]), NOTHING);
    assert!(peer.session.memory_bytes() < 1_000);
}

#[test]
fn connect_is_denied_with_any_code_of_net_connection() {
    let mut peer = unanswered();
    peer.command(&connect());
    peer.deny("NetConnection.Connect.InvalidApp", "");
    let (name, information) = next_information(&mut peer);
    assert_eq!(name, "_error");
    assert_eq!(information.get("code"), Some(&"NetConnection.Connect.InvalidApp".into()));
    assert_eq!(information.get("description"), Some(&"".into()), "librtmp needs one");
}

#[test]
fn a_redirected_connect_gets_an_error_of_these_bytes_and_is_closed() {
    let mut peer = unanswered();
    peer.command(&connect());
    assert!(peer.session.answer(peer.question, Answer::Redirect("rtmp://b/c".into())));
    let body = b"\x02\0\x06_error\0\x3f\xf0\0\0\0\0\0\0\x05\x03\
        \0\x05level\x02\0\x05error\
        \0\x04code\x02\0\x1eNetConnection.Connect.Rejected\
        \0\x0bdescription\x02\0\x19Redirected to rtmp://b/c.\
        \0\x02ex\x03\0\x04code\0\x40\x72\xe0\0\0\0\0\0\0\x08redirect\x02\0\x0artmp://b/c\0\0\x09\0\0\x09";
    let header = [3, 0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0];
    // In chunks of the initial size.
    let expected = [&header[..], &body[..128], &[0xC3], &body[128..]].concat();
    assert!(matches!(peer.session.poll(), Ok(Some(Output::Send(bytes))) if bytes == expected));
    assert!(matches!(peer.session.poll(), Ok(Some(Output::Close(CloseReason::Redirected)))));
    assert!(peer.session.poll().unwrap().is_none());
}

#[test]
fn a_connect_under_another_name_puts_all_streams_there_and_keeps_the_parameters() {
    let object = |app: &str, tc_url: &str| Value::object([("app", app.into()), ("tcUrl", tc_url.into())]);
    for (app, tc_url, query) in
        [("live", "", ""), ("live?a=1", "", "a=1"), ("", "rtmp://host/live?a=1", "a=1"), ("a/b/c", "", "")]
    {
        for (other, path) in [(stream("app"), "other/app"), (stream("a%2F"), "other/a%2F")] {
            let mut peer = unanswered();
            let mut connect = connect();
            connect.object = object(app, tc_url);
            peer.command(&connect);
            assert!(peer.session.answer(peer.question, Answer::AllowAs(other.clone())));
            peer.transcript();
            let play = call("play", 0.0, "key");
            peer.session.receive(play.into(), 0).unwrap();
            let output = peer.session.poll();
            let Ok(Some(Output::Play(request))) = output else { panic!("{output:?} of {app}, {other}") };
            assert_eq!(request.name, StreamName { app: path.into(), name: "key".into() });
            assert_eq!(request.query, query);
        }
    }
}

#[test]
fn publish_and_play_begin_the_same_under_another_name() {
    for ask in ["publish", "play"] {
        let [mut plain, mut renamed] = [Peer::connected(), Peer::connected()];
        for peer in [&mut plain, &mut renamed] {
            peer.call(ask, 0.0, ["key".into()]);
        }
        plain.allow();
        assert!(renamed.session.answer(renamed.question, Answer::AllowAs(stream("name"))));
        assert_eq!(plain.transcript(), renamed.transcript(), "{ask}");
    }
}

#[test]
fn fc_unpublish_may_use_either_name() {
    for key in ["key", "other-key"] {
        let mut peer = Peer::connected();
        for (id, key, name) in [(1, "key", "other-key"), (2, "second", "other-second")] {
            peer.call_on(id, "publish", [key.into()]);
            let name = StreamName { app: "live".into(), name: name.into() };
            assert!(peer.session.answer(peer.question, Answer::AllowAs(name)));
            peer.transcript();
        }
        assert!(peer.call("FCUnpublish", 0.0, [key.into()]).contains(&"Unpublish".to_owned()), "{key}");
        assert_eq!(peer.video_on(1, b"v"), NOTHING);
        assert_eq!(peer.video_on(2, b"v"), ["Video 0 v on 2"]);
    }
}

#[test]
fn a_redirected_publish_or_play_gets_an_error_with_the_address_and_is_closed() {
    for (ask, code) in [("publish", "NetStream.Publish.Denied"), ("play", "NetStream.Play.Failed")] {
        let mut peer = Peer::connected();
        peer.call(ask, 0.0, ["key".into()]);
        let address = "rtmp://other/live/key?token=1";
        assert!(peer.session.answer(peer.question, Answer::Redirect(address.into())));
        let (name, information) = next_information(&mut peer);
        let ex = Value::object([("code", 302.0.into()), ("redirect", address.into())]);
        let expected = Value::object([
            ("level", "error".into()),
            ("code", code.into()),
            ("description", "Redirected to rtmp://other/live/key?token=1.".into()),
            ("ex", ex),
        ]);
        assert_eq!((name.as_str(), information), ("onStatus", expected), "{ask}");
        assert_eq!(peer.transcript(), ["Close(Redirected)"]);
    }
}

#[test]
fn a_denied_publish_or_play_is_closed_unless_another_stream_runs() {
    for ask in ["publish", "play"] {
        let mut peer = Peer::connected();
        peer.call_on(2, ask, ["key".into()]);
        peer.deny("NetStream.Failed", "No.");
        let close = "Close(Refused(\"NetStream.Failed\"))";
        assert_eq!(peer.transcript(), ["onStatus NetStream.Failed on 2", close]);

        for answer in [denial("NetStream.Failed", "No."), Answer::Redirect("rtmp://other/a/b".into())] {
            let mut peer = Peer::publishing();
            peer.call_on(2, ask, ["key".into()]);
            assert!(peer.session.answer(peer.question, answer));
            assert_eq!(peer.transcript().len(), 1, "{ask}");
            assert_eq!(peer.video_on(1, b"v"), ["Video 0 v"], "the other publish continues");
        }
    }
}

#[test]
fn an_answer_to_a_question_that_is_not_open_changes_nothing() {
    let answers =
        || [Answer::Allow, Answer::AllowAs(stream("name")), denial("a", "b"), Answer::Redirect("c".into())];
    let expect_nothing = |peer: &mut Peer, question: QuestionId| {
        for answer in answers() {
            assert!(!peer.session.answer(question, answer));
            assert_eq!(peer.transcript(), NOTHING);
        }
    };
    let mut peer = unanswered();
    expect_nothing(&mut peer, QuestionId(0));
    expect_nothing(&mut peer, QuestionId(1));
    peer.command(&connect());
    expect_nothing(&mut peer, QuestionId(2));
    peer.allow();
    peer.transcript();
    expect_nothing(&mut peer, QuestionId(1));
    // Another question is open.
    assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
    assert_eq!(peer.question, QuestionId(2));
    expect_nothing(&mut peer, QuestionId(1));
    assert!(peer.session.has_open_question());
    peer.allow();
    peer.transcript();
    expect_nothing(&mut peer, QuestionId(2));
    peer.call("closeStream", 0.0, [Value::Null]);
    expect_nothing(&mut peer, QuestionId(2));
    // The same name again is another question.
    assert_eq!(peer.call("publish", 0.0, ["key".into()]), ["Publish live/key"]);
    expect_nothing(&mut peer, QuestionId(2));
    peer.deny("NetStream.Publish.Denied", "No.");
    peer.transcript();
    expect_nothing(&mut peer, QuestionId(3));
}

#[test]
fn a_connection_that_is_being_closed_takes_no_answer() {
    for ask in ["publish", "play"] {
        let mut peer = Peer::connected();
        peer.call_on(2, ask, ["key".into()]);
        assert!(peer.session.close("NetConnection.Connect.AppShutdown", "Bye."));
        assert!(!peer.session.answer(peer.question, Answer::Allow));
        let code = "NetConnection.Connect.AppShutdown";
        assert_eq!(peer.transcript(), [format!("onStatus {code} on 2"), format!("Close(Refused({code:?}))")]);
    }
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    peer.session.discard_input();
    assert!(!peer.session.answer(peer.question, Answer::Allow) && !peer.session.has_open_question());
    // Nor after a violation.
    let mut peer = Peer::connected();
    peer.call("publish", 0.0, ["key".into()]);
    assert!(peer.receive(vec![0; MAX_PENDING_BYTES + 1]).is_err());
    assert!(!peer.session.answer(peer.question, Answer::Allow));
    assert_eq!(peer.transcript(), NOTHING);
}

#[test]
fn closing_a_connection_answers_its_open_connect() {
    let mut peer = unanswered();
    peer.command(&connect());
    assert!(peer.session.close("NetConnection.Connect.AppShutdown", "The server is shutting down."));
    assert!(!peer.session.answer(peer.question, Answer::Allow));
    let code = "NetConnection.Connect.AppShutdown";
    assert_eq!(peer.transcript(), [format!("_error 1 {code} on 0"), format!("Close(Refused({code:?}))")]);
    assert!(peer.session.close(code, "Again."), "it has been sent");
    assert_eq!(peer.transcript(), NOTHING);
}

#[test]
fn an_open_request_may_be_ended_like_a_running_stream() {
    let end_publish: fn(&mut Session) = |session| session.end_publish(1, "NetStream.Failed", "Too slow.");
    let fail_play: fn(&mut Session) = |session| session.fail_play("NetStream.Failed", "Too slow.");
    for (ask, end) in [("publish", end_publish), ("play", fail_play)] {
        let mut peer = Peer::connected();
        peer.call(ask, 0.0, ["key".into()]);
        // These concern another stream.
        peer.session.end_publish(2, "a", "b");
        peer.session.end_play();
        assert_eq!(peer.transcript(), NOTHING);
        end(&mut peer.session);
        assert!(!peer.session.answer(peer.question, Answer::Allow));
        let close = "Close(Refused(\"NetStream.Failed\"))";
        assert_eq!(peer.transcript(), ["onStatus NetStream.Failed on 1", close]);
    }
    for (ask, end) in [("publish", fail_play), ("play", end_publish)] {
        let mut peer = Peer::connected();
        peer.call(ask, 0.0, ["key".into()]);
        end(&mut peer.session);
        assert_eq!(peer.transcript(), NOTHING, "{ask}: there is none of the other kind");
        peer.allow();
        assert!(peer.transcript().len() >= 2);
    }
}

#[test]
fn messages_in_the_same_read_as_a_request_are_read_after_its_answer() {
    let next = call("createStream", 9.0, Value::Null);
    let violation = wire(&message(type_id::SET_CHUNK_SIZE, 0, &[0; 4]));
    for ask in ["connect", "publish", "play"] {
        let request = if ask == "connect" { connect_wire() } else { call(ask, 0.0, "key") };
        let peer = || if ask == "connect" { unanswered() } else { Peer::connected() };
        let (mut good, mut bad) = (peer(), peer());
        assert_eq!(good.receive([&request[..], &next].concat()).unwrap().len(), 1, "{ask}");
        good.allow();
        let lines = good.transcript();
        assert_eq!(lines.last().unwrap(), "_result 9 [Number(1.0)] on 0", "{ask}");
        assert!(lines.len() > 2);

        assert_eq!(bad.receive([&request[..], &violation].concat()).unwrap().len(), 1, "{ask}");
        bad.allow();
        assert!(
            matches!(bad.session.poll(), Ok(Some(Output::Send(_)))),
            "the answer goes out before the error"
        );
        assert!(bad.session.poll().is_err(), "{ask}");

        // After a denial, violations do not matter.
        let mut denied = peer();
        denied.receive([&request[..], &violation].concat()).unwrap();
        denied.deny("NetStream.Failed", "No.");
        assert!(denied.transcript().last().unwrap().starts_with("Close"), "{ask}");
    }
}

/// The answers to the questions of a run, used in turn and repeatedly.
type Answers = Vec<Answer>;

/// The transcript of these reads without acknowledgements. `waits` are the numbers of further reads until each question is
/// answered, used in turn and repeatedly.
fn run(reads: &[Vec<u8>], answers: &Answers, waits: &[usize]) -> Vec<String> {
    let mut peer = unanswered();
    let mut lines = Vec::new();
    let mut asked = 0;
    // The read after which the open question is answered.
    let mut due = None;
    for number in 0.. {
        let Some(read) = reads.get(number) else { break };
        peer.session.receive(read.clone().into(), 0).unwrap();
        loop {
            peer.collect(&mut lines);
            if due.is_none() && peer.session.has_open_question() {
                due = Some(number + waits[asked % waits.len()]);
                asked += 1;
            }
            if due.is_none_or(|due| due > number) {
                break;
            }
            due = None;
            assert!(peer.session.answer(peer.question, answers[(asked - 1) % answers.len()].clone()));
        }
    }
    while peer.session.has_open_question() {
        if due.take().is_none() {
            asked += 1;
        }
        assert!(peer.session.answer(peer.question, answers[(asked - 1) % answers.len()].clone()));
        peer.collect(&mut lines);
    }
    lines.retain(|line| !line.starts_with("Acknowledgement"));
    lines
}

impl Peer {
    /// Collects the transcript up to a violation, which is the last line.
    fn collect(&mut self, lines: &mut Vec<String>) {
        loop {
            match self.session.poll() {
                Ok(Some(output)) => self.note(output, lines),
                Ok(None) => return,
                Err(error) => return lines.push(error.to_string()),
            }
        }
    }
}

/// A client that publishes, plays and stops without waiting for answers.
fn impatient_client() -> Vec<Vec<u8>> {
    let video = || wire(&message(type_id::VIDEO, 40, &[7; 140]));
    vec![
        connect_wire(),
        call("createStream", 2.0, Value::Null),
        call("publish", 3.0, "key"),
        video(),
        video(),
        call("FCUnpublish", 4.0, "key"),
        call("play", 5.0, "key"),
        call("pause", 0.0, true),
        call("receiveAudio", 0.0, false),
        call("publish", 6.0, "third"),
        video(),
        wire(&message(type_id::COMMAND_AMF0, 0, b"nonsense")),
    ]
}

#[test]
fn a_client_that_waits_for_no_answer_has_the_same_result_at_every_cut_and_delay() {
    let wire = impatient_client().concat();
    for answers in [
        vec![Answer::Allow],
        vec![Answer::Allow, Answer::AllowAs(stream("name"))],
        vec![Answer::Allow, Answer::Allow, denial("NetStream.Failed", "No."), Answer::Allow],
    ] {
        let expected = run(std::slice::from_ref(&wire), &answers, &[0]);
        assert!(expected.len() > 15, "{expected:#?}");
        for cut in 1..wire.len() {
            let reads = [wire[..cut].to_vec(), wire[cut..].to_vec()];
            for waits in [[0, 1], [9, 9]] {
                assert_eq!(run(&reads, &answers, &waits), expected, "cut at {cut}, answers after {waits:?}");
            }
        }
    }
}

proptest! {
    /// Commands and media in one read each, with answers some reads later.
    #[test]
    fn the_delay_of_answers_changes_nothing(
        script in prop::collection::vec(prop::sample::select(super::violations::real_messages()), 1..30),
        answers in prop::collection::vec(
            prop_oneof![
                5 => Just(Answer::Allow),
                2 => Just(Answer::AllowAs(stream("key"))),
                1 => Just(Answer::Redirect("rtmp://other/a/b".into())),
                1 => Just(denial("NetStream.Failed", "No.")),
            ],
            1..8,
        ),
        waits in prop::collection::vec(0..6_usize, 1..8),
    ) {
        let script = [vec![connect_wire()], script].concat();
        let at_once = run(&script, &answers, &[0]);
        prop_assert_eq!(&run(&script, &answers, &waits), &at_once);
        prop_assert_eq!(&run(&[script.concat()], &answers, &waits), &at_once);
    }
}

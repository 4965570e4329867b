//! Texts of peers in the log: whatever they are, a log line stays one line with the relay's own fields, and contains no
//! secret.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use fanfare::amf0::Value;
use fanfare::rtmp::chunk::{ChunkSize, Encoder, Message};
use fanfare::rtmp::command::Command;
use fanfare::rtmp::message::type_id;

use crate::raw::{connect_to, handshake, send_and_wait_for_close};
use crate::support::Relay;

/// Characters that could end a line, begin another one, move a terminal's cursor, close a quotation, reverse the text
/// or hide it.
const HOSTILE: &str = "x\nWARN forged\r\n\u{1b}[2J\u{1b}]0;t\u{7}\"} {\\\u{202e}\u{2066}\u{61c}\u{2028}\u{85}\u{200b}\u{feff}\u{0}é";
/// Valid in a name, and looks like the fields of a log line.
const FIELDS: &str = "a peer=10.0.0.1:1 \" peer=10.0.0.2:1 reason=\"forged' {\"level\":\"x\"} é";
const SECRET: &str = "s3cr3t";

fn command(name: &str, object: Value, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::call(name, 2.0, []);
    command.object = object;
    command.arguments = arguments.iter().map(|&text| text.into()).collect();
    message(type_id::COMMAND_AMF0, command.to_bytes())
}

fn message(message_type_id: u8, body: Vec<u8>) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.set_chunk_size(ChunkSize::INITIAL);
    let payload = Bytes::from(body).into();
    let message =
        Message { chunk_stream_id: 3, timestamp_ms: 0, message_type_id, message_stream_id: 1, payload };
    let mut bytes = Vec::new();
    encoder.encode(&message, &mut bytes);
    bytes
}

fn connect(app: &str, text: &str) -> Vec<u8> {
    let tc_url = format!("rtmp://{text}/{app}?key={SECRET}");
    let fields = [("app", app), ("tcUrl", &tc_url), ("flashVer", text), ("swfUrl", text), ("pageUrl", text)];
    command("connect", Value::object(fields.map(|(name, text)| (name, text.into()))), &[])
}

/// Sends hostile texts in each place where a peer may send text. Returns the address of each peer.
fn send_hostile_texts(relay: &Relay) -> Vec<SocketAddr> {
    let query = format!("?key={SECRET}");
    let hostile = |rest: &str| format!("{HOSTILE}{rest}{query}");
    let fields = format!("{FIELDS}{query}");
    let good = connect("live", "OBS");
    let dialogues: Vec<Vec<Vec<u8>>> = vec![
        // Not RTMP.
        vec![HOSTILE.as_bytes().to_vec()],
        vec![format!("GET /live/a?key={SECRET} HTTP/1.1\r\nX: {HOSTILE}\r\n\r\n").into_bytes()],
        // Before connect: the log line names the command.
        vec![handshake(), command(&hostile(""), Value::Null, &[])],
        vec![handshake(), command(HOSTILE, Value::Null, &[&hostile("")])],
        // A client that connects and closes.
        vec![handshake(), connect(&hostile("live"), HOSTILE)],
        // Names that are refused.
        vec![
            handshake(),
            connect(&hostile("live"), HOSTILE),
            command("publish", Value::Null, &["a", "live"]),
        ],
        vec![handshake(), good.clone(), command("publish", Value::Null, &[&hostile("a"), HOSTILE])],
        vec![handshake(), good.clone(), command("play", Value::Null, &[&hostile("a")])],
        vec![handshake(), good.clone(), command("play", Value::Null, &[&format!("a?{SECRET}\n")])],
        vec![handshake(), good.clone(), command("play", Value::Null, &[&"a".repeat(9_000)])],
        // Names that are accepted.
        vec![handshake(), good.clone(), command("publish", Value::Null, &[&fields, HOSTILE])],
        vec![handshake(), good.clone(), command("play", Value::Null, &[&fields])],
        // FCPublish and unknown commands are repeated only to the peer.
        vec![handshake(), good.clone(), command("FCPublish", Value::Null, &[&hostile("")])],
        vec![handshake(), good.clone(), command(&hostile(""), Value::Null, &[&hostile("")])],
        // A status, metadata, and a command cut short.
        vec![
            handshake(),
            good.clone(),
            command("onStatus", Value::object([("code", hostile("").into())]), &[]),
        ],
        vec![handshake(), good, message(type_id::COMMAND_AMF0, b"\x02\x00\x20pub\n\x1b[2J".to_vec())],
    ];
    dialogues.into_iter().map(|dialogue| send_and_wait_for_close(relay, &dialogue.concat())).collect()
}

/// All log lines, once each of these connections is logged as closed.
fn lines_once_closed(
    relay: &Relay,
    peers: &[SocketAddr],
    ending: impl Fn(&SocketAddr) -> String,
) -> Vec<String> {
    peers.iter().for_each(|peer| drop(relay.wait_for_log(&["closed", &ending(peer)])));
    relay.log()
}

fn assert_harmless(line: &str) {
    let is_plain = |c: char| c == ' ' || c == 'é' || c.is_ascii_graphic();
    assert!(line.chars().all(is_plain), "{line:?}");
    assert!(!line.contains(SECRET), "{line}");
}

#[test]
fn whatever_a_peer_sends_a_line_of_text_stays_one_line_and_reveals_no_secret() {
    let relay = Relay::start("log.level = 'trace'");
    let peers = send_hostile_texts(&relay);
    let lines = lines_once_closed(&relay, &peers, |peer| format!("peer={peer} "));
    for line in &lines {
        assert_harmless(line);
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        assert!(words[0].starts_with("20") && words[0].ends_with('Z'), "{line}: no time");
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&words[1]), "{line}: no level");
        // Outside quotations there are only the relay's own fields.
        assert!(!unquoted(line).contains("10.0.0."), "{line}: a forged field");
    }
    let named = lines.iter().filter(|line| line.contains("publishing") && line.contains("forged")).count();
    assert_eq!(named, 1, "a valid name is logged as it is");
}

#[test]
fn whatever_a_peer_sends_a_line_of_json_stays_one_object_and_reveals_no_secret() {
    let relay = Relay::start_json("log.level = 'trace'");
    let peers = send_hostile_texts(&relay);
    let lines = lines_once_closed(&relay, &peers, |peer| format!("\"peer\":\"{peer}\""));
    let mut named = 0;
    for line in &lines {
        assert_harmless(line);
        let object: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        for (key, value) in object.as_object().expect("an object") {
            assert!(value.is_string() || value.is_number() || value.is_boolean(), "{key} in {line}");
        }
        assert!(["TRACE", "DEBUG", "INFO", "WARN"].contains(&object["level"].as_str().unwrap()), "{line}");
        named +=
            usize::from(object["message"] == "publishing" && object["stream"] == format!("live/{FIELDS}"));
    }
    assert_eq!(named, 1, "a valid name is logged as it is");
}

/// The text outside quotations; `\"` does not end one.
fn unquoted(line: &str) -> String {
    let mut outside = String::new();
    let mut is_inside = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => is_inside = !is_inside,
            '\\' if is_inside => drop(chars.next()),
            _ if !is_inside => outside.push(c),
            _ => {}
        }
    }
    outside
}

#[test]
fn a_probe_that_connects_and_sends_nothing_leaves_no_line() {
    let relay = Relay::start_with("", 1);
    let probe = || TcpStream::connect(relay.address()).unwrap();
    let silent = [probe().local_addr(), probe().local_addr()].map(Result::unwrap);
    let mut talking = probe();
    let peer = talking.local_addr().unwrap();
    talking.write_all(&[3]).unwrap();
    drop(talking);
    relay.wait_for_log(&["closed", &format!("peer={peer} ")]);
    let log = relay.log().join("\n");
    assert!(silent.iter().all(|peer| !log.contains(&peer.to_string())), "{log}");
}

#[test]
fn names_in_any_script_are_logged_as_they_are() {
    let relay = Relay::start("");
    for name in ["ทดสอบวิดีโอ", "परीक्षण", "日本語", "it's"] {
        let connect = command("connect", Value::object([("app", "live".into())]), &[]);
        let publish = command("publish", Value::Null, &[name, "live"]);
        send_and_wait_for_close(&relay, &[handshake(), connect, publish].concat());
        relay.wait_for_log(&["publishing", &format!("stream=\"live/{name}\"")]);
    }
}

#[test]
fn a_player_of_a_stream_that_is_not_live_is_logged_as_waiting() {
    let relay = Relay::start("");
    let (play, publish) = (["a"], ["a", "live"]);
    let opened = |name: &str, arguments: &[&str]| {
        let mut socket = connect_to(&relay);
        let bytes = [handshake(), connect("live", "OBS"), command(name, Value::Null, arguments)].concat();
        socket.write_all(&bytes).unwrap();
        socket
    };
    let _waits = opened("play", &play);
    relay.wait_for_log(&[" playing: waiting for publisher ", "stream=\"live/a\""]);
    let _publisher = opened("publish", &publish);
    relay.wait_for_publisher("live/a");
    let _plays = opened("play", &play);
    relay.wait_for_log(&[" playing id="]);
    // The name has a publisher.
    opened("publish", &publish);
    relay.wait_for_log(&["publisher refused: name in use", "client=\"OBS\""]);
}

#[test]
fn the_lines_of_publishers_and_players_have_the_name_of_the_client() {
    let relay = Relay::start("");
    let publish = command("publish", Value::Null, &["a", "live"]);
    let encoder = "FMLE/3.0 (compatible; Lavf59.27.100)";
    send_and_wait_for_close(&relay, &[handshake(), connect("live", encoder), publish].concat());
    relay.wait_for_log(&["publishing", &format!("client=\"{encoder}\"")]);
    let play = command("play", Value::Null, &["a"]);
    send_and_wait_for_close(&relay, &[handshake(), connect("live", "LNX 9,0,124,2"), play].concat());
    relay.wait_for_log(&["playing", "client=\"LNX 9,0,124,2\""]);
}

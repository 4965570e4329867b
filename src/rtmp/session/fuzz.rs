//! What holds for any bytes, for the tests and the fuzz target: they are taken without harm, and how they are cut
//! changes nothing but what is acknowledged when.

use bytes::Bytes;

use super::{Connect, Output, Session, SessionConfig};
use crate::rtmp::chunk::fuzz::pieces;
use crate::rtmp::command::{self, Command};
use crate::rtmp::name;

/// What holds for any command message, the first byte of which is its type: it reads as [`command::check_any_bytes`]
/// has it, and a `connect` with any text in it names a stream that [`name::check_any_text`] allows, or none.
pub fn check_any_command(bytes: &[u8]) {
    command::check_any_bytes(bytes);
    let Some((message_type_id, body)) = bytes.split_first() else {
        return;
    };
    let Ok(command) = Command::from_message(*message_type_id, &body.to_vec().into()) else {
        return;
    };
    let Ok(connect) = Connect::parse(&command) else { return };
    name::check_any_text(&connect.app, &connect.tc_url, command.text(0).unwrap_or_default());
}

/// The first four bytes say how the others are cut, the fifth how a publisher and a player are answered; the others
/// follow a handshake.
pub fn check_any_bytes(bytes: &[u8]) {
    let Some(([a, b, c, d, answer], input)) = bytes.split_first_chunk::<5>() else {
        return;
    };
    let answer = match answer % 3 {
        0 => Answer::Granted,
        1 => Answer::GrantedLater,
        _ => Answer::Refused,
    };
    let whole = outcome(std::iter::once(input), answer);
    assert_eq!(whole, outcome(pieces(input, [*a, *b, *c, *d]), answer));
    assert_eq!(whole, outcome(input.chunks(1), answer));
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Granted,
    /// Once all has come: what comes meanwhile is held.
    GrantedLater,
    Refused,
}

/// All that the session wants done but `Send`, and whether it found a violation.
fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>, answer: Answer) -> (Vec<String>, bool) {
    let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
    let mut told = Vec::new();
    // The number of the last publish.
    let mut asked = 0;
    for piece in std::iter::once(&HELLO[..]).chain(pieces) {
        let is_violation = session.receive(Bytes::copy_from_slice(piece), 0).is_err();
        if is_violation || !go_on(&mut session, answer, &mut told, &mut asked) {
            return (told, true);
        }
    }
    // A publish that was held, and those that were held behind it.
    while session.is_holding() {
        session.accept_publish(asked);
        if !go_on(&mut session, answer, &mut told, &mut asked) {
            return (told, true);
        }
    }
    (told, false)
}

/// Does what the session wants done until there is nothing; false where it found a violation.
fn go_on(session: &mut Session, answer: Answer, told: &mut Vec<String>, asked: &mut u32) -> bool {
    loop {
        let Ok(output) = session.poll() else { return false };
        let Some(output) = output else { return true };
        told.extend(line(&output));
        if let Output::Publish(request) = &output {
            *asked = request.message_stream_id;
        }
        match output {
            Output::Publish(request) if answer == Answer::Granted => {
                session.accept_publish(request.message_stream_id);
            }
            Output::Publish(request) if answer == Answer::Refused => {
                session.refuse_publish(request.message_stream_id, "NetStream.Publish.BadName", "No.");
            }
            Output::Play(_) if answer == Answer::Refused => {
                session.refuse_play("NetStream.Play.StreamNotFound", "No.");
            }
            Output::Play(_) => session.accept_play(),
            _ => {}
        }
    }
}

fn line(output: &Output) -> Option<String> {
    match output {
        Output::Send(_) | Output::More => None,
        Output::Frame { message_stream_id, frame } => Some(format!(
            "{message_stream_id} {:?} {} {:?}",
            frame.kind,
            frame.timestamp_ms,
            frame.payload.to_bytes()
        )),
        output => Some(format!("{output:?}")),
    }
}

/// C0, C1 and C2 of a plain client.
static HELLO: [u8; 3073] = {
    let mut hello = [0; 3073];
    hello[0] = 3;
    hello
};

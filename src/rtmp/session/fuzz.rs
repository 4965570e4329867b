//! What holds for any bytes, for the tests and the fuzz target: they are taken without harm, and how they are cut
//! changes nothing but what is acknowledged when.

use bytes::Bytes;

use super::{Output, Session, SessionConfig};
use crate::rtmp::chunk::fuzz::pieces;

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

/// All that the session wants done but `Send`, and whether it found a violation. Of one that it is about to close it may
/// find none: then it reads no further, but what had come with the last request has been read.
fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>, answer: Answer) -> (Vec<String>, bool) {
    let mut session = Session::new(&SessionConfig::default(), 0, [1; 32]);
    let mut told = Vec::new();
    let mut is_closing = false;
    for piece in std::iter::once(&HELLO[..]).chain(pieces) {
        let mut result = session.receive(Bytes::copy_from_slice(piece), 0);
        while let Some(output) = session.poll() {
            if let Some(line) = line(&output) {
                told.push(line);
            }
            is_closing |= matches!(output, Output::Close(_));
            match output {
                Output::Publish(_) if answer == Answer::Granted => {
                    result = result.and(session.accept_publish());
                }
                Output::Publish(_) if answer == Answer::Refused => {
                    session.refuse_publish("NetStream.Publish.BadName", "No.");
                }
                Output::Play(_) if answer == Answer::Refused => {
                    session.refuse_play("NetStream.Play.StreamNotFound", "No.");
                }
                Output::Play(_) => session.accept_play(),
                _ => {}
            }
        }
        if result.is_err() {
            return (told, !is_closing);
        }
    }
    // A publish that was held, and those that were held behind it.
    while session.is_holding() {
        let result = session.accept_publish();
        while let Some(output) = session.poll() {
            told.extend(line(&output));
            if let Output::Play(_) = output {
                session.accept_play();
            }
        }
        if result.is_err() {
            return (told, true);
        }
    }
    (told, false)
}

fn line(output: &Output) -> Option<String> {
    match output {
        Output::Send(_) => None,
        Output::Frame(frame) => {
            Some(format!("{:?} {} {:?}", frame.kind, frame.timestamp_ms, frame.payload.to_bytes()))
        }
        output => Some(format!("{output:?}")),
    }
}

/// C0, C1 and C2 of a plain client.
static HELLO: [u8; 3073] = {
    let mut hello = [0; 3073];
    hello[0] = 3;
    hello
};

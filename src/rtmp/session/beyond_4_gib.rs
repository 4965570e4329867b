//! Acknowledgements have 32 bits (RTMP 1.0 §5.4.3), and some encoders stop at 4 GiB if the other side's counter does not
//! wrap. Client and session pass that point here, in both directions.

use bytes::Bytes;

use super::*;
use crate::flv::{Frame, FrameKind, WireFormat};
use crate::rtmp::chunk::{MediaFormat, OUT_CHUNK_SIZE};
use crate::rtmp::client::{Client, ClientConfig, Event, Role};
use crate::rtmp::link::WINDOW_BYTES;

const FRAME_BYTES: usize = 1_000_000;
const WINDOW: u64 = WINDOW_BYTES as u64;
/// Four windows before the counters wrap.
const SKIPPED: u64 = (1 << 32) - 4 * WINDOW;

struct Pair {
    client: Client,
    session: Session,
    frames: usize,
}

impl Pair {
    /// A connection that has started and has transferred [`SKIPPED`] bytes of media.
    fn new(role: Role) -> Self {
        let url = "rtmp://host/live/s".parse().unwrap();
        let config = ClientConfig { url, role, chunk_size: OUT_CHUNK_SIZE, fmle: true };
        let session = Session::new(&SessionConfig::default(), 0, [1; 32]);
        let mut pair = Self { client: Client::new(config, 0, [2; 32]), session, frames: 0 };
        pair.settle();
        let (receiver, sender) = match role {
            Role::Publish => (&mut pair.session.link, pair.client.link()),
            Role::Play => (pair.client.link(), &mut pair.session.link),
        };
        receiver.skip_received(SKIPPED);
        // The bytes before the media are acknowledged as well.
        sender.skip_sent(receiver.received_bytes());
        pair
    }

    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(event) = self.client.poll() {
                is_quiet = false;
                match event {
                    Event::Send(bytes) => self.session.receive(bytes, 0).unwrap(),
                    Event::Frame(_) => self.frames += 1,
                    _ => {}
                }
            }
            while let Some(output) = self.session.poll().unwrap() {
                is_quiet = false;
                match output {
                    Output::Send(bytes) => self.client.receive(bytes, 0).unwrap(),
                    Output::Frame { .. } => self.frames += 1,
                    other => {
                        let question = other.question().unwrap_or_else(|| panic!("{other:?}"));
                        assert!(self.session.answer(question, Answer::Allow));
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }
}

/// Sends frames until four windows after 4 GiB have arrived. Never more than one window is unacknowledged.
fn pass_4_gib(pair: &mut Pair, send: impl Fn(&mut Pair, &Frame), counts: impl Fn(&Pair) -> (u64, u64)) {
    let payload = Bytes::from(vec![0x27; FRAME_BYTES]);
    for sent in 1.. {
        send(pair, &Frame { kind: FrameKind::Video, timestamp_ms: 0, payload: payload.clone().into() });
        pair.settle();
        assert_eq!(pair.frames, sent);
        let (received, acknowledged) = counts(pair);
        assert!(acknowledged <= received, "{acknowledged} of {received}");
        assert!(received - acknowledged < WINDOW, "{acknowledged} of {received}");
        if received > (1 << 32) + 4 * WINDOW {
            return;
        }
    }
}

#[test]
fn a_publisher_s_bytes_are_acknowledged_beyond_4_gib() {
    pass_4_gib(
        &mut Pair::new(Role::Publish),
        |pair, frame| pair.client.send_frame(frame),
        |pair| (pair.session.received_bytes(), pair.client.peer_acknowledged_bytes()),
    );
}

#[test]
fn a_player_acknowledges_our_bytes_beyond_4_gib() {
    let format = MediaFormat { chunk_size: OUT_CHUNK_SIZE };
    pass_4_gib(
        &mut Pair::new(Role::Play),
        |pair, frame| {
            let mut wire = vec![0; format.wire_len(frame)];
            format.write(frame, &mut wire);
            pair.client.receive(wire.into(), 0).unwrap();
        },
        |pair| (pair.client.received_bytes(), pair.session.peer_acknowledged_bytes()),
    );
}

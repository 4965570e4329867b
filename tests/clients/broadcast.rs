//! A hand-made encoder: sends an FLV file's tags in real time, and other messages that a test puts between them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fanfare::flv::{FrameKind, Payload};
use fanfare::rtmp::chunk::{ChunkSize, Message};
use fanfare::rtmp::client::{Client, ClientConfig, Event, Role, Url};

use crate::support::{Relay, SOON, eventually};

/// A message of a stream: when it is sent, and its timestamp.
#[derive(Clone, Debug)]
pub struct Tag {
    /// When it is sent, relative to the first one.
    pub at_ms: u32,
    pub kind: FrameKind,
    pub timestamp_ms: u32,
    pub payload: Bytes,
}

impl Tag {
    /// A tag whose timestamp is the time when it is sent.
    pub fn new(kind: FrameKind, at_ms: u32, payload: impl Into<Bytes>) -> Tag {
        Tag { at_ms, kind, timestamp_ms: at_ms, payload: payload.into() }
    }

    /// Whether it is a video frame, not a header.
    pub fn is_video_frame(&self) -> bool {
        self.kind == FrameKind::Video && self.payload.get(1) == Some(&1)
    }

    /// Whether it is an audio frame, not a header.
    pub fn is_audio_frame(&self) -> bool {
        self.kind == FrameKind::Audio && self.payload.get(1) == Some(&1)
    }
}

/// The tags of an FLV file of H.264 and AAC.
pub fn tags(file: &Path) -> Vec<Tag> {
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let mut at = 9 + 4;
    let mut tags = Vec::new();
    while let Some(&[kind, a, b, c, ms2, ms1, ms0, ms3, ..]) = bytes.get(at..at + 11) {
        let body = at + 11;
        let end = body + u32::from_be_bytes([0, a, b, c]) as usize;
        let kind = match kind {
            8 => FrameKind::Audio,
            9 => FrameKind::Video,
            _ => FrameKind::Data,
        };
        let mut payload = bytes[body..end].to_vec();
        // A live stream has no duration, and rtmpdump relies on the one in the metadata.
        if let Some(name) = payload.windows(DURATION.len()).position(|bytes| bytes == DURATION) {
            payload[name + DURATION.len()..][..8].fill(0);
        }
        tags.push(Tag::new(kind, u32::from_be_bytes([ms3, ms2, ms1, ms0]), payload));
        at = end + 4;
    }
    tags
}

/// The property of `onMetaData`, followed by the AMF0 marker of a number.
const DURATION: &[u8] = b"\0\x08duration\0";

/// A running encoder. Dropping it closes its connection without `FCUnpublish`.
pub struct Broadcast {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    is_over: AtomicBool,
    /// When the newest tag was due, relative to the first one.
    at_ms: AtomicU32,
}

impl Broadcast {
    /// Publishes `app/name`, and sends these tags in real time.
    pub fn start(relay: &Relay, name: &str, tags: Vec<Tag>) -> Broadcast {
        let progress = Arc::new(Progress::default());
        let mut link = Link::publish(relay, name);
        let thread = thread::spawn({
            let progress = progress.clone();
            move || {
                let begun = Instant::now();
                for tag in tags {
                    let due = begun + Duration::from_millis(tag.at_ms.into());
                    while !link.wait_until(due) {}
                    if progress.is_over.load(Ordering::Relaxed) || link.send(&tag).is_err() {
                        return;
                    }
                    progress.at_ms.store(tag.at_ms, Ordering::Relaxed);
                }
                // An encoder at the end of its file ends the publish.
                link.client.stop();
                let _ = link.write();
            }
        });
        Broadcast { progress, thread: Some(thread) }
    }

    /// Whether it has neither reached the end of its file nor lost its connection.
    pub fn is_sending(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits until it has sent all tags up to this time.
    pub fn wait_until_ms(&self, at_ms: u32) {
        let within = SOON + Duration::from_millis(at_ms.into());
        eventually("progress of the hand-made encoder", within, || {
            (self.progress.at_ms.load(Ordering::Relaxed) >= at_ms).then_some(())
        });
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        self.progress.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("it is joined once").join();
        assert!(ended.is_ok() || thread::panicking(), "the hand-made encoder panicked");
    }
}

/// A connection that publishes.
struct Link {
    socket: TcpStream,
    client: Client,
    is_granted: bool,
    begun: Instant,
}

impl Link {
    fn publish(relay: &Relay, name: &str) -> Link {
        let url: Url = relay.url(name).parse().expect("the relay's own address");
        let chunk_size = ChunkSize::new(4096).expect("a size");
        let config = ClientConfig { url, role: Role::Publish, chunk_size, fmle: true };
        let mut link = Link {
            socket: TcpStream::connect(relay.address()).unwrap(),
            client: Client::new(config, 0, [7; 32]),
            is_granted: false,
            begun: Instant::now(),
        };
        link.write().unwrap();
        while !link.is_granted {
            assert!(link.begun.elapsed() < SOON, "{name} cannot be published");
            link.wait_until(Instant::now() + Duration::from_millis(100));
        }
        link
    }

    /// Reads once, for no longer than until `due`; true once that is reached.
    fn wait_until(&mut self, due: Instant) -> bool {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            // Closed: wait all the same.
            Ok(0) => thread::sleep(left),
            Ok(count) => {
                let now_ms = self.begun.elapsed().as_millis() as u64;
                self.client.receive(Bytes::copy_from_slice(&bytes[..count]), now_ms).unwrap();
                let _ = self.write();
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset
                ),
                "{error}"
            ),
        }
        false
    }

    fn send(&mut self, tag: &Tag) -> std::io::Result<()> {
        self.client.send_message(&Message {
            chunk_stream_id: match tag.kind {
                FrameKind::Audio => 4,
                FrameKind::Data => 5,
                FrameKind::Video => 6,
            },
            timestamp_ms: tag.timestamp_ms,
            message_type_id: tag.kind as u8,
            message_stream_id: 1,
            payload: Payload::from(tag.payload.clone()),
        });
        self.write()
    }

    /// Writes all pending bytes.
    fn write(&mut self) -> std::io::Result<()> {
        while let Some(event) = self.client.poll() {
            match event {
                Event::Send(bytes) => self.socket.write_all(&bytes)?,
                Event::Started => self.is_granted = true,
                Event::Status(status) => assert_ne!(status.level, "error", "{status:?}"),
                Event::Frame(_) | Event::Ended => {}
            }
        }
        Ok(())
    }
}

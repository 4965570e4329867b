//! Publishes synthetic streams in real time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_rtmp::rtmp::chunk::ChunkSize;
use fanfare_rtmp::rtmp::client::{ClientConfig, Event, Role};

use crate::link::{Disconnected, Link};
use crate::source::{Shape, Source};
use crate::sys::{self, Origin, Poller};
use crate::target::Target;

/// What to publish.
#[derive(Clone, Debug)]
pub struct Options {
    /// The first stream; further ones get a number after the key.
    pub target: Target,
    /// Number of streams.
    pub streams: usize,
    /// Parameters of each stream.
    pub shape: Shape,
    /// Chunk size of what is sent.
    pub chunk_size: ChunkSize,
    /// How long.
    pub time: Duration,
}

/// What was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Frames sent.
    pub frames: u64,
    /// Bytes sent, handshakes included.
    pub bytes: u64,
}

/// Publishes until the time is over or `stop` is set. Calls `on_progress` every second with the totals so far.
///
/// # Errors
/// A stream could not be published, or its connection ended, as one line.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    mut on_progress: impl FnMut(Published),
) -> Result<Published, String> {
    options.shape.check()?;
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let begun_ns = sys::now_ns();
    let end_ns = begun_ns.saturating_add(sys::nanos(options.time));
    let mut encoders = Vec::new();
    for number in 0..options.streams {
        let encoder = Encoder::new(options, number).map_err(|Disconnected(reason)| reason)?;
        poller.add(&encoder.link, number).map_err(|error| error.to_string())?;
        encoders.push(encoder);
    }
    let mut scratch = vec![0; 16 << 10];
    let mut ready = Vec::new();
    let mut report_ns = begun_ns + SECOND_NS;
    loop {
        let now_ns = sys::now_ns();
        let mut wake_ns = report_ns.min(end_ns);
        for encoder in &mut encoders {
            wake_ns = wake_ns.min(encoder.publish(now_ns).map_err(|error| encoder.failed(error))?);
        }
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            break;
        }
        if now_ns >= report_ns {
            report_ns += SECOND_NS;
            on_progress(sum(&encoders));
        }
        poller.wait(wake_ns.saturating_sub(sys::now_ns()), &mut ready);
        for &number in &ready {
            let encoder = &mut encoders[number];
            encoder.on_ready(&mut scratch).map_err(|error| encoder.failed(error))?;
        }
    }
    encoders.iter_mut().for_each(Encoder::end);
    Ok(sum(&encoders))
}

fn sum(encoders: &[Encoder]) -> Published {
    encoders.iter().fold(Published::default(), |sum, encoder| Published {
        frames: sum.frames + encoder.frames,
        bytes: sum.bytes + encoder.link.sent_bytes(),
    })
}

struct Encoder {
    name: String,
    link: Link,
    source: Source,
    /// Time offset from the first encoder, so that the frames of many encoders are spread over time.
    phase_ns: u64,
    /// Whether the server has accepted it.
    is_started: bool,
    connected_ns: u64,
    frames: u64,
}

impl Encoder {
    fn new(options: &Options, number: usize) -> Result<Self, Disconnected> {
        let url = options.target.stream(number);
        let name = url.to_string();
        let config = ClientConfig { url, role: Role::Publish, chunk_size: options.chunk_size, fmle: true };
        let connected_ns = sys::now_ns();
        let frame_ns = SECOND_NS / u64::from(options.shape.fps);
        Ok(Self {
            name,
            link: Link::new(config, options.target.address, Origin::default())?,
            source: Source::new(options.shape, number as u32, (connected_ns / 1_000_000) as u32),
            phase_ns: frame_ns * number as u64 / options.streams as u64,
            is_started: false,
            connected_ns,
            frames: 0,
        })
    }

    fn on_ready(&mut self, scratch: &mut [u8]) -> Result<(), Disconnected> {
        self.link.on_ready()?;
        let mut started = false;
        let mut refused = None;
        while self.link.receive(scratch, usize::MAX, |event| match event {
            Event::Started => started = true,
            Event::Status(status) if status.level == "error" => {
                refused = Some(format!("{} {}", status.code, status.description));
            }
            _ => {}
        })? == scratch.len()
        {}
        if let Some(reason) = refused {
            return Err(Disconnected(reason));
        }
        if started {
            self.is_started = true;
            self.source.begin(sys::now_ns() + self.phase_ns);
            let headers = self.source.headers();
            self.link.with_client(|client| headers.iter().for_each(|frame| client.send_frame(frame)))?;
        }
        Ok(())
    }

    /// Sends the frames that are due, and returns when the next one is.
    fn publish(&mut self, now_ns: u64) -> Result<u64, Disconnected> {
        if !self.is_started {
            return match self.connected_ns + START_TIMEOUT_NS {
                until_ns if now_ns >= until_ns => {
                    Err(Disconnected("timeout: publish was not answered".to_owned()))
                }
                until_ns => Ok(until_ns),
            };
        }
        while self.source.due_ns() <= now_ns {
            let frame = self.source.next_frame(sys::now_ns());
            self.link.with_client(|client| client.send_frame(&frame))?;
            self.frames += 1;
        }
        if self.link.unsent_bytes() > MAX_UNSENT_BYTES {
            return Err(Disconnected(format!(
                "the server reads more slowly than the bitrate: {MAX_UNSENT_BYTES} bytes are pending"
            )));
        }
        Ok(self.source.due_ns())
    }

    /// Sends a last frame and ends the stream. Errors no longer matter.
    fn end(&mut self) {
        if self.is_started {
            let frame = self.source.last_frame(sys::now_ns());
            let _ = self.link.with_client(|client| client.send_frame(&frame));
            self.frames += 1;
        }
        let _ = self.link.with_client(|client| client.stop());
    }

    fn failed(&self, Disconnected(reason): Disconnected) -> String {
        format!("{}: {reason}", self.name)
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// How long a server may take to accept a publisher.
const START_TIMEOUT_NS: u64 = 10 * SECOND_NS;
/// A real encoder would drop frames at this point, which would silently reduce the load.
const MAX_UNSENT_BYTES: usize = 32 << 20;

//! Publishes synthetic streams at a steady pace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_rtmp::rtmp::chunk::ChunkSize;
use fanfare_rtmp::rtmp::client::{ClientConfig, Event, Role};

use crate::link::{Link, Over};
use crate::source::{Shape, Source};
use crate::sys::{self, Origin, Poller};
use crate::target::Target;

/// What to publish.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where; further streams get a number behind their key.
    pub target: Target,
    /// How many streams.
    pub streams: usize,
    /// What each is like.
    pub shape: Shape,
    /// Of the chunks that are sent.
    pub chunk_size: ChunkSize,
    /// How long.
    pub time: Duration,
}

/// What was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Frames sent.
    pub frames: u64,
    /// Bytes sent, handshakes and all.
    pub bytes: u64,
}

/// Publishes until the time is over or `stop` is set. `told` is called each second with what was published.
///
/// # Errors
/// A stream could not be published, or its connection ended, as one line.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    mut told: impl FnMut(Published),
) -> Result<Published, String> {
    options.shape.check()?;
    let mut poller = Poller::new().map_err(|error| error.to_string())?;
    let begun_ns = sys::now_ns();
    let end_ns = begun_ns.saturating_add(sys::nanos(options.time));
    let mut encoders = Vec::new();
    for number in 0..options.streams {
        let encoder = Encoder::new(options, number).map_err(|Over(reason)| reason)?;
        poller.add(&encoder.link, number).map_err(|error| error.to_string())?;
        encoders.push(encoder);
    }
    let mut scrap = vec![0; 16 << 10];
    let mut ready = Vec::new();
    let mut tell_ns = begun_ns + SECOND_NS;
    loop {
        let now_ns = sys::now_ns();
        let mut wake_ns = tell_ns.min(end_ns);
        for encoder in &mut encoders {
            wake_ns = wake_ns.min(encoder.publish(now_ns).map_err(|over| encoder.failed(over))?);
        }
        if now_ns >= end_ns || stop.load(Ordering::Relaxed) {
            break;
        }
        if now_ns >= tell_ns {
            tell_ns += SECOND_NS;
            told(sum(&encoders));
        }
        poller.wait(wake_ns.saturating_sub(sys::now_ns()), &mut ready);
        for &number in &ready {
            let encoder = &mut encoders[number];
            encoder.ready(&mut scrap).map_err(|over| encoder.failed(over))?;
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
    /// By which encoders of one process are apart, so that their frames are spread over time.
    phase_ns: u64,
    /// Whether it has been let in.
    is_started: bool,
    asked_ns: u64,
    frames: u64,
}

impl Encoder {
    fn new(options: &Options, number: usize) -> Result<Self, Over> {
        let url = options.target.stream(number);
        let name = url.to_string();
        let config = ClientConfig { url, role: Role::Publish, chunk_size: options.chunk_size, fmle: true };
        let asked_ns = sys::now_ns();
        let frame_ns = SECOND_NS / u64::from(options.shape.fps);
        Ok(Self {
            name,
            link: Link::new(config, options.target.address, Origin::default())?,
            source: Source::new(options.shape, number as u32, (asked_ns / 1_000_000) as u32),
            phase_ns: frame_ns * number as u64 / options.streams as u64,
            is_started: false,
            asked_ns,
            frames: 0,
        })
    }

    fn ready(&mut self, scrap: &mut [u8]) -> Result<(), Over> {
        self.link.ready()?;
        let mut started = false;
        let mut refused = None;
        while self.link.receive(scrap, usize::MAX, |event| match event {
            Event::Started => started = true,
            Event::Status(status) if status.level == "error" => {
                refused = Some(format!("{} {}", status.code, status.description));
            }
            _ => {}
        })? == scrap.len()
        {}
        if let Some(reason) = refused {
            return Err(Over(reason));
        }
        if started {
            self.is_started = true;
            self.source.begin(sys::now_ns() + self.phase_ns);
            let opening = self.source.opening();
            self.link.say(|client| opening.iter().for_each(|frame| client.send_frame(frame)))?;
        }
        Ok(())
    }

    /// Sends what is due, and says when to come again.
    fn publish(&mut self, now_ns: u64) -> Result<u64, Over> {
        if !self.is_started {
            return match self.asked_ns + OPENING_NS {
                until_ns if now_ns >= until_ns => Err(Over("no answer to publish".to_owned())),
                until_ns => Ok(until_ns),
            };
        }
        while self.source.due_ns() <= now_ns {
            let frame = self.source.next_frame(sys::now_ns());
            self.link.say(|client| client.send_frame(&frame))?;
            self.frames += 1;
        }
        if self.link.unsent_bytes() > MAX_UNSENT_BYTES {
            return Err(Over(format!(
                "the server takes less than it is sent: {MAX_UNSENT_BYTES} bytes wait"
            )));
        }
        Ok(self.source.due_ns())
    }

    /// Says that it was the last frame, and goes. It is over, whatever comes of it.
    fn end(&mut self) {
        if self.is_started {
            let frame = self.source.last_frame(sys::now_ns());
            let _ = self.link.say(|client| client.send_frame(&frame));
            self.frames += 1;
        }
        let _ = self.link.say(|client| client.stop());
    }

    fn failed(&self, Over(reason): Over) -> String {
        format!("{}: {reason}", self.name)
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// How long a server may take to let an encoder in.
const OPENING_NS: u64 = 10 * SECOND_NS;
/// An encoder drops frames at this point; a load that does so unseen would be no load.
const MAX_UNSENT_BYTES: usize = 32 << 20;

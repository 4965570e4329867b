//! Publishes synthetic streams in real time, from one thread.
//!
//! A message is one write, as OBS and FFmpeg write it, unless [`Options::beat`] collects several. Each stream starts at another
//! point of its group of pictures, so that neither the frames of many streams nor their key frames are due in step.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_rtmp::rtmp::chunk::ChunkSize;
use fanfare_rtmp::rtmp::client::{ClientConfig, Event, Role};
use serde::Serialize;

use crate::link::{Disconnected, Link};
use crate::report::{Server, Summary, Times, is_bottleneck};
use crate::source::{Shape, Source};
use crate::sys::{self, Origin, Poller};
use crate::target::Target;
use crate::usage::Usage;

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
    /// New publishers per second.
    pub ramp: f64,
    /// What is due within this time is sent in one write. Zero: a message per write.
    pub beat: Duration,
    /// Whether to wait for no answers and to send as if they had come: for a server that discards everything.
    pub blind: bool,
    /// From the moment that all streams have started to the start of the measurement.
    pub settle: Duration,
    /// How long, from the first connection on.
    pub time: Duration,
    /// The server's process, if its CPU time and memory are to be measured.
    pub server_pid: Option<u32>,
}

impl Options {
    /// One stream, a message per write, until it is stopped, without a measurement of the server.
    pub fn new(target: Target, shape: Shape) -> Self {
        Self {
            target,
            streams: 1,
            shape,
            chunk_size: ChunkSize::new(4096).expect("24 bits"),
            ramp: DEFAULT_RAMP,
            beat: Duration::ZERO,
            blind: false,
            settle: Duration::ZERO,
            time: Duration::MAX,
            server_pid: None,
        }
    }
}

/// What was published so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Frames sent.
    pub frames: u64,
    /// Bytes sent, handshakes included.
    pub bytes: u64,
    /// Streams that have started.
    pub streams: usize,
}

/// The result of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Streams that were to be published.
    pub streams: usize,
    /// Streams that have started. A stream that ends ends the run.
    pub held: usize,
    /// Frames sent, in the whole run.
    pub frames: u64,
    /// Bytes sent, in the whole run.
    pub bytes: u64,
    /// Bytes that sockets had not accepted at the end: what the server was behind, beyond the socket buffers.
    pub pending_bytes: usize,
    /// The measurement: from [`Options::settle`] after the last stream has started, to the end.
    pub steady: Steady,
}

/// The measurement: the time after all streams had started and settled.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Steady {
    /// Its length; 0 if there was no time left for it.
    pub seconds: f64,
    /// Bytes sent.
    pub bytes: u64,
    /// 10^6 bytes per second.
    pub mb_per_second: f64,
    /// Frames per second, of all streams.
    pub frames_per_second: f64,
    /// How much later than due frames were sent, milliseconds: the load generator's own delay.
    pub late_ms: Summary,
    /// CPUs that the load generator used. Near 1, the load generator is the bottleneck.
    pub load_cores: f64,
    /// What the server used, if its process was given. Bytes per CPU-second are bytes received.
    pub server: Option<Server>,
}

/// Publishes until the time is over or `stop` is set. Calls `on_progress` every second with the totals so far.
///
/// # Errors
/// A stream could not be published, or its connection ended, as one line.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    mut on_progress: impl FnMut(Published),
) -> Result<Report, String> {
    options.shape.check()?;
    let files = sys::raise_file_limit();
    if options.streams as u64 + SPARE_FILES > files {
        return Err(format!(
            "{} streams need as many file descriptors; the limit is {files}",
            options.streams
        ));
    }
    let mut studio = Studio::new(options).map_err(|error| error.to_string())?;
    let mut scratch = vec![0; 16 << 10];
    let mut ready = Vec::new();
    let mut report_ns = studio.begun_ns + SECOND_NS;
    loop {
        let now_ns = sys::now_ns();
        if now_ns >= studio.end_ns || stop.load(Ordering::Relaxed) {
            return Ok(studio.end());
        }
        let wake_ns = studio.connect_due(now_ns)?.min(studio.send_due(now_ns)?).min(report_ns);
        studio.begin_measurement(now_ns);
        if now_ns >= report_ns {
            report_ns += SECOND_NS;
            on_progress(studio.published());
        }
        studio.poller.wait(wake_ns.min(studio.end_ns).saturating_sub(sys::now_ns()), &mut ready);
        for &number in &ready {
            studio.on_ready(number, &mut scratch)?;
        }
    }
}

/// All encoders.
struct Studio<'a> {
    options: &'a Options,
    poller: Poller,
    encoders: Vec<Encoder>,
    /// Numbers of encoders that have connected and were not accepted yet, in that order.
    waiting: VecDeque<usize>,
    /// When each started encoder sends next.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    begun_ns: u64,
    end_ns: u64,
    started: usize,
    /// When the last encoder started.
    started_ns: u64,
    frames: u64,
    late: Times,
    steady: Option<SteadyBegin>,
}

struct SteadyBegin {
    at_ns: u64,
    published: Published,
    load: Usage,
    /// Its memory is that before the first publisher.
    server: Usage,
}

impl<'a> Studio<'a> {
    fn new(options: &'a Options) -> std::io::Result<Self> {
        let begun_ns = sys::now_ns();
        Ok(Self {
            options,
            poller: Poller::new()?,
            encoders: Vec::with_capacity(options.streams),
            waiting: VecDeque::new(),
            due: BinaryHeap::with_capacity(options.streams),
            begun_ns,
            end_ns: begun_ns.saturating_add(sys::nanos(options.time)),
            started: 0,
            started_ns: begun_ns,
            frames: 0,
            late: Times::new(),
            steady: None,
        })
    }

    /// Connects the encoders that are due, and returns when the next one is.
    fn connect_due(&mut self, now_ns: u64) -> Result<u64, String> {
        let interval_ns = SECOND_NS as f64 / self.options.ramp;
        let at_ns = |number: usize| self.begun_ns + (number as f64 * interval_ns) as u64;
        while self.encoders.len() < self.options.streams && at_ns(self.encoders.len()) <= now_ns {
            let number = self.encoders.len();
            let encoder = Encoder::new(self.options, number).map_err(|Disconnected(reason)| reason)?;
            self.poller.add(&encoder.link, number).map_err(|error| error.to_string())?;
            self.encoders.push(encoder);
            self.waiting.push_back(number);
        }
        while self.waiting.front().is_some_and(|&number| self.encoders[number].is_started) {
            self.waiting.pop_front();
        }
        let next_ns = match self.encoders.len() {
            all if all == self.options.streams => u64::MAX,
            number => at_ns(number),
        };
        let Some(&number) = self.waiting.front() else { return Ok(next_ns) };
        let until_ns = self.encoders[number].connected_ns + START_TIMEOUT_NS;
        if now_ns >= until_ns {
            let timeout = Disconnected("timeout: publish was not answered".to_owned());
            return Err(self.encoders[number].failed(timeout));
        }
        Ok(next_ns.min(until_ns))
    }

    /// Sends the frames that are due, and returns when the next one is.
    fn send_due(&mut self, now_ns: u64) -> Result<u64, String> {
        let beat_ns = sys::nanos(self.options.beat);
        while let Some(&Reverse((due_ns, number))) = self.due.peek() {
            if due_ns > now_ns {
                return Ok(due_ns);
            }
            let encoder = &mut self.encoders[number];
            let sent_ns = sys::now_ns();
            self.late.record(sent_ns.saturating_sub(due_ns));
            let frames =
                encoder.send(now_ns, sent_ns, beat_ns == 0).map_err(|error| encoder.failed(error))?;
            self.frames += frames;
            let next_ns = encoder.source.due_ns().max(due_ns + beat_ns);
            *self.due.peek_mut().expect("it was there") = Reverse((next_ns, number));
        }
        Ok(u64::MAX)
    }

    fn on_ready(&mut self, number: usize, scratch: &mut [u8]) -> Result<(), String> {
        let encoder = &mut self.encoders[number];
        if encoder.on_ready(scratch, self.options).map_err(|error| encoder.failed(error))? {
            self.due.push(Reverse((encoder.source.due_ns(), number)));
            self.started += 1;
            self.started_ns = sys::now_ns();
        }
        Ok(())
    }

    /// Begins the measurement when it is due.
    fn begin_measurement(&mut self, now_ns: u64) {
        let settled_ns = self.started_ns.saturating_add(sys::nanos(self.options.settle));
        if self.steady.is_none() && self.started == self.options.streams && now_ns >= settled_ns {
            self.late.clear();
            self.steady = Some(SteadyBegin {
                at_ns: now_ns,
                published: self.published(),
                load: Usage::of_self(),
                server: self.options.server_pid.map(Usage::of_tree).unwrap_or_default(),
            });
        }
    }

    fn published(&self) -> Published {
        Published {
            frames: self.frames,
            bytes: self.encoders.iter().map(|encoder| encoder.link.sent_bytes()).sum(),
            streams: self.started,
        }
    }

    /// Ends the measurement, then all streams.
    fn end(mut self) -> Report {
        let steady = self.steady.take().map(|begin| self.measured(&begin)).unwrap_or_default();
        let pending_bytes = self.encoders.iter().map(|encoder| encoder.link.unsent_bytes()).sum();
        self.frames += self.encoders.iter_mut().map(|encoder| u64::from(encoder.end())).sum::<u64>();
        let Published { frames, bytes, streams: held } = self.published();
        Report { streams: self.options.streams, held, frames, bytes, pending_bytes, steady }
    }

    fn measured(&self, begin: &SteadyBegin) -> Steady {
        let seconds = (sys::now_ns() - begin.at_ns) as f64 / 1e9;
        let published = self.published();
        let bytes = published.bytes - begin.published.bytes;
        let server = self.options.server_pid.map(|pid| Usage::of_tree(pid).since(begin.server));
        Steady {
            seconds,
            bytes,
            mb_per_second: bytes as f64 / 1e6 / seconds,
            frames_per_second: (published.frames - begin.published.frames) as f64 / seconds,
            late_ms: self.late.summary(),
            load_cores: Usage::of_self().since(begin.load).cpu_seconds / seconds,
            server: server.map(|usage| Server::new(seconds, bytes, begin.server.resident_bytes, usage)),
        }
    }
}

struct Encoder {
    name: String,
    link: Link,
    source: Source,
    /// Time from the start of the stream to its first frame.
    phase_ns: u64,
    /// Whether the server has accepted it.
    is_started: bool,
    connected_ns: u64,
}

impl Encoder {
    fn new(options: &Options, number: usize) -> Result<Self, Disconnected> {
        let url = options.target.stream(number);
        let name = url.to_string();
        let config = ClientConfig { url, role: Role::Publish, chunk_size: options.chunk_size, fmle: true };
        let connected_ns = sys::now_ns();
        Ok(Self {
            name,
            link: Link::new(config, &options.target, Origin::default())?,
            source: Source::new(options.shape, number as u32, (connected_ns / 1_000_000) as u32),
            phase_ns: phase_ns(number, options.shape.group_ns()),
            is_started: false,
            connected_ns,
        })
    }

    /// Sends what is pending and receives answers. Returns whether the stream has started by that.
    fn on_ready(&mut self, scratch: &mut [u8], options: &Options) -> Result<bool, Disconnected> {
        self.link.on_ready()?;
        let mut is_accepted = options.blind && !self.is_started;
        let mut refused = None;
        while self.link.receive(scratch, usize::MAX, |event| match event {
            Event::Started => is_accepted = true,
            Event::Status(status) if status.level == "error" => {
                refused = Some(format!("{} {}", status.code, status.description));
            }
            _ => {}
        })? == scratch.len()
        {}
        if let Some(reason) = refused {
            return Err(Disconnected(reason));
        }
        if is_accepted {
            self.is_started = true;
            self.source.begin(sys::now_ns() + self.phase_ns);
            let headers = self.source.headers();
            self.link.with_client(|client| {
                if options.blind {
                    client.set_chunk_size(options.chunk_size);
                }
                headers.iter().for_each(|frame| client.send_frame(frame));
            })?;
        }
        Ok(is_accepted)
    }

    /// Sends the frames that are due at `now_ns`, each in a write of its own or all in one. They state that they were sent at
    /// `sent_ns`: one look at the clock is enough for the few of a stream that are due at once. Returns how many there were.
    fn send(&mut self, now_ns: u64, sent_ns: u64, is_write_per_frame: bool) -> Result<u64, Disconnected> {
        let mut frames = 0;
        while self.source.due_ns() <= now_ns {
            let source = &mut self.source;
            self.link.with_client(|client| {
                while source.due_ns() <= now_ns {
                    client.send_frame(&source.next_frame(sent_ns));
                    frames += 1;
                    if is_write_per_frame {
                        break;
                    }
                }
            })?;
        }
        if self.link.unsent_bytes() > MAX_UNSENT_BYTES {
            return Err(Disconnected(format!(
                "the server reads more slowly than the bitrate: {MAX_UNSENT_BYTES} bytes are pending"
            )));
        }
        Ok(frames)
    }

    /// Sends a last frame and ends the stream. Returns whether there was one. Errors no longer matter.
    fn end(&mut self) -> bool {
        if self.is_started {
            let frame = self.source.last_frame(sys::now_ns());
            let _ = self.link.with_client(|client| client.send_frame(&frame));
        }
        let _ = self.link.with_client(|client| client.stop());
        self.is_started
    }

    fn failed(&self, Disconnected(reason): Disconnected) -> String {
        format!("{}: {reason}", self.name)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { streams, held, frames, bytes, pending_bytes, steady } = self;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        writeln!(f, "published    {held} of {streams} streams, {frames} frames, {:.1} MB", mb(*bytes))?;
        if steady.seconds > 0.0 {
            writeln!(
                f,
                "throughput   {:.1} MB/s, {:.0} frames/s for {:.1} s; the load generator used {:.2} cores",
                steady.mb_per_second, steady.frames_per_second, steady.seconds, steady.load_cores
            )?;
            writeln!(f, "sent late    {}", steady.late_ms)?;
        }
        if let Some(server) = steady.server {
            writeln!(
                f,
                "server       {:.2} cores, {:.1} MB resident ({:.1} before)",
                server.cores, server.resident_mb, server.resident_before_mb
            )?;
        }
        if is_bottleneck(steady.load_cores) {
            writeln!(f, "BOTTLENECK   the load generator: these are not the server's figures")?;
        }
        write!(f, "pending      {:.1} MB", mb(*pending_bytes as u64))
    }
}

/// Each stream starts at another point of its group of pictures, and the points of any number of streams are spread evenly:
/// multiples of the golden ratio, modulo 1.
fn phase_ns(number: usize, group_ns: u64) -> u64 {
    let share = (number as u64).wrapping_mul(GOLDEN_RATIO) >> 32;
    ((u128::from(group_ns) * u128::from(share)) >> 32) as u64
}

const SECOND_NS: u64 = 1_000_000_000;
/// New publishers per second: all within a second or two, and no storm.
pub const DEFAULT_RAMP: f64 = 1_000.0;
/// 2^64 divided by the golden ratio.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
/// File descriptors for other things than publishers.
const SPARE_FILES: u64 = 16;
/// How long a server may take to accept a publisher.
const START_TIMEOUT_NS: u64 = 10 * SECOND_NS;
/// A real encoder would drop frames at this point, which would silently reduce the load.
const MAX_UNSENT_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_many_streams_and_their_key_frames_are_not_due_in_step() {
        const FRAME_NS: u64 = SECOND_NS / 30;
        for streams in [60, 200, 800] {
            for period_ns in [FRAME_NS, 60 * FRAME_NS] {
                let mut tenths = [0; 10];
                for number in 0..streams {
                    let tenth = phase_ns(number, 60 * FRAME_NS) % period_ns * 10 / period_ns;
                    tenths[tenth as usize] += 1;
                }
                let even = streams / 10;
                assert!(
                    tenths.iter().all(|&count| (even / 2..=even * 2).contains(&count)),
                    "{streams}: {tenths:?}"
                );
            }
        }
        assert_eq!(phase_ns(0, SECOND_NS), 0, "a single stream starts at once");
    }
}

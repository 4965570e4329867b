//! The command line: options in, progress and results out.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fanfare_load::play::{Habits, Progress, Shares};
use fanfare_load::report::Report;
use fanfare_load::source::Shape;
use fanfare_load::target::Target;
use fanfare_load::tls::{self, Trust};
use fanfare_load::{attack, bare, handshakes, limit, play, publish, receive, sys};
use fanfare_rtmp::rtmp::chunk::ChunkSize;

fn main() -> ExitCode {
    let Cli { cpu, command } = Cli::parse();
    match start(cpu, command) {
        Ok(code) => code,
        Err(error) => {
            log(format_args!("fanfare-load: {error}"));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Load generator for RTMP relays: publishers, thousands of players, attacks, and bare loops as the baselines
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    /// Pin the process to this CPU
    #[arg(long, global = true, value_name = "N")]
    cpu: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publish synthetic streams; each frame carries its number and the time at which it was sent
    Publish(Publish),
    /// Play with many players, and check what they receive against what was sent. Exit code: 0 if all players connected,
    /// stayed and got each frame in time, 1 if not
    Play(Play),
    /// Attack a server with input that no real client sends
    Attack(Attack),
    /// Serve one stream by a loop that only calls send(): the baseline for comparisons
    Limit(Limit),
    /// Make TLS handshakes, one after another
    Handshakes(Handshakes),
    /// Receive from `publish --blind` and throw everything away: the baseline of receiving
    Receive(Receive),
}

#[derive(Args)]
struct Publish {
    /// rtmp://127.0.0.1:1935/live/stream, or rtmps; further streams are stream-1, stream-2, …
    url: String,
    /// Number of streams
    #[arg(long, default_value = "1", value_parser = at_least_one)]
    streams: usize,
    /// Bits per second per stream, audio included: 600k, 2.5M
    #[arg(long, default_value = "1M", value_parser = bits)]
    bitrate: u64,
    /// Video frames per second
    #[arg(long, default_value = "30")]
    fps: u32,
    /// Frames from one key frame to the next
    #[arg(long, default_value = "60")]
    gop: u32,
    /// Without audio, which is 43 frames per second at 64 kbit/s
    #[arg(long)]
    no_audio: bool,
    /// Chunk size of what is sent, in bytes
    #[arg(long, default_value = "4096", value_parser = chunk_size)]
    chunk_size: ChunkSize,
    /// New publishers per second
    #[arg(long, default_value_t = publish::DEFAULT_RAMP, value_parser = positive)]
    ramp: f64,
    /// Milliseconds of a stream that are sent in one write; 0 writes each message by itself, as OBS and FFmpeg do
    #[arg(long, default_value = "0", value_name = "MS", value_parser = milliseconds)]
    beat: Duration,
    /// Wait for no answers: for `receive`, which gives none
    #[arg(long)]
    blind: bool,
    /// Seconds from the last publisher's start to the start of the measurement
    #[arg(long, default_value = "3", value_parser = seconds)]
    settle: Duration,
    /// Stop after this many seconds
    #[arg(long, default_value = "3600", value_parser = seconds)]
    seconds: Duration,
    /// Process ID of the server: report the CPU time and memory of it and its children
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Also write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    encryption: Encryption,
    #[command(flatten)]
    host: Host,
}

#[derive(Args)]
struct Play {
    /// rtmp://127.0.0.1:1935/live/stream, http://127.0.0.1:8080/live/stream.flv, or that with ws; each also with an s for
    /// TLS, and its port
    url: String,
    /// Number of players
    #[arg(short = 'n', long, default_value = "100", value_parser = at_least_one)]
    players: usize,
    /// Spread the players over this many streams, named as `publish` names them
    #[arg(long, default_value = "1", value_parser = at_least_one)]
    streams: usize,
    /// New players per second
    #[arg(long, default_value = "500", value_parser = positive)]
    ramp: f64,
    /// Share of players that check every frame, 0 to 1; for the others only bytes are counted
    #[arg(long, default_value = "0.02", value_name = "SHARE")]
    parse: f64,
    /// Share of players that stop reading after a while
    #[arg(long, default_value = "0", value_name = "SHARE")]
    stalled: f64,
    /// Share of players that read at a limited rate
    #[arg(long, default_value = "0", value_name = "SHARE")]
    slow: f64,
    /// Share of players that disconnect and reconnect, again and again
    #[arg(long, default_value = "0", value_name = "SHARE")]
    churn: f64,
    /// Seconds from the first key frame to the stall
    #[arg(long, default_value = "3", value_parser = seconds)]
    stall_after: Duration,
    /// Length of the stall in seconds; 0 means for ever
    #[arg(long, default_value = "0", value_parser = seconds)]
    stall_for: Duration,
    /// Bits per second that slow players read at
    #[arg(long, default_value = "300k", value_parser = bits)]
    slow_bitrate: u64,
    /// Seconds that reconnecting players stay connected
    #[arg(long, default_value = "5", value_parser = seconds)]
    churn_stay: Duration,
    /// Seconds until they reconnect
    #[arg(long, default_value = "1", value_parser = seconds)]
    churn_away: Duration,
    /// Seconds from the last player's connection to the start of the measurement
    #[arg(long, default_value = "3", value_parser = seconds)]
    settle: Duration,
    /// Length of the measurement in seconds
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Milliseconds between two reads of players whose frames are not checked; 0 reads whenever data arrives, at the
    /// cost of a wake-up in the server's send()
    #[arg(long, default_value = "10", value_parser = milliseconds)]
    drain_every: Duration,
    /// Milliseconds after which a frame is late; a player that gets nothing for that long, although something was sent,
    /// has stalled
    #[arg(long, default_value = "500", value_parser = milliseconds)]
    late_after: Duration,
    /// Process ID of the server: report the CPU time and memory of it and its children
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Process ID of another part of the load generator, such as its publisher: counted in "the load generator used"; can
    /// be repeated
    #[arg(long, value_name = "PID")]
    load_pid: Vec<u32>,
    /// Also write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    encryption: Encryption,
    #[command(flatten)]
    host: Host,
}

#[derive(Args)]
struct Attack {
    /// The kind of attack
    #[arg(value_enum)]
    kind: attack::Kind,
    /// rtmp://127.0.0.1:1935/live/stream, a live stream; http://127.0.0.1:8080/live/stream.flv for attacks
    /// over HTTP
    url: String,
    /// The HTTP address, such as 127.0.0.1:8080, for attacks that use both
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Stop after this many seconds
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    #[command(flatten)]
    host: Host,
}

#[derive(Args)]
struct Limit {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:1935", value_name = "ADDR")]
    listen: SocketAddr,
    /// Another address to listen on, for players over TLS
    #[arg(long, value_name = "ADDR", requires_all = ["certificate", "key"])]
    listen_tls: Option<SocketAddr>,
    /// Its certificate, in PEM
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Milliseconds for which frames are collected before they are sent; 0 sends each frame at once
    #[arg(long, default_value = "0", value_parser = milliseconds)]
    window: Duration,
    /// Stop after this many seconds
    #[arg(long, default_value = "3600", value_parser = seconds)]
    seconds: Duration,
}

#[derive(Args)]
struct Receive {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:1935", value_name = "ADDR")]
    listen: SocketAddr,
    /// Milliseconds to rest after each round of receives; 0 receives as soon as something comes
    #[arg(long, default_value = "0", value_name = "MS", value_parser = milliseconds)]
    rest: Duration,
    /// Stop after this many seconds
    #[arg(long, default_value = "3600", value_parser = seconds)]
    seconds: Duration,
}

#[derive(Args)]
struct Handshakes {
    /// rtmps://127.0.0.1:1936/live/stream; the stream does not matter
    url: String,
    /// New connections per second
    #[arg(long, default_value = "500", value_parser = positive)]
    rate: f64,
    /// Connections in their handshake at a time, at most
    #[arg(long, default_value = "1000", value_parser = at_least_one)]
    at_once: usize,
    /// Stop after this many seconds
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Process ID of the server: report the CPU time and memory of it and its children
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Also write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    encryption: Encryption,
    #[command(flatten)]
    host: Host,
}

#[derive(Args)]
struct Encryption {
    /// Check the server's certificate by the authorities in this file, in PEM; without it any certificate will do
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Resume the TLS sessions of earlier connections
    #[arg(long)]
    resume: bool,
}

#[derive(Args)]
struct Host {
    /// Allow a server that is not on this machine: you confirm that you may put load on it
    #[arg(long)]
    i_own_this_host: bool,
}

fn start(cpu: Option<usize>, command: Command) -> Result<ExitCode, String> {
    if let Some(cpu) = cpu {
        sys::pin(cpu).map_err(|error| format!("--cpu {cpu}: {error}"))?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|error| error.to_string())?;
    }
    match command {
        Command::Publish(options) => options.run(&stop),
        Command::Play(options) => options.run(&stop),
        Command::Attack(options) => options.run(&stop),
        Command::Limit(options) => options.run(&stop),
        Command::Receive(options) => options.run(&stop),
        Command::Handshakes(options) => options.run(&stop),
    }
}

impl Encryption {
    fn trust(&self) -> Trust<'_> {
        Trust { authorities: self.ca.as_deref(), resumes: self.resume }
    }
}

impl Publish {
    fn run(self, stop: &AtomicBool) -> Result<ExitCode, String> {
        let Self { bitrate, fps, gop, no_audio, .. } = self;
        let options = publish::Options {
            target: Target::resolve(&self.url, self.host.i_own_this_host)?
                .with_trust(self.encryption.trust())?,
            streams: self.streams,
            shape: Shape { bitrate, fps, gop, audio: !no_audio },
            chunk_size: self.chunk_size,
            ramp: self.ramp,
            beat: self.beat,
            blind: self.blind,
            settle: self.settle,
            time: self.seconds,
            server_pid: self.server_pid,
        };
        let mut before = 0;
        let report = publish::run(&options, stop, |published| {
            let publish::Published { streams, frames, bytes } = published;
            let mb = (bytes - before) as f64 / 1e6;
            before = bytes;
            log(format_args!("publishing {streams} streams, {mb:.3} MB/s, {frames} frames so far"));
        })?;
        log(format_args!("{report}"));
        write_json(self.json.as_deref(), &report)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Play {
    fn run(self, stop: &AtomicBool) -> Result<ExitCode, String> {
        let shares =
            Shares { checks: self.parse, stalls: self.stalled, reads_slowly: self.slow, churns: self.churn };
        shares.check()?;
        let options = play::Options {
            target: Target::resolve(&self.url, self.host.i_own_this_host)?
                .with_trust(self.encryption.trust())?,
            players: self.players,
            streams: self.streams,
            ramp: self.ramp,
            shares,
            habits: Habits {
                stall_after: self.stall_after,
                stall_for: self.stall_for,
                slow_bitrate: self.slow_bitrate,
                churn_stay: self.churn_stay,
                churn_away: self.churn_away,
            },
            settle: self.settle,
            time: self.seconds,
            drain_every: self.drain_every,
            late_after: self.late_after,
            server_pid: self.server_pid,
            load_pids: self.load_pid,
        };
        let report = play::run(&options, stop, |progress| log(format_args!("{}", line(progress))))?;
        print(&report);
        write_json(self.json.as_deref(), &report)?;
        Ok(if report.is_perfect() { ExitCode::SUCCESS } else { ExitCode::from(NOT_PERFECT) })
    }
}

impl Attack {
    fn run(self, stop: &AtomicBool) -> Result<ExitCode, String> {
        let target = Target::resolve(&self.url, self.host.i_own_this_host)?;
        if self.http.is_some_and(|http| http.ip() != target.address.ip()) {
            return Err("--http must be on the same host as the URL".to_owned());
        }
        let options = attack::Options { target, http: self.http, kind: self.kind, time: self.seconds };
        let done = attack::run(&options, stop)?;
        log(format_args!(
            "{} connections opened, {} closed by the server, {:.1} MB sent",
            done.begun,
            done.ended,
            done.bytes as f64 / 1e6
        ));
        Ok(ExitCode::SUCCESS)
    }
}

impl Limit {
    fn run(self, stop: &AtomicBool) -> Result<ExitCode, String> {
        let Self { listen, listen_tls, certificate, key, window, seconds } = self;
        let encrypted = match (listen_tls, certificate, key) {
            (Some(address), Some(certificate), Some(key)) => {
                Some(limit::Encrypted { address, config: tls::server(&certificate, &key)? })
            }
            _ => None,
        };
        let options = limit::Options { address: listen, encrypted, window, time: seconds };
        let listening = |limit::Listening { rtmp, rtmps }| {
            log(format_args!("listening on rtmp://{rtmp}"));
            rtmps.into_iter().for_each(|rtmps| log(format_args!("listening on rtmps://{rtmps}")));
        };
        let mut before = limit::Sent::default();
        limit::run(&options, stop, listening, |sent| {
            let mb = (sent.bytes - before.bytes) as f64 / 1e6;
            let sends = sent.sends - before.sends;
            log(format_args!(
                "{} players  {mb:.1} MB/s  {sends} sends/s, {} filled the socket; {:.1} MB pending; {} players dropped so far",
                sent.players,
                sent.full - before.full,
                sent.pending as f64 / 1e6,
                sent.dropped
            ));
            before = sent;
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Receive {
    fn run(self, stop: &AtomicBool) -> Result<ExitCode, String> {
        let Self { listen, rest, seconds } = self;
        let options = receive::Options { address: listen, rest, time: seconds };
        let listening = |address| log(format_args!("receiving on {address}"));
        let mut before = bare::Received::default();
        receive::run(&options, stop, listening, |received| {
            let mb = (received.bytes - before.bytes) as f64 / 1e6;
            let receives = received.receives - before.receives;
            log(format_args!("{} publishers  {mb:.1} MB/s  {receives} receives/s", received.sockets));
            before = received;
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Handshakes {
    fn run(self, stop: &AtomicBool) -> Result<ExitCode, String> {
        let options = handshakes::Options {
            target: Target::resolve(&self.url, self.host.i_own_this_host)?
                .with_trust(self.encryption.trust())?,
            rate: self.rate,
            at_once: self.at_once,
            time: self.seconds,
            server_pid: self.server_pid,
        };
        let report = handshakes::run(&options, stop)?;
        log(format_args!("{report}"));
        write_json(self.json.as_deref(), &report)?;
        Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(NOT_PERFECT) })
    }
}

fn write_json(path: Option<&Path>, report: &impl serde::Serialize) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let json = serde_json::to_string_pretty(report).expect("a report is numbers and text");
    std::fs::write(path, json + "\n").map_err(|error| format!("{}: {error}", path.display()))
}

/// The progress line that is logged every second.
fn line(progress: &Progress) -> String {
    let Progress { seconds, begun, watching, waiting, mb, latency, tally, lost, is_steady } = progress;
    format!(
        "{seconds:4.0} s  {watching}/{begun} watching  {mb:.1} MB/s  p50 {:.1} p99 {:.1} ms  {} gaps {} skips  {lost} \
         lost{}{}",
        latency.p50,
        latency.p99,
        tally.gaps,
        tally.skips,
        if *waiting > 0 { format!("  {waiting} STALLED") } else { String::new() },
        if *is_steady { "" } else { "  (starting)" }
    )
}

/// Prints the result to standard output.
fn print(report: &Report) {
    // A closed standard output is not an error.
    let _ = writeln!(std::io::stdout(), "{report}");
}

/// Logs progress and errors to standard error.
fn log(text: std::fmt::Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `600k`, `2.5M`, `1000000`.
fn bits(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..1e12).contains(&number) => Ok((number * factor).round() as u64),
        _ => Err("not a bitrate such as 600k or 2.5M".to_owned()),
    }
}

fn chunk_size(text: &str) -> Result<ChunkSize, String> {
    let size = text.parse().ok().and_then(ChunkSize::new);
    size.ok_or_else(|| "a chunk size is 1 to 16777215 bytes".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, 0 to 604800".to_owned())
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse().ok().filter(|milliseconds| *milliseconds <= 60_000);
    milliseconds.map(Duration::from_millis).ok_or_else(|| "expected milliseconds, 0 to 60000".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "must be at least 1".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number| (0.001..=1e6).contains(number))
        .ok_or_else(|| "must be 0.001 to 1000000".to_owned())
}

/// A week: every run ends.
const MAX_SECONDS: f64 = 604_800.0;

/// Exit code of a run in which a player failed or missed something.
const NOT_PERFECT: u8 = 1;
/// Exit code of a run that could not start or was cut short; clap uses the same.
const COULD_NOT_RUN: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  fanfare-load publish rtmp://127.0.0.1/live/load --bitrate 1M
  fanfare-load play rtmp://127.0.0.1/live/load -n 500 --seconds 20 --json result.json
  fanfare-load play rtmp://127.0.0.1/live/load -n 200 --stalled 0.5 --churn 0.1
  fanfare-load attack slow-handshakes rtmp://127.0.0.1/live/load
  fanfare-load limit --listen 127.0.0.1:1940 --window 33
  fanfare-load handshakes rtmps://127.0.0.1:1936/live/load --rate 2000
  fanfare-load receive --listen 127.0.0.1:1941 --rest 10
  fanfare-load publish rtmp://127.0.0.1:1941/live/load --streams 800 --bitrate 600k --blind";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn bitrates_may_have_a_unit() {
        assert_eq!(["600k", "2.5M", "64000"].map(|text| bits(text).unwrap()), [600_000, 2_500_000, 64_000]);
        for text in ["", "k", "-1", "1G", "NaN"] {
            assert!(bits(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_run_has_an_end() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["inf", "-1", "NaN", "604801"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}

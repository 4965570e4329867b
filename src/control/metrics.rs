//! `/metrics`: the reports in OpenMetrics, in base units. What `packaging/` asks of them, a test holds.

use std::{collections::HashMap, fmt, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    error::HttpError,
    history::{self, Rates, Watched},
    rights::Granted,
    state::Control,
    system,
};
use crate::{
    endpoint::{
        Protocol, ReasonKind,
        report::{CoreReport, Histogram, StreamReport},
    },
    logging,
    stream::MemoryKind,
};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What streams beyond `http.metrics_max_streams` are called together. No name begins with a slash, so no stream can take
/// this one's labels: a series that is there twice makes Prometheus throw the whole scrape away.
const OTHERS: &str = "/others";

/// `GET /metrics`: to those who may not read, without the name of any stream.
pub(super) async fn scrape(
    State(control): State<Arc<Control>>,
    Extension(granted): Extension<Granted>,
) -> Response {
    let mut registry = Registry::with_prefix("fanfare");
    registry.register_collector(Box::new(Scrape { control, granted }));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        // Writing to memory does not fail.
        Err(error) => {
            HttpError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// The relay as it is when it is asked.
struct Scrape {
    control: Arc<Control>,
    granted: Granted,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let control = &self.control;
        let (cores, streams) = (control.relay.cores(), control.relay.streams());
        let mut writer = Writer(encoder);
        process(&mut writer, control)?;
        of_cores(&mut writer, control, &cores)?;
        of_streams(&mut writer, control, self.granted, &cores, &streams)
    }
}

fn process(writer: &mut Writer<'_>, control: &Control) -> fmt::Result {
    let relay = &control.relay;
    writer.info("build", "What runs", &[("version", env!("CARGO_PKG_VERSION"))])?;
    let uptime = relay.uptime().as_secs_f64();
    writer.gauge("uptime", "Time since the start", Some(Unit::Seconds), [(NO_LABELS, uptime)])?;
    let is_draining = f64::from(u8::from(relay.is_draining()));
    writer.gauge("draining", "1 while the relay is about to end", None, [(NO_LABELS, is_draining)])?;
    let memory = relay.memory();
    let totals = [
        ("resident", system::resident_bytes()),
        ("budget", memory.budget() as u64),
        ("counted", memory.bytes() as u64),
    ];
    let kinds = MemoryKind::ALL.iter().map(|&kind| (kind.name(), memory.of(kind) as u64));
    let bytes = totals.into_iter().chain(kinds).map(|(kind, bytes)| ([("kind", kind)], bytes as f64));
    let help = "Memory in use, limits.memory_budget, what counts against it, and of what kinds that is";
    writer.gauge("memory", help, Some(Unit::Bytes), bytes)?;
    let relief = memory.relief();
    let given_up = [(NO_LABELS, relief.given_up_bytes)];
    let help = "Segments that logs gave up because limits.memory_budget was exceeded";
    writer.counter("memory_freed", help, Some(Unit::Bytes), given_up)?;
    let files = [(NO_LABELS, system::open_files() as f64)];
    writer.gauge("open_files", "Descriptors that are open", None, files)?;
    let limit = [(NO_LABELS, system::open_files_limit() as f64)];
    writer.gauge("open_files_limit", "Descriptors that may be open", None, limit)?;
    let refusals = relay.refusals().into_iter().map(|(limit, count)| {
        ([("limit", limit.to_string().trim_start_matches("limits.").to_owned())], count)
    });
    writer.counter("refusals", "Who was turned away, by limit", None, refusals)?;
    let lost = [(NO_LABELS, logging::lost_lines())];
    writer.counter("log_lines_lost", "Log lines that standard error did not take in time", None, lost)?;
    let suppressed =
        relay.suppressed_lines().into_iter().map(|(kind, count)| ([("kind", kind.name())], count));
    let help = "Log lines that log.lines_per_network held back, by kind";
    writer.counter("log_lines_suppressed", help, None, suppressed)
}

fn of_cores(writer: &mut Writer<'_>, control: &Control, cores: &[Arc<CoreReport>]) -> fmt::Result {
    let gauge =
        |of: fn(&CoreReport) -> u64| cores.iter().map(move |core| (core_label(core), of(core) as f64));
    let counter = |of: fn(&CoreReport) -> u64| cores.iter().map(move |core| (core_label(core), of(core)));
    writer.gauge("connections", "Connections now", None, gauge(|core| core.connections))?;
    writer.gauge("publishers", "Publishers now", None, gauge(|core| core.publishers))?;
    let players = cores.iter().flat_map(|core| {
        Protocol::ALL.map(|protocol| {
            (core_and(core, "protocol", protocol.name()), core.players[protocol.index()] as f64)
        })
    });
    writer.gauge("players", "Players now", None, players)?;
    let busy = cores.iter().map(|core| (core_label(core), control.history.core(core.core).busy));
    writer.gauge("core_busy_ratio", "Share of the last seconds that was spent in passes", None, busy)?;
    writer.counter(
        "connections_accepted",
        "Connections that were let in",
        None,
        counter(|core| core.connects),
    )?;
    writer.counter("received", "Received", Some(Unit::Bytes), counter(|core| core.bytes_in))?;
    let sent = cores.iter().flat_map(|core| {
        Protocol::ALL
            .map(|protocol| (core_and(core, "protocol", protocol.name()), core.bytes_out[protocol.index()]))
    });
    writer.counter("sent", "Sent", Some(Unit::Bytes), sent)?;
    writer.counter("received_frames", "Frames from publishers", None, counter(|core| core.frames_in))?;
    writer.counter("sends", "Sends handed to the kernel", None, counter(|core| core.sends))?;
    let submissions = counter(|core| core.submissions);
    writer.counter(
        "submissions",
        "Calls into the kernel that handed over sends and receives",
        None,
        submissions,
    )?;
    writer.counter("completions", "Completions of these", None, counter(|core| core.completions))?;
    writer.counter("passes", "Passes over the players", None, counter(|core| core.passes))?;
    writer.counter("skips", "Players moved ahead to a key frame", None, counter(|core| core.skips))?;
    let ends = cores.iter().flat_map(|core| {
        ReasonKind::ALL
            .into_iter()
            .zip(core.ends)
            .map(|(reason, count)| (core_and(core, "reason", reason.label()), count))
    });
    writer.counter("connections_closed", "Connections that ended, by reason", None, ends)?;
    let pass = cores.iter().map(|core| (core_label(core), scaled(&core.pass_us, 1e-6)));
    writer.histogram("pass", "How long passes took", Unit::Seconds, pass)?;
    let send = cores.iter().map(|core| (core_label(core), scaled(&core.send_bytes, 1.0)));
    writer.histogram("send_size", "Size of each send to a player", Unit::Bytes, send)?;
    let lag = cores.iter().map(|core| (core_label(core), scaled(&core.lag_ms, 1e-3)));
    writer.histogram("lag", "Age of the oldest message in each send to a player", Unit::Seconds, lag)
}

/// A stream that has metrics of its own.
struct Told<'a> {
    stream: &'a StreamReport,
    watched: Watched,
    rates: Rates,
}

fn of_streams(
    writer: &mut Writer<'_>,
    control: &Control,
    granted: Granted,
    cores: &[Arc<CoreReport>],
    streams: &[StreamReport],
) -> fmt::Result {
    let live = streams.iter().filter(|stream| stream.is_live).count();
    let counts = [("live", live), ("waiting", streams.len() - live)];
    let counts = counts.map(|(state, count)| ([("state", state)], count as f64));
    writer.gauge("streams", "Streams that are published, and that are waited for", None, counts)?;

    let all_watched = history::watched(cores);
    let named = if granted.read { control.relay.config().http.metrics_max_streams } else { 0 };
    let (own, others) = chosen(streams, named);
    let tell = |stream| told(control, &all_watched, stream);
    let own: Vec<Told<'_>> = own.into_iter().map(tell).collect();
    let others: Vec<Told<'_>> = others.into_iter().map(tell).collect();

    let by_protocol = |of: fn(&Watched) -> [u64; Protocol::COUNT]| {
        own.iter().flat_map(move |told| {
            let counts = of(&told.watched);
            Protocol::ALL
                .map(|protocol| (stream_and_protocol(&told.stream.name, protocol), counts[protocol.index()]))
        })
    };
    let other_players = Protocol::ALL.into_iter().filter(|_| !others.is_empty()).map(|protocol| {
        let count = others.iter().map(|told| told.watched.players[protocol.index()]).sum::<u64>();
        (stream_and_protocol(OTHERS, protocol), count)
    });
    let players = by_protocol(|watched| watched.players).chain(other_players);
    let players = players.map(|(labels, count)| (labels, count as f64));
    writer.gauge("stream_players", "Players of a stream now", None, players)?;

    let rate = |of: fn(&Rates) -> u64| {
        let bytes = move |told: &Told<'_>| of(&told.rates) as f64 * 125.0;
        let rest = (!others.is_empty()).then(|| (stream_label(OTHERS), others.iter().map(bytes).sum()));
        own.iter().map(move |told| (stream_label(&told.stream.name), bytes(told))).chain(rest)
    };
    let per_second = || Some(Unit::Other("bytes_per_second".to_owned()));
    writer.gauge("stream_received", "What a publisher sends", per_second(), rate(|rates| rates.kbps_in))?;
    writer.gauge(
        "stream_sent",
        "What a stream's players are sent",
        per_second(),
        rate(|rates| rates.kbps_out),
    )?;

    // Of the others no counts: what streams come and go among them would turn back a sum.
    let counter =
        |of: fn(&Told<'_>) -> u64| own.iter().map(move |told| (stream_label(&told.stream.name), of(told)));
    let bytes_in = counter(|told| told.stream.facts.bytes);
    writer.counter("stream_received", "Payload of a publish", Some(Unit::Bytes), bytes_in)?;
    let frames = counter(|told| told.stream.facts.frames);
    writer.counter("stream_received_frames", "Frames of a publish", None, frames)?;
    let sent = by_protocol(|watched| watched.bytes_out);
    writer.counter("stream_sent", "Sent to a stream's players", Some(Unit::Bytes), sent)?;
    let skips = counter(|told| told.watched.skips);
    writer.counter("stream_skips", "Players of a stream moved ahead to a key frame", None, skips)?;

    let some = |of: fn(&Told<'_>) -> Option<f64>| {
        own.iter().filter_map(move |told| of(told).map(|value| (stream_label(&told.stream.name), value)))
    };
    let fps = some(|told| told.rates.fps);
    writer.gauge("stream_frames_per_second", "Pictures a publisher sends", None, fps)?;
    let interval = some(|told| told.stream.facts.key_frame_interval_ms.map(|ms| f64::from(ms) / 1e3));
    writer.gauge("stream_key_frame_interval", "Between two key frames", Some(Unit::Seconds), interval)?;
    let silence = some(|told| told.stream.silent_ms.map(|ms| ms as f64 / 1e3));
    writer.gauge("stream_idle", "Since a publisher was heard", Some(Unit::Seconds), silence)
}

/// Those that are published before those that are waited for, and the earlier before the later: so nobody who comes
/// takes the place of one who has one.
fn chosen(streams: &[StreamReport], most: usize) -> (Vec<&StreamReport>, Vec<&StreamReport>) {
    let mut all: Vec<_> = streams.iter().collect();
    all.sort_by_key(|stream| (!stream.is_live, stream.facts.since_ms));
    let others = all.split_off(most.min(all.len()));
    (all, others)
}

fn told<'a>(control: &Control, watched: &HashMap<Arc<str>, Watched>, stream: &'a StreamReport) -> Told<'a> {
    let watched = watched.get(&stream.name).copied().unwrap_or_default();
    Told { stream, watched, rates: control.history.stream(&stream.name) }
}

type Labels<const N: usize> = [(&'static str, String); N];

const NO_LABELS: [(&str, &str); 0] = [];

fn core_label(core: &CoreReport) -> Labels<1> {
    [("core", core.core.to_string())]
}

fn core_and(core: &CoreReport, name: &'static str, value: &str) -> Labels<2> {
    [("core", core.core.to_string()), (name, value.to_owned())]
}

fn stream_label(name: &str) -> Labels<1> {
    [("stream", escaped(name))]
}

fn stream_and_protocol(name: &str, protocol: Protocol) -> Labels<2> {
    [("stream", escaped(name)), ("protocol", protocol.name().to_owned())]
}

/// Names are whatever publishers choose, and the encoder writes a label's value as it is.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A histogram in other units: its sum, its count, its buckets.
type Scaled = (f64, u64, Vec<(f64, u64)>);

fn scaled<const BOUNDS: usize>(histogram: &Histogram<BOUNDS>, factor: f64) -> Scaled {
    // Divided rather than multiplied where that is exact: a bound is written as it is read.
    let scale = |value: u64| if factor < 1.0 { value as f64 / (1.0 / factor).round() } else { value as f64 };
    let buckets = histogram.buckets().map(|(bound, count)| (bound.map_or(f64::MAX, scale), count));
    (scale(histogram.sum()), histogram.count(), buckets.collect())
}

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn info<const N: usize>(&mut self, name: &str, help: &str, labels: &[(&str, &str); N]) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn gauge<const N: usize, K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        rows: impl IntoIterator<Item = ([(K, V); N], f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        rows.into_iter()
            .try_for_each(|(labels, value)| with(&mut metric, &labels, |metric| metric.encode_gauge(&value)))
    }

    fn counter<const N: usize, K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        rows: impl IntoIterator<Item = ([(K, V); N], u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        rows.into_iter().try_for_each(|(labels, value)| {
            with(&mut metric, &labels, |metric| metric.encode_counter::<NoLabelSet, _, u64>(&value, None))
        })
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Unit,
        rows: impl IntoIterator<Item = (Labels<1>, Scaled)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        rows.into_iter().try_for_each(|(labels, (sum, count, buckets))| {
            with(&mut metric, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })
        })
    }
}

/// A row with these labels, or the one row there is without.
fn with<const N: usize, K: AsRef<str>, V: AsRef<str>>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(K, V); N],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if N == 0 {
        return write(metric);
    }
    let labels = labels.each_ref().map(|(name, value)| (name.as_ref(), value.as_ref()));
    write(&mut metric.encode_family(&labels)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::report::{LAG_MS, PASS_US},
        rtmp::name::Address,
        stream::Facts,
    };

    fn stream(name: &str, is_live: bool, since_ms: u64) -> StreamReport {
        let facts = Facts { since_ms, ..Facts::default() }.into();
        StreamReport { name: name.into(), is_live, publisher: None, silent_ms: None, facts }
    }

    #[test]
    fn streams_that_came_first_have_metrics_of_their_own_and_nobody_takes_their_place() {
        let streams =
            [stream("a", true, 30), stream("b", false, 0), stream("c", true, 10), stream("d", true, 20)];
        let names =
            |streams: Vec<&StreamReport>| streams.iter().map(|it| it.name.to_string()).collect::<String>();
        let (own, others) = chosen(&streams, 2);
        assert_eq!((names(own).as_str(), names(others).as_str()), ("cd", "ab"));
        assert_eq!(chosen(&streams, 0).1.len(), 4);
        assert_eq!(chosen(&streams, 9).0.len(), 4);
    }

    #[test]
    fn no_stream_is_called_as_all_others_together() {
        for (app, key) in
            [("", OTHERS), (OTHERS, ""), ("/", OTHERS), ("", "(others)"), ("", "//others"), ("", "%2Fothers")]
        {
            let name = Address::parse(app, "", key).map(|address| address.name.to_string());
            assert!(name.is_ok_and(|name| stream_label(&name) != stream_label(OTHERS)), "{app:?} {key:?}");
        }
    }

    #[test]
    fn a_name_cannot_end_its_label() {
        assert_eq!(escaped("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }

    #[test]
    fn histograms_are_in_base_units_and_end_without_a_bound() {
        let mut lag = Histogram::new(&LAG_MS);
        lag.observe(50);
        let (sum, count, buckets) = scaled(&lag, 1e-3);
        assert_eq!((sum, count), (0.05, 1));
        assert_eq!((buckets[0], buckets[3], buckets[10]), ((0.005, 0), (0.05, 1), (f64::MAX, 0)));
        assert_eq!(scaled(&Histogram::new(&PASS_US), 1e-6).2[0].0, 0.0001);
    }
}

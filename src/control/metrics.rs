//! `/metrics`: the reports as metrics, in base units. A test checks that every metric used in `packaging/` exists.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
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
    exposition::Exposition,
    history::{self, Rates, Watched},
    rights::Granted,
    state::Control,
    system,
};
use crate::{
    access::ServiceReport,
    endpoint::{
        DenialLabels, HandshakeResult, Protocol, ReasonKind,
        report::{CoreReport, Histogram, StreamReport},
    },
    logging,
    stream::MemoryKind,
};

/// The label of the streams beyond `http.metrics_max_streams`, added up. No stream name starts with a slash, so no
/// stream has this label: Prometheus rejects a scrape with a duplicate series.
const OTHERS: &str = "/others";

/// `GET /metrics`. Clients that may not read get no stream names.
pub(super) async fn scrape(
    State(control): State<Arc<Control>>,
    Extension(granted): Extension<Granted>,
    headers: HeaderMap,
) -> Response {
    let mut of_process = Registry::default();
    of_process.register_collector(Box::new(Process));
    let mut registry = Registry::with_prefix("fanfare");
    registry.register_collector(Box::new(Scrape { control, granted }));
    let mut text = String::new();
    let encoded =
        text::encode_registry(&mut text, &of_process).and_then(|()| text::encode(&mut text, &registry));
    let exposition = Exposition::requested(&headers);
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, exposition.content_type())], exposition.of(text)).into_response(),
        // Writing to memory does not fail.
        Err(error) => {
            HttpError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// The process as the kernel reports it, with the names that Prometheus's client libraries use.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let mut metric = writer.0.encode_descriptor(
            "process_cpu",
            "CPU time of the process, in user mode and in the kernel",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        metric.encode_counter::<NoLabelSet, _, f64>(&system::cpu_seconds(), None)?;
        let mut gauge = |name, help, unit, value| writer.gauge(name, help, unit, [(NO_LABELS, value)]);
        let bytes = || Some(Unit::Bytes);
        let help = "Memory in use (resident set)";
        gauge("process_resident_memory", help, bytes(), system::resident_bytes() as f64)?;
        gauge("process_virtual_memory", "Virtual memory", bytes(), system::virtual_bytes() as f64)?;
        gauge("process_open_fds", "Open file descriptors", None, system::open_files() as f64)?;
        gauge("process_max_fds", "Limit on open file descriptors", None, system::open_files_limit() as f64)?;
        let help = "When the process started, as a Unix time";
        gauge("process_start_time", help, Some(Unit::Seconds), system::started_at_seconds())
    }
}

/// Collects the metrics at the time of the scrape.
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
        of_certificates(&mut writer, control)?;
        of_service(&mut writer, &control.relay.service_report())?;
        of_cores(&mut writer, control, &cores)?;
        of_streams(&mut writer, control, self.granted, &cores, &streams)
    }
}

/// Only where something is encrypted.
fn of_certificates(writer: &mut Writer<'_>, control: &Control) -> fmt::Result {
    let Some(tls) = control.relay.tls() else { return Ok(()) };
    let expiry = (tls.certificates.iter()).map(|it| ([("name", it.name.clone())], it.expires_at as f64));
    let help = "Until when each certificate is valid, as a Unix time, by a name that it is for";
    writer.gauge("certificate_expires_timestamp", help, Some(Unit::Seconds), expiry)?;
    let failures = [(NO_LABELS, control.renewals.failures())];
    writer.counter(
        "certificate_renewal_failures",
        "Certificates that were not issued when asked for",
        None,
        failures,
    )
}

fn process(writer: &mut Writer<'_>, control: &Control) -> fmt::Result {
    let relay = &control.relay;
    writer.info("build", "Version of fanfare", &[("version", env!("CARGO_PKG_VERSION"))])?;
    let uptime = relay.uptime().as_secs_f64();
    writer.gauge("uptime", "Time since the relay started", Some(Unit::Seconds), [(NO_LABELS, uptime)])?;
    let is_draining = f64::from(u8::from(relay.is_draining()));
    writer.gauge("draining", "1 while the relay is shutting down", None, [(NO_LABELS, is_draining)])?;
    let memory = relay.memory();
    let totals = [
        ("resident", system::resident_bytes()),
        ("budget", memory.budget() as u64),
        ("counted", memory.bytes() as u64),
    ];
    let kinds = MemoryKind::ALL.iter().map(|&kind| (kind.name(), memory.of(kind) as u64));
    let bytes = totals.into_iter().chain(kinds).map(|(kind, bytes)| ([("kind", kind)], bytes as f64));
    let help = "Memory in use, limits.memory_budget, what counts against the budget, and its parts by kind";
    writer.gauge("memory", help, Some(Unit::Bytes), bytes)?;
    let relief = memory.relief();
    let freed = [(NO_LABELS, relief.given_up_bytes)];
    let help = "Segments that were dropped because limits.memory_budget was exceeded";
    writer.counter("memory_freed", help, Some(Unit::Bytes), freed)?;
    let refusals = relay.refusals().into_iter().map(|(limit, count)| ([("limit", limit.to_string())], count));
    writer.counter("refusals", "Refused connections and publishers, by limit", None, refusals)?;
    let denials = relay.denials().into_iter().map(|(labels, count)| {
        let DenialLabels { action, rule, cause } = labels;
        (
            [
                ("action", action.name().to_owned()),
                ("rule", rule.to_string()),
                ("cause", cause.label().to_owned()),
            ],
            count,
        )
    });
    let help = "Denied requests to connect, publish, play or use the API, by the rule that decided and why";
    writer.counter("access_denied", help, None, denials)?;
    let handshakes = relay.handshakes();
    let handshakes = HandshakeResult::ALL.map(|result| ([("result", result.label())], handshakes.of(result)));
    let help = "TLS handshakes over RTMPS and HTTPS, by how they ended";
    writer.counter("tls_handshakes", help, None, handshakes)?;
    let lost = [(NO_LABELS, logging::lost_lines())];
    writer.counter(
        "log_lines_lost",
        "Log lines lost because standard error was not read in time or not writable",
        None,
        lost,
    )?;
    let suppressed =
        relay.suppressed_lines().into_iter().map(|(kind, count)| ([("kind", kind.name())], count));
    let help = "Log lines suppressed by log.lines_per_network, by kind";
    writer.counter("log_lines_suppressed", help, None, suppressed)
}

/// Of the operator's web service.
fn of_service(writer: &mut Writer<'_>, report: &ServiceReport) -> fmt::Result {
    let results = report.hooks.iter().flat_map(|of| {
        [("yes", of.yes), ("no", of.no), ("failed", of.failed)]
            .map(|(result, count)| ([("hook", of.hook), ("result", result)], count))
    });
    let help = "Requests to the web service, by hook and by what it answered";
    writer.counter("hook_requests", help, None, results)?;
    let help = "Time that requests to the web service took, by hook";
    let mut time =
        writer.0.encode_descriptor("hook_request", help, Some(&Unit::Seconds), MetricType::Counter)?;
    for of in &report.hooks {
        let seconds = of.time_us as f64 / 1e6;
        with(&mut time, &[("hook", of.hook)], |time| {
            time.encode_counter::<NoLabelSet, _, f64>(&seconds, None)
        })?;
    }
    let shared = [([("by", "request")], report.joined), ([("by", "cache")], report.cached)];
    let help = "Questions answered without a request of their own: by one under way, or by an earlier answer";
    writer.counter("hook_shared_answers", help, None, shared)?;
    let waiting = [([("kind", "question")], report.questions), ([("kind", "notice")], report.notices)];
    let waiting = waiting.map(|(labels, count)| (labels, count as f64));
    writer.gauge(
        "hook_waiting",
        "Questions and notices that the web service has not answered",
        None,
        waiting,
    )?;
    let dropped = [(NO_LABELS, report.dropped)];
    writer.counter("hook_notices_dropped", "Notices that the web service did not get", None, dropped)
}

fn of_cores(writer: &mut Writer<'_>, control: &Control, cores: &[Arc<CoreReport>]) -> fmt::Result {
    let gauge =
        |of: fn(&CoreReport) -> u64| cores.iter().map(move |core| (core_label(core), of(core) as f64));
    let counter = |of: fn(&CoreReport) -> u64| cores.iter().map(move |core| (core_label(core), of(core)));
    writer.gauge("connections", "Current connections", None, gauge(|core| core.connections))?;
    writer.gauge("publishers", "Current publishers", None, gauge(|core| core.publishers))?;
    let players = cores.iter().flat_map(|core| {
        Protocol::ALL.map(|protocol| {
            (core_and(core, "protocol", protocol.name()), core.players[protocol.index()] as f64)
        })
    });
    writer.gauge("players", "Current players", None, players)?;
    let busy = cores.iter().map(|core| (core_label(core), control.history.core(core.core).busy_ratio));
    writer.gauge(
        "core_busy_ratio",
        "Fraction of the last seconds spent in passes over the players",
        None,
        busy,
    )?;
    writer.counter("connections_accepted", "Accepted connections", None, counter(|core| core.connects))?;
    writer.counter("received", "Bytes received", Some(Unit::Bytes), counter(|core| core.bytes_in))?;
    let sent = cores.iter().flat_map(|core| {
        Protocol::ALL
            .map(|protocol| (core_and(core, "protocol", protocol.name()), core.bytes_out[protocol.index()]))
    });
    writer.counter("sent", "Bytes sent", Some(Unit::Bytes), sent)?;
    writer.counter(
        "received_frames",
        "Frames received from publishers",
        None,
        counter(|core| core.frames_in),
    )?;
    let waiting = gauge(|core| core.handshakes_waiting);
    writer.gauge("tls_handshakes_waiting", "RTMPS handshakes that wait for their turn", None, waiting)?;
    writer.counter("sends", "Sends submitted to the kernel", None, counter(|core| core.sends))?;
    let submissions = counter(|core| core.submissions);
    writer.counter("submissions", "System calls that submitted sends and receives", None, submissions)?;
    writer.counter(
        "completions",
        "Completions of sends and receives",
        None,
        counter(|core| core.completions),
    )?;
    writer.counter("passes", "Passes over the players", None, counter(|core| core.passes))?;
    writer.counter(
        "skips",
        "How often a player that lagged was moved to a key frame",
        None,
        counter(|core| core.skips),
    )?;
    let ends = cores.iter().flat_map(|core| {
        ReasonKind::ALL
            .into_iter()
            .zip(core.ends)
            // No connection ends with that: it goes on.
            .filter(|(reason, _)| *reason != ReasonKind::Stopped)
            .map(|(reason, count)| (core_and(core, "reason", reason.label()), count))
    });
    writer.counter("connections_closed", "Closed connections, by reason", None, ends)?;
    let pass = cores.iter().map(|core| (core_label(core), scaled(&core.pass_us, 1e-6)));
    writer.histogram("pass", "Duration of passes over the players", Unit::Seconds, pass)?;
    let send = cores.iter().map(|core| (core_label(core), scaled(&core.send_bytes, 1.0)));
    writer.histogram("send_size", "Size of sends to players", Unit::Bytes, send)?;
    let lag = cores.iter().map(|core| (core_label(core), scaled(&core.lag_ms, 1e-3)));
    writer.histogram("lag", "Age of the oldest message in sends to players", Unit::Seconds, lag)
}

/// A stream, its players and its rates.
struct Row<'a> {
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
    writer.gauge("streams", "Streams that are published (live) or waited for (waiting)", None, counts)?;

    let all_watched = history::watched(cores);
    let named = if granted.read { control.relay.config().http.metrics_max_streams } else { 0 };
    let (own, others) = select(streams, named);
    let row = |stream| row(control, &all_watched, stream);
    let own: Vec<Row<'_>> = own.into_iter().map(row).collect();
    let others: Vec<Row<'_>> = others.into_iter().map(row).collect();

    let by_protocol = |of: fn(&Row<'_>) -> [u64; Protocol::COUNT]| {
        own.iter().flat_map(move |row| {
            let counts = of(row);
            Protocol::ALL
                .map(|protocol| (stream_and_protocol(&row.stream.name, protocol), counts[protocol.index()]))
        })
    };
    let other_players = Protocol::ALL.into_iter().filter(|_| !others.is_empty()).map(|protocol| {
        let count = others.iter().map(|row| row.watched.players[protocol.index()]).sum::<u64>();
        (stream_and_protocol(OTHERS, protocol), count)
    });
    let players = by_protocol(|row| row.watched.players).chain(other_players);
    let players = players.map(|(labels, count)| (labels, count as f64));
    writer.gauge("stream_players", "Current players of a stream", None, players)?;

    let rate = |of: fn(&Rates) -> u64| {
        let bytes = move |row: &Row<'_>| of(&row.rates) as f64 * 125.0;
        let rest = (!others.is_empty()).then(|| (stream_label(OTHERS), others.iter().map(bytes).sum()));
        own.iter().map(move |row| (stream_label(&row.stream.name), bytes(row))).chain(rest)
    };
    let per_second = || Some(Unit::Other("bytes_per_second".to_owned()));
    writer.gauge(
        "stream_received",
        "Rate at which a publisher sends",
        per_second(),
        rate(|rates| rates.received_kbps),
    )?;
    writer.gauge(
        "stream_sent",
        "Rate at which the players of a stream are sent data",
        per_second(),
        rate(|rates| rates.sent_kbps),
    )?;

    // The other streams have no counters: when one of them ends, the sum would decrease.
    let counter =
        |of: fn(&Row<'_>) -> u64| own.iter().map(move |row| (stream_label(&row.stream.name), of(row)));
    let bytes_in = counter(|row| row.stream.facts.earlier_bytes + row.stream.facts.bytes);
    writer.counter(
        "stream_received",
        "Media bytes received from a publisher",
        Some(Unit::Bytes),
        bytes_in,
    )?;
    let frames = counter(|row| row.stream.facts.earlier_frames + row.stream.facts.frames);
    writer.counter("stream_received_frames", "Frames received from a publisher", None, frames)?;
    let sent = by_protocol(|row| row.stream.sent_bytes());
    writer.counter("stream_sent", "Bytes sent to the players of a stream", Some(Unit::Bytes), sent)?;
    let skips = counter(|row| row.stream.totals.skips);
    writer.counter(
        "stream_skips",
        "How often a player of a stream that lagged was moved to a key frame",
        None,
        skips,
    )?;

    let some = |of: fn(&Row<'_>) -> Option<f64>| {
        own.iter().filter_map(move |row| of(row).map(|value| (stream_label(&row.stream.name), value)))
    };
    let fps = some(|row| row.rates.fps);
    writer.gauge("stream_frames_per_second", "Video frames per second from a publisher", None, fps)?;
    let interval = some(|row| row.stream.facts.key_frame_interval_ms.map(|ms| f64::from(ms) / 1e3));
    writer.gauge(
        "stream_key_frame_interval",
        "Time between the last two key frames",
        Some(Unit::Seconds),
        interval,
    )?;
    let silence = some(|row| row.stream.silent_ms.map(|ms| ms as f64 / 1e3));
    writer.gauge("stream_idle", "Time since a publisher sent anything", Some(Unit::Seconds), silence)?;
    last_live(writer, control, named)
}

/// For alerts: a stream that has ended has no other metric.
fn last_live(writer: &mut Writer<'_>, control: &Control, max: usize) -> fmt::Result {
    let now_ms = control.relay.uptime().as_millis() as u64;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let rows = control.history.last_live(max).into_iter().map(|(name, at_ms)| {
        let ago_ms = now_ms.saturating_sub(at_ms);
        (stream_label(&name), (now - ago_ms as f64 / 1e3).round())
    });
    let help = "When a stream last had a publisher, as a Unix time; kept for a day after its end";
    writer.gauge("stream_last_live_timestamp", help, Some(Unit::Seconds), rows)
}

/// The streams with metrics of their own, and the others. Published streams come before those that are waited for, and
/// earlier ones before later ones, so that a new stream does not replace one that has metrics. A name that only players
/// have named has none: they can invent any number.
fn select(streams: &[StreamReport], max: usize) -> (Vec<&StreamReport>, Vec<&StreamReport>) {
    let (mut own, mut others): (Vec<_>, Vec<_>) = streams.iter().partition(|stream| stream.was_published);
    own.sort_by_key(|stream| (!stream.is_live, stream.facts.since_ms));
    others.extend(own.split_off(max.min(own.len())));
    (own, others)
}

fn row<'a>(control: &Control, watched: &HashMap<Arc<str>, Watched>, stream: &'a StreamReport) -> Row<'a> {
    let watched = watched.get(&stream.name).copied().unwrap_or_default();
    Row { stream, watched, rates: control.history.stream(&stream.name) }
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

/// Publishers choose the names, and the encoder does not escape labels.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A histogram in base units: sum, count, buckets.
type Scaled = (f64, u64, Vec<(f64, u64)>);

fn scaled<const BOUNDS: usize>(histogram: &Histogram<BOUNDS>, factor: f64) -> Scaled {
    // Divided rather than multiplied where that is exact, so that bounds are printed without rounding errors.
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

/// The row with these labels, or the only row if there are none.
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
        StreamReport {
            name: name.into(),
            is_live,
            publisher: None,
            silent_ms: None,
            facts,
            was_published: true,
            totals: Default::default(),
        }
    }

    #[test]
    fn the_earliest_streams_have_metrics_of_their_own_and_keep_them() {
        let streams =
            [stream("a", true, 30), stream("b", false, 0), stream("c", true, 10), stream("d", true, 20)];
        let names =
            |streams: Vec<&StreamReport>| streams.iter().map(|it| it.name.to_string()).collect::<String>();
        let (own, others) = select(&streams, 2);
        assert_eq!((names(own).as_str(), names(others).as_str()), ("cd", "ab"));
        assert_eq!(select(&streams, 0).1.len(), 4);
        assert_eq!(select(&streams, 9).0.len(), 4);
    }

    #[test]
    fn no_stream_can_have_the_label_of_the_others() {
        for (app, key) in
            [("", OTHERS), (OTHERS, ""), ("/", OTHERS), ("", "(others)"), ("", "//others"), ("", "%2Fothers")]
        {
            let name = Address::parse(app, "", key).map(|address| address.name.to_string());
            assert!(name.is_ok_and(|name| stream_label(&name) != stream_label(OTHERS)), "{app:?} {key:?}");
        }
    }

    #[test]
    fn a_stream_name_cannot_end_its_label() {
        assert_eq!(escaped("a\"} 1\n\\"), "a\\\"} 1\\n\\\\");
    }

    #[test]
    fn histograms_are_in_base_units_and_end_with_an_unbounded_bucket() {
        let mut lag = Histogram::new(&LAG_MS);
        lag.observe(50);
        let (sum, count, buckets) = scaled(&lag, 1e-3);
        assert_eq!((sum, count), (0.05, 1));
        assert_eq!((buckets[0], buckets[3], buckets[10]), ((0.005, 0), (0.05, 1), (f64::MAX, 0)));
        assert_eq!(scaled(&Histogram::new(&PASS_US), 1e-6).2[0].0, 0.0001);
    }
}

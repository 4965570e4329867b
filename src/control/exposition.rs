//! The text of `/metrics`: OpenMetrics for clients that ask for it, otherwise the Prometheus text format, which older
//! tools read. Both have the same samples.

use axum::http::{HeaderMap, header};

/// A format of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    OpenMetrics,
    Prometheus,
}

impl Exposition {
    /// The format that these request headers ask for. Prometheus asks for OpenMetrics; curl and promtool do not.
    pub(super) fn requested(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = accepted.flat_map(|value| value.split(',')).map(|range| range.split(';').next());
        match types.any(|name| name.is_some_and(|name| name.trim() == "application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// This text, which is OpenMetrics, in this format.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Prometheus => to_prometheus(&text),
        }
    }
}

/// In the Prometheus format the name of a counter contains its suffix, an info is a gauge, and there are neither units nor
/// an end.
fn to_prometheus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        // HELP comes right before TYPE, which says how the metric's name ends.
        let of_type = if line.starts_with("# HELP ") { lines.peek().copied().unwrap_or(line) } else { line };
        let (suffix, kind) = match of_type.rsplit_once(' ') {
            Some((head, "counter")) if head.starts_with("# TYPE ") => ("_total", "counter"),
            Some((head, "info")) if head.starts_with("# TYPE ") => ("_info", "gauge"),
            _ => ("", ""),
        };
        let mut words = line.splitn(4, ' ');
        match (suffix, words.next(), words.next(), words.next(), words.next()) {
            ("", ..) => out.push_str(line),
            (_, Some(hash), Some(what @ "HELP"), Some(name), Some(help)) => {
                out.extend([hash, " ", what, " ", name, suffix, " ", help]);
            }
            (_, Some(hash), Some(what), Some(name), Some(_)) => {
                out.extend([hash, " ", what, " ", name, suffix, " ", kind]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_gets_openmetrics_if_it_asks_for_it() {
        let requested = |accept: Option<&'static str>| {
            let accept = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
            Exposition::requested(&accept.into_iter().collect())
        };
        let of_prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                             text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(requested(Some(of_prometheus)), Exposition::OpenMetrics);
        assert_eq!(requested(Some("text/plain, application/openmetrics-text")), Exposition::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain"), Some("text/html,application/xml;q=0.9")] {
            assert_eq!(requested(other), Exposition::Prometheus, "{other:?}");
        }
    }

    #[test]
    fn the_prometheus_format_has_suffixes_in_names_and_neither_units_nor_an_end() {
        let open = "# HELP a_bytes Bytes # TYPE of a\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                    a_bytes_total{x=\"# EOF\"} 5\n# HELP b Version\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                    # HELP c Gauge\n# TYPE c gauge\nc 2\n# EOF\n";
        let plain = "# HELP a_bytes_total Bytes # TYPE of a\n# TYPE a_bytes_total counter\n\
                     a_bytes_total{x=\"# EOF\"} 5\n# HELP b_info Version\n# TYPE b_info gauge\n\
                     b_info{version=\"1\"} 1\n# HELP c Gauge\n# TYPE c gauge\nc 2\n";
        assert_eq!(Exposition::Prometheus.of(open.to_owned()), plain);
        assert_eq!(Exposition::OpenMetrics.of(open.to_owned()), open);
    }
}

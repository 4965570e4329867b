//! curl over HTTP/2, which it is offered, beside curl over HTTP/1.1.

use std::process::Command;

use crate::certificates::{Certificate, start};
use crate::support::{Relay, missing};

/// What came: the body, the status, its type and length as they are announced. And which version was spoken.
fn ask(
    relay: &Relay,
    certificate: &Certificate,
    version: &str,
    method: &str,
    path: &str,
) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", version, "--cacert"]);
    curl.arg(certificate.authority()).arg(format!("https://{}{path}", relay.https_address()));
    match method {
        "HEAD" => curl.arg("--head").args(["--output", "/dev/null"]),
        method => curl.args(["--request", method]),
    };
    curl.args([
        "--write-out",
        " %{http_code} %{content_type} %header{content-length} %{errormsg}\n%{http_version}",
    ]);
    let output = curl.output().unwrap_or_else(|_| panic!("{}", missing("curl")));
    let text = String::from_utf8(output.stdout).unwrap();
    let (answer, spoken) = text.rsplit_once('\n').expect("two lines");
    (answer.to_owned(), spoken.to_owned())
}

#[test]
fn over_http_2_each_request_is_answered_as_over_http_1_1() {
    let certificate = Certificate::local();
    let relay = start(
        &certificate,
        "access = [{ streams = 'live/*', keys = 'one-key' }, \
         { action = 'api', streams = '/api/v1/cores', then = 'deny' }]",
    );
    for (path, status, is_stream) in [
        ("/", 200, false),
        ("/assets/none", 404, false),
        ("/healthz", 200, false),
        ("/api/v1/streams", 200, false),
        ("/api/v1/players", 401, false),
        ("/api/v1/cores", 403, false),
        ("/api/v1/none", 401, false),
        ("/live/a.flv", 401, true),
        ("/live/a.flv?key=one-key", 404, true),
        ("/live/..flv", 400, true),
        ("/other/a.flv?start=never", 400, true),
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE"] {
            let [(one, _), (two, spoken)] =
                ["--http1.1", "--http2"].map(|version| ask(&relay, &certificate, version, method, path));
            // A stream's body takes a connection of its own.
            let takes_http1 = is_stream && method == "GET";
            assert_eq!(spoken, if takes_http1 { "1.1" } else { "2" }, "{method} {path}: {two}");
            assert_eq!(one, two, "{method} {path}");
            let is_read = matches!(method, "GET" | "HEAD");
            assert!(!is_read || one.contains(&format!(" {status} ")), "{method} {path}: {one}");
        }
    }
}

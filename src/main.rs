//! The command line: flags over the file over the defaults, then the start. Decides nothing about streams.

use std::cell::Cell;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use fanfare::config::{Config, Filter, LogFormat};
use fanfare::control::{Started, TokenNotice};
use fanfare::logging;

fn main() -> ExitCode {
    let Cli { options, command } = Cli::parse();
    let outcome = options.config().map_err(Failure::Configuration).and_then(|config| match command {
        Some(Command::Check) => {
            print(&format!("# Valid. In force:\n{}", config.without_secrets().to_toml()));
            Ok(())
        }
        None => serve(config),
    });
    let (code, error) = match outcome {
        Ok(()) => (ExitCode::SUCCESS, None),
        Err(Failure::Configuration(error)) => (ExitCode::from(WRONG_CONFIGURATION), Some(error)),
        Err(Failure::Other(error)) => (ExitCode::from(FAILED), Some(error)),
    };
    if let Some(error) = error {
        logging::last_line(&format!("fanfare: {error}"));
    }
    logging::flush();
    code
}

/// Why fanfare ends otherwise than it was told to; one line each.
enum Failure {
    /// Trying again is of no use.
    Configuration(String),
    /// The surroundings may change: a port that is in use, memory that is short.
    Other(String),
}

/// A live relay for Linux: encoders publish RTMP, and as many players as the machine can carry watch.
///
/// Runs without any option: it then takes RTMP on port 1935, shows a page on port 8080 and uses every CPU.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Validate the configuration, print what would be in force, and exit: 0 if it is valid, 2 if not
    Check,
}

/// Each of them overrides what the file says.
#[derive(Args)]
struct Options {
    /// Read options from this TOML file; without it no file is read. The fanfare.toml that comes with fanfare
    /// explains every option
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Take encoders and players on this address and port; may be given several times
    /// [default: 0.0.0.0:1935 and [::]:1935]
    #[arg(long, value_name = "ADDR", global = true, value_parser = address)]
    rtmp: Vec<SocketAddr>,
    /// Serve the page, streams for browsers, the API and metrics on this address and port; may be given several times
    /// [default: 0.0.0.0:8080 and [::]:8080]
    #[arg(long, value_name = "ADDR", global = true, value_parser = address)]
    http: Vec<SocketAddr>,
    /// Use this many threads; 0 is one for each CPU [default: 0]
    #[arg(long, value_name = "N", global = true)]
    cores: Option<usize>,
    /// Write log lines for people or for machines [default: text]
    #[arg(long, value_name = "FORMAT", global = true, value_parser = log_format())]
    log_format: Option<LogFormat>,
    /// Log from this level on: error, warn, info, debug, trace or off. The environment variable FANFARE_LOG
    /// overrides it [default: info]
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<Filter>,
}

impl Options {
    /// What is in force; the error is one line.
    fn config(self) -> Result<Config, String> {
        let mut config = match &self.config {
            Some(path) => Config::load(path).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        if !self.rtmp.is_empty() {
            config.set_rtmp(self.rtmp);
        }
        if !self.http.is_empty() {
            config.set_http(self.http);
        }
        config.cores = self.cores.unwrap_or(config.cores);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.log.level = self.log_level.unwrap_or(config.log.level);
        // The file was valid, so what is wrong now came from a flag.
        config.check().map_err(|fault| format!("{}: {}", flag_of(fault.key), fault.what))?;
        Ok(config)
    }
}

/// Runs until told to stop. An error is a start that failed, as one line.
fn serve(config: Config) -> Result<(), Failure> {
    logging::start(&config.log).map_err(Failure::Configuration)?;
    let format = config.log.format;
    let http = Cell::new(None);
    let beside = async |relay| {
        http.set(fanfare::control::start(relay).await?);
        Ok(())
    };
    fanfare::net::run(config, beside, |rtmp| announce(rtmp, http.take(), format)).map_err(Failure::Other)
}

/// Says that connections are taken: to a person on standard output, to a machine as a log line.
fn announce(rtmp: &[SocketAddr], http: Option<Started>, format: LogFormat) {
    let (http, token) = http.map(|started| (started.addresses, started.token)).unzip();
    let http = http.unwrap_or_default();
    match format {
        LogFormat::Text => {
            let banner = banner(rtmp, &http) + &token.as_ref().map(token_lines).unwrap_or_default();
            // A reader of standard output that stands still must not keep this thread from its signals.
            let printer = thread::Builder::new().name("banner".to_owned()).spawn(move || print(&banner));
            if let Err(error) = printer {
                tracing::warn!(%error, ?rtmp, ?http, "listening; no thread for the banner");
            }
        }
        LogFormat::Json => {
            let page = http.first().map(|first| format!("http://{}/", reachable(first))).unwrap_or_default();
            tracing::info!(version = VERSION, ?rtmp, ?http, page, "listening");
            match token {
                Some(TokenNotice::Made { file, .. } | TokenNotice::Kept(file)) => {
                    tracing::info!(file = %file.display(), "the token for the API is in a file");
                }
                // Nothing else has it.
                Some(TokenNotice::ForThisRun { token, .. }) => {
                    tracing::info!(token, "the token for the API, for this run only");
                }
                Some(TokenNotice::Configured) | None => {}
            }
        }
    }
}

/// The token, where this is the one time to show it.
fn token_lines(token: &TokenNotice) -> String {
    match token {
        TokenNotice::Configured => String::new(),
        TokenNotice::Kept(file) => format!("  Token:    in {}\n", file.display()),
        TokenNotice::Made { token, file } => format!(
            "  Token:    {token}\n            for the API, to end players and publishers; from now on in {}\n",
            file.display()
        ),
        TokenNotice::ForThisRun { token, why } => format!(
            "  Token:    {token}\n            for the API, to end players and publishers; for this run only, since \
             it cannot be kept: {why}\n"
        ),
    }
}

/// What a person who starts fanfare wants to know: where it listens, how to publish and how to watch.
fn banner(rtmp: &[SocketAddr], http: &[SocketAddr]) -> String {
    let listening = rtmp.iter().map(|address| format!("rtmp://{address}"));
    let listening: Vec<String> =
        listening.chain(http.iter().map(|address| format!("http://{address}"))).collect();
    let mut text = format!("fanfare {VERSION} listens on {}\n", listening.join(" and "));
    if let Some(first) = rtmp.first() {
        let url = format!("rtmp://{}/live/live_stream", reachable(first));
        text += &format!("  Publish:  ffmpeg -re -i demo.flv -c copy -f flv {url}\n");
        text += &format!("  Watch:    vlc {url}\n");
    }
    if let Some(first) = http.first() {
        let url = format!("http://{}/", reachable(first));
        text += &format!("  HTTP-FLV: {url}live/live_stream.flv\n");
        text += &format!("  Page:     {url}\n");
    }
    text
}

/// What to write for a listening address in a URL on this machine.
fn reachable(address: &SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    }
}

/// To standard output. That it cannot be written is no reason to stop.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address with a port, such as 0.0.0.0:1935 or [::]:1935".to_owned())
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"]).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

/// The flag that sets what a full key names.
fn flag_of(key: &str) -> &str {
    match key {
        "cores" => "--cores",
        "listen.rtmp" => "--rtmp",
        "listen.http" => "--http",
        "log.format" => "--log-format",
        "log.level" => "--log-level",
        other => other,
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit code of a bad flag (clap uses the same) or a bad file: a supervisor need not try again.
const WRONG_CONFIGURATION: u8 = 2;
/// Exit code of everything else that keeps it from starting or going on: a supervisor should try again.
const FAILED: u8 = 1;

const EXAMPLES: &str = "\
Examples:
  fanfare                                            start, on ports 1935 and 8080
  ffmpeg -re -i demo.flv -c copy -f flv rtmp://localhost:1935/live/live_stream
                                                     publish a file as if it were live
  vlc rtmp://localhost:1935/live/live_stream         watch it
  http://localhost:8080/                             or in a browser

  OBS: Settings, Stream, Service \"Custom\", Server rtmp://localhost:1935/live, Stream Key live_stream
  Any app and name will do in place of live and live_stream; who watches uses the same.

  fanfare --rtmp 127.0.0.1:1936 --cores 2            another address, two threads
  fanfare check --config fanfare.toml                is this file valid?
  fanfare --config fanfare.toml                      start with it

The first start makes a token for the API, shows it, and says where it keeps it: ending players and publishers, and
seeing where they come from, needs it.

Ctrl-C, SIGTERM or SIGQUIT stops it: players are told, and it leaves within 5 seconds; a second one, half a second
later at the earliest, stops it now. SIGHUP, SIGUSR1 and SIGUSR2 do nothing.
Exit code: 0 after such a stop, 2 when the configuration is wrong, 1 when it cannot start or go on for another reason.";

#[cfg(test)]
mod tests {
    use super::*;

    fn banner_of(rtmp: &[&str], http: &[&str]) -> String {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        banner(&parsed(rtmp), &parsed(http))
    }

    #[test]
    fn banner_names_every_address_and_says_how_to_publish_and_watch() {
        let text = banner_of(&["0.0.0.0:1935", "[::]:1935"], &["0.0.0.0:8080"]);
        assert!(
            text.contains("rtmp://0.0.0.0:1935 and rtmp://[::]:1935 and http://0.0.0.0:8080\n"),
            "{text}"
        );
        let publish =
            "  Publish:  ffmpeg -re -i demo.flv -c copy -f flv rtmp://localhost:1935/live/live_stream\n";
        assert!(text.contains(publish), "{text}");
        assert!(text.contains("  Watch:    vlc rtmp://localhost:1935/live/live_stream\n"), "{text}");
        assert!(text.contains("  HTTP-FLV: http://localhost:8080/live/live_stream.flv\n"), "{text}");
        assert!(text.contains("  Page:     http://localhost:8080/\n"), "{text}");
    }

    #[test]
    fn banner_uses_the_real_port_and_an_address_that_is_listened_on() {
        let text = banner_of(&["192.0.2.7:41000"], &["[::1]:80"]);
        assert!(text.contains("vlc rtmp://192.0.2.7:41000/live/live_stream\n"), "{text}");
        assert!(text.contains("Page:     http://[::1]:80/\n"), "{text}");
        assert!(banner_of(&["[::1]:1936"], &[]).contains("vlc rtmp://[::1]:1936/live/live_stream\n"));
    }

    #[test]
    fn without_http_the_banner_names_no_page() {
        assert!(!banner_of(&["0.0.0.0:1935"], &[]).contains("Page"));
    }

    #[test]
    fn command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}

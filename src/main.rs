//! The command line: merges flags, file and defaults, and starts the relay. Decides nothing about streams.

#![forbid(unsafe_code)]

use std::cell::OnceCell;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use fanfare::access::{Access, Action, KeyRing, Rules};
use fanfare::capacity::{self, estimate::Stream};
use fanfare::certificates::{self, DevelopmentCertificate, Renewals, Sessions};
use fanfare::config::{Config, Filter, Ignored, LogFormat, MIN_SIGNING_BYTES, Secrets, parse_addresses};
use fanfare::control::{Started, TokenNotice};
use fanfare::difference;
use fanfare::logging;
use fanfare::migrate::{self, Origin};
use fanfare::net::{self, Handle};
use fanfare::reload::{Loaded, Reloader};
use fanfare::sign;
use fanfare::system_check::{self, Finding};
use ipnet::IpNet;

fn main() -> ExitCode {
    let Cli { options, command } = Cli::parse();
    let outcome = options.clone().config().map_err(Failure::Configuration).and_then(|config| match command {
        Some(Command::Check { system: true, .. }) => check_system(&config),
        Some(Command::Check { diff: true, relay, token_file, .. }) => {
            show_difference(&config, relay, token_file.as_deref())
        }
        Some(Command::Check { .. }) => {
            rules(&config, &KeyRing::new()).map_err(Failure::Configuration)?;
            print(&format!("# Valid. The resulting configuration:\n{}", config.without_secrets().to_toml()));
            for Ignored { variable, similar } in ignored_variables() {
                let question = similar.map(|it| format!("; did you mean {it}?")).unwrap_or_default();
                let line = format!("fanfare: {variable} is ignored: there is no such option{question}");
                logging::last_line(&line);
            }
            Ok(())
        }
        Some(Command::Sign(request)) => print_links(&config, request),
        Some(Command::DevCert { names, out }) => make_certificate(names, out),
        Some(Command::Migrate { file, from }) => migrate_file(&file, from),
        Some(Command::Capacity { bitrate, seconds, json }) => measure_capacity(bitrate, seconds, json),
        None => serve(config, options),
    });
    let (code, error) = match outcome {
        Ok(()) => (ExitCode::SUCCESS, None),
        Err(Failure::Differs) => (ExitCode::from(DIFFERS), None),
        Err(Failure::Configuration(error)) => (ExitCode::from(WRONG_CONFIGURATION), Some(error)),
        Err(Failure::Other(error)) => (ExitCode::from(FAILED), Some(error)),
    };
    if let Some(error) = error {
        logging::last_line(&format!("fanfare: {error}"));
    }
    logging::flush();
    code
}

/// Why fanfare exits with an error, as one line.
enum Failure {
    /// Another attempt fails as well.
    Configuration(String),
    /// Another attempt may succeed: a port was in use, memory was short.
    Other(String),
    /// The configuration is not that of the running relay.
    Differs,
}

/// A live RTMP relay for Linux: encoders publish, many players watch.
///
/// Without options it accepts RTMP on port 1935, serves a web page on port 8080 and uses every CPU.
#[derive(Parser)]
// A subcommand lists its own options first, from 0 on.
#[command(version, after_long_help = EXAMPLES, max_term_width = 100, next_display_order = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Validate and print the configuration; the exit code is 0 if it is valid, 2 if not
    Check {
        /// Check instead what fanfare needs from this system with this configuration: io_uring, locked memory, open
        /// files, free ports. The exit code is 0 if fanfare can start, 1 if not, 2 if the configuration is invalid
        #[arg(long)]
        system: bool,
        /// Print instead what a reload and a restart would change at the relay that is running with another version of this
        /// configuration: give the same flags and variables as it has. The exit code is 0 if nothing differs, 1 if something
        /// does, 2 if the configuration is invalid or the relay cannot be asked
        #[arg(long, conflicts_with = "system")]
        diff: bool,
        /// With --diff: where the running relay serves its API [default: the first address in api.listen or listen.http]
        #[arg(long, value_name = "ADDR", requires = "diff")]
        relay: Option<SocketAddr>,
        /// With --diff: the file with its token, for writing or reading [default: api.token, api.read_token, or the file with
        /// the generated token]
        #[arg(long, value_name = "FILE", requires = "diff")]
        token_file: Option<PathBuf>,
    },
    /// Print a signed link that lets its bearer publish or play a stream until it expires
    ///
    /// The secret is the first one in links of the rule in [[access]] that applies to the stream, or that in --secret-file.
    Sign(SignOptions),
    /// Make a certificate for development, and print what tells FFmpeg, VLC, OBS and Chromium to trust it
    ///
    /// RTMPS and HTTPS use it while tls.certificates is empty. It is signed by an authority of its own, whose key is
    /// forgotten. Earlier files are replaced.
    DevCert {
        /// Host names and addresses that it is for [default: localhost 127.0.0.1 ::1]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Write the files to this folder [default: dev-cert in the state directory of the service or the user]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Print a configuration made from one of nginx-rtmp, SRS or MediaMTX
    ///
    /// Each option has a comment with the line that it is from, and the lines that could not be carried over are listed at the
    /// end with the reason.
    Migrate {
        /// An nginx.conf with an rtmp block, an srs.conf or a mediamtx.yml
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose configuration it is: nginx-rtmp, srs or mediamtx [default: as its name and content suggest]
        #[arg(long, value_name = "SERVER", value_parser = origin())]
        from: Option<Origin>,
    },
    /// Measure how many players and publishers one core of this machine will carry
    ///
    /// Two loops that only send and only receive run over the loopback interface, on the first CPU that fanfare may use, and
    /// what they cost is multiplied by what the relay does for each of their players and publishers. Not included are the
    /// network card and its bandwidth, TLS, and other programs: run it while the machine is idle.
    Capacity {
        /// Of each stream, in bits per second, audio included: 600k, 2.5M
        #[arg(long, default_value = "2M", value_name = "BITS", value_parser = Stream::parse)]
        bitrate: Stream,
        /// Measure for this many seconds
        #[arg(long, default_value = "30", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct SignOptions {
    /// What the link allows: play or publish
    #[arg(long, default_value = "play", value_name = "ACTION", value_parser = action(), hide_possible_values = true)]
    action: Action,
    /// The stream, app/name
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// For how long the link can be used: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// End the session this long from now [default: session_expire of the rule; if that is 0s, when the link expires]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    session: Option<Duration>,
    /// Only for clients from this network: 203.0.113.0/24
    #[arg(long, value_name = "CIDR")]
    network: Option<IpNet>,
    /// Name of the relay in the link [default: the address where it listens, or localhost]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Sign with the first line of this file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Each flag overrides the environment, which overrides the file.
#[derive(Args, Clone)]
struct Options {
    /// Read options from this TOML file [default: $FANFARE_CONFIG, or no file]. The fanfare.toml that comes with fanfare
    /// describes every option
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Accept publishers and players over RTMP on this address and port, or on this port of all addresses; can be
    /// repeated [default: 1935]
    #[arg(long, value_name = "ADDR", global = true, value_parser = addresses)]
    rtmp: Vec<Addresses>,
    /// Accept publishers and players over RTMPS on this address and port; can be repeated [default: none]
    #[arg(long, value_name = "ADDR", global = true, value_parser = addresses)]
    rtmps: Vec<Addresses>,
    /// Serve the page, streams over HTTP, the API and metrics on this address and port, or on this port of all
    /// addresses; can be repeated [default: 8080]
    #[arg(long, value_name = "ADDR", global = true, value_parser = addresses)]
    http: Vec<Addresses>,
    /// Serve the page, streams over HTTPS, the API and metrics on this address and port; can be repeated [default: none]
    #[arg(long, value_name = "ADDR", global = true, value_parser = addresses)]
    https: Vec<Addresses>,
    /// Use this many threads; 0 is one per CPU [default: 0]
    #[arg(long, value_name = "N", global = true)]
    cores: Option<usize>,
    /// Write the log as text or as JSON [default: text]
    #[arg(long, value_name = "FORMAT", global = true, value_parser = log_format())]
    log_format: Option<LogFormat>,
    /// Log level: error, warn, info, debug, trace or off; for parts of the program info,fanfare::control=debug. The
    /// environment variable FANFARE_LOG overrides it [default: info]
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<Filter>,
}

/// The addresses of one flag.
#[derive(Clone)]
struct Addresses(Vec<SocketAddr>);

impl Options {
    /// The resulting configuration: a flag comes before the environment, the environment before the file, the file
    /// before the default. The error is one line.
    fn config(self) -> Result<Config, String> {
        // Container tools set variables that have no value to an empty one.
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = self.config.or_else(|| variable("FANFARE_CONFIG"));
        let mut config = match path {
            Some(path) => Config::load(&path).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        if let Some(directory) = variable("CREDENTIALS_DIRECTORY") {
            config = config.with_credentials(&directory)?;
        }
        config = config.with_environment(std::env::vars_os())?;
        if !self.rtmp.is_empty() {
            config.set_rtmp(self.rtmp.into_iter().flat_map(|addresses| addresses.0).collect());
        }
        if !self.http.is_empty() {
            config.set_http(self.http.into_iter().flat_map(|addresses| addresses.0).collect());
        }
        let all = |flags: Vec<Addresses>| flags.into_iter().flat_map(|addresses| addresses.0).collect();
        if !self.rtmps.is_empty() {
            config.listen.rtmps = all(self.rtmps);
        }
        if !self.https.is_empty() {
            config.listen.https = all(self.https);
        }
        config.cores = self.cores.unwrap_or(config.cores);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.log.level = logging::filter_of_environment()?.or(self.log_level).unwrap_or(config.log.level);
        // File and environment were valid, so a flag is the cause.
        config.check().map_err(|fault| format!("{}: {}", flag_of(fault.key), fault.what))?;
        config.with_secret_files()
    }
}

/// Environment variables that begin like options and are none.
fn ignored_variables() -> Vec<Ignored> {
    Config::ignored_variables(std::env::vars_os())
}

/// Prints what stands in the way of a start on this system. The error is one line.
fn check_system(config: &Config) -> Result<(), Failure> {
    let findings = system_check::check(config);
    for finding in &findings {
        let (verdict, line) = match finding {
            Finding::Fine(line) => ("ok      ", line),
            Finding::Limited(line) => ("limited ", line),
            Finding::Fatal(line) => ("fatal   ", line),
        };
        print(&format!("{verdict} {line}\n"));
    }
    match findings.iter().any(|finding| matches!(finding, Finding::Fatal(_))) {
        true => Err(Failure::Other("cannot start on this system".to_owned())),
        false => Ok(()),
    }
}

/// Prints what differs from the running relay. The error is one line.
fn show_difference(
    config: &Config,
    relay: Option<SocketAddr>,
    token_file: Option<&Path>,
) -> Result<(), Failure> {
    let difference = difference::of(config, relay, token_file).map_err(Failure::Configuration)?;
    print(&difference.to_string());
    if difference.is_empty() { Ok(()) } else { Err(Failure::Differs) }
}

/// Prints a link for each client. The error is one line.
fn print_links(config: &Config, options: SignOptions) -> Result<(), Failure> {
    let SignOptions { action, stream, expires, session, network, host, secret_file } = options;
    let request = sign::Request { action, stream, expires, session, network, host };
    let of_file = |file| Secrets::of_file(file, MIN_SIGNING_BYTES);
    let links = secret_file.map(of_file).transpose().and_then(|secret| {
        let rules = Rules::new(config, KeyRing::new(), unix_seconds)?;
        sign::sign(config, &rules, secret.as_ref(), &request, unix_seconds())
    });
    print(&links.map_err(Failure::Configuration)?.to_string());
    Ok(())
}

/// Makes a certificate for development, and prints how to use it. The error is one line.
fn make_certificate(names: Vec<String>, out: Option<PathBuf>) -> Result<(), Failure> {
    let names =
        if names.is_empty() { ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec() } else { names };
    let folder = out.or_else(certificates::development_folder);
    let folder = folder.ok_or_else(|| Failure::Other("no home directory: use --out".to_owned()))?;
    let host = names[0].clone();
    let files = DevelopmentCertificate::make(&folder, names).map_err(Failure::Other)?;
    print(&files.usage(&host));
    Ok(())
}

/// Prints what becomes of another server's configuration. The error is one line.
fn migrate_file(file: &Path, from: Option<Origin>) -> Result<(), Failure> {
    print(&migrate::of_file(file, from).map_err(Failure::Configuration)?);
    Ok(())
}

/// Prints what one core carries. The error is one line.
fn measure_capacity(stream: Stream, seconds: u32, json: bool) -> Result<(), Failure> {
    let options = capacity::Options { stream, time: Duration::from_secs(seconds.into()) };
    let found = capacity::measure(&options).map_err(Failure::Other)?;
    let text = match json {
        true => serde_json::to_string(&found).expect("an answer is numbers"),
        false => found.to_string(),
    };
    print(&(text + "\n"));
    Ok(())
}

/// The rules of this configuration. The error is one line.
fn rules(config: &Config, key_ring: &KeyRing) -> Result<Box<dyn Access>, String> {
    Ok(Box::new(Rules::new(config, key_ring.clone(), unix_seconds)?))
}

/// Runs until a signal stops it, and reads these options again whenever that is requested. The error is one line.
fn serve(config: Config, options: Options) -> Result<(), Failure> {
    let (key_ring, sessions) = (KeyRing::new(), Arc::new(Sessions::default()));
    let access = rules(&config, &key_ring).map_err(Failure::Configuration)?;
    let tls = certificates::load(&config, &sessions).map_err(Failure::Configuration)?;
    logging::start(&config.log).map_err(Failure::Configuration)?;
    for Ignored { variable, similar } in ignored_variables() {
        tracing::warn!(variable, similar, "environment variable ignored: no such option");
    }
    if let Some(file_limit) = system_check::too_few_files(&config) {
        let connections = config.limits.connections;
        tracing::warn!(
            file_limit,
            connections,
            "file limit below limits.connections: raise it (LimitNOFILE=, ulimit -Hn), or lower limits.connections"
        );
    }
    let (format, is_for_networks_nearby) = (config.log.format, config.has_default_publishers());
    let (keys, tickets) = (key_ring.clone(), sessions.clone());
    let reloader = Reloader::new(Box::new(move || {
        let config = options.clone().config()?;
        let access = rules(&config, &key_ring)?;
        let tls = certificates::load(&config, &sessions)?;
        Ok(Loaded { config, access, tls })
    }));
    let (http, hooks) = (OnceCell::new(), OnceCell::new());
    let beside = async |relay: Handle| {
        if let Some(tls) = tls {
            relay.set_tls(tls);
        }
        let reload = reloader.clone().start(relay.clone());
        reload.map_err(|error| format!("cannot start a thread: {error}"))?;
        // Both are set only here, and once.
        let _ = hooks.set(fanfare::hooks::start(relay.clone(), keys)?);
        let renewals = Arc::new(Renewals::default());
        if let Some(started) =
            fanfare::control::start(relay.clone(), reloader.clone(), renewals.clone()).await?
        {
            let _ = http.set(started);
        }
        // Once an authority can ask over HTTP.
        fanfare::renewal::start(relay, tickets, renewals)?;
        Ok(())
    };
    let started = |rtmp: &net::Addresses| announce(rtmp, http.get(), format, is_for_networks_nearby);
    let outcome = net::run(config, access, beside, started, || reloader.request());
    if let Some(started) = http.into_inner() {
        started.end_events();
    }
    if let Some(started) = hooks.into_inner() {
        started.finish();
    }
    outcome.map_err(Failure::Other)
}

/// The wall clock.
fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Reports that connections are accepted: as text on standard output, or as a log line for machines.
fn announce(rtmp: &net::Addresses, http: Option<&Started>, format: LogFormat, is_for_networks_nearby: bool) {
    let token = http.map(|started| &started.token);
    let https = http.map_or(&[][..], |started| &started.encrypted_addresses);
    let net::Addresses { rtmp, rtmps } = rtmp;
    let http = http.map_or(&[][..], |started| &started.addresses);
    match format {
        LogFormat::Text => {
            let access = if is_for_networks_nearby { PUBLISHERS_NEARBY } else { "" };
            let banner =
                banner([rtmp, rtmps], [http, https]) + &token.map(token_lines).unwrap_or_default() + access;
            // If standard output is not read, this thread must still handle signals.
            let printer = thread::Builder::new().name("banner".to_owned()).spawn(move || print(&banner));
            if let Err(error) = printer {
                tracing::warn!(%error, ?rtmp, ?http, "listening: no thread to print the start-up lines");
            }
        }
        LogFormat::Json => {
            let page = https.first().map(|first| format!("https://{}/", reachable(first)));
            let page = page
                .or(http.first().map(|first| format!("http://{}/", reachable(first))))
                .unwrap_or_default();
            let list = |addresses: &[SocketAddr]| {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            tracing::info!(
                version = VERSION,
                rtmp = list(rtmp),
                rtmps = list(rtmps),
                http = list(http),
                https = list(https),
                page,
                "listening"
            );
            if is_for_networks_nearby {
                tracing::info!(
                    "only this machine and private networks may publish: see access in fanfare.toml"
                );
            }
            match token {
                Some(TokenNotice::Generated { file, .. } | TokenNotice::Stored(file)) => {
                    tracing::info!(file = %file.display(), "API token is in a file");
                }
                // It is stored nowhere else.
                Some(TokenNotice::ForThisRun { token, .. }) => {
                    tracing::info!(token, "API token for this run only");
                }
                Some(TokenNotice::Configured) | None => {}
            }
        }
    }
}

/// The start-up lines about the token: a new one is printed once.
fn token_lines(token: &TokenNotice) -> String {
    match token {
        TokenNotice::Configured => String::new(),
        TokenNotice::Stored(file) => format!("  Token:    in {}\n", file.display()),
        TokenNotice::Generated { token, file } => format!(
            "  Token:    {token}\n            for the API, to disconnect players and publishers; stored in {}\n",
            file.display()
        ),
        TokenNotice::ForThisRun { token, why } => format!(
            "  Token:    {token}\n            for the API, to disconnect players and publishers; for this run only, \
             because it cannot be stored: {why}\n"
        ),
    }
}

/// The start-up lines: where fanfare listens, how to publish and how to watch.
fn banner([rtmp, rtmps]: [&[SocketAddr]; 2], [http, https]: [&[SocketAddr]; 2]) -> String {
    let lists = [("rtmps", rtmps), ("rtmp", rtmp), ("https", https), ("http", http)];
    let listening: Vec<String> = (lists.into_iter())
        .flat_map(|(scheme, list)| list.iter().map(move |address| format!("{scheme}://{address}")))
        .collect();
    let mut text = format!("fanfare {VERSION} listens on {}\n", listening.join(" and "));
    let first_of = |scheme: &str, list: &[SocketAddr]| {
        list.first().map(|first| format!("{scheme}://{}/", reachable(first)))
    };
    let (rtmp, https) = (first_of("rtmp", rtmp), first_of("https", https));
    if let Some(url) = first_of("rtmps", rtmps).or(rtmp.clone()) {
        text += &format!("  Publish:  {TEST_PATTERN} {url}live/live_stream\n");
    }
    // VLC does not speak RTMPS.
    let flv = https.as_ref().map(|url| format!("{url}live/live_stream.flv"));
    if let Some(url) = flv.or(rtmp.map(|url| format!("{url}live/live_stream"))) {
        text += &format!("  Watch:    vlc {url}\n");
    }
    if let Some(url) = https.or(first_of("http", http)) {
        text += &format!("  HTTP-FLV: {url}live/live_stream.flv\n");
        text += &format!("  Page:     {url}\n");
    }
    text
}

/// The host and port for a URL on this machine.
fn reachable(address: &SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    }
}

/// Prints to standard output. A failure is no reason to stop.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn addresses(text: &str) -> Result<Addresses, String> {
    parse_addresses(text).map(Addresses)
}

fn action() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(["publish", "play"]).map(|word| match word.as_str() {
        "publish" => Action::Publish,
        _ => Action::Play,
    })
}

fn origin() -> impl TypedValueParser<Value = Origin> {
    let all = [Origin::NginxRtmp, Origin::Srs, Origin::Mediamtx];
    PossibleValuesParser::new(all.map(Origin::name))
        .map(move |word| all.into_iter().find(|origin| origin.name() == word).unwrap_or(Origin::NginxRtmp))
}

fn log_format() -> impl TypedValueParser<Value = LogFormat> {
    PossibleValuesParser::new(["text", "json"]).map(|word| match word.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    })
}

/// The flag that sets the option with this key.
fn flag_of(key: &str) -> &str {
    match key {
        "cores" => "--cores",
        "listen.rtmp" => "--rtmp",
        "listen.rtmps" => "--rtmps",
        "listen.http" => "--http",
        "listen.https" => "--https",
        "log.format" => "--log-format",
        "log.level" => "--log-level",
        other => other,
    }
}

/// The start-up line where nothing else is configured.
const PUBLISHERS_NEARBY: &str = "  Access:   only this machine and private networks may publish; to change that, see access in fanfare.toml\n";

/// Publishes a test pattern with a tone: works as it is.
const TEST_PATTERN: &str =
    "ffmpeg -re -f lavfi -i testsrc2 -f lavfi -i sine -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit code for an invalid flag (clap uses the same) or file: a supervisor need not try again.
const WRONG_CONFIGURATION: u8 = 2;
/// Exit code for any other reason why it cannot start or continue: a supervisor should try again.
const FAILED: u8 = 1;
/// Exit code if the configuration is not that of the running relay, as of diff.
const DIFFERS: u8 = 1;

/// Wrapped to the width of the terminal: no line of a paragraph ends by hand.
const EXAMPLES: &str = "\
Examples:
  fanfare
      Start, on ports 1935 and 8080; prints a command that publishes a test pattern
  ffmpeg -re -i FILE -c copy -f flv rtmp://localhost/live/live_stream
      Publish a file of H.264 and AAC as a live stream
  vlc rtmp://localhost/live/live_stream
      Watch it; or open http://localhost:8080/ in a browser
  fanfare --rtmp 127.0.0.1:1936 --cores 2
      Listen on another address, with two threads
  fanfare check --config fanfare.toml
      Validate a file and print the resulting configuration
  fanfare check --config fanfare.toml --diff
      Print what a reload with this file would change at the running relay
  fanfare check --system
      Report what would stop fanfare from starting on this system
  fanfare sign --config fanfare.toml --stream live/show --expires 2h
      Print links that let their bearers watch live/show for two hours
  fanfare capacity --bitrate 2M
      Measure for half a minute how many players and publishers one core will carry
  fanfare --config fanfare.toml
      Start with this file

OBS: Settings, Stream, Service \"Custom...\", Server rtmp://localhost/live, Stream Key live_stream. Any app and name \
can replace live and live_stream; publisher and players use the same.

Every option of the file can be set by an environment variable, too: FANFARE_PLAY_MAX_LAG=3s is max_lag in [play]. A \
variable overrides the file, and a flag overrides both. The tokens for the API can also be systemd credentials, \
fanfare.api.token and fanfare.api.read_token.

The first start generates a token for the API, prints it, and stores it in a file. The token is needed to disconnect \
players and publishers and to see their addresses.

Ctrl-C, SIGTERM or SIGQUIT stops fanfare: players are notified, and it exits within 5 seconds. A second signal at \
least half a second later stops it at once. SIGHUP makes it read the configuration again, without touching a running \
session; the log says what has changed and what needs a restart. SIGUSR1 and SIGUSR2 do nothing.

Exit codes: 0 after a signal, 2 for an invalid configuration, 1 for any other failure.";

#[cfg(test)]
mod tests {
    use super::*;

    fn banner_of(rtmp: &[&str], http: &[&str]) -> String {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        banner([&parsed(rtmp), &[]], [&parsed(http), &[]])
    }

    #[test]
    fn banner_lists_every_address_and_shows_how_to_publish_and_watch() {
        let text = banner_of(&["0.0.0.0:1935", "[::]:1935"], &["0.0.0.0:8080"]);
        assert!(
            text.contains("rtmp://0.0.0.0:1935 and rtmp://[::]:1935 and http://0.0.0.0:8080\n"),
            "{text}"
        );
        let publish = format!("  Publish:  {TEST_PATTERN} rtmp://localhost:1935/live/live_stream\n");
        assert!(text.contains(&publish), "{text}");
        assert!(text.contains("  Watch:    vlc rtmp://localhost:1935/live/live_stream\n"), "{text}");
        assert!(text.contains("  HTTP-FLV: http://localhost:8080/live/live_stream.flv\n"), "{text}");
        assert!(text.contains("  Page:     http://localhost:8080/\n"), "{text}");
    }

    #[test]
    fn banner_uses_the_actual_port_and_a_listening_address() {
        let text = banner_of(&["192.0.2.7:41000"], &["[::1]:80"]);
        assert!(text.contains("vlc rtmp://192.0.2.7:41000/live/live_stream\n"), "{text}");
        assert!(text.contains("Page:     http://[::1]:80/\n"), "{text}");
        assert!(banner_of(&["[::1]:1936"], &[]).contains("vlc rtmp://[::1]:1936/live/live_stream\n"));
    }

    #[test]
    fn banner_shows_encrypted_addresses_where_they_exist_and_vlc_what_it_speaks() {
        let address = |text: &str| [text.parse().unwrap()];
        let (rtmp, http) = (address("0.0.0.0:1935"), address("0.0.0.0:8080"));
        let (rtmps, https) = (address("0.0.0.0:1936"), address("0.0.0.0:8443"));
        let text = banner([&rtmp, &rtmps], [&http, &https]);
        let listens =
            "rtmps://0.0.0.0:1936 and rtmp://0.0.0.0:1935 and https://0.0.0.0:8443 and http://0.0.0.0:8080\n";
        assert!(text.contains(listens), "{text}");
        assert!(text.contains(" rtmps://localhost:1936/live/live_stream\n"), "{text}");
        assert!(text.contains("  Watch:    vlc https://localhost:8443/live/live_stream.flv\n"), "{text}");
        assert!(text.contains("  Page:     https://localhost:8443/\n"), "{text}");
        let text = banner([&rtmp, &rtmps], [&http, &[]]);
        assert!(text.contains("  Watch:    vlc rtmp://localhost:1935/live/live_stream\n"), "{text}");
    }

    #[test]
    fn without_http_the_banner_has_no_page() {
        assert!(!banner_of(&["0.0.0.0:1935"], &[]).contains("Page"));
    }

    /// The arguments of a line such as `VARIABLE=1 fanfare check   # comment`, if it is one.
    fn arguments_of(line: &str) -> Option<Vec<&str>> {
        let command = line.split('#').next().unwrap_or_default();
        let mut words = command.split_whitespace().skip_while(|word| word.contains('='));
        (words.next()? == "fanfare").then(|| words.collect())
    }

    #[test]
    fn readme_and_help_show_commands_that_are_valid() {
        assert_eq!(arguments_of("A=1 fanfare check  # it"), Some(vec!["check"]));
        let readme = include_str!("../README.md");
        let in_readme = readme.split("```").skip(1).step_by(2).flat_map(str::lines);
        let in_help = EXAMPLES.lines().filter(|line| line.starts_with("  "));
        for lines in [in_readme.collect::<Vec<_>>(), in_help.collect()] {
            let commands: Vec<_> = lines.into_iter().filter_map(arguments_of).collect();
            assert!(commands.len() >= 5, "{commands:?}");
            for arguments in commands {
                let outcome = Cli::try_parse_from(["fanfare"].iter().chain(&arguments));
                assert!(outcome.is_ok(), "{arguments:?}: {}", outcome.err().unwrap());
            }
        }
        // Of testsrc2 FFmpeg makes yuv420p in any case.
        let pattern = TEST_PATTERN.replace(" -pix_fmt yuv420p", "");
        assert!(readme.contains(&format!("\n{pattern} rtmp://localhost/live/live_stream\n")));
    }

    #[test]
    fn command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}

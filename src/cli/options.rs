//! Flags and commands, and what is valid for each of them.

#![forbid(unsafe_code)]

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;
use fanfare::{
    access::Action,
    capacity::estimate::Stream,
    config::{Config, Filter, LogFormat, parse_addresses},
    logging,
    migrate::Origin,
};
use ipnet::IpNet;

use super::version;

/// A live RTMP relay for Linux: encoders publish, many players watch.
///
/// Without options it accepts RTMP on port 1935, serves a web page on port 8080 and uses every CPU.
#[derive(Parser)]
// A subcommand lists its own options first, from 0 on.
#[command(version, long_version = version::long(), after_long_help = EXAMPLES, max_term_width = 100, next_display_order = 100)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Validate and print the configuration; the exit code is 0 if it is valid, 2 if not
    #[command(group = clap::ArgGroup::new("running").args(["diff", "ready"]))]
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
        /// Ask instead the running relay whether it takes connections, as a health check does: the exit code is 0 if so, 1 if
        /// not, 2 if the configuration is invalid
        #[arg(long, conflicts_with_all = ["system", "diff"])]
        ready: bool,
        /// With --diff or --ready: where the running relay serves its API [default: the first address in api.listen or listen.http]
        #[arg(long, value_name = "ADDR", requires = "running")]
        relay: Option<SocketAddr>,
        /// With --diff: the file with its token, for writing or reading [default: api.token, api.read_token, or the file with
        /// the generated token]
        #[arg(long, value_name = "FILE", requires = "diff")]
        token_file: Option<PathBuf>,
        /// Print nothing if the configuration is valid
        #[arg(long, conflicts_with_all = ["system", "diff", "ready"])]
        quiet: bool,
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
    /// Each option has a comment with the line that it is from. The other lines are listed at the end: what is not carried over,
    /// with what to use instead, and what needs no option. Files that it includes are read too, and so are the variables of the
    /// environment that override MediaMTX's options (MTX_...). Standard error has a summary.
    Migrate {
        /// An nginx.conf with an rtmp block, an srs.conf or a mediamtx.yml
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose configuration it is: nginx-rtmp, srs or mediamtx [default: as its name and content suggest]
        #[arg(long, value_name = "SERVER", value_parser = origin())]
        from: Option<Origin>,
    },
    /// Print a script that lets a shell complete commands and options
    ///
    /// bash: fanfare completions bash >/etc/bash_completion.d/fanfare
    /// zsh: fanfare completions zsh >/usr/share/zsh/site-functions/_fanfare
    /// fish: fanfare completions fish >/etc/fish/completions/fanfare.fish
    #[command(verbatim_doc_comment)]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        #[arg(value_name = "SHELL", hide_possible_values = true)]
        shell: Shell,
    },
    /// Print the seccomp profile for containers: it allows io_uring, which the default ones forbid
    ///
    /// docker run --rm IMAGE seccomp >seccomp.json
    /// docker run --security-opt seccomp=seccomp.json IMAGE
    #[command(verbatim_doc_comment)]
    Seccomp,
    /// Write the manual pages of fanfare and its commands
    Man {
        /// To this folder, which is made if it does not exist
        #[arg(value_name = "DIR")]
        folder: PathBuf,
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
pub struct SignOptions {
    /// What the link allows: play or publish
    #[arg(long, default_value = "play", value_name = "ACTION", value_parser = action(), hide_possible_values = true)]
    pub action: Action,
    /// The stream, app/name
    #[arg(long, value_name = "NAME")]
    pub stream: String,
    /// For how long the link can be used: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub expires: Duration,
    /// End the session this long from now [default: session_expire of the rule; if that is 0s, when the link expires]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub session: Option<Duration>,
    /// Only for clients from this network: 203.0.113.0/24
    #[arg(long, value_name = "CIDR")]
    pub network: Option<IpNet>,
    /// Name of the relay in the link [default: the address where it listens, or localhost]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Sign with the first line of this file
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}

/// Each flag overrides the environment, which overrides the file.
#[derive(Args, Clone)]
pub struct Options {
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
    pub fn config(self) -> Result<Config, String> {
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
    use super::super::banner::TEST_PATTERN;
    use super::*;

    /// The arguments of a line such as `VARIABLE=1 fanfare check   # comment`, if it is one.
    fn arguments_of(line: &str) -> Option<Vec<&str>> {
        let command = line.split('#').next().unwrap_or_default();
        let mut words = command.split_whitespace().skip_while(|word| word.contains('='));
        (words.next()? == "fanfare").then(|| words.collect())
    }

    #[test]
    fn readme_and_help_show_commands_that_are_valid() {
        assert_eq!(arguments_of("A=1 fanfare check  # it"), Some(vec!["check"]));
        let readme = include_str!("../../README.md");
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

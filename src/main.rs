//! The command line: merges flags, file and defaults, and starts the relay. Decides nothing about streams.

#![forbid(unsafe_code)]

mod cli;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use fanfare::{
    access::{KeyRing, Rules},
    capacity::{self, estimate::Stream},
    certificates::{self, DevelopmentCertificate},
    config::{Config, Ignored, MIN_SIGNING_BYTES, Secrets},
    difference, logging,
    migrate::{self, Origin},
    running, sign,
    system_check::{self, Finding},
};

use cli::{
    Failure, ignored_variables,
    options::{Cli, Command, SignOptions},
    paperwork, print, serve, unix_seconds,
};

fn main() -> ExitCode {
    let (code, error) = match run(Cli::parse()) {
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

fn run(Cli { options, command }: Cli) -> Result<(), Failure> {
    let config = || options.clone().config().map_err(Failure::Configuration);
    match command {
        Some(Command::Check { system: true, .. }) => check_system(&config()?),
        Some(Command::Check { diff: true, relay, token_file, .. }) => {
            show_difference(&config()?, relay, token_file.as_deref())
        }
        Some(Command::Check { ready: true, relay, .. }) => {
            running::is_ready(&config()?, relay).map_err(Failure::Other)
        }
        Some(Command::Check { quiet, .. }) => show_configuration(&config()?, quiet),
        Some(Command::Sign(request)) => print_links(&config()?, request),
        Some(Command::DevCert { names, out }) => make_certificate(names, out),
        Some(Command::Migrate { file, from }) => migrate_file(&file, from),
        Some(Command::Completions { shell }) => {
            paperwork::print_completions(shell);
            Ok(())
        }
        Some(Command::Seccomp) => {
            print(paperwork::SECCOMP_PROFILE);
            Ok(())
        }
        Some(Command::Man { folder }) => paperwork::write_manual(&folder),
        Some(Command::Capacity { bitrate, seconds, json }) => measure_capacity(bitrate, seconds, json),
        None => serve::serve(config()?, options),
    }
}

/// Prints the configuration, if it is valid and wanted. The error is one line.
fn show_configuration(config: &Config, quiet: bool) -> Result<(), Failure> {
    serve::rules(config, &KeyRing::new()).map_err(Failure::Configuration)?;
    if !quiet {
        print(&format!("# Valid. The resulting configuration:\n{}", config.without_secrets().to_toml()));
    }
    for Ignored { variable, similar } in ignored_variables() {
        let question = similar.map(|it| format!("; did you mean {it}?")).unwrap_or_default();
        let line = format!("fanfare: {variable} is ignored: there is no such option{question}");
        logging::last_line(&line);
    }
    Ok(())
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
    let migrated = migrate::of_file(file, from).map_err(Failure::Configuration)?;
    // A summary for people; standard output has the file alone.
    let _ = writeln!(std::io::stderr(), "{}: {}", file.display(), migrated.counts);
    print(&migrated.toml);
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

/// Exit code for an invalid flag (clap uses the same) or file: a supervisor need not try again.
const WRONG_CONFIGURATION: u8 = 2;
/// Exit code for any other reason why it cannot start or continue: a supervisor should try again.
const FAILED: u8 = 1;
/// Exit code if the configuration is not that of the running relay, as of diff.
const DIFFERS: u8 = 1;

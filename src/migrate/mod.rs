//! Reads the configuration of another server, and writes one for fanfare with comments that account for each of its lines:
//! what is carried over, what needs no option, and what to use instead of the rest.

#![forbid(unsafe_code)]

mod blocks;
mod draft;
mod files;
mod known;
mod mediamtx;
mod mediamtx_access;
mod mediamtx_options;
mod nginx;
mod nginx_known;
mod patterns;
mod permissions;
mod srs;
#[cfg(test)]
mod tests;
mod written;
mod yaml;

use std::{fmt, path::Path};

use crate::config::Config;
pub use draft::Counts;
use draft::{Draft, Place};
use files::Files;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// nginx with nginx-rtmp-module.
    NginxRtmp,
    /// SRS.
    Srs,
    /// MediaMTX.
    Mediamtx,
}

impl Origin {
    /// As it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NginxRtmp => "nginx-rtmp",
            Self::Srs => "srs",
            Self::Mediamtx => "mediamtx",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::NginxRtmp => "nginx-rtmp",
            Self::Srs => "SRS",
            Self::Mediamtx => "MediaMTX",
        }
    }

    /// Whose it seems to be, by its name and what is in it.
    pub fn of(file: &str, text: &str) -> Option<Self> {
        let is_yaml = file.ends_with(".yml") || file.ends_with(".yaml");
        let begins = |begin: &str| {
            let line = |line: &str| {
                line.trim_start().strip_prefix(begin).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || ":{;".contains(c))
                })
            };
            text.lines().any(line)
        };
        let of_mediamtx =
            ["rtmpAddress:", "authMethod:", "authInternalUsers:", "paths:", "pathDefaults:", "rtspAddress:"];
        let has_key = of_mediamtx.iter().any(|key| text.lines().any(|line| line.starts_with(key)));
        if begins("rtmp") && begins("application") {
            return Some(Self::NginxRtmp);
        }
        if is_yaml || has_key {
            return Some(Self::Mediamtx);
        }
        let of_srs = [
            "vhost",
            "http_api",
            "http_server",
            "srs_log_tank",
            "srs_log_level",
            "srs_log_file",
            "rtc_server",
            "max_connections",
        ];
        let of_nginx = ["rtmp", "application", "events", "worker_processes"];
        match (of_nginx.iter().any(|it| begins(it)), of_srs.iter().any(|it| begins(it))) {
            (true, false) => Some(Self::NginxRtmp),
            (_, true) => Some(Self::Srs),
            (false, false) => None,
        }
    }
}

/// What was made of a configuration.
#[derive(Clone, Debug)]
pub struct Migrated {
    /// The text of a `fanfare.toml`.
    pub toml: String,
    /// What became of the lines.
    pub counts: Counts,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { carried, same, lost } = self;
        let all = carried + same + lost;
        write!(
            f,
            "{all} lines: {carried} carried over, {same} need no option, {lost} not carried over, or only in part"
        )
    }
}

/// As [`migrate`], of a file, with the files that it includes and the variables of the environment that override it.
///
/// # Errors
/// Also that it cannot be read.
pub fn of_file(file: &Path, origin: Option<Origin>) -> Result<Migrated, String> {
    let name = file.display().to_string();
    let text = files::read(file).map_err(|error| format!("{name}: {error}"))?;
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    migrate_with(&name, &text, origin, &Files::beside(file), &variables)
}

/// A `fanfare.toml`, made from the text of `file`. `variables` are those of the environment: MediaMTX's override its file.
///
/// # Errors
/// What cannot be read and where, as one line.
pub fn migrate(
    file: &str,
    text: &str,
    origin: Option<Origin>,
    variables: &[(String, String)],
) -> Result<Migrated, String> {
    migrate_with(file, text, origin, &Files::none(), variables)
}

fn migrate_with(
    file: &str,
    text: &str,
    origin: Option<Origin>,
    files: &Files,
    variables: &[(String, String)],
) -> Result<Migrated, String> {
    if text.len() > files::MAX_BYTES {
        return Err(format!("{file}: {}", files::TOO_LARGE));
    }
    let text = blocks::without_mark(text);
    let origin = origin.or_else(|| Origin::of(file, text)).ok_or_else(|| {
        format!("{file}: not recognized as a configuration of nginx-rtmp, SRS or MediaMTX; name it by --from")
    })?;
    let mut draft = Draft::new(file, origin);
    match origin {
        Origin::NginxRtmp => nginx::read(file, text, files, &mut draft)?,
        Origin::Srs => {
            // They override its file.
            let own = variables.iter().filter(|(name, _)| name.starts_with("SRS_"));
            own.for_each(|(name, _)| draft.lose(Place::of_variable(name), known::NOT_READ_VARIABLE));
            srs::read(file, text, files, &mut draft)?;
        }
        Origin::Mediamtx => {
            let is_own = |name: &str| name.starts_with("MTX_");
            let mut own: Vec<_> = variables.iter().filter(|(name, _)| is_own(name)).cloned().collect();
            own.sort();
            mediamtx::read(file, text, &own, &mut draft)?;
        }
    }
    draft.finish();
    let toml = written::toml(&draft);
    // What is printed can be used as it is.
    Config::from_toml("fanfare.toml", &toml)
        .map_err(|error| format!("{file}: the result is not valid: {error}"))?;
    Ok(Migrated { toml, counts: draft.counts() })
}

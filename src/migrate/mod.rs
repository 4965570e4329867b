//! Reads the configuration of another server, and writes one for fanfare that says, line by line, what it carries over and
//! what it does not.

#![forbid(unsafe_code)]

mod blocks;
mod draft;
mod mediamtx;
mod nginx;
mod srs;
#[cfg(test)]
mod tests;

use std::{fs, path::Path};

use crate::config::Config;
use draft::Draft;

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

    /// Whose it seems to be, by its name and what is in it.
    pub fn of(file: &str, text: &str) -> Option<Self> {
        let is_yaml = file.ends_with(".yml") || file.ends_with(".yaml");
        let has_line = |begin: &str| text.lines().any(|line| line.trim_start().starts_with(begin));
        if is_yaml || has_line("rtmpAddress:") || has_line("authMethod:") || has_line("paths:") {
            Some(Self::Mediamtx)
        } else if has_line("vhost ") || has_line("http_api") || has_line("http_server") || has_line("srs_log")
        {
            Some(Self::Srs)
        } else if has_line("rtmp {") || has_line("rtmp{") || has_line("application ") {
            Some(Self::NginxRtmp)
        } else {
            None
        }
    }
}

/// As [`migrate`], of a file.
///
/// # Errors
/// Also that it cannot be read.
pub fn of_file(file: &Path, origin: Option<Origin>) -> Result<String, String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    migrate(&name, &text, origin)
}

/// The text of a `fanfare.toml`, made from that of `file`.
///
/// # Errors
/// What cannot be read and where, as one line.
pub fn migrate(file: &str, text: &str, origin: Option<Origin>) -> Result<String, String> {
    let origin = origin.or_else(|| Origin::of(file, text)).ok_or_else(|| {
        format!("{file}: not recognized as a configuration of nginx-rtmp, SRS or MediaMTX; name it by --from")
    })?;
    let mut draft = Draft::new(file, origin);
    match origin {
        Origin::NginxRtmp => nginx::read(file, text, &mut draft)?,
        Origin::Srs => srs::read(file, text, &mut draft)?,
        Origin::Mediamtx => mediamtx::read(file, text, &mut draft)?,
    }
    let toml = draft.into_toml();
    // What is printed can be used as it is.
    Config::from_toml("fanfare.toml", &toml)
        .map_err(|error| format!("{file}: the result is not valid: {error}"))?;
    Ok(toml)
}

//! The token for writing, if the configuration has none: generated at the first start and stored in a file that only
//! its owner can read. Does not print it; the start-up lines do.

use std::{
    ffi::OsString,
    fs::DirBuilder,
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::config::{self, Api};

/// Where the token for writing comes from, for the start-up lines.
pub enum TokenNotice {
    /// From the configuration.
    Configured,
    /// From this file, since an earlier start.
    Stored(PathBuf),
    /// Generated now, and stored in this file for later starts.
    Generated {
        /// To be printed once.
        token: String,
        /// The file that stores it.
        file: PathBuf,
    },
    /// Generated now, and stored nowhere.
    ForThisRun {
        /// To be printed, because it is nowhere else.
        token: String,
        /// Why it is not stored.
        why: String,
    },
}

/// 192 bits: cannot be guessed, and needs no padding in base64.
const RANDOM_BYTES: usize = 24;

/// The token in force. A file that cannot be used is not changed.
///
/// # Errors
/// The system provides no random bytes.
pub(super) fn obtain(api: &Api) -> Result<(String, TokenNotice), String> {
    obtain_with(api, |name| std::env::var_os(name))
}

fn obtain_with(
    api: &Api,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(String, TokenNotice), String> {
    if !api.token.is_empty() {
        return Ok((api.token.clone(), TokenNotice::Configured));
    }
    let file = token_file_with(api, variable);
    let new = random_token()?;
    let Some(file) = file else {
        let why = "STATE_DIRECTORY, XDG_STATE_HOME and HOME are not set; set api.token_file";
        return Ok((new.clone(), TokenNotice::ForThisRun { token: new, why: why.to_owned() }));
    };
    Ok(match read_or_store(&file, &new) {
        Ok(Some(token)) => (token, TokenNotice::Stored(file)),
        Ok(None) => (new.clone(), TokenNotice::Generated { token: new, file }),
        Err(error) => {
            let why = format!("{}: {error}", file.display());
            (new.clone(), TokenNotice::ForThisRun { token: new, why })
        }
    })
}

/// The file with the token that a relay with this configuration has generated.
pub fn token_file(api: &Api) -> Option<PathBuf> {
    token_file_with(api, |name| std::env::var_os(name))
}

fn token_file_with(api: &Api, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    match api.token_file.as_os_str().is_empty() {
        true => default_file(variable),
        false => Some(api.token_file.clone()),
    }
}

/// The token in the file; or none, after the new one was stored in it.
fn read_or_store(file: &Path, new: &str) -> io::Result<Option<String>> {
    match config::read_token(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        outcome => return outcome.map(Some),
    }
    match store(file, new) {
        Ok(()) => Ok(None),
        // Another relay has started at the same time and was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => config::read_token(file).map(Some),
        Err(error) => Err(error),
    }
}

/// Writes the file completely or not at all, and never replaces an existing one.
fn store(path: &Path, token: &str) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Mode 0600.
    let mut file = tempfile::Builder::new().prefix(".token").tempfile_in(directory)?;
    writeln!(file, "{token}")?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

fn random_token() -> Result<String, String> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("cannot generate a token for the API: {error}"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// In systemd's state directory, or else in the user's state directory of the XDG Base Directory Specification.
fn default_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The specification requires that relative paths are ignored.
    let directory = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // One path for each StateDirectory=, separated by colons.
    let of_service = variable("STATE_DIRECTORY").and_then(|all| {
        let first = PathBuf::from(all.to_str()?.split(':').next()?);
        first.is_absolute().then_some(first)
    });
    let of_user = || directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    Some(of_service.or_else(|| Some(of_user()?.join("fanfare")))?.join("token"))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use super::*;
    use crate::config::MAX_TOKEN_BYTES;

    fn api_with(file: &Path) -> Api {
        Api { token_file: file.to_owned(), ..Api::default() }
    }

    fn start(file: &Path) -> (String, TokenNotice) {
        obtain(&api_with(file)).unwrap()
    }

    fn why(notice: &TokenNotice) -> &str {
        match notice {
            TokenNotice::ForThisRun { why, .. } => why,
            _ => panic!("it is stored"),
        }
    }

    #[test]
    fn a_token_is_generated_once_printed_once_and_readable_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made/for/it/token");
        let (first, notice) = start(&file);
        assert!(matches!(&notice, TokenNotice::Generated { token, .. } if *token == first));
        assert_eq!(config::check_token(&first), Ok(()));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let (second, notice) = start(&file);
        assert!(second == first && matches!(notice, TokenNotice::Stored(stored) if stored == file));
        fs::remove_file(&file).unwrap();
        assert_ne!(start(&file).0, first);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn relays_that_start_at_the_same_time_have_the_same_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let starts: Vec<_> = (0..16)
            .map(|_| {
                let file = file.clone();
                std::thread::spawn(move || start(&file))
            })
            .collect();
        let tokens: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        assert!(tokens.iter().all(|(token, _)| *token == tokens[0].0));
        assert_eq!(
            tokens.iter().filter(|(_, notice)| matches!(notice, TokenNotice::Generated { .. })).count(),
            1
        );
    }

    #[test]
    fn a_file_that_cannot_be_used_is_not_changed_and_the_token_is_for_this_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for (text, mode, reason) in [
            ("a-token-of-ours\n", 0o604, "mode 604"),
            ("a-token-of-ours\n", 0o602, "mode 602"),
            ("", 0o600, "not 0"),
            ("two words here\n", 0o600, "letters, digits"),
            (&"a".repeat(MAX_TOKEN_BYTES + 9), 0o600, "not 1026"),
        ] {
            let _ = fs::remove_file(&file);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let (token, notice) = start(&file);
            assert!(why(&notice).contains(reason), "{}", why(&notice));
            assert!(!why(&notice).contains("of-ours"));
            assert!(token.len() == 32 && fs::read_to_string(&file).unwrap() == text);
        }
        // A folder with the name of the file, and a file with the name of its folder.
        assert!(why(&start(folder.path()).1).contains(&folder.path().display().to_string()));
        assert!(why(&start(&file.join("token")).1).contains("token"));
    }

    #[test]
    fn a_file_written_by_hand_is_accepted_with_or_without_a_line_ending() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let longest = "x".repeat(MAX_TOKEN_BYTES);
        for (text, token) in
            [("our-own-token", "our-own-token"), ("our-own-token\r\n", "our-own-token"), (&longest, &longest)]
        {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
            assert_eq!(start(&file).0, token);
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn with_a_configured_token_no_file_is_read_or_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let api = Api { token: "configured-token".to_owned(), ..api_with(&file) };
        let (token, notice) = obtain(&api).unwrap();
        assert!(token == "configured-token" && matches!(notice, TokenNotice::Configured) && !file.exists());
    }

    #[test]
    fn without_a_configured_file_the_token_is_in_the_state_directory_of_systemd_or_xdg() {
        let file = |variables: &[(&str, &str)]| {
            let variables: HashMap<_, _> = variables.iter().copied().collect();
            default_file(|name| variables.get(name).map(OsString::from))
                .map(|path| path.display().to_string())
        };
        let home = ("HOME", "/home/a");
        let xdg = ("XDG_STATE_HOME", "/home/a/state");
        assert_eq!(file(&[home, xdg, ("STATE_DIRECTORY", "/var/lib/x")]).unwrap(), "/var/lib/x/token");
        assert_eq!(file(&[("STATE_DIRECTORY", "/var/lib/x:/var/lib/y")]).unwrap(), "/var/lib/x/token");
        assert_eq!(file(&[home, xdg]).unwrap(), "/home/a/state/fanfare/token");
        assert_eq!(file(&[home, ("XDG_STATE_HOME", "state")]).unwrap(), "/home/a/.local/state/fanfare/token");
        assert_eq!(file(&[home]).unwrap(), "/home/a/.local/state/fanfare/token");
        assert_eq!(file(&[("HOME", "")]), None);
        let (_, notice) = obtain_with(&Api::default(), |_| None).unwrap();
        assert!(why(&notice).contains("api.token_file"));
    }
}

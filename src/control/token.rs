//! The token to act with, where the configuration names none: made at the first start, and kept in a file that its
//! owner alone may read. Shows it to nobody; the start-up lines do.

use std::{
    ffi::OsString,
    fs::{DirBuilder, File},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::config::{self, Api, MAX_TOKEN_BYTES};

/// Where the token to act with is: what the start-up lines say of it.
pub enum TokenNotice {
    /// In the configuration.
    Configured,
    /// In this file, since an earlier start.
    Kept(PathBuf),
    /// Made now, and kept in this file for later starts.
    Made {
        /// To be shown once.
        token: String,
        /// Where it is kept.
        file: PathBuf,
    },
    /// Made now, and kept nowhere.
    ForThisRun {
        /// To be shown, since it is nowhere else.
        token: String,
        /// Why it is not kept.
        why: String,
    },
}

/// 192 bits: beyond guessing, and without padding in base64.
const RANDOM_BYTES: usize = 24;
/// Permissions of others than the owner and its group.
const OTHERS: u32 = 0o007;

/// The token in force. A file that cannot be used is left as it is.
///
/// # Errors
/// The system has no random bytes.
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
    let file = match api.token_file.as_os_str().is_empty() {
        true => default_file(variable),
        false => Some(api.token_file.clone()),
    };
    let new = random_token()?;
    let Some(file) = file else {
        let why = "neither STATE_DIRECTORY nor XDG_STATE_HOME nor HOME says where; set api.token_file";
        return Ok((new.clone(), TokenNotice::ForThisRun { token: new, why: why.to_owned() }));
    };
    Ok(match read_or_keep(&file, &new) {
        Ok(Some(token)) => (token, TokenNotice::Kept(file)),
        Ok(None) => (new.clone(), TokenNotice::Made { token: new, file }),
        Err(error) => {
            let why = format!("{}: {error}", file.display());
            (new.clone(), TokenNotice::ForThisRun { token: new, why })
        }
    })
}

/// The token that the file has; or none, and the file has the new one from now on.
fn read_or_keep(file: &Path, new: &str) -> io::Result<Option<String>> {
    match read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        outcome => return outcome.map(Some),
    }
    match keep(file, new) {
        Ok(()) => Ok(None),
        // Another relay that starts at the same time was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(file).map(Some),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    if mode & OTHERS != 0 {
        let what = format!("everybody may use it (mode {:o}); chmod 600 it, or remove it", mode & 0o777);
        return Err(io::Error::other(what));
    }
    let mut text = String::new();
    // With the end of its line.
    file.take(MAX_TOKEN_BYTES as u64 + 2).read_to_string(&mut text)?;
    let token = text.trim_end();
    config::check_token(token).map_err(io::Error::other)?;
    Ok(token.to_owned())
}

/// Whole or not at all, and never in the place of another one.
fn keep(path: &Path, token: &str) -> io::Result<()> {
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
    getrandom::fill(&mut bytes).map_err(|error| format!("cannot make a token for the API: {error}"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// As systemd says; or else where the XDG Base Directory Specification keeps the state of a user's programs.
fn default_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The specification has relative paths ignored.
    let directory = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // One for each StateDirectory=, with colons between them.
    let of_service = variable("STATE_DIRECTORY").and_then(|all| {
        let first = PathBuf::from(all.to_str()?.split(':').next()?);
        first.is_absolute().then_some(first)
    });
    let of_user = || directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local/state")));
    Some(of_service.or_else(|| Some(of_user()?.join("fanfare")))?.join("token"))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn api_with(file: &Path) -> Api {
        Api { token_file: file.to_owned(), ..Api::default() }
    }

    fn start(file: &Path) -> (String, TokenNotice) {
        obtain(&api_with(file)).unwrap()
    }

    fn why(notice: &TokenNotice) -> &str {
        match notice {
            TokenNotice::ForThisRun { why, .. } => why,
            _ => panic!("it is kept"),
        }
    }

    #[test]
    fn a_token_is_made_once_shown_once_and_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("made/for/it/token");
        let (first, notice) = start(&file);
        assert!(matches!(&notice, TokenNotice::Made { token, .. } if *token == first));
        assert_eq!(config::check_token(&first), Ok(()));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let (second, notice) = start(&file);
        assert!(second == first && matches!(notice, TokenNotice::Kept(kept) if kept == file));
        fs::remove_file(&file).unwrap();
        assert_ne!(start(&file).0, first);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn of_relays_that_start_at_the_same_time_all_have_the_same_token() {
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
        assert_eq!(tokens.iter().filter(|(_, notice)| matches!(notice, TokenNotice::Made { .. })).count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_left_alone_and_the_token_is_for_this_run() {
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
        // A folder in its place, and a file in the place of its folder.
        assert!(why(&start(folder.path()).1).contains(&folder.path().display().to_string()));
        assert!(why(&start(&file.join("token")).1).contains("token"));
    }

    #[test]
    fn a_file_that_an_operator_wrote_is_taken_with_or_without_the_end_of_a_line() {
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
    fn a_configured_token_is_the_token_and_no_file_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let api = Api { token: "configured-token".to_owned(), ..api_with(&file) };
        let (token, notice) = obtain(&api).unwrap();
        assert!(token == "configured-token" && matches!(notice, TokenNotice::Configured) && !file.exists());
    }

    #[test]
    fn without_a_configured_file_it_is_where_systemd_or_xdg_says() {
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

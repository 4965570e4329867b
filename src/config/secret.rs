//! Secrets in files of their own, and in the environment.

#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{Config, MAX_TOKEN_BYTES, check_token, secret_file::open_private};

impl Config {
    /// This configuration with the token in `api.read_token_file`, and the secrets and keys that are in files and
    /// environment variables. The last step, when it is known which ones these are.
    ///
    /// # Errors
    /// The key, the file or variable and what is wrong with it, as one line. It does not contain the secret.
    pub fn with_secret_files(mut self) -> Result<Config, String> {
        let file = &self.api.read_token_file;
        if !file.as_os_str().is_empty() {
            let explain = |error| format!("api.read_token_file: {}: {error}", file.display());
            self.api.read_token = read_token(file).map_err(explain)?;
        }
        for (key, min_bytes, secrets) in self.secrets() {
            let read = secrets.read(min_bytes, &|name| std::env::var_os(name));
            read.map_err(|what| format!("{key}: {what}"))?;
        }
        self.jwt.public_keys.read().map_err(|what| format!("jwt.public_keys: {what}"))?;
        Ok(self)
    }
}

/// The token in a file that only its owner and group can access, with or without a line ending.
///
/// # Errors
/// The file cannot be read, others can access it, or it does not contain a token. The error does not contain it.
pub fn read_token(path: &Path) -> io::Result<String> {
    read(open_private(path)?)
}

/// The token in a file in a directory that only its owner can access.
pub(super) fn read_credential(path: &Path) -> io::Result<String> {
    read(File::open(path)?)
}

fn read(file: File) -> io::Result<String> {
    let mut text = String::new();
    // With a line ending.
    file.take(MAX_TOKEN_BYTES as u64 + 2).read_to_string(&mut text)?;
    let token = text.trim_end();
    check_token(token).map_err(io::Error::other)?;
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    fn file_with(text: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("read_token");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        (folder, file)
    }

    fn with_file(file: &Path) -> Result<Config, String> {
        let mut config = Config::default();
        config.api.read_token_file = file.to_owned();
        config.with_secret_files()
    }

    #[test]
    fn the_token_is_what_the_file_contains_without_the_end_of_its_line() {
        let longest = "x".repeat(MAX_TOKEN_BYTES);
        let with_line_ending = format!("{longest}\r\n");
        for (text, token) in [
            ("our-read-token", "our-read-token"),
            ("our-read-token\n", "our-read-token"),
            ("our-read-token\r\n", "our-read-token"),
            (&with_line_ending, &longest),
        ] {
            let (_folder, file) = file_with(text.as_bytes(), 0o440);
            assert_eq!(with_file(&file).unwrap().api.read_token, token);
        }
        assert_eq!(Config::default().with_secret_files(), Ok(Config::default()));
    }

    /// Without its token the relay would show its metrics to every client.
    #[test]
    fn a_file_that_cannot_be_used_is_an_error_without_what_is_in_it() {
        let too_long = "x".repeat(MAX_TOKEN_BYTES + 1);
        for (text, mode, reason) in [
            (&b"our-read-token\n"[..], 0o604, "other users can access it (mode 604); chmod 600 it"),
            (b"our-read-token\n", 0o602, "mode 602"),
            (b"", 0o600, "a token has 8 to 1024 bytes, not 0"),
            (b"\n", 0o600, "a token has 8 to 1024 bytes, not 0"),
            (b"our\n", 0o600, "a token has 8 to 1024 bytes, not 3"),
            (b"our-read-token\nand more\n", 0o600, "only letters, digits"),
            (b" our-read-token\n", 0o600, "only letters, digits"),
            (b"our-read-token\xff\n", 0o600, "UTF-8"),
            (too_long.as_bytes(), 0o600, "a token has 8 to 1024 bytes, not 1025"),
        ] {
            let (_folder, file) = file_with(text, mode);
            let error = with_file(&file).unwrap_err();
            assert!(error.starts_with(&format!("api.read_token_file: {}: ", file.display())), "{error}");
            assert!(error.contains(reason) && error.lines().count() == 1, "{error}");
            assert!(!error.replace(&*file.to_string_lossy(), "").contains("our-read"), "{error}");
        }
        for (path, reason) in
            [("/no/such/file", "No such file"), ("/", "other users can"), ("/dev/null/a", "Not a directory")]
        {
            let error = with_file(path.as_ref()).unwrap_err();
            assert!(error.starts_with(&format!("api.read_token_file: {path}: {reason}")), "{error}");
        }
    }
}

//! What an authority (RFC 8555) has issued, in files: an account and a certificate per name, in a folder that only the
//! relay's own user can read. One folder per authority, so that a change of authority uses nothing of the earlier one.

use std::{
    fs::DirBuilder,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::config::Tls;

/// The files of one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store(PathBuf);

impl Store {
    /// Where this configuration has them: in `acme_folder`, or in the state directory.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn of(tls: &Tls) -> Result<Self, String> {
        let folder = match tls.acme_folder.as_os_str().is_empty() {
            true => super::development::state_folder().map(|state| state.join("acme")),
            false => Some(tls.acme_folder.clone()),
        };
        let folder = folder.ok_or("tls.acme_folder: STATE_DIRECTORY, XDG_STATE_HOME and HOME are not set")?;
        let directory = &tls.acme_directory;
        let host = directory.split('/').nth(2).unwrap_or_default();
        let host: String =
            host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let hash = Sha256::digest(directory.as_bytes());
        Ok(Self(folder.join(format!("{host}-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]))))
    }

    /// The account with its key, in JSON.
    pub fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// The certificate for a name and its key, in one file: they are replaced at once.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    /// Writes a file as a whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn write(&self, path: &Path, content: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        // Mode 0600.
        let mut file = tempfile::Builder::new().prefix(".new").tempfile_in(&self.0)?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn what_is_written_is_for_its_owner_alone_and_apart_for_each_authority() {
        let folder = tempfile::tempdir().unwrap();
        let store = |directory: &str| {
            let acme_directory = directory.to_owned();
            let acme_folder = folder.path().join("a/b");
            Store::of(&Tls { acme_folder, acme_directory, ..Tls::default() }).unwrap()
        };
        let first = store("https://ca.example:14000/dir");
        assert!(first.0.file_name().unwrap().to_str().unwrap().starts_with("ca.example-14000-"));
        let file = first.certificate("relay.example");
        for content in ["one", "two"] {
            first.write(&file, content).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        assert_ne!(store("https://ca.example:14000/other"), first);
    }
}

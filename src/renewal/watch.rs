//! Whether files have changed. They are read once they no longer change: a certificate and its key are written one after
//! the other.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

/// What tells two versions of a file apart; nothing for one that is missing. Of a link, the file that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: PathBuf,
    version: Option<(u64, u64, i64, i64)>,
}

/// The versions of these files, as of now.
pub(super) fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let version = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    };
    files.iter().map(|file| Stamp { file: file.clone(), version: version(file) }).collect()
}

/// Compares versions of files from time to time.
pub(super) struct Watch {
    read: Vec<Stamp>,
    last: Vec<Stamp>,
}

impl Watch {
    /// These have been read.
    pub(super) fn new(read: Vec<Stamp>) -> Self {
        Self { last: read.clone(), read }
    }

    /// Whether they are others than those that were read, and the same as last time. They count as read then.
    pub(super) fn has_changed(&mut self, now: Vec<Stamp>) -> bool {
        let is_quiet = now == self.last;
        self.last = now;
        if !is_quiet || self.last == self.read {
            return false;
        }
        self.read.clone_from(&self.last);
        true
    }

    /// These have just been read.
    pub(super) fn set_read(&mut self, now: Vec<Stamp>) {
        *self = Self::new(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_after_they_have_changed_and_not_while_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let mut watch = Watch::new(stamps(&files));
        let mut look = || watch.has_changed(stamps(&files));
        assert!(!look());
        fs::write(&files[0], "new").unwrap();
        assert!(!look(), "it may still change");
        fs::write(&files[1], "new").unwrap();
        assert!(!look());
        assert!(look());
        assert!(!look());
        // The same size, and by renaming.
        fs::write(folder.path().join("other"), "wen").unwrap();
        fs::rename(folder.path().join("other"), &files[0]).unwrap();
        assert_eq!([look(), look(), look()], [false, true, false]);
        fs::remove_file(&files[1]).unwrap();
        assert_eq!([look(), look(), look()], [false, true, false]);
        fs::write(&files[1], "new").unwrap();
        watch.set_read(stamps(&files));
        assert!(!watch.has_changed(stamps(&files)));
    }
}

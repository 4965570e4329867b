//! Files that contain secrets or keys: who may have access to them, and how much of them is read.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// The text of a file that only its owner and group can access.
pub(super) fn read_private_file(path: &Path) -> io::Result<String> {
    read_text(open_private(path)?)
}

/// The text of a file.
pub(super) fn read_file(path: &Path) -> io::Result<String> {
    read_text(File::open(path)?)
}

fn read_text(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_FILE_BYTES {
        true => Err(io::Error::other("larger than 1 MiB")),
        false => Ok(text),
    }
}

/// A file that only its owner and group can access.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    if mode & OTHERS != 0 {
        let what = format!("other users can access it (mode {:o}); chmod 600 it", mode & 0o777);
        return Err(io::Error::other(what));
    }
    Ok(file)
}

/// Permission bits of users other than the owner and its group.
const OTHERS: u32 = 0o007;
/// A device that is given by mistake is not read to its end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

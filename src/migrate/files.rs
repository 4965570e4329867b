//! Reads files of configurations: the one that was named, and those that it includes.

use std::{
    cell::Cell,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use globset::GlobBuilder;

/// Where included files are, and how many more of them may be read.
pub(super) struct Files {
    /// Folders that a relative path may be in.
    folders: Vec<PathBuf>,
    left: Cell<usize>,
}

impl Files {
    /// Those that a file includes.
    pub fn beside(file: &Path) -> Self {
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        // SRS's conf/srs.conf includes conf/vhost.conf.
        let outer = folder.parent().map(Path::to_path_buf);
        Self { folders: [folder].into_iter().chain(outer).collect(), left: Cell::new(MAX_FILES) }
    }

    /// None can be read.
    pub const fn none() -> Self {
        Self { folders: Vec::new(), left: Cell::new(0) }
    }

    /// The files of an `include`, which may be a pattern, with their names.
    ///
    /// # Errors
    /// Why none could be read.
    pub fn included(&self, pattern: &str) -> Result<Vec<(String, String)>, String> {
        if self.folders.is_empty() {
            return Err("is not here".to_owned());
        }
        let paths = self.paths(pattern)?;
        let read = |path: PathBuf| -> Result<(String, String), String> {
            let left = self.left.get().checked_sub(1);
            self.left.set(left.ok_or_else(|| format!("more than {MAX_FILES} files are included"))?);
            // As it is included, not from the folder that this file is in.
            let name = self.folders.iter().find_map(|folder| path.strip_prefix(folder).ok()).unwrap_or(&path);
            Ok((name.display().to_string(), read(&path)?))
        };
        paths.into_iter().map(read).collect()
    }

    fn paths(&self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let candidates = self.folders.iter().map(|folder| folder.join(pattern));
        if !pattern.contains(['*', '?', '[']) {
            let found = candidates.into_iter().find(|path| path.exists());
            return found.map(|path| vec![path]).ok_or_else(|| "there is no such file".to_owned());
        }
        for path in candidates {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
            else {
                continue;
            };
            let Ok(glob) = GlobBuilder::new(name).literal_separator(true).build() else { continue };
            let glob = glob.compile_matcher();
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let mut paths: Vec<PathBuf> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.file_name().is_some_and(|name| glob.is_match(name)))
                .take(MAX_FILES + 1)
                .collect();
            paths.sort();
            return Ok(paths);
        }
        Err("there is no such folder".to_owned())
    }
}

/// How places in a file name it: without its folders.
pub(super) fn base_name(file: &str) -> &str {
    match file.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => file,
    }
}

/// The text of a file. Bytes that are not UTF-8 are replaced: they are in comments.
///
/// # Errors
/// That it cannot be read, or that it is too large.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err("is a folder".to_owned());
    }
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_BYTES {
        return Err(TOO_LARGE.to_owned());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Many times what operators write: those that the servers come with have 60 KB.
pub(super) const MAX_BYTES: usize = 1 << 20;
pub(super) const TOO_LARGE: &str = "larger than 1 MiB, which no configuration is";
/// Files that are included, all together.
const MAX_FILES: usize = 200;

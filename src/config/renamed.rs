//! Options that have had another name. A file that still uses the old one is refused with the new one.

/// The old key in full and the new one, in the order of the file.
pub(super) const RENAMED: [(&str, &str); 10] = [
    ("pin", "pin_cores"),
    ("drain", "shutdown_timeout"),
    ("publish.stale_publisher", "publish.takeover_after"),
    ("play.play_wait", "play.wait_for_publisher"),
    ("play.merge", "play.merge_window"),
    ("play.zero_copy_from", "play.zero_copy_threshold"),
    ("limits.uncounted", "limits.exempt"),
    ("limits.publisher_silence", "limits.publisher_timeout"),
    ("http.head_timeout", "http.header_timeout"),
    ("http.metrics_streams", "http.metrics_max_streams"),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_old_key_is_refused_at_its_line_with_the_new_one_which_exists() {
        let defaults: toml::Table = Config::default().to_toml().parse().unwrap();
        let exists = |key: &str| match key.split_once('.') {
            Some((table, name)) => defaults[table].get(name).is_some(),
            None => defaults.contains_key(key),
        };
        for (old, new) in RENAMED {
            assert!(exists(new) && !exists(old), "{old} is now {new}");
            let (file, line) = match old.split_once('.') {
                Some((table, name)) => (format!("cores = 1\n[{table}]\n{name} = '1s'\n"), 3),
                None => (format!("cores = 1\n{old} = '1s'\n"), 2),
            };
            let error = Config::from_toml("fanfare.toml", &file).unwrap_err().to_string();
            assert_eq!(error, format!("fanfare.toml:{line}:1: {old}: this option is now called {new}"));
        }
    }

    #[test]
    fn of_several_old_keys_the_first_in_the_file_is_named() {
        let file = "http.metrics_streams = 1\npin = true\n[play]\nmerge = '1ms'\n";
        let error = Config::from_toml("f", file).unwrap_err().to_string();
        assert!(error.starts_with("f:1:6: http.metrics_streams: "), "{error}");
    }

    /// The files in a folder and its subfolders.
    fn files_in(folder: &Path) -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn neither_source_nor_documents_name_an_old_key() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = ["src", "docs", "packaging", "loadtest/src"].map(|folder| root.join(folder));
        let files = ["README.md", "ARCHITECTURE.md", "fanfare.toml"].map(|file| root.join(file));
        let own = root.join(file!());
        let all = folders.iter().flat_map(|folder| files_in(folder)).chain(files).filter(|file| *file != own);
        let mut count = 0;
        for file in all {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            count += 1;
            for (old, new) in RENAMED.iter().filter(|(old, _)| old.contains('.')) {
                let continues = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                let is_there = text.match_indices(old).any(|(at, _)| !continues(&text[at + old.len()..]));
                assert!(!is_there, "{} names {old}, which is now {new}", file.display());
            }
        }
        assert!(count > 100, "{count} files");
    }
}

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
}

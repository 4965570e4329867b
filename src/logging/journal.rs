//! Whether standard error is systemd's journal, and how a line says its level there: with `<4>` in front, which
//! `journalctl -p warning` finds. See sd-daemon(3) and JOURNAL_STREAM in systemd.exec(5).

use std::{
    env,
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
};

use tracing::Level;

/// Whether standard error is connected to the journal, rather than to a file or pipe to which it was redirected later.
pub(super) fn is_connected() -> bool {
    let connected = || {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
        Some(env::var("JOURNAL_STREAM").ok()? == format!("{}:{}", stderr.dev(), stderr.ino()))
    };
    connected() == Some(true)
}

/// The line with its level. The journal removes it again.
pub(super) fn with_priority(line: &[u8], level: Level) -> Vec<u8> {
    let priority: &[u8] = match level {
        Level::ERROR => b"<3>",
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        _ => b"<7>",
    };
    [priority, line].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_the_priority_of_its_level() {
        let written = |level| String::from_utf8(with_priority(b"a line\n", level)).unwrap();
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        let expected = ["<3>a line\n", "<4>a line\n", "<6>a line\n", "<7>a line\n", "<7>a line\n"];
        assert_eq!(levels.map(written), expected);
    }
}

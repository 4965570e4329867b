//! Memory and file descriptors of this process, as the kernel reports them.

use std::fs;

/// Memory in use (the resident set), bytes; 0 if the kernel does not report it.
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = field(&status, "VmRSS:").and_then(|text| text.parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

/// Open file descriptors.
pub(super) fn open_files() -> u64 {
    // Since Linux 6.2 the size of the folder is their number; before, it is 0, and they are counted.
    match fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len()) {
        0 => fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        count => count,
    }
}

/// The limit on open file descriptors.
pub(super) fn open_files_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = field(&limits, "Max open files").map(|text| text.parse().unwrap_or(u64::MAX));
    limit.unwrap_or(0)
}

/// The first word after a name at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_memory_and_descriptors() {
        assert!(resident_bytes() > 1 << 20);
        let before = open_files();
        let _file = fs::File::open("/proc/self/status").unwrap();
        assert!(before > 2 && open_files() > before - 3 && open_files_limit() >= before);
    }

    #[test]
    fn fields_are_read_by_name() {
        let text =
            "Max open files            1024                 4096                 files\nVmRSS:\t  77 kB\n";
        assert_eq!((field(text, "Max open files"), field(text, "VmRSS:")), (Some("1024"), Some("77")));
        assert_eq!(field(text, "VmSwap:"), None);
    }
}

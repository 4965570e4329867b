//! What the kernel knows of this process: memory and descriptors.

use std::fs;

/// Memory in use, bytes (the resident set); 0 where the kernel does not say.
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = field(&status, "VmRSS:").and_then(|text| text.parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

/// Descriptors that are open.
pub(super) fn open_files() -> u64 {
    // Since Linux 6.2 the folder's size is their number; before, it is 0, and they are counted.
    match fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len()) {
        0 => fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        count => count,
    }
}

/// Descriptors that may be open.
pub(super) fn open_files_limit() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = field(&limits, "Max open files").map(|text| text.parse().unwrap_or(u64::MAX));
    limit.unwrap_or(0)
}

/// The first word behind a name at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
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

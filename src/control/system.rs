//! Memory, CPU time and file descriptors of this process, as the kernel reports them.

use std::fs;

/// The unit of CPU times in /proc: the same on every architecture of Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory in use (the resident set), bytes; 0 if the kernel does not report it.
pub(super) fn resident_bytes() -> u64 {
    memory_bytes("VmRSS:")
}

/// Virtual memory, bytes; 0 if the kernel does not report it.
pub(super) fn virtual_bytes() -> u64 {
    memory_bytes("VmSize:")
}

fn memory_bytes(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = field(&status, name).and_then(|text| text.parse::<u64>().ok());
    kib.map_or(0, |kib| kib * 1024)
}

/// CPU time since the start, in user mode and in the kernel.
pub(super) fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    (of_stat(&stat, 14) + of_stat(&stat, 15)) / TICKS_PER_SECOND
}

/// When this process started, as a Unix time.
pub(super) fn started_at_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let of_machine = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted_at = field(&of_machine, "btime").and_then(|text| text.parse().ok()).unwrap_or(0.0);
    booted_at + of_stat(&stat, 22) / TICKS_PER_SECOND
}

/// A field of /proc/self/stat by its number in proc(5); 0 if it is not there. The second one, the program's name, may
/// contain anything and ends with the last parenthesis.
fn of_stat(stat: &str, number: usize) -> f64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(number - 3).and_then(|text| text.parse().ok()).unwrap_or(0.0)
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
    fn the_kernel_reports_cpu_time_and_when_the_process_started() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..86_400.0).contains(&(now - started_at_seconds())));
        let start = std::time::Instant::now();
        while cpu_seconds() == 0.0 {
            assert!(start.elapsed() < std::time::Duration::from_secs(20));
        }
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 777 1000";
        assert_eq!([14, 15, 22, 99].map(|number| of_stat(stat, number)), [150.0, 50.0, 777.0, 0.0]);
        assert!(virtual_bytes() > resident_bytes());
    }

    #[test]
    fn fields_are_read_by_name() {
        let text =
            "Max open files            1024                 4096                 files\nVmRSS:\t  77 kB\n";
        assert_eq!((field(text, "Max open files"), field(text, "VmRSS:")), (Some("1024"), Some("77")));
        assert_eq!(field(text, "VmSwap:"), None);
    }
}

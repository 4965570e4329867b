//! CPU time and memory of processes, read from /proc.

use std::fs;

/// CPU time and memory of some processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all threads, and of children that have ended.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
}

impl Usage {
    /// Of a process and all of its descendants; 0 if it is gone.
    pub fn of_tree(pid: u32) -> Self {
        let sum = Self::of(pid).unwrap_or_default();
        children(pid).into_iter().map(Self::of_tree).fold(sum, Self::plus)
    }

    /// Of this process.
    pub fn of_self() -> Self {
        Self::of(std::process::id()).unwrap_or_default()
    }

    /// Of two sets of processes together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            resident_bytes: self.resident_bytes + other.resident_bytes,
        }
    }

    /// CPU time since an earlier reading, and the current memory.
    pub fn since(self, earlier: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds - earlier.cpu_seconds, ..self }
    }

    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17, rss is field 24. The name, field 2,
    /// may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let field = |number: usize| after_name.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)? + field(16)? + field(17)?;
        Some(Self {
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}

/// Children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 100 50 20 30 15 16 17 18 19 20 9 22";
        let usage = Usage::parse(stat).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(usage.cpu_seconds, 200.0 / ticks);
        assert_eq!(usage.resident_bytes, 9 * rustix::param::page_size() as u64);
    }

    #[test]
    fn this_process_uses_memory_and_a_process_that_is_gone_uses_none() {
        assert!(Usage::of_self().resident_bytes > 100_000);
        assert_eq!(Usage::of_tree(u32::MAX), Usage::default());
    }
}

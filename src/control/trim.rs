//! When to return free memory to the kernel: after many connections have ended. Their memory is scattered over the
//! heap, and by itself the allocator returns only what is at the end of the heap.

/// As many closed connections are worth a walk through the heap: each used 2 to 30 KiB.
const MANY: usize = 256;

/// Watches the number of connections.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// The highest number since memory was last returned.
    peak: usize,
}

impl Trim {
    /// Takes the current number of connections. True if it is time to return memory: half of many have ended.
    pub(super) fn is_due(&mut self, connections: usize) -> bool {
        self.peak = self.peak.max(connections);
        let ended = self.peak - connections;
        let is_due = ended >= MANY && ended >= self.peak / 2;
        if is_due {
            self.peak = connections;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_when_half_of_many_connections_have_ended() {
        let mut trim = Trim::default();
        assert!(!trim.is_due(3_000) && !trim.is_due(1_501));
        assert!(trim.is_due(1_500));
        assert!(!trim.is_due(1_500) && !trim.is_due(1_245), "few have ended since");
        assert!(trim.is_due(750), "half of the rest");
    }

    #[test]
    fn it_is_not_due_while_few_connections_come_and_go() {
        let mut trim = Trim::default();
        for connections in [0, 255, 0, 100, 0] {
            assert!(!trim.is_due(connections));
        }
        assert!(!trim.is_due(256));
        assert!(trim.is_due(0), "one more is many");
    }
}

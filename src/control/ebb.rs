//! When memory is to be given back: after many connections have gone. What each held lies scattered over the heap, and by
//! itself the allocator gives back what is at its end alone.

/// So many connections fewer are worth a look through the heap: each holds 2 to 30 KiB.
const MANY: usize = 256;

/// The tide of connections.
#[derive(Debug, Default)]
pub(super) struct Ebb {
    /// The most that there have been since memory was last given back.
    most: usize,
}

impl Ebb {
    /// Takes note of how many there are now. True where it is time to give memory back: half of many have gone.
    pub(super) fn has_come(&mut self, connections: usize) -> bool {
        self.most = self.most.max(connections);
        let have_gone = self.most - connections;
        let has_come = have_gone >= MANY && have_gone >= self.most / 2;
        if has_come {
            self.most = connections;
        }
        has_come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ebb_comes_once_when_half_of_many_have_gone() {
        let mut ebb = Ebb::default();
        assert!(!ebb.has_come(3_000) && !ebb.has_come(1_501));
        assert!(ebb.has_come(1_500));
        assert!(!ebb.has_come(1_500) && !ebb.has_come(1_245), "few have gone since");
        assert!(ebb.has_come(750), "and now half of the rest");
    }

    #[test]
    fn a_few_that_come_and_go_are_no_tide() {
        let mut ebb = Ebb::default();
        for connections in [0, 255, 0, 100, 0] {
            assert!(!ebb.has_come(connections));
        }
        assert!(!ebb.has_come(256));
        assert!(ebb.has_come(0), "one more is many");
    }
}

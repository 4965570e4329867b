//! How large the rings of the cores may be. Kernels count rings as locked memory of their user, unless it has
//! CAP_IPC_LOCK (those before 5.12, and again newer ones), and the usual limit for that is 8 MiB, for all processes of
//! the user together.

#![forbid(unsafe_code)]

use std::{
    io, thread,
    time::{Duration, Instant},
};

use io_uring::IoUring;
use rlimit::Resource;

/// The kernel frees the memory of a ring only some time after the ring is closed: that of rings made to find out whether
/// they fit, and that of a relay that ran before.
const GIVEN_BACK: Duration = Duration::from_secs(2);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(50);

/// Entries in the queues of one core's two rings. The kernel keeps completions that find no room, so a small ring costs
/// system calls, and loses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// Submissions of the fan-out ring that are gathered before one system call takes them all.
    pub submissions: u32,
    /// Completions of the fan-out ring that wait to be looked at.
    pub completions: u32,
    /// Entries of tokio-uring's own ring, which carries accepts, several per listener.
    pub accepts: u32,
}

impl RingSize {
    /// What a busy core wants.
    pub const LARGEST: RingSize = RingSize::new(1024, 16_384, 256);
    /// What any core can work with.
    pub const SMALLEST: RingSize = RingSize::new(64, 256, 32);
    /// From the largest to the smallest: 356, 116, 36 and 20 KiB for each core.
    const ALL: [RingSize; 4] =
        [RingSize::LARGEST, RingSize::new(512, 4096, 128), RingSize::new(128, 1024, 64), RingSize::SMALLEST];

    const fn new(submissions: u32, completions: u32, accepts: u32) -> Self {
        Self { submissions, completions, accepts }
    }

    /// Memory that the kernel locks for one core, about.
    fn bytes(self) -> u64 {
        ring_bytes(self.submissions, self.completions) + ring_bytes(self.accepts, 2 * self.accepts)
    }
}

/// 64 bytes per submission; 16 per completion, 4 per index, and a head; both in pages.
fn ring_bytes(submissions: u32, completions: u32) -> u64 {
    let pages = |bytes: u64| bytes.next_multiple_of(4096);
    pages(64 * u64::from(submissions)) + pages(16 * u64::from(completions) + 4 * u64::from(submissions) + 320)
}

/// The largest rings that all of so many cores can have.
///
/// # Errors
/// The kernel's error: ENOMEM where even the smallest do not fit.
pub(super) async fn largest_that_fits(cores: usize) -> io::Result<RingSize> {
    raise_limit();
    let (limit, _) = Resource::MEMLOCK.get().unwrap_or((rlimit::INFINITY, rlimit::INFINITY));
    if limit == rlimit::INFINITY {
        return Ok(RingSize::LARGEST);
    }
    // Other processes of the user have a part of the limit, and some kernels and users have none: so it is tried.
    let deadline = Instant::now() + GIVEN_BACK;
    let available = loop {
        let available = available(cores)?;
        if available >= RingSize::LARGEST.bytes() * cores as u64 {
            return Ok(RingSize::LARGEST);
        }
        let is_all_there_will_be = available + RingSize::LARGEST.bytes() > limit;
        if is_all_there_will_be || Instant::now() >= deadline {
            break available;
        }
        tokio::time::sleep(AGAIN).await;
    };
    let size = fitting(available, cores).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
    tracing::warn!(
        cores,
        wanted_kib = needed_kib(RingSize::LARGEST, cores),
        limit_kib = limit / 1024,
        available_kib = available / 1024,
        submissions = size.submissions,
        completions = size.completions,
        "little memory may be locked: io_uring's queues are smaller, a busy core makes more system calls; raise the \
         limit (LimitMEMLOCK=infinity, ulimit -l)"
    );
    Ok(size)
}

/// How many bytes the rings of so many cores may have, up to what they want.
fn available(cores: usize) -> io::Result<u64> {
    let mut bytes = 0;
    // Held until all is counted: what is dropped does not come back at once.
    let mut rings: Vec<IoUring> = Vec::new();
    let mut hold = |submissions, completions| {
        let ring = IoUring::builder().setup_clamp().setup_cqsize(completions).build(submissions);
        match ring {
            Ok(ring) => rings.push(ring),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => return Ok(false),
            Err(error) => return Err(error),
        }
        bytes += ring_bytes(submissions, completions);
        Ok(true)
    };
    let mut pairs = 0;
    for size in RingSize::ALL {
        while pairs < cores
            && hold(size.submissions, size.completions)?
            && hold(size.accepts, 2 * size.accepts)?
        {
            pairs += 1;
        }
    }
    Ok(bytes)
}

/// The largest that so many cores can have of so many bytes.
fn fitting(available: u64, cores: usize) -> Option<RingSize> {
    RingSize::ALL.into_iter().find(|size| size.bytes() * cores as u64 <= available)
}

fn needed_kib(size: RingSize, cores: usize) -> u64 {
    size.bytes() * cores as u64 / 1024
}

/// Makes a ring, again and again while memory for it may still come back.
pub(super) fn patiently<T>(make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + GIVEN_BACK;
    loop {
        match make() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && Instant::now() < deadline => {
                thread::sleep(AGAIN);
            }
            outcome => return outcome,
        }
    }
}

/// What to do where there is no memory for the rings of so many cores.
pub(super) fn advice(cores: usize) -> String {
    let limit = match Resource::MEMLOCK.get() {
        Ok((rlimit::INFINITY, _)) | Err(_) => return "the machine's memory is short".to_owned(),
        Ok((limit, _)) => limit / 1024,
    };
    let least = needed_kib(RingSize::ALL[RingSize::ALL.len() - 1], cores);
    let wanted = needed_kib(RingSize::LARGEST, cores);
    format!(
        "{cores} cores need {least} KiB of locked memory at the least, {wanted} KiB are wanted, and the limit for all \
         processes of this user is {limit} KiB: raise it (LimitMEMLOCK=infinity, ulimit -l, Docker: --ulimit \
         memlock=-1), or use fewer cores (--cores)"
    )
}

/// Up to the hard limit, which needs no privilege.
fn raise_limit() {
    let raised = Resource::MEMLOCK.get().and_then(|(soft, hard)| match soft < hard {
        true => Resource::MEMLOCK.set(hard, hard),
        false => Ok(()),
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "memlock limit not raised to the hard limit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn sizes_are_what_their_comments_say_and_go_down() {
        assert_eq!(RingSize::ALL.map(|size| size.bytes() / 1024), [356, 116, 36, 20]);
    }

    #[test]
    fn as_much_as_all_cores_can_have_is_taken_by_each() {
        for (available, cores, index) in [
            (8 * MIB, 23, 0),
            (8 * MIB, 24, 1),
            (8 * MIB, 70, 1),
            (8 * MIB, 71, 2),
            (8 * MIB, 227, 2),
            (8 * MIB, 256, 3),
            (64 << 10, 1, 2),
            (64 << 10, 3, 3),
        ] {
            assert_eq!(fitting(available, cores), Some(RingSize::ALL[index]), "{cores} cores");
        }
        assert_eq!(fitting(64 << 10, 4), None);
    }
}

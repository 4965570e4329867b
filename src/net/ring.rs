//! The fan-out ring: one io_uring a core for what its connections send and receive. Owns every buffer that the
//! kernel may touch until the kernel is done with it, so no other file of the network needs unsafe code.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use bytes::BytesMut;
use io_uring::{IoUring, opcode, squeue, types};
use slab::Slab;
use tokio::io::{Interest, unix::AsyncFd};

use crate::fanout::Batch;

/// Submissions that are gathered before one system call takes them all.
const SUBMISSIONS: u32 = 4096;
/// Completions that wait to be looked at. The kernel keeps what is beyond and hands it over later.
const COMPLETIONS: u32 = 16_384;

/// One core's ring. Every method must be called on the thread that made it.
pub struct Ring {
    ring: IoUring,
    operations: Slab<Operation>,
    tick: Box<types::Timespec>,
}

/// What a submission is about, and the memory that it lends to the kernel.
enum Operation {
    Send { owner: usize, batch: Batch },
    Receive { owner: usize, buffer: BytesMut },
    Readable { owner: usize },
    Wake { _value: Box<u64> },
    Tick,
}

/// What has come to its end.
pub enum Completion {
    /// A send: how many bytes the socket took.
    Sent { owner: usize, batch: Batch, result: io::Result<usize> },
    /// A receive: the buffer with what came appended, and how much that is; 0 is the peer's end.
    Received { owner: usize, buffer: BytesMut, result: io::Result<usize> },
    /// The socket has something to read, or its end.
    Readable { owner: usize },
    /// Another core called.
    Woken,
    /// [`Ring::tick`] has passed.
    Ticked,
}

impl Ring {
    /// A ring for the calling thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        Self::with_room(SUBMISSIONS, COMPLETIONS)
    }

    fn with_room(submissions: u32, completions: u32) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_clamp();
        // One thread submits, and completions wait until it looks: fewer interrupts of the busy thread. Kernels
        // before 6.0 know one of these or neither.
        let tuned = builder.clone().setup_single_issuer().setup_coop_taskrun().build(submissions);
        let ring = match tuned {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(submissions)?,
            other => other?,
        };
        Ok(Self { ring, operations: Slab::new(), tick: Box::new(types::Timespec::new()) })
    }

    /// Sends a batch. The socket stays open until the completion came.
    pub fn send(&mut self, socket: RawFd, owner: usize, batch: Batch) {
        let bytes = batch.bytes();
        // The address stays good while the batch moves into `operations`: its bytes are on the heap.
        let (address, len) = (bytes.as_ptr(), bytes.len() as u32);
        let entry = opcode::Send::new(types::Fd(socket), address, len).flags(libc::MSG_NOSIGNAL).build();
        self.push(entry, Operation::Send { owner, batch });
    }

    /// Receives into the buffer's spare room, of which there must be some.
    pub fn receive(&mut self, socket: RawFd, owner: usize, mut buffer: BytesMut) {
        let spare = buffer.spare_capacity_mut();
        debug_assert!(!spare.is_empty(), "a receive into no room looks like the peer's end");
        let (address, len) = (spare.as_mut_ptr().cast::<u8>(), spare.len() as u32);
        let entry = opcode::Recv::new(types::Fd(socket), address, len).build();
        self.push(entry, Operation::Receive { owner, buffer });
    }

    /// Waits until the socket can be read, with no memory lent.
    pub fn readable(&mut self, socket: RawFd, owner: usize) {
        let entry = opcode::PollAdd::new(types::Fd(socket), libc::POLLIN as u32).build();
        self.push(entry, Operation::Readable { owner });
    }

    /// Waits for a call on this eventfd.
    pub fn wake(&mut self, eventfd: RawFd) {
        let mut value = Box::new(0u64);
        let address = (&raw mut *value).cast::<u8>();
        let entry = opcode::Read::new(types::Fd(eventfd), address, size_of::<u64>() as u32).build();
        self.push(entry, Operation::Wake { _value: value });
    }

    /// Completes after `period`.
    pub fn tick(&mut self, period: Duration) {
        *self.tick = period.into();
        let entry = opcode::Timeout::new(&*self.tick).build();
        self.push(entry, Operation::Tick);
    }

    /// Tells the thread's runtime when completions wait. Call it inside that runtime.
    pub fn completions(&self) -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: the ring's descriptor is open for as long as `self`.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }.try_clone_to_owned()?;
        // SAFETY: the duplicate is open, and owned by nobody else, for as long as the `AsyncFd` has it.
        Ok(unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?)
    }

    /// Hands all that was gathered to the kernel, and takes over completions that found no room. False where the
    /// kernel did not take all: it has to be tried again, whether something completes or not.
    pub fn submit(&mut self) -> bool {
        // Without this call they stay with the kernel, and all later ones behind them: the core would sleep for good.
        let mut is_overflown = self.ring.submission().cq_overflow();
        while is_overflown || !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Ok(_) => is_overflown = false,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // Completions overflow, or memory is short: what is gathered stays so, and goes with the next
                // submit, after the caller has looked at the completions.
                Err(error) => {
                    tracing::debug!(%error, "io_uring took nothing");
                    return false;
                }
            }
        }
        true
    }

    /// How many completions are there now.
    pub fn waiting(&mut self) -> usize {
        self.ring.completion().len()
    }

    /// The next completion that is there.
    pub fn complete(&mut self) -> Option<Completion> {
        let entry = self.ring.completion().next()?;
        let result = match entry.result() {
            n @ 0.. => Ok(n as usize),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        };
        Some(match self.operations.remove(entry.user_data() as usize) {
            Operation::Send { owner, batch } => Completion::Sent { owner, batch, result },
            Operation::Receive { owner, mut buffer } => {
                if let Ok(n) = result {
                    // SAFETY: the kernel has written `n` bytes from the start of the room that it was lent.
                    unsafe { buffer.set_len(buffer.len() + n) };
                }
                Completion::Received { owner, buffer, result }
            }
            Operation::Readable { owner } => Completion::Readable { owner },
            Operation::Wake { .. } => Completion::Woken,
            Operation::Tick => Completion::Ticked,
        })
    }

    fn push(&mut self, entry: squeue::Entry, operation: Operation) {
        let key = self.operations.insert(operation);
        let entry = entry.user_data(key as u64);
        // SAFETY: what the entry points to is owned by `operations` (or `self.tick`) until its completion.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            if self.ring.submit().is_err() {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Ring {
    /// Closing the ring cancels what is under way, but not at once: what the kernel may still touch is left to it.
    fn drop(&mut self) {
        std::mem::take(&mut self.operations)
            .into_iter()
            .for_each(|(_, operation)| std::mem::forget(operation));
        std::mem::forget(std::mem::replace(&mut self.tick, Box::new(types::Timespec::new())));
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn more_completions_than_there_is_room_for_all_come_out() {
        let mut ring = Ring::with_room(4, 8).expect("io_uring is to be had");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writer.write_all(&[1]).expect("it has room");
        (0..40).for_each(|owner| ring.readable(reader.as_raw_fd(), owner));
        let mut owners = Vec::new();
        loop {
            let before = owners.len();
            ring.submit();
            while let Some(Completion::Readable { owner }) = ring.complete() {
                owners.push(owner);
            }
            if owners.len() == before {
                break;
            }
        }
        owners.sort_unstable();
        assert_eq!(owners, (0..40).collect::<Vec<_>>());
    }
}

//! Counts what connections make a core hold. Knows no connection.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stream::{Ledger, Memory, MemoryKind};

/// A connection with its session, its player, its place in the ring and at admission, without what it holds besides:
/// measured, rounded up.
const CONNECTION_BYTES: usize = 4 << 10;
/// What a core has counted.
pub(super) struct MemoryAccount {
    ledger: Ledger,
    connections: usize,
    buffers: usize,
    pub relieved_ms: u64,
}

/// What of a connection has been counted, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CountedBytes {
    pub input: usize,
    pub output: usize,
}

/// What the connection that holds most holds, by core: so that a core spares its own largest while another core has a
/// far larger one.
pub(super) struct Largest(Box<[AtomicUsize]>);

impl Largest {
    pub(super) fn new(cores: usize) -> Self {
        Self((0..cores).map(|_| AtomicUsize::new(0)).collect())
    }

    pub(super) fn set(&self, core: usize, bytes: usize) {
        self.0[core].store(bytes, Ordering::Relaxed);
    }

    pub(super) fn of_all(&self) -> usize {
        self.0.iter().map(|bytes| bytes.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}

impl MemoryAccount {
    pub(super) fn new(memory: &Memory) -> Self {
        Self { ledger: memory.ledger(), connections: 0, buffers: 0, relieved_ms: 0 }
    }

    /// There are so many connections.
    pub(super) fn set_connections(&mut self, connections: usize) {
        self.ledger.change(MemoryKind::Connections, &mut self.connections, connections * CONNECTION_BYTES);
    }

    /// There are so many bytes of receive buffers.
    pub(super) fn set_buffers(&mut self, bytes: usize) {
        self.ledger.change(MemoryKind::Input, &mut self.buffers, bytes);
    }

    /// A connection holds so much.
    pub(super) fn set(&mut self, counted: &mut CountedBytes, input: usize, output: usize) {
        self.ledger.change(MemoryKind::Input, &mut counted.input, input);
        self.ledger.change(MemoryKind::Output, &mut counted.output, output);
    }

    /// A connection is gone; there are so many now.
    pub(super) fn forget(&mut self, mut counted: CountedBytes, connections: usize) {
        self.set(&mut counted, 0, 0);
        self.set_connections(connections);
    }

    /// Posts what is not in the account of all cores yet.
    pub(super) fn post(&mut self) {
        self.ledger.post();
    }

    pub(super) fn memory(&self) -> &Memory {
        self.ledger.memory()
    }
}

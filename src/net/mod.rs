//! Where bytes come from and go to: threads, sockets, the ring. The only part that names tokio-uring and io_uring.

mod accept;
mod allocator;
mod buffers;
mod clock;
mod closing;
mod common;
mod connection;
mod core;
mod deadlines;
mod dialogue;
mod gate;
mod growth;
mod handle;
mod lifecycle;
mod listener;
mod memlock;
mod memory;
mod origin;
mod process;
mod protocol;
mod pulse;
mod queued;
pub mod report;
pub mod ring;
mod share;
mod shortage;
mod signals;
mod similar;
mod tasks;
mod traffic;
mod vacated;

pub use allocator::give_free_pages_back;
pub use handle::{Handle, HttpPlayer, Refusal, Ticket};
pub use listener::bind_http;
pub use process::run;
#[cfg(test)]
pub(crate) use process::without_cores;
pub use protocol::Protocol;
pub use pulse::Stalled;

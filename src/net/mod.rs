//! Where bytes come from and go to: threads, sockets, rings, signals. The only part that names tokio-uring, io_uring and
//! libc; what is done with the bytes is the business of [`endpoint`](crate::endpoint).

mod accept;
mod allocator;
mod arrivals;
mod buffers;
mod handle;
mod listener;
mod memlock;
mod process;
mod queued;
pub mod ring;
mod signals;
mod turn;

pub use allocator::give_free_pages_back;
pub use handle::Handle;
pub use listener::{Addresses, bind_http};
#[cfg(test)]
pub(crate) use process::without_cores;
pub use process::{Observer, explain_refusal, run};

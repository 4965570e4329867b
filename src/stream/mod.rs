//! A live stream as all cores share it: the log of its wire bytes, the point to join at, who publishes, who follows.
//! No sockets, no RTMP session; nothing here blocks on the way of a frame.

mod cells;
mod log;
mod preamble;
mod registry;
mod segment;
mod signal;
mod sync;
mod timeline;
mod writer;

pub use log::Retention;
pub use registry::{Busy, Follow, Publication, PublisherId, Registry, Stream};
pub use segment::{Class, Committed, Entry, Next, Segment};
pub use signal::{Mail, SLOTS, Signal};
pub use writer::Join;

#[cfg(test)]
pub(crate) mod tests {
    use crate::flv::{Frame, WireFormat};

    /// Payload bytes and nothing else: logs are easy to read with it.
    pub(crate) struct Plain;

    impl WireFormat for Plain {
        fn wire_len(&self, frame: &Frame) -> usize {
            frame.payload.len()
        }

        fn write(&self, frame: &Frame, out: &mut [u8]) {
            frame.payload.copy_prefix(out);
        }
    }
}

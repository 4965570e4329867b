//! Frames, and what their first bytes say: FLV tag headers, legacy and Enhanced; configurations of decoders; FLV files.
//! Pure: no socket, no clock.

#![forbid(unsafe_code)]
pub mod audio;
pub mod codec;
pub mod data;
mod enhanced;
pub mod frame;
mod readable;
mod run;
mod run_list;
pub mod script;
mod tag;
mod tag_reader;
pub mod video;
pub use enhanced::FourCc;
pub use frame::{Frame, FrameKind, Kinds, Payload, WireFormat};
pub use run::Run;
pub use tag::{BEFORE_TAGS_BYTES, FlvFormat};
#[cfg(any(test, fuzzing))]
pub use tag_reader::read_at_any_cut;
pub use tag_reader::{TagError, TagReader};

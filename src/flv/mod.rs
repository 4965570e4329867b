//! Frames and what their first bytes say: FLV tag headers, legacy and Enhanced, and what configurations of decoders say.
//! Pure: no socket, no clock.

#![forbid(unsafe_code)]
pub mod audio;
pub mod codec;
pub mod data;
mod enhanced;
pub mod frame;
mod readable;
pub mod script;
pub mod video;
pub use enhanced::FourCc;
pub use frame::{Frame, FrameKind, Kinds, Payload, Run, WireFormat};

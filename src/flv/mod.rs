//! Frames and what their first bytes say: FLV tag headers, legacy and Enhanced. Pure: no socket, no clock.
pub mod audio;
pub mod data;
mod enhanced;
pub mod frame;
mod readable;
pub mod script;
pub mod video;
pub use enhanced::FourCc;
pub use frame::{Frame, FrameKind, Kinds, Payload, Run, WireFormat};

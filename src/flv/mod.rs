//! Frames and what their first bytes say: FLV tag headers, legacy and Enhanced. Pure: no socket, no clock.
pub mod frame;
pub use frame::{Frame, FrameKind, Payload, Run, WireFormat};

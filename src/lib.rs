//! fanfare: a live relay for Linux.
pub mod amf0;
pub mod flv;
pub mod rtmp;

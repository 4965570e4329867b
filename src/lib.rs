//! fanfare: a live relay for Linux.
pub mod amf0;
pub mod config;
pub mod flv;
pub mod logging;
pub mod rtmp;

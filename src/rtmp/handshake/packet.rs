//! The packets of a handshake: C1, S1, C2 and S2 are all of one length.

/// Bytes of C1, C2, S1 and S2 (§5.2.3).
pub const PACKET_LEN: usize = 1536;

/// One of them.
pub type Packet = [u8; PACKET_LEN];

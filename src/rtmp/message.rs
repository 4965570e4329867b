//! Protocol control and user control messages (RTMP 1.0 §5.4, §7.1.7) to bytes and back, and the message type ids.

use super::chunk::ChunkSize;

/// Message type ids (RTMP 1.0 §5.4, §7.1).
pub mod type_id {
    #![allow(missing_docs)]
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACKNOWLEDGEMENT_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// Control messages are sent on this chunk stream and on message stream 0 (§5.4).
pub const CONTROL_CHUNK_STREAM_ID: u32 = 2;

/// A protocol control message. Abort is handled in the chunk layer and never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The size of the sender's further chunks (§5.4.1).
    SetChunkSize(ChunkSize),
    /// Bytes received so far, modulo 2^32 (§5.4.3).
    Acknowledgement(u32),
    /// An event of a stream or connection (§7.1.7).
    User(UserControl),
    /// Bytes after which the receiver has to acknowledge (§5.4.4). In practice 0 means never.
    WindowAcknowledgementSize(u32),
    /// Bytes that may be unacknowledged, and how strict that limit is (§5.4.5).
    SetPeerBandwidth(u32, LimitType),
}

/// How strict the limit of a SetPeerBandwidth is (§5.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum LimitType {
    Hard = 0,
    Soft = 1,
    Dynamic = 2,
}

/// A user control event (§7.1.7). Ids are message stream ids, times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// A stream is ready.
    StreamBegin(u32),
    /// A stream has ended.
    StreamEof(u32),
    /// A stream has no data for now.
    StreamDry(u32),
    /// The player's buffer for a stream, in milliseconds.
    SetBufferLength(u32, u32),
    /// A stream is a recording.
    StreamIsRecorded(u32),
    /// Asks for a PingResponse with the same timestamp, in milliseconds.
    PingRequest(u32),
    /// Answers a PingRequest.
    PingResponse(u32),
    /// Another event, such as Flash's SWF verification.
    Unknown(u16),
}

/// A control message that is too short for its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("control message of type {message_type_id} has {len} bytes")]
pub struct Truncated {
    /// The message type.
    pub message_type_id: u8,
    /// Length of its body, bytes.
    pub len: usize,
}

impl Control {
    /// Parses the body of a message. `None` if it is no control message, or one of the chunk layer. Further bytes are
    /// ignored: some encoders pad.
    ///
    /// # Errors
    /// The body is too short.
    pub fn parse(message_type_id: u8, body: &[u8]) -> Result<Option<Self>, Truncated> {
        let truncated = Truncated { message_type_id, len: body.len() };
        let number = || read_u32(body, 0).ok_or(truncated);
        Ok(Some(match message_type_id {
            type_id::ACKNOWLEDGEMENT => Self::Acknowledgement(number()?),
            type_id::WINDOW_ACKNOWLEDGEMENT_SIZE => Self::WindowAcknowledgementSize(number()?),
            // Some peers omit the limit type, which makes no difference to us.
            type_id::SET_PEER_BANDWIDTH => {
                Self::SetPeerBandwidth(number()?, limit_type(body.get(4).copied()))
            }
            type_id::USER_CONTROL => Self::User(UserControl::parse(body).ok_or(truncated)?),
            _ => return Ok(None),
        }))
    }

    /// The message type id.
    pub fn message_type_id(&self) -> u8 {
        match self {
            Self::SetChunkSize(_) => type_id::SET_CHUNK_SIZE,
            Self::Acknowledgement(_) => type_id::ACKNOWLEDGEMENT,
            Self::User(_) => type_id::USER_CONTROL,
            Self::WindowAcknowledgementSize(_) => type_id::WINDOW_ACKNOWLEDGEMENT_SIZE,
            Self::SetPeerBandwidth(..) => type_id::SET_PEER_BANDWIDTH,
        }
    }

    /// The message body.
    pub fn to_bytes(&self) -> Vec<u8> {
        match *self {
            Self::SetChunkSize(size) => size.get().to_be_bytes().to_vec(),
            Self::Acknowledgement(number) | Self::WindowAcknowledgementSize(number) => {
                number.to_be_bytes().to_vec()
            }
            Self::User(event) => event.to_bytes(),
            Self::SetPeerBandwidth(window, limit) => {
                let mut body = window.to_be_bytes().to_vec();
                body.push(limit as u8);
                body
            }
        }
    }
}

impl UserControl {
    fn parse(body: &[u8]) -> Option<Self> {
        let event = u16::from_be_bytes(*body.first_chunk()?);
        let number = read_u32(body, 2);
        Some(match event {
            0 => Self::StreamBegin(number?),
            1 => Self::StreamEof(number?),
            2 => Self::StreamDry(number?),
            3 => Self::SetBufferLength(number?, read_u32(body, 6)?),
            4 => Self::StreamIsRecorded(number?),
            6 => Self::PingRequest(number?),
            7 => Self::PingResponse(number?),
            unknown => Self::Unknown(unknown),
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        let (event, numbers): (u16, &[u32]) = match &self {
            Self::StreamBegin(id) => (0, &[*id]),
            Self::StreamEof(id) => (1, &[*id]),
            Self::StreamDry(id) => (2, &[*id]),
            Self::SetBufferLength(id, buffer_ms) => (3, &[*id, *buffer_ms]),
            Self::StreamIsRecorded(id) => (4, &[*id]),
            Self::PingRequest(time_ms) => (6, &[*time_ms]),
            Self::PingResponse(time_ms) => (7, &[*time_ms]),
            Self::Unknown(event) => (*event, &[]),
        };
        let mut body = event.to_be_bytes().to_vec();
        numbers.iter().for_each(|number| body.extend_from_slice(&number.to_be_bytes()));
        body
    }
}

fn limit_type(byte: Option<u8>) -> LimitType {
    match byte {
        Some(0) => LimitType::Hard,
        Some(1) => LimitType::Soft,
        _ => LimitType::Dynamic,
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_message_survives_the_round_trip() {
        let events = [
            UserControl::StreamBegin(1),
            UserControl::StreamEof(1),
            UserControl::StreamDry(1),
            UserControl::SetBufferLength(1, 3000),
            UserControl::StreamIsRecorded(1),
            UserControl::PingRequest(u32::MAX),
            UserControl::PingResponse(0x0102_0304),
            UserControl::Unknown(0x1a),
        ];
        let others = [
            Control::Acknowledgement(0xffff_fff0),
            Control::WindowAcknowledgementSize(2_500_000),
            Control::SetPeerBandwidth(2_500_000, LimitType::Hard),
            Control::SetPeerBandwidth(1, LimitType::Soft),
            Control::SetPeerBandwidth(0, LimitType::Dynamic),
        ];
        for control in events.map(Control::User).into_iter().chain(others) {
            assert_eq!(Control::parse(control.message_type_id(), &control.to_bytes()), Ok(Some(control)));
        }
    }

    #[test]
    fn a_short_control_message_is_an_error_and_a_padded_one_is_not() {
        for (message_type_id, body) in [
            (type_id::ACKNOWLEDGEMENT, &[0, 0, 1][..]),
            (type_id::WINDOW_ACKNOWLEDGEMENT_SIZE, &[]),
            (type_id::SET_PEER_BANDWIDTH, &[1, 2, 3]),
            (type_id::USER_CONTROL, &[0]),
            (type_id::USER_CONTROL, &[0, 6, 0, 0, 0]),
            (type_id::USER_CONTROL, &[0, 3, 0, 0, 0, 1, 0, 0]),
        ] {
            let truncated = Truncated { message_type_id, len: body.len() };
            assert_eq!(Control::parse(message_type_id, body), Err(truncated));
        }
        let padded = Control::parse(type_id::ACKNOWLEDGEMENT, &[0, 0, 1, 0, 0]);
        assert_eq!(padded, Ok(Some(Control::Acknowledgement(256))));
        let without_limit = Control::parse(type_id::SET_PEER_BANDWIDTH, &[0, 0, 1, 0]);
        assert_eq!(without_limit, Ok(Some(Control::SetPeerBandwidth(256, LimitType::Dynamic))));
        assert_eq!(Control::parse(type_id::AUDIO, &[]), Ok(None));
    }
}

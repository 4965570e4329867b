//! WebSockets (RFC 6455): FLV tags to the player, one per binary message, and the control frames of the player. Each
//! frame is sent whole, so nothing is ever fragmented.

use std::io::{Cursor, Write};

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use crate::flv::{FlvFormat, Frame, Kinds, WireFormat};

/// Writes frames as FLV tags, each in a binary message of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebSocketFormat;

impl WireFormat for WebSocketFormat {
    fn wire_len(&self, frame: &Frame) -> usize {
        let len = FlvFormat.wire_len(frame);
        head(BINARY).len(len as u64) + len
    }

    fn write(&self, frame: &Frame, out: &mut [u8]) {
        let len = FlvFormat.wire_len(frame);
        let (head, tag) = out.split_at_mut(out.len() - len);
        write_head(BINARY, len, head);
        FlvFormat.write(frame, tag);
    }

    fn stream_header(&self, kinds: Kinds) -> Option<Bytes> {
        FlvFormat.stream_header(kinds).map(|header| whole(BINARY, &header))
    }

    fn read(&self, wire: &[u8]) -> Option<(Frame, usize)> {
        let mut cursor = Cursor::new(wire);
        let (_, payload_len) = FrameHeader::parse(&mut cursor).ok()??;
        let end = usize::try_from(cursor.position().checked_add(payload_len)?).ok()?;
        let (frame, _) = FlvFormat.read(wire.get(cursor.position() as usize..end)?)?;
        Some((frame, end))
    }
}

/// Reads a player's frames from whatever pieces they come in. Data frames are skipped: media goes one way.
#[derive(Debug, Default)]
pub struct Reader {
    input: BytesMut,
    /// Payload bytes of a data frame that are still to be skipped.
    skipping: u64,
    /// Bytes before `input`.
    before: u64,
    is_closed: bool,
}

/// A control frame that needs an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlFrame {
    /// A ping, to be answered with these bytes.
    Ping(Bytes),
    /// A close, to be answered with these bytes before the connection is closed.
    Close(Bytes),
}

/// How a player broke the protocol, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A player masks all its frames (§5.1).
    #[error("byte {0}: a WebSocket frame without a mask")]
    Unmasked(u64),
    /// Reserved bits are for extensions, of which there are none here (§5.2).
    #[error("byte {0}: a WebSocket frame with reserved bits")]
    Reserved(u64),
    /// An undefined opcode (§5.2).
    #[error("byte {0}: WebSocket opcode {1}")]
    OpCode(u64, u8),
    /// Control frames are whole, and of 125 bytes at most (§5.5).
    #[error("byte {0}: a WebSocket control frame that is cut or of {1} bytes")]
    Control(u64, u64),
}

impl Reader {
    /// Takes the bytes of one read; then [`Reader::next`] until there is nothing.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !self.is_closed {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next control frame that needs an answer.
    ///
    /// # Errors
    /// What the player did wrong, and the position of the frame in bytes since the upgrade. Nothing comes after it.
    #[allow(clippy::should_implement_trait)] // An iterator has no errors to end with.
    pub fn next(&mut self) -> Result<Option<ControlFrame>, Error> {
        let control_frame = self.read()?;
        if control_frame.is_none() && self.input.capacity() > SMALL_BYTES {
            // Otherwise a player that once sent much would keep the memory for as long as it stays.
            self.input = BytesMut::from(&self.input[..]);
        }
        Ok(control_frame)
    }

    fn read(&mut self) -> Result<Option<ControlFrame>, Error> {
        loop {
            let skipped = usize::try_from(self.skipping).unwrap_or(usize::MAX).min(self.input.len());
            self.advance(skipped);
            self.skipping -= skipped as u64;
            if self.skipping > 0 || self.is_closed {
                return Ok(None);
            }
            let Some(frame) = Incoming::parse(&self.input, self.before)? else { return Ok(None) };
            let OpCode::Control(control) = frame.op_code else {
                self.advance(frame.head_len);
                self.skipping = frame.payload_len;
                continue;
            };
            // No more than 125, says the parser.
            let payload_len = frame.payload_len as usize;
            if self.input.len() < frame.head_len + payload_len {
                return Ok(None);
            }
            let mut payload = self.input[frame.head_len..frame.head_len + payload_len].to_vec();
            payload.iter_mut().zip(frame.mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            self.advance(frame.head_len + payload_len);
            match control {
                Control::Ping => return Ok(Some(ControlFrame::Ping(whole(PONG, &payload)))),
                Control::Close => {
                    self.is_closed = true;
                    self.input.clear();
                    // Its code is sent back, its reason is not.
                    let code = payload.get(..2).unwrap_or_default();
                    return Ok(Some(ControlFrame::Close(whole(CLOSE, code))));
                }
                Control::Pong | Control::Reserved(_) => {}
            }
        }
    }

    /// Bytes that it holds: of an unfinished frame, the head and the payload of a control frame at most.
    pub fn held(&self) -> usize {
        self.input.len()
    }

    fn advance(&mut self, n: usize) {
        let _ = self.input.split_to(n);
        self.before += n as u64;
    }
}

/// A ping: a peer that is alive answers it.
pub fn ping() -> Bytes {
    whole(PING, b"")
}

/// A close frame, the last that a server sends (§7.4.1).
pub fn close(code: CloseCode) -> Bytes {
    close_for(code, "")
}

/// A close frame with a reason for people, which is cut to what fits into one.
pub fn close_for(code: CloseCode, reason: &str) -> Bytes {
    let most = MAX_CONTROL_BYTES as usize - size_of::<u16>();
    let end = (0..=reason.len().min(most)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    whole(CLOSE, &[&(code as u16).to_be_bytes(), &reason.as_bytes()[..end]].concat())
}

/// Why a server closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The stream is over.
    Normal = 1000,
    /// The server, or the operator, ends it.
    GoingAway = 1001,
    /// The player broke the protocol.
    ProtocolError = 1002,
    /// Private use (§7.4.2), after HTTP's 401: credentials are missing, wrong, or no longer valid.
    Unauthorized = 4401,
    /// As HTTP's 403: this is not allowed, whatever the credentials.
    Forbidden = 4403,
}

/// The head of a frame from a player.
struct Incoming {
    op_code: OpCode,
    mask: [u8; 4],
    head_len: usize,
    payload_len: u64,
}

impl Incoming {
    /// None where it is cut off. No memory is reserved for the length that it announces. `position` is where it begins.
    fn parse(bytes: &[u8], position: u64) -> Result<Option<Self>, Error> {
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Error::OpCode(position, bytes[0] & 0x0F))?;
        let Some((head, payload_len)) = parsed else { return Ok(None) };
        if head.rsv1 || head.rsv2 || head.rsv3 {
            return Err(Error::Reserved(position));
        }
        let is_control = matches!(head.opcode, OpCode::Control(_));
        if is_control && (payload_len > MAX_CONTROL_BYTES || !head.is_final) {
            return Err(Error::Control(position, payload_len));
        }
        let mask = head.mask.ok_or(Error::Unmasked(position))?;
        Ok(Some(Self { op_code: head.opcode, mask, head_len: cursor.position() as usize, payload_len }))
    }
}

/// The head of a frame to a player: whole, not masked.
fn head(op_code: OpCode) -> FrameHeader {
    FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode: op_code, mask: None }
}

fn write_head(op_code: OpCode, payload_len: usize, mut out: impl Write) {
    let written = head(op_code).format(payload_len as u64, &mut out);
    written.expect("there is room for what its length was asked for");
}

fn whole(op_code: OpCode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(head(op_code).len(payload.len() as u64) + payload.len());
    write_head(op_code, payload.len(), &mut frame);
    frame.extend_from_slice(payload);
    frame.into()
}

const BINARY: OpCode = OpCode::Data(Data::Binary);
const CLOSE: OpCode = OpCode::Control(Control::Close);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const MAX_CONTROL_BYTES: u64 = 125;
/// Capacity that a reader keeps.
const SMALL_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flv::FrameKind;

    fn read(pieces: &[&[u8]]) -> Result<Vec<ControlFrame>, Error> {
        let mut reader = Reader::default();
        let mut frames = Vec::new();
        for piece in pieces {
            reader.feed(piece);
            while let Some(frame) = reader.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    /// As a player sends it.
    fn masked(op_code: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x44, 0x88];
        let mut head = Vec::new();
        write_head(PING, payload.len(), &mut head);
        head[0] = 0x80 | op_code;
        head[1] |= 0x80;
        head.extend(mask);
        head.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        head
    }

    #[test]
    fn a_tag_is_one_binary_message_however_long_it_is() {
        for (len, head_len) in [(0, 2), (110, 2), (111, 4), (65_520, 4), (65_521, 10), (200_000, 10)] {
            let payload = vec![7; len].into();
            let frame = Frame { kind: FrameKind::Video, timestamp_ms: 9, payload };
            let mut out = vec![0; WebSocketFormat.wire_len(&frame)];
            WebSocketFormat.write(&frame, &mut out);
            let mut tag = vec![0; FlvFormat.wire_len(&frame)];
            FlvFormat.write(&frame, &mut tag);
            assert_eq!((out[0], &out[head_len..]), (0x82, &tag[..]), "{len} bytes");
            let (frame, read) =
                WebSocketFormat.read(&[&out[..], b"\x82\x7Fnext"].concat()).expect("it is whole");
            assert_eq!((frame.timestamp_ms, frame.payload.len(), read), (9, len, out.len()));
            for end in (0..out.len().min(30)).chain(out.len().saturating_sub(30)..out.len()) {
                assert!(WebSocketFormat.read(&out[..end]).is_none(), "{end} of {} bytes", out.len());
            }
        }
    }

    #[test]
    fn a_ping_is_answered_with_its_own_payload_and_a_close_with_its_own_code() {
        let wire = [masked(9, b"are you there"), masked(10, b""), masked(8, b"\x03\xE8bye")].concat();
        let answers = [
            ControlFrame::Ping(whole(PONG, b"are you there")),
            ControlFrame::Close(Bytes::from_static(b"\x88\x02\x03\xE8")),
        ];
        assert_eq!(read(&[&wire]), Ok(answers.to_vec()));
        for at in 0..wire.len() {
            assert_eq!(read(&[&wire[..at], &wire[at..]]), Ok(answers.to_vec()), "cut at {at}");
        }
    }

    #[test]
    fn data_of_a_player_is_skipped_and_never_held() {
        let mut reader = Reader::default();
        // 2^60 bytes are announced.
        reader.feed(b"\x82\xFF\x10\0\0\0\0\0\0\0\x01\x02\x03\x04");
        for _ in 0..1000 {
            reader.feed(&[9; 1000]);
            assert_eq!(reader.next(), Ok(None));
            assert_eq!(reader.held(), 0);
        }
        assert_eq!(
            read(&[&masked(1, b"text"), &masked(9, b"")]),
            Ok(vec![ControlFrame::Ping(whole(PONG, b""))])
        );
    }

    #[test]
    fn what_no_player_may_send_is_an_error_that_names_the_byte() {
        let after_a_pong = |bytes: &[u8]| read(&[&[&masked(10, b"12")[..], bytes].concat()]);
        assert_eq!(after_a_pong(b"\x89\0"), Err(Error::Unmasked(8)));
        assert_eq!(after_a_pong(b"\xC9\x80\0\0\0\0"), Err(Error::Reserved(8)));
        assert_eq!(after_a_pong(b"\x83\x80\0\0\0\0"), Err(Error::OpCode(8, 3)));
        assert_eq!(after_a_pong(b"\x09\x80\0\0\0\0"), Err(Error::Control(8, 0)));
        assert_eq!(after_a_pong(b"\x89\xFE\0\x7E\0\0\0\0"), Err(Error::Control(8, 126)));
        assert_eq!(read(&[&masked(9, &[1; 125])]).map(|frames| frames.len()), Ok(1), "at the limit");
    }

    #[test]
    fn the_reason_of_a_close_is_cut_between_two_characters() {
        assert_eq!(
            close_for(CloseCode::Unauthorized, "no key"),
            Bytes::from_static(b"\x88\x08\x11\x31no key")
        );
        let long = close_for(CloseCode::Forbidden, &"é".repeat(100));
        assert_eq!((long.len(), long[1]), (126, 124), "61 of two bytes, and the code");
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn nothing_is_read_after_a_close() {
        let wire = [masked(8, b""), masked(9, b"late")].concat();
        assert_eq!(read(&[&wire, &wire]), Ok(vec![ControlFrame::Close(Bytes::from_static(b"\x88\0"))]));
    }

    proptest! {
        #[test]
        fn any_cut_of_any_bytes_reads_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            frames in prop::collection::vec((prop::sample::select(vec![0u8, 1, 2, 9, 10]),
                prop::collection::vec(any::<u8>(), 0..126)), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut wire: Vec<u8> = frames.iter().flat_map(|(op_code, payload)| masked(*op_code, payload)).collect();
            wire.extend(bytes);
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).chain([0, wire.len()]).collect();
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&wire]));
        }
    }
}

//! Assembles messages from chunks, however the bytes are cut, without copying payload.
//!
//! Reads no message except Set Chunk Size and Abort.

use super::assembly::RECEIVE_BUFFER_BYTES;
use super::chunk_stream::ChunkStream;
use super::header::{Continuation, EXTENDED, Fields, Header, HeaderBytes, MAX_HEADER_BYTES, be24};
use super::{ChunkLimits, ChunkSize, Error, Message};
use crate::flv::{Payload, Run};
use bytes::{Buf, Bytes};

/// The receiving direction of one connection.
///
/// ```
/// # use bytes::Bytes;
/// # use fanfare_rtmp::rtmp::chunk::{ChunkLimits, Decoder};
/// let mut decoder = Decoder::new(ChunkLimits::default());
/// decoder.feed(Bytes::from_static(b"\x02\0\0\0\0\0\x04\x05\0\0\0\0\x00\x26\x25"));
/// assert!(decoder.next()?.is_none());
/// decoder.feed(Bytes::from_static(b"\xA0"));
/// assert_eq!(decoder.next()?.unwrap().message_type_id, 5);
/// # Ok::<(), fanfare_rtmp::rtmp::chunk::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    /// The limits now, and those of a connection whose media is wanted.
    limits: ChunkLimits,
    limits_with_media: ChunkLimits,
    /// Whether the payload of media is wanted.
    wants_media: bool,
    chunk_size: ChunkSize,
    /// Searched linearly: there are few, at most once per chunk.
    streams: Vec<ChunkStream>,
    /// The chunk whose payload comes next; if there is none, a header comes next.
    open: Option<OpenChunk>,
    /// The part of a header at the end of the last read.
    carry: HeaderBytes,
    input: Bytes,
    /// Bytes of `input` that have been read.
    at: usize,
    /// Bytes fed before `input`.
    before_input: u64,
    partial_messages: usize,
    partial_bytes: usize,
    failed: Option<Error>,
}

#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    /// Index of its chunk stream.
    stream: usize,
    /// Missing payload bytes.
    left: usize,
}

impl Decoder {
    /// For the start of a connection, with the initial chunk size of 128.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            limits_with_media: limits,
            wants_media: true,
            chunk_size: ChunkSize::INITIAL,
            streams: Vec::new(),
            open: None,
            carry: HeaderBytes::new(),
            input: Bytes::new(),
            at: 0,
            before_input: 0,
            partial_messages: 0,
            partial_bytes: 0,
            failed: None,
        }
    }

    /// Sets whether the payload of media is wanted, as it is initially. If not, media messages are empty, and the limits
    /// are those of a connection that publishes nothing. To be called between messages.
    pub fn set_wants_media(&mut self, wants_media: bool) {
        self.wants_media = wants_media;
        self.limits = self.limits_with_media;
        if !wants_media {
            self.limits = self.limits.without_media();
            for stream in self.streams.iter_mut().filter(|stream| stream.unfinished) {
                if is_media(stream.message_type_id) {
                    self.partial_bytes -= stream.assembly.len();
                    stream.drop_payload();
                }
            }
        }
    }

    /// Takes the bytes of one read. Before that, call [`Decoder::next`] until it returns `None`: otherwise the rest of the
    /// previous read is copied.
    pub fn feed(&mut self, bytes: Bytes) {
        let rest = &self.input[self.at..];
        let joined = if rest.is_empty() { bytes } else { [rest, &bytes].concat().into() };
        self.before_input += self.at as u64;
        self.input = joined;
        self.at = 0;
    }

    /// The next complete message, or `None` until more bytes arrive. Set Chunk Size and Abort are executed, not returned.
    ///
    /// # Errors
    /// A violation. It is final: each further call returns it again.
    #[allow(clippy::should_implement_trait, reason = "an iterator is at its end when it returns None")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Message>, Error> {
        match self.take_plain() {
            Some(message) => Ok(Some(message)),
            None => self.take_any(),
        }
    }

    /// Frees the unread input and all unfinished messages. [`Decoder::next`] must not be called again.
    pub fn discard(&mut self) {
        self.before_input += self.at as u64;
        (self.input, self.at) = (Bytes::new(), 0);
        self.streams = Vec::new();
        (self.partial_messages, self.partial_bytes) = (0, 0);
        self.open = None;
        self.carry.clear();
    }

    /// Whether all bytes have been read, so that the next [`Decoder::feed`] copies nothing.
    pub fn is_drained(&self) -> bool {
        self.at == self.input.len()
    }

    /// Memory on the heap, bytes: unfinished messages and unread input.
    pub fn memory_bytes(&self) -> usize {
        let assemblies: usize = self.streams.iter().map(|stream| stream.assembly.memory_bytes()).sum();
        let buffer = if self.wants_media { RECEIVE_BUFFER_BYTES } else { 0 };
        let input = if self.input.is_empty() { 0 } else { self.input.len().max(buffer) };
        input + assemblies + self.streams.capacity() * size_of::<ChunkStream>()
    }

    /// Bytes read since construction, including the available part of an incomplete header.
    pub fn position(&self) -> u64 {
        self.before_input + self.at as u64
    }

    /// The next message if it is as most are: all of it is in this read, from a header of type 0 or 1 on, without an
    /// extended timestamp, on a known chunk stream with an id of one byte; and it is not for the decoder itself. Otherwise
    /// changes nothing. [`Decoder::take_any`] returns the same message in three times the time.
    #[inline(always)]
    fn take_plain(&mut self) -> Option<Message> {
        if self.open.is_some() || !self.carry.is_empty() || !self.wants_media || self.failed.is_some() {
            return None;
        }
        let rest = &self.input[self.at..];
        let h = rest.first_chunk::<12>()?;
        let (header_type, chunk_stream_id) = (h[0] >> 6, h[0] & 0x3F);
        let (time_ms, length, message_type_id) = (be24(h, 1), be24(h, 4), h[7]);
        if header_type > 1 || time_ms == EXTENDED {
            return None;
        }
        // No chunk stream has the id 0 or 1, which stand for longer ids.
        let chunk_stream_id = u32::from(chunk_stream_id);
        let stream = self.streams.iter_mut().find(|stream| stream.id == chunk_stream_id)?;
        if stream.unfinished
            || length == 0
            || length > self.limits.message_bytes.of(message_type_id)
            || matches!(message_type_id, SET_CHUNK_SIZE | ABORT)
            || self.partial_messages >= self.limits.partial_messages
            || self.partial_bytes + length as usize > self.limits.partial_bytes
        {
            return None;
        }
        let (header_len, timestamp_ms, message_stream_id) = match header_type {
            0 => (12, time_ms, u32::from_le_bytes([h[8], h[9], h[10], h[11]])),
            _ => (8, stream.timestamp_ms.wrapping_add(time_ms), stream.message_stream_id),
        };
        let chunk_size = self.chunk_size.get();
        let body = plain_body(&rest[header_len..], chunk_stream_id as u8, length, chunk_size)?;
        stream.note_whole(time_ms, timestamp_ms, length, message_type_id, message_stream_id);
        let begin = self.at + header_len;
        self.at = begin + body;
        let run = Run::strided(self.view_from(begin), length.min(chunk_size), chunk_size, 1);
        let payload = Payload::of_run(run, length as usize);
        Some(Message { chunk_stream_id, timestamp_ms, message_type_id, message_stream_id, payload })
    }

    /// The next message, whatever it is like. Not inlined, so that the other path is short.
    #[inline(never)]
    fn take_any(&mut self) -> Result<Option<Message>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.advance() {
            Ok(Some(stream)) => Ok(Some(self.finish(stream))),
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// The bytes that have been read from `begin` on. A view counts a reference to the receive buffer, which is dear; the
    /// last view of a read takes that of the input instead.
    #[inline(always)]
    fn view_from(&mut self, begin: usize) -> Bytes {
        if self.at < self.input.len() {
            return self.input.slice(begin..self.at);
        }
        self.before_input += self.at as u64;
        self.at = 0;
        let mut view = std::mem::take(&mut self.input);
        view.advance(begin);
        view
    }

    /// Reads up to the end of a message for the caller. Returns the index of its chunk stream.
    fn advance(&mut self) -> Result<Option<usize>, Error> {
        loop {
            let chunk = match self.open.take() {
                Some(chunk) => chunk,
                None => match self.take_header()? {
                    Some(chunk) => chunk,
                    None => break,
                },
            };
            let chunk = self.take_payload(chunk)?;
            let stream = &self.streams[chunk.stream];
            if stream.remaining == 0 {
                match stream.message_type_id {
                    SET_CHUNK_SIZE => self.set_chunk_size(chunk.stream)?,
                    ABORT => self.abort(chunk.stream)?,
                    _ => return Ok(Some(chunk.stream)),
                }
            } else if chunk.left > 0 {
                self.open = Some(chunk);
                if self.carry.is_empty() && self.is_drained() {
                    break;
                }
            }
        }
        self.release_buffers();
        // Drop the handle on the receive buffer, so that its owner can use it again.
        self.before_input += self.at as u64;
        self.input = Bytes::new();
        self.at = 0;
        Ok(None)
    }

    /// At the end of a read: copies small views, each of which keeps a whole receive buffer, if there are many of them. A
    /// publisher whose reads end within a message now and then has few.
    fn release_buffers(&mut self) {
        if self.partial_messages == 0 {
            return;
        }
        let wants_media = self.wants_media;
        let unfinished = || self.streams.iter().filter(|stream| stream.unfinished);
        let small_views: usize = unfinished().map(|stream| stream.assembly.small_views()).sum();
        if wants_media && small_views <= MAX_SMALL_VIEWS {
            return;
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.unfinished) {
            if stream.assembly.small_views() > 0 || (!wants_media && stream.assembly.has_views()) {
                stream.assembly.gather();
            }
        }
    }

    /// Reads a header and applies it. `None` if it is incomplete: then its bytes move to `carry`.
    fn take_header(&mut self) -> Result<Option<OpenChunk>, Error> {
        let position = self.position() - self.carry.len() as u64;
        let rest = &self.input[self.at..];
        let joined: HeaderBytes;
        let window = if self.carry.is_empty() {
            rest
        } else {
            let missing = rest.len().min(MAX_HEADER_BYTES - self.carry.len());
            joined = self.carry.iter().chain(&rest[..missing]).copied().collect();
            &joined
        };
        let parsed = Header::parse(window).and_then(|header| {
            let known = self.streams.iter().position(|stream| stream.id == header.chunk_stream_id);
            let repeated = match (header.fields, known) {
                (Fields::Type3, Some(index)) => {
                    self.streams[index].repeated_time_len(&window[header.wire_len..])?
                }
                _ => 0,
            };
            Some((header, known, header.wire_len + repeated))
        });
        let Some((header, known, wire_len)) = parsed else {
            self.carry.extend_from_slice(rest);
            self.at = self.input.len();
            return Ok(None);
        };
        let stream = self.apply(header, known, position)?;
        let carried = wire_len.min(self.carry.len());
        self.carry.drain(..carried);
        self.at += wire_len - carried;
        let left = self.streams[stream].remaining.min(self.chunk_size.get() as usize);
        Ok(Some(OpenChunk { stream, left }))
    }

    /// Begins or continues a message. Returns the index of its chunk stream.
    fn apply(&mut self, header: Header, known: Option<usize>, position: u64) -> Result<usize, Error> {
        let chunk_stream_id = header.chunk_stream_id;
        let index = match (known, header.fields) {
            (Some(index), _) => index,
            // librtmp begins its ping with a type 1 header: time counts from 0.
            (None, Fields::Type0 { .. } | Fields::Type1 { .. }) => {
                let limit = self.limits.chunk_streams;
                if self.streams.len() >= limit {
                    return Err(Error::ChunkStreams { position, limit });
                }
                if self.streams.len() == self.streams.capacity() {
                    // A vector begins with room for four: each player would pay for two that it does not use.
                    self.streams.reserve_exact(self.streams.len().max(CHUNK_STREAMS_PER_PLAYER));
                }
                self.streams.push(ChunkStream::new(chunk_stream_id));
                self.streams.len() - 1
            }
            (None, Fields::Type2 { .. } | Fields::Type3) => {
                let header_type = header.fields.header_type();
                return Err(Error::NothingToInherit { position, chunk_stream_id, header_type });
            }
        };
        let stream = &mut self.streams[index];
        if stream.unfinished {
            if !stream.continues_with(header.fields) {
                return Err(Error::Contradiction { position, chunk_stream_id });
            }
            return Ok(index);
        }
        stream.begin(header.fields);
        stream.is_dropped = !self.wants_media && is_media(stream.message_type_id);
        let limits = if stream.is_dropped { &self.limits_with_media } else { &self.limits };
        let (length, limit) = (stream.length, limits.message_bytes.of(stream.message_type_id));
        if length > limit {
            return Err(Error::MessageBytes { position, length, limit });
        }
        let limit = self.limits.partial_messages;
        if self.partial_messages >= limit {
            return Err(Error::PartialMessages { position, limit });
        }
        self.partial_messages += 1;
        Ok(index)
    }

    /// Takes the available payload of a chunk and, in the same run, of further chunks of its message. Returns the last of
    /// them with its missing bytes.
    fn take_payload(&mut self, chunk: OpenChunk) -> Result<OpenChunk, Error> {
        let stream = &mut self.streams[chunk.stream];
        let (run, taken, left) = if self.carry.is_empty() {
            let chunk_size = self.chunk_size.get();
            let reach = Reach::of(&self.input[self.at..], chunk.left, stream, chunk_size as usize);
            let taken = stream.remaining - reach.remaining;
            stream.remaining = reach.remaining;
            let begin = self.at;
            self.at += reach.end;
            if stream.is_dropped || taken == 0 {
                return Ok(OpenChunk { left: reach.left, ..chunk });
            }
            let run = Run::strided(self.view_from(begin), reach.first as u32, chunk_size, reach.gap as u32);
            (run, taken, reach.left)
        } else {
            // Up to three bytes that looked like a repeated extended timestamp until the next read.
            let taken = chunk.left.min(self.carry.len());
            let run = Run::contiguous(Bytes::copy_from_slice(&self.carry[..taken]));
            self.carry.drain(..taken);
            stream.remaining -= taken;
            if stream.is_dropped {
                return Ok(OpenChunk { left: chunk.left - taken, ..chunk });
            }
            (run, taken, chunk.left - taken)
        };
        self.partial_bytes += taken;
        self.streams[chunk.stream].assembly.push(run, taken);
        let limit = self.limits.partial_bytes;
        if self.partial_bytes > limit {
            let position = self.position();
            return Err(Error::PartialBytes { position, limit });
        }
        Ok(OpenChunk { left, ..chunk })
    }

    /// Ends the message of a chunk stream and returns it.
    fn finish(&mut self, index: usize) -> Message {
        let stream = &mut self.streams[index];
        stream.unfinished = false;
        let payload = stream.assembly.take();
        self.partial_messages -= 1;
        self.partial_bytes -= payload.len();
        Message {
            chunk_stream_id: stream.id,
            timestamp_ms: stream.timestamp_ms,
            message_type_id: stream.message_type_id,
            message_stream_id: stream.message_stream_id,
            payload,
        }
    }

    /// Applies to all further chunks, also of unfinished messages (§5.4.1).
    fn set_chunk_size(&mut self, stream: usize) -> Result<(), Error> {
        let raw = self.finish_control(stream)?;
        self.chunk_size = ChunkSize::new(raw).ok_or(Error::ChunkSize { position: self.position(), raw })?;
        Ok(())
    }

    /// Drops the unfinished message of a chunk stream (§5.4.2). It is no error if there is none: the message may have been
    /// complete when its sender aborted it.
    fn abort(&mut self, stream: usize) -> Result<(), Error> {
        let id = self.finish_control(stream)?;
        if let Some(index) = self.streams.iter().position(|stream| stream.id == id && stream.unfinished) {
            self.finish(index);
        }
        Ok(())
    }

    /// The value of a message of the chunk layer.
    fn finish_control(&mut self, stream: usize) -> Result<u32, Error> {
        let message = self.finish(stream);
        let mut value = [0; 4];
        if message.payload.copy_prefix(&mut value) < value.len() {
            return Err(Error::ControlLength {
                position: self.position(),
                message_type_id: message.message_type_id,
                length: message.payload.len(),
            });
        }
        Ok(u32::from_be_bytes(value))
    }
}

/// The extent of one run of payload in a read.
struct Reach {
    /// Payload bytes before the first header.
    first: usize,
    /// The length of the run, with its headers.
    end: usize,
    /// The length of each header in it, which is the same for the whole run.
    gap: usize,
    /// Missing bytes of the last chunk.
    left: usize,
    /// Missing bytes of the message.
    remaining: usize,
}

impl Reach {
    /// The run of the chunk with `left` missing bytes, and of further chunks of its message.
    fn of(rest: &[u8], left: usize, stream: &ChunkStream, chunk_size: usize) -> Self {
        let first = left.min(rest.len());
        let left = left - first;
        let remaining = stream.remaining - first;
        let mut reach = Self { first, end: first, gap: 0, left, remaining };
        if left == 0 && remaining > 0 {
            reach.extend(rest, chunk_size, stream.continuation());
        }
        reach
    }

    /// Extends the run over the next chunks in the read while they belong to the same message and their headers have the
    /// same length.
    fn extend(&mut self, rest: &[u8], chunk_size: usize, continuation: Continuation) {
        // Eight bytes contain the header and at least one byte of payload, so no run ends with a header.
        let header_in = |bytes: &[u8]| match bytes.first_chunk() {
            Some(word) => continuation.len_in(u64::from_le_bytes(*word)),
            None => 0,
        };
        let gap = header_in(&rest[self.end..]);
        if gap == 0 {
            return;
        }
        self.gap = gap;
        // All chunks of a message but the last are full. Only their headers are read.
        let full = (self.remaining - 1) / chunk_size;
        let full_chunks = rest[self.end..].chunks_exact(gap + chunk_size).take(full);
        let taken = full_chunks.take_while(|chunk| header_in(chunk) == gap).count();
        self.end += taken * (gap + chunk_size);
        self.remaining -= taken * chunk_size;
        // The last chunk of the message or of the read.
        if header_in(&rest[self.end..]) == gap {
            let piece = self.remaining.min(chunk_size);
            let taken = piece.min(rest.len() - self.end - gap);
            self.end += gap + taken;
            self.remaining -= taken;
            self.left = piece - taken;
        }
    }
}

/// The length of a message's body from its first payload byte on, with the headers between its chunks. `None` if it is not
/// all in `rest`, or if a chunk has another header than that of type 3 with one byte. Only these headers are read.
#[inline(always)]
fn plain_body(rest: &[u8], chunk_stream_id: u8, length: u32, chunk_size: u32) -> Option<usize> {
    if rest.len() < length as usize {
        return None;
    }
    let first = length.min(chunk_size);
    let (mut end, mut missing) = (first as usize, length - first);
    while missing > 0 {
        if *rest.get(end)? != 0xC0 | chunk_stream_id {
            return None;
        }
        let piece = missing.min(chunk_size);
        end += 1 + piece as usize;
        missing -= piece;
    }
    (end <= rest.len()).then_some(end)
}

/// Small views that a publisher's unfinished messages may keep: of a frame, and of messages interleaved with it.
const MAX_SMALL_VIEWS: usize = 4;

/// Whether only a connection that publishes needs messages of this type: all but commands and control messages.
fn is_media(message_type_id: u8) -> bool {
    !matches!(message_type_id, 1..=6 | 17 | 20)
}

/// A player uses two: one for protocol control messages, one for commands.
const CHUNK_STREAMS_PER_PLAYER: usize = 2;
/// Protocol control messages of the chunk layer (§5.4.1, §5.4.2).
const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::chunk::{
        MAX_COMMAND_BYTES_WITHOUT_MEDIA, MAX_PARTIAL_BYTES_WITHOUT_MEDIA, MAX_STREAMS_WITHOUT_MEDIA,
        MessageBytes,
    };

    #[derive(Debug, PartialEq)]
    struct Seen(u32, u32, u8, u32, Bytes);

    fn drain(decoder: &mut Decoder) -> Result<Vec<Seen>, Error> {
        drain_with(|| decoder.next())
    }

    fn drain_with(mut next: impl FnMut() -> Result<Option<Message>, Error>) -> Result<Vec<Seen>, Error> {
        let mut seen = Vec::new();
        while let Some(m) = next()? {
            let payload = m.payload.to_bytes();
            seen.push(Seen(
                m.chunk_stream_id,
                m.timestamp_ms,
                m.message_type_id,
                m.message_stream_id,
                payload,
            ));
        }
        Ok(seen)
    }

    fn decode_reads<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Seen>, Error> {
        let mut decoder = Decoder::new(ChunkLimits::default());
        let (mut seen, mut fed) = (Vec::new(), 0);
        for read in reads {
            decoder.feed(Bytes::copy_from_slice(read));
            seen.extend(drain(&mut decoder)?);
            fed += read.len() as u64;
            assert_eq!(decoder.position(), fed);
        }
        Ok(seen)
    }

    /// The messages in `wire`, which are checked to be the same in one read, on the longer path alone, cut in two at each
    /// position, and byte by byte.
    fn decode(wire: &[u8]) -> Result<Vec<Seen>, Error> {
        let whole = decode_reads([wire]);
        let mut decoder = Decoder::new(ChunkLimits::default());
        decoder.feed(Bytes::copy_from_slice(wire));
        assert_eq!(drain_with(|| decoder.take_any()), whole, "without take_plain");
        for cut in 0..=wire.len() {
            let (a, b) = wire.split_at(cut);
            assert_eq!(decode_reads([a, b]), whole, "cut at {cut}");
        }
        assert_eq!(decode_reads(wire.chunks(1)), whole, "byte by byte");
        whole
    }

    /// Hex, with `byte*count` for a repeated byte.
    fn wire(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for word in text.split_whitespace() {
            if let Some((byte, count)) = word.split_once('*') {
                let byte = u8::from_str_radix(byte, 16).unwrap();
                out.resize(out.len() + count.parse::<usize>().unwrap(), byte);
            } else {
                out.extend(
                    (0..word.len()).step_by(2).map(|i| u8::from_str_radix(&word[i..i + 2], 16).unwrap()),
                );
            }
        }
        out
    }

    fn times(seen: &[Seen]) -> Vec<u32> {
        seen.iter().map(|seen| seen.1).collect()
    }

    fn payload(text: &str) -> Bytes {
        wire(text).into()
    }

    #[test]
    fn each_header_type_inherits_the_fields_that_it_omits() {
        let seen = decode(&wire(
            "04 0003E8 000002 08 01000000 AA01
             44 00000A 000003 09 BB0102
             84 000014 BB0304
             C4 BB0506",
        ));
        let expected = [
            Seen(4, 1000, 8, 1, payload("AA01")),
            Seen(4, 1010, 9, 1, payload("BB0102")),
            Seen(4, 1030, 9, 1, payload("BB0304")),
            Seen(4, 1050, 9, 1, payload("BB0506")),
        ];
        assert_eq!(seen.unwrap(), expected);
    }

    #[test]
    fn a_message_in_many_chunks_of_one_read_is_one_run_of_it() {
        let wire = wire("06 000000 0001F4 09 01000000 01*128 C6 02*128 C6 03*128 C6 04*116 06 000001");
        let read = Bytes::from(wire);
        let mut decoder = Decoder::new(ChunkLimits::default());
        decoder.feed(read.clone());
        let message = decoder.next().unwrap().unwrap();
        assert_eq!(message.payload.run_count(), 1);
        assert_eq!(message.payload.len(), 500);
        let pieces: Vec<_> = message.payload.pieces().collect();
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [128, 128, 128, 116]);
        assert_eq!(pieces[0].as_ptr(), read[12..].as_ptr(), "a view, not a copy");
        assert!(decoder.next().unwrap().is_none());
    }

    #[test]
    fn chunks_decode_the_same_wherever_reads_end() {
        let seen =
            decode(&wire("06 000000 0001F4 09 01000000 01*128 C6 02*128 C6 03*128 C6 04*116")).unwrap();
        assert_eq!(seen, [Seen(6, 0, 9, 1, payload("01*128 02*128 03*128 04*116"))]);
    }

    #[test]
    fn chunk_stream_ids_may_have_two_or_three_bytes() {
        let seen = decode(&wire(
            "00 00 000001 000081 08 01000000 AA*128 C0 00 AB
             00 FF 000002 000081 08 01000000 AA*128 C0 FF AB
             01 0001 000003 000081 08 01000000 AA*128 C1 0001 AB
             01 FFFF 000004 000081 08 01000000 AA*128 C1 FFFF AB
             01 0000 000005 000081 08 01000000 AA*128 C0 00 AB
             3F 000006 000081 08 01000000 AA*128 FF AB",
        ))
        .unwrap();
        let ids: Vec<_> = seen.iter().map(|seen| (seen.0, seen.4.len())).collect();
        let expected = [64, 319, 320, 65599, 64, 63].map(|id| (id, 129));
        assert_eq!(ids, expected);
    }

    #[test]
    fn an_extended_timestamp_repeated_on_type_3_is_not_payload() {
        let seen = decode(&wire(
            "06 FFFFFF 000102 09 01000000 01000000 AA*128 C6 01000000 BB*128 C6 01000000 CC01
             06 000005 000001 09 01000000 DD",
        ))
        .unwrap();
        let expected =
            [Seen(6, 0x100_0000, 9, 1, payload("AA*128 BB*128 CC01")), Seen(6, 5, 9, 1, payload("DD"))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_extended_timestamp_may_be_omitted_in_type_3() {
        let seen = decode(&wire(
            "06 FFFFFF 000102 09 01000000 01000000 AA*128 C6 BB*128 C6 CC01
             06 000005 000001 09 01000000 DD",
        ))
        .unwrap();
        let expected =
            [Seen(6, 0x100_0000, 9, 1, payload("AA*128 BB*128 CC01")), Seen(6, 5, 9, 1, payload("DD"))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_peer_may_repeat_the_extended_timestamp_in_some_chunks_and_not_in_others() {
        let seen = decode(&wire(
            "01 0001 FFFFFF 000380 09 01000000 01000000 AA*128
             C1 0001 BB*128 C1 0001 BB*128 C1 0001 BB*128
             C1 0001 01000000 CC*128 C1 0001 01000000 CC*128 C1 0001 DD*128",
        ))
        .unwrap();
        assert_eq!(seen[0].4, payload("AA*128 BB*384 CC*256 DD*128"));
    }

    #[test]
    fn payload_that_begins_like_an_omitted_extended_timestamp_stays_payload() {
        let seen = decode(&wire(
            "06 FFFFFF 000083 09 01000000 01020304 AA*128 C6 010203
             C6 01020304 BB*128 C6 01020305",
        ));
        // The type 3 that begins the second message repeats the time, its continuation omits it.
        let seen = seen.unwrap();
        assert_eq!(seen[0].4, payload("AA*128 010203"));
        assert_eq!(seen[1].1, 0x0204_0608);
        assert_eq!(seen[1].4, payload("BB*128 010203"));
    }

    #[test]
    fn a_short_end_without_the_extended_timestamp_does_not_wait_for_more_bytes() {
        for end in ["02", "0103", "010204"] {
            let text = format!("06 FFFFFF {:06X} 09 01000000 01020304 AA*128 C6 {end}", 128 + end.len() / 2);
            let seen = decode(&wire(&text)).unwrap();
            assert_eq!(seen.len(), 1, "{end}");
        }
    }

    #[test]
    fn chunks_shorter_than_an_omitted_extended_timestamp_decode_at_any_cut() {
        let seen = decode(&wire(
            "02 000000 000004 01 00000000 00000001
             06 FFFFFF 000004 09 01000000 01000000 C1 C6 01 C6 C6 C6 00
             06 FFFFFF 000003 09 01000000 C6010203 01 C6 C6 C6 01 06 000000 000000 09 01000000",
        ))
        .unwrap();
        assert_eq!(seen[0].4, payload("C1 01 C6 00"));
        assert_eq!(seen[1].4, payload("01 C6 01"));
    }

    #[test]
    fn an_extended_value_on_type_1_and_2_is_a_delta() {
        let seen = decode(&wire(
            "06 000010 000001 09 01000000 AA
             46 FFFFFF 000081 09 01000000 BB*128 C6 01000000 BB
             86 FFFFFF 01000001 CC*128 C6 01000001 CC
             86 000001 DD*128 C6 DD",
        ))
        .unwrap();
        assert_eq!(times(&seen), [0x10, 0x100_0010, 0x200_0011, 0x200_0012]);
        assert_eq!(seen[2].4, payload("CC*129"));
    }

    #[test]
    fn a_type_3_that_begins_a_message_after_a_type_0_adds_that_time() {
        let seen = decode(&wire("06 000028 000001 09 01000000 AA C6 BB C6 CC 86 000005 DD C6 EE")).unwrap();
        assert_eq!(times(&seen), [40, 80, 120, 125, 130]);
    }

    #[test]
    fn messages_after_one_that_is_whole_in_a_read_inherit_its_fields() {
        let seen = decode(&wire(
            "04 FFFFFF 000004 08 01000000 01000000 AA*4
             04 000010 000004 08 02000000 BB*4 C4 01000000
             44 000005 000003 09 CC*3 C4 DD*3
             84 000001 EE*3 C4 FF*3 04 000000 000000 08 01000000",
        ))
        .unwrap();
        assert_eq!(times(&seen), [0x100_0000, 0x10, 0x20, 0x25, 0x2A, 0x2B, 0x2C, 0]);
        assert_eq!(seen[2], Seen(4, 0x20, 8, 2, payload("01000000")));
        assert_eq!(seen[4], Seen(4, 0x2A, 9, 2, payload("DD*3")));
    }

    #[test]
    fn a_read_that_begins_within_a_header_or_payload_may_look_like_a_whole_message() {
        // From its fourth byte on, the second message looks like one of five bytes; the third one contains another.
        let seen = decode(&wire(
            "04 000001 000001 08 01000000 AA
             04 000004 000010 00 00050000 CC*16
             06 000001 000050 09 01000000 AA*8 04 000002 00000A 08 01000000 BB*10 AA*50",
        ))
        .unwrap();
        assert_eq!(seen.iter().map(|seen| seen.4.len()).collect::<Vec<_>>(), [1, 16, 80]);
    }

    #[test]
    fn a_new_chunk_stream_may_begin_with_type_1_at_time_0() {
        let seen = decode(&wire("42 000007 000006 04 0006 00000001")).unwrap();
        assert_eq!(seen, [Seen(2, 7, 4, 0, payload("0006 00000001"))]);
    }

    #[test]
    fn a_new_chunk_stream_that_begins_with_type_2_or_3_is_an_error() {
        let error = |header_type| Error::NothingToInherit { position: 13, chunk_stream_id: 5, header_type };
        let first = "04 000000 000001 08 01000000 AA";
        assert_eq!(decode(&wire(&format!("{first} 85 000001"))), Err(error(2)));
        assert_eq!(decode(&wire(&format!("{first} C5"))), Err(error(3)));
    }

    #[test]
    fn interleaved_messages_are_returned_in_the_order_of_their_ends() {
        let seen = decode(&wire(
            "06 000000 000101 09 01000000 AA*128
             04 000000 000082 08 01000000 BB*128
             C6 AB*128 C4 B1B2 C6 AC",
        ))
        .unwrap();
        let expected =
            [Seen(4, 0, 8, 1, payload("BB*128 B1B2")), Seen(6, 0, 9, 1, payload("AA*128 AB*128 AC"))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn set_chunk_size_within_another_message_applies_from_its_next_chunk() {
        let seen = decode(&wire(
            "06 000000 0000C9 09 01000000 AA*128
             02 000000 000004 01 00000000 00000040
             C6 AB*64 C6 AC*9",
        ))
        .unwrap();
        assert_eq!(seen, [Seen(6, 0, 9, 1, payload("AA*128 AB*64 AC*9"))]);
    }

    #[test]
    fn set_chunk_size_comes_on_any_chunk_stream() {
        let seen = decode(&wire("03 000000 000004 01 00000000 00001000 06 000000 000100 09 01000000 AA*256"))
            .unwrap();
        assert_eq!(seen[0].4.len(), 256);
    }

    #[test]
    fn chunk_size_0_or_with_the_top_bit_set_is_an_error() {
        for (text, raw) in [("00000000", 0), ("80000080", 0x8000_0080)] {
            let result = decode(&wire(&format!("02 000000 000004 01 00000000 {text}")));
            assert_eq!(result, Err(Error::ChunkSize { position: 16, raw }));
        }
    }

    #[test]
    fn a_huge_chunk_size_is_clamped_and_reserves_no_memory() {
        let seen = decode(&wire("02 000000 000004 01 00000000 7FFFFFFF 06 000000 000100 09 01000000 AA*256"))
            .unwrap();
        assert_eq!(seen[0].4.len(), 256);
    }

    #[test]
    fn set_chunk_size_or_abort_cut_short_is_an_error() {
        let error = |message_type_id| Error::ControlLength { position: 15, message_type_id, length: 3 };
        assert_eq!(decode(&wire("02 000000 000003 01 00000000 000001")), Err(error(1)));
        assert_eq!(decode(&wire("02 000000 000003 02 00000000 000001")), Err(error(2)));
    }

    #[test]
    fn abort_drops_the_unfinished_message_of_its_chunk_stream() {
        let seen = decode(&wire(
            "06 000028 000090 09 01000000 AA*128
             02 000000 000004 02 00000000 00000006
             06 000029 000001 09 01000000 BB",
        ))
        .unwrap();
        assert_eq!(seen, [Seen(6, 41, 9, 1, payload("BB"))]);
    }

    #[test]
    fn abort_of_a_chunk_stream_without_an_unfinished_message_is_ignored() {
        let seen = decode(&wire(
            "06 000028 000001 09 01000000 AA
             02 000000 000004 02 00000000 00000006
             02 000000 000004 02 00000000 00000F00
             C6 BB",
        ))
        .unwrap();
        assert_eq!(times(&seen), [40, 80]);
    }

    #[test]
    fn a_header_that_repeats_the_unfinished_message_continues_it() {
        let seen = decode(&wire(
            "06 000028 000084 09 01000000 AA*128 06 000028 000084 09 01000000 BBBBBBBB
             06 000050 000084 09 01000000 AA*128 46 000001 000084 09 CCCCCCCC
             06 000060 000084 09 01000000 AA*128 86 000001 DDDDDDDD",
        ))
        .unwrap();
        assert_eq!(times(&seen), [0x28, 0x50, 0x60]);
        assert_eq!(seen[2].4, payload("AA*128 DDDDDDDD"));
    }

    #[test]
    fn a_header_that_contradicts_the_unfinished_message_is_an_error() {
        let others = [
            "06 000029 000084 09 01000000",
            "06 000028 000084 09 02000000",
            "06 000028 000085 09 01000000",
            "46 000001 000085 09",
            "46 000001 000084 08",
        ];
        for header in others {
            for body in ["", "BB*128 C6 BB*5"] {
                let result = decode(&wire(&format!("06 000028 000084 09 01000000 AA*128 {header} {body}")));
                assert_eq!(result, Err(Error::Contradiction { position: 140, chunk_stream_id: 6 }));
            }
        }
    }

    #[test]
    fn time_wraps_at_32_bits() {
        let seen =
            decode(&wire("06 FFFFFF 000001 09 01000000 FFFFFFF0 AA 86 000020 BB 86 FFFFFF FFFFFFFF CC"))
                .unwrap();
        assert_eq!(times(&seen), [0xFFFF_FFF0, 0x10, 0xF]);
    }

    #[test]
    fn time_at_the_24_bit_edge_is_read_from_either_field() {
        let seen = decode(&wire(
            "06 FFFFFE 000001 09 01000000 AA 06 FFFFFF 000001 09 01000000 00FFFFFF AA
             06 FFFFFF 000001 09 01000000 00000007 AA",
        ))
        .unwrap();
        assert_eq!(times(&seen), [0xFF_FFFE, 0xFF_FFFF, 7]);
    }

    #[test]
    fn empty_messages_are_messages() {
        let seen = decode(&wire("04 000001 000000 08 01000000 84 000001 C4 C4")).unwrap();
        assert_eq!(times(&seen), [1, 2, 3, 4]);
        assert!(seen.iter().all(|seen| seen.4.is_empty()));
    }

    #[test]
    fn an_announced_length_uses_no_memory() {
        let mut decoder = Decoder::new(ChunkLimits::default());
        decoder.feed(wire("06 000000 FFFFFF 09 01000000 AA").into());
        assert!(decoder.next().unwrap().is_none());
        assert_eq!(decoder.partial_bytes, 1);
    }

    /// A decoder of a connection that publishes nothing, and one of a publisher.
    fn decoders() -> [Decoder; 2] {
        [false, true].map(|wants_media| {
            let mut decoder = Decoder::new(ChunkLimits::default());
            decoder.set_wants_media(wants_media);
            decoder
        })
    }

    #[test]
    fn unwanted_media_is_dropped_at_any_cut() {
        // Video of 300 bytes in chunks of 128, a command between them, data, audio; then a command.
        let wire = wire(
            "04 000001 00012C 09 01000000 AA*128 03 000000 000002 14 00000000 0102 C4 AA*128
             05 000002 000003 12 01000000 BBBBBB C4 AA*44 06 000000 000001 08 01000000 CC
             03 000000 000001 14 00000000 03",
        );
        let decode = |cut: usize, step: usize| {
            let [mut decoder, _] = decoders();
            let mut seen = Vec::new();
            for read in [&wire[..cut], &wire[cut..]].into_iter().flat_map(|part| part.chunks(step)) {
                decoder.feed(Bytes::copy_from_slice(read));
                seen.extend(drain(&mut decoder).unwrap());
                assert!(decoder.partial_bytes <= 1, "of a command: media is dropped");
            }
            assert_eq!((decoder.partial_bytes, decoder.partial_messages), (0, 0));
            seen.into_iter().map(|Seen(_, _, kind, _, payload)| (kind, payload.len())).collect::<Vec<_>>()
        };
        let expected = [(0x14, 2), (0x12, 0), (9, 0), (8, 0), (0x14, 1)];
        for cut in 0..=wire.len() {
            assert_eq!(decode(cut, usize::MAX), expected, "cut at {cut}");
        }
        assert_eq!(decode(0, 1), expected);
    }

    #[test]
    fn unfinished_media_is_dropped_when_it_is_no_longer_wanted() {
        let [_, mut decoder] = decoders();
        decoder.feed(wire("04 000001 0000FF 09 01000000 AA*128 C4 AA*100").into());
        assert!(drain(&mut decoder).unwrap().is_empty());
        let before = decoder.memory_bytes();
        decoder.set_wants_media(false);
        assert_eq!(decoder.partial_bytes, 0);
        assert!(decoder.memory_bytes() + RECEIVE_BUFFER_BYTES <= before);
        // A message that began before media is wanted again remains dropped.
        decoder.set_wants_media(true);
        decoder.feed(wire("AA*27 04 000002 000001 09 01000000 BB").into());
        let lens: Vec<_> = drain(&mut decoder).unwrap().iter().map(|seen| seen.4.len()).collect();
        assert_eq!(lens, [0, 1]);
    }

    #[test]
    fn a_connection_that_publishes_nothing_has_lower_limits() {
        let header = |stream: u8, length: u32, kind: u8| {
            [&[stream, 0, 0, 0][..], &length.to_be_bytes()[1..], &[kind, 0, 0, 0, 0]].concat()
        };
        let result = |decoder: &mut Decoder, wire: Vec<u8>| {
            decoder.feed(wire.into());
            drain(decoder).map(|seen| seen.len())
        };
        for (over, limited) in [(0, Ok(0)), (1, Err(()))] {
            for (kind, wants_media) in [(0, false), (1, true)] {
                let mut decoders = decoders();
                let decoder = &mut decoders[kind];
                let command = header(3, MAX_COMMAND_BYTES_WITHOUT_MEDIA + over, 20);
                let expected = if wants_media { Ok(0) } else { limited };
                assert_eq!(result(decoder, command).map_err(drop), expected, "a command");

                let mut decoders = self::decoders();
                let decoder = &mut decoders[kind];
                let streams = MAX_STREAMS_WITHOUT_MEDIA as u8 + over as u8;
                let begun =
                    (0..streams).flat_map(|stream| [header(3 + stream, 200, 20), vec![1; 128]].concat());
                assert_eq!(result(decoder, begun.collect()).map_err(drop), expected, "chunk streams");

                // Sixteen unfinished commands, 128 bytes of each in turn.
                let mut decoders = self::decoders();
                let decoder = &mut decoders[kind];
                let mut wire: Vec<u8> = Vec::new();
                let mut left = MAX_PARTIAL_BYTES_WITHOUT_MEDIA + over as usize;
                for round in 0.. {
                    let stream = 3 + round % 16;
                    wire.extend(if round < 16 { header(stream, 4_000, 20) } else { vec![0xC0 | stream] });
                    wire.resize(wire.len() + left.min(128), 1);
                    if left <= 128 {
                        break;
                    }
                    left -= 128;
                }
                assert_eq!(result(decoder, wire).map_err(drop), expected, "bytes");
            }
        }
        let media = [header(4, 16_000_000, 9), vec![1; 128]].concat();
        assert_eq!(result(&mut decoders()[0], media), Ok(0), "it is dropped, however large it is");
    }

    /// A view at the end of a read keeps the receive buffer only if it is large or one of a few.
    #[test]
    fn many_small_views_do_not_keep_a_whole_receive_buffer() {
        let chunks = |count: u8, body: usize| -> Bytes {
            let chunk =
                |stream: u8| [&[stream, 0, 0, 0, 0, 0xFF, 0xFF, 20, 0, 0, 0, 0][..], &vec![1; body]].concat();
            (0..count).flat_map(|stream| chunk(3 + stream)).collect::<Vec<_>>().into()
        };
        let mut limits = ChunkLimits::default();
        limits.message_bytes.command = 1 << 20;
        for (wants_media, count, body, is_free) in [
            (false, 1, 1, true),
            (false, 1, 20_000, true),
            (true, MAX_SMALL_VIEWS as u8, 1, false),
            (true, MAX_SMALL_VIEWS as u8 + 1, 1, true),
            (true, 1, 20_000, false),
            (true, 9, 20_000, false),
        ] {
            let mut decoder = Decoder::new(limits);
            decoder.chunk_size = ChunkSize::new(body as u32).unwrap();
            decoder.set_wants_media(wants_media);
            decoder.limits = limits;
            // All messages are in one read.
            let read = chunks(count, body);
            decoder.feed(read.clone());
            assert!(drain(&mut decoder).is_ok());
            assert_eq!(read.is_unique(), is_free, "{count} of {body} bytes");
            let memory = decoder.memory_bytes() - decoder.streams.capacity() * size_of::<ChunkStream>();
            let sum = usize::from(count) * body;
            if is_free {
                assert!((sum..=2 * sum + 16 * usize::from(count)).contains(&memory), "{memory} for {sum}");
            } else {
                assert_eq!(memory, usize::from(count) * RECEIVE_BUFFER_BYTES, "whole buffers");
            }
        }
    }

    #[test]
    fn a_message_above_the_limit_of_its_kind_is_an_error_at_its_header() {
        let message_bytes = MessageBytes { video: 40, audio: 30, data: 20, command: 10 };
        for (message_type_id, limit) in
            [(9, 40), (22, 40), (8, 30), (18, 20), (15, 20), (20, 10), (17, 10), (99, 10)]
        {
            let mut decoder = Decoder::new(ChunkLimits { message_bytes, ..ChunkLimits::default() });
            let at = wire(&format!("06 000000 {limit:06X} {message_type_id:02X} 01000000 AA*{limit}"));
            let position = at.len() as u64;
            let past = wire(&format!("06 000000 {:06X} {message_type_id:02X} 01000000", limit + 1));
            decoder.feed([at, past].concat().into());
            assert_eq!(decoder.next().unwrap().unwrap().payload.len(), limit as usize);
            let error = Error::MessageBytes { position, length: limit + 1, limit };
            assert_eq!(decoder.next().unwrap_err(), error);
            assert_eq!(decoder.next().unwrap_err(), error, "an error is final");
        }
    }

    #[test]
    fn what_applies_to_each_message_applies_to_one_that_is_whole_in_a_read() {
        // 140 bytes of an unfinished message, and 13 that make the chunk stream of the next one known.
        let begun = "06 000001 0000FF 09 01000000 AA*128 04 000001 000001 08 01000000 AA";
        let whole = "04 000002 00000A 08 01000000 BB*10";
        let result = |limits, wants_media, text: &str| {
            let mut decoder = Decoder::new(limits);
            decoder.set_wants_media(wants_media);
            decoder.feed(wire(text).into());
            let result =
                drain(&mut decoder).map(|seen| seen.iter().map(|seen| seen.4.len()).collect::<Vec<_>>());
            if let Err(error) = result {
                assert_eq!(decoder.next().unwrap_err(), error, "an error is final");
            }
            result
        };
        let (limits, position) = (ChunkLimits::default(), 153);
        let text = format!("{begun} {whole}");
        assert_eq!(result(limits, true, &text), Ok(vec![1, 10]));
        assert_eq!(result(limits, false, &text), Ok(vec![0, 0]));
        let message_bytes = MessageBytes { audio: 9, ..limits.message_bytes };
        let error = Error::MessageBytes { position, length: 10, limit: 9 };
        assert_eq!(result(ChunkLimits { message_bytes, ..limits }, true, &text), Err(error));
        let error = Error::PartialBytes { position: position + 22, limit: 137 };
        assert_eq!(result(ChunkLimits { partial_bytes: 137, ..limits }, true, &text), Err(error));
        let mut decoder = Decoder::new(ChunkLimits { partial_messages: 1, ..limits });
        let reads = ["04 000001 000001 08 01000000 AA 06 000001 0000FF 09 01000000 AA*128", whole];
        let results = reads.map(|read| {
            decoder.feed(wire(read).into());
            drain(&mut decoder).map(|seen| seen.len())
        });
        assert_eq!(results, [Ok(1), Err(Error::PartialMessages { position, limit: 1 })]);
        let text = format!("04 000001 000001 08 01000000 AA 02 000000 000004 01 00000000 00000000 {whole}");
        assert_eq!(result(limits, true, &text), Err(Error::ChunkSize { position: 29, raw: 0 }));
    }

    #[test]
    fn unfinished_messages_are_bounded_in_number_and_bytes() {
        let begun = |id: u8| wire(&format!("{id:02X} 000000 000100 09 01000000 AA*128"));
        let three: Vec<u8> = (3..6).flat_map(begun).collect();
        let result = |limits| {
            let mut decoder = Decoder::new(limits);
            decoder.feed(three.clone().into());
            decoder.next().map(|message| message.is_some())
        };
        assert_eq!(result(ChunkLimits { partial_messages: 3, ..ChunkLimits::default() }), Ok(false));
        assert_eq!(
            result(ChunkLimits { partial_messages: 2, ..ChunkLimits::default() }),
            Err(Error::PartialMessages { position: 280, limit: 2 })
        );
        assert_eq!(result(ChunkLimits { partial_bytes: 384, ..ChunkLimits::default() }), Ok(false));
        assert_eq!(
            result(ChunkLimits { partial_bytes: 383, ..ChunkLimits::default() }),
            Err(Error::PartialBytes { position: 420, limit: 383 })
        );
    }

    #[test]
    fn finished_and_aborted_messages_count_towards_no_limit() {
        let mut decoder =
            Decoder::new(ChunkLimits { partial_messages: 2, partial_bytes: 300, ..ChunkLimits::default() });
        let round = wire(
            "06 000028 000090 09 01000000 AA*128
             02 000000 000004 02 00000000 00000006
             06 000028 000090 09 01000000 AA*128 C6 BB*16",
        );
        for _ in 0..10 {
            decoder.feed(round.clone().into());
            assert_eq!(drain(&mut decoder).unwrap().len(), 1);
        }
        assert_eq!((decoder.partial_messages, decoder.partial_bytes), (0, 0));
    }

    #[test]
    fn chunk_streams_are_bounded() {
        let mut decoder = Decoder::new(ChunkLimits { chunk_streams: 2, ..ChunkLimits::default() });
        let one = |id: u8| wire(&format!("{id:02X} 000000 000001 09 01000000 AA"));
        decoder.feed([one(3), one(4), one(3), one(5)].concat().into());
        assert_eq!(drain(&mut decoder), Err(Error::ChunkStreams { position: 39, limit: 2 }));
    }

    #[test]
    fn bytes_fed_before_the_previous_ones_are_read_are_not_lost() {
        let mut decoder = Decoder::new(ChunkLimits::default());
        let two = wire("04 000001 000002 08 01000000 AA01 84 000001 AA02 84 0000");
        decoder.feed(two.into());
        assert_eq!(decoder.next().unwrap().unwrap().timestamp_ms, 1);
        decoder.feed(wire("05 AA03").into());
        assert_eq!(times(&drain(&mut decoder).unwrap()), [2, 7]);
        assert_eq!(decoder.position(), 26);
    }

    #[test]
    fn a_message_in_thousands_of_reads_is_complete() {
        let wire = wire("06 000000 001000 09 01000000 01*128");
        let mut decoder = Decoder::new(ChunkLimits::default());
        decoder.feed(wire.into());
        assert!(decoder.next().unwrap().is_none());
        for i in 1..32u8 {
            decoder.feed(vec![0xC6].into());
            assert!(decoder.next().unwrap().is_none());
            for _ in 0..127 {
                decoder.feed(vec![i].into());
                assert!(decoder.next().unwrap().is_none());
            }
            decoder.feed(vec![i].into());
        }
        let payload = decoder.next().unwrap().unwrap().payload;
        assert_eq!((payload.len(), payload.run_count()), (4096, 1));
        assert_eq!(payload.to_bytes()[4095], 31);
    }
}

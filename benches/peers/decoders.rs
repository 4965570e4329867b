//! The compared decoders, behind one trait: take a read, count the messages that it completes.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};

/// One crate's decoder.
pub trait Peer {
    /// Takes the bytes of one read; returns the number of decoded messages, each of which has been used.
    fn read(&mut self, read: &Bytes) -> usize;
}

/// fanfare as the relay uses it: the read is a view of a receive buffer, the payloads are views of that.
pub struct Views(pub fanfare::rtmp::chunk::Decoder);

impl Peer for Views {
    fn read(&mut self, read: &Bytes) -> usize {
        fanfare(&mut self.0, read.clone(), |message| drop(black_box(message)))
    }
}

/// fanfare with the copies of the others: the read is copied into a buffer first, and each payload into one contiguous
/// buffer.
pub struct Copies {
    decoder: fanfare::rtmp::chunk::Decoder,
    received: BytesMut,
    payload: Vec<u8>,
}

impl Copies {
    /// Around a decoder.
    pub fn new(decoder: fanfare::rtmp::chunk::Decoder) -> Self {
        Self { decoder, received: BytesMut::new(), payload: Vec::new() }
    }
}

impl Peer for Copies {
    fn read(&mut self, read: &Bytes) -> usize {
        self.received.extend_from_slice(read);
        let read = self.received.split().freeze();
        fanfare(&mut self.decoder, read, |message| {
            self.payload.clear();
            message.payload.pieces().for_each(|piece| self.payload.extend_from_slice(piece));
            black_box(&mut self.payload);
        })
    }
}

fn fanfare(
    decoder: &mut fanfare::rtmp::chunk::Decoder,
    read: Bytes,
    mut take: impl FnMut(fanfare::rtmp::chunk::Message),
) -> usize {
    let mut count = 0;
    decoder.feed(read);
    while let Some(message) = decoder.next().expect("it is valid") {
        take(message);
        count += 1;
    }
    count
}

/// rml_rtmp: copies its input into a buffer of its own.
pub struct Rml(rml_rtmp::chunk_io::ChunkDeserializer);

impl Rml {
    /// That expects chunks of this size.
    pub fn new(chunk_size: u32) -> Self {
        let mut decoder = rml_rtmp::chunk_io::ChunkDeserializer::new();
        decoder.set_max_chunk_size(chunk_size as usize).expect("valid");
        Self(decoder)
    }
}

impl Peer for Rml {
    fn read(&mut self, read: &Bytes) -> usize {
        let mut count = 0;
        let mut bytes = &read[..];
        while let Some(message) = self.0.get_next_message(bytes).expect("it is valid") {
            black_box(message);
            count += 1;
            bytes = &[];
        }
        count
    }
}

/// scuffle-rtmp: reads are appended to the rest of the one before, as in its session; but here the
/// benchmark copies, and there the kernel. [`Copies`] has the same copy.
pub struct Scuffle {
    decoder: scuffle_rtmp::chunk::reader::ChunkReader,
    received: BytesMut,
}

impl Scuffle {
    /// That expects chunks of this size.
    pub fn new(chunk_size: u32) -> Self {
        let mut decoder = scuffle_rtmp::chunk::reader::ChunkReader::default();
        assert!(decoder.update_max_chunk_size(chunk_size as usize));
        Self { decoder, received: BytesMut::new() }
    }
}

impl Peer for Scuffle {
    fn read(&mut self, read: &Bytes) -> usize {
        let mut count = 0;
        self.received.extend_from_slice(read);
        while let Some(message) = self.decoder.read_chunk(&mut self.received).expect("it is valid") {
            black_box(message);
            count += 1;
        }
        count
    }
}

/// xiu's rtmp: copies its input into a buffer of its own.
pub struct Xiu(rtmp::chunk::unpacketizer::ChunkUnpacketizer);

impl Xiu {
    /// That expects chunks of this size.
    pub fn new(chunk_size: u32) -> Self {
        let mut decoder = rtmp::chunk::unpacketizer::ChunkUnpacketizer::new();
        decoder.update_max_chunk_size(chunk_size as usize);
        Self(decoder)
    }
}

impl Peer for Xiu {
    fn read(&mut self, read: &Bytes) -> usize {
        use rtmp::chunk::unpacketizer::UnpackResult;
        self.0.extend_data(read);
        // An unfinished message is an error like any other here, so the count of messages
        // is checked instead.
        match self.0.read_chunks() {
            Ok(UnpackResult::Chunks(messages)) => black_box(messages).len(),
            _ => 0,
        }
    }
}

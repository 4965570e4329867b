//! What encoders have sent, and under which names: what players get is compared with it.

use std::{collections::BTreeMap, net::SocketAddr};

use fanfare::flv::{Frame, FrameKind};

/// All that encoders have asked to publish in a run.
#[derive(Default)]
pub struct Ledger {
    pub attempts: Vec<Attempt>,
    /// Attempts that have had their name, in that order, by stream.
    pub lives: BTreeMap<String, Vec<usize>>,
}

/// One `publish` of one encoder.
pub struct Attempt {
    pub peer: SocketAddr,
    /// `app/name`, as it was asked for.
    pub requested: String,
    /// Under which name it may be published, if that is another one.
    pub renamed: Option<String>,
    /// Whether it has been allowed, where a service had to decide.
    pub is_allowed: bool,
    pub frames: Vec<Sent>,
    /// The number of the first key frame.
    pub first_key: Option<usize>,
    /// From this frame on times are not the encoder's any more, or it is not known whether they are.
    pub jumped_at: Option<usize>,
    /// Its pictures may have stood still for so long that the relay sends them by themselves.
    pub has_stood: bool,
    /// What the relay has received, by time: so many frames, at this fair time.
    pub received: Vec<(usize, u64)>,
    /// So many frames have been seen by one player or another.
    pub seen: usize,
    /// Its place among those that have had the name.
    pub order: Option<usize>,
    /// When it had its name, fair time.
    pub live_us: u64,
    /// It has its name now.
    pub is_live: bool,
}

/// One frame of media. Its number and that of its attempt are in its payload.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub kind: FrameKind,
    pub place: Place,
    pub timestamp_ms: u32,
    /// The sequence header that it goes with; 0 is none.
    pub configuration: u8,
    pub len: usize,
    /// When it was sent, fair time.
    pub at_us: u64,
}

/// What a frame is among the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first message of a key frame.
    KeyFrame,
    /// Another message of a key frame.
    KeyFrameRest,
    Picture,
    /// No picture.
    None,
}

impl Attempt {
    pub fn stream(&self) -> &str {
        self.renamed.as_deref().unwrap_or(&self.requested)
    }

    /// Whether the relay passes this frame on: pictures before the first key frame cannot be decoded.
    pub fn is_passed_on(&self, number: usize) -> bool {
        let is_picture = matches!(self.frames[number].place, Place::Picture | Place::KeyFrameRest);
        !is_picture || self.first_key.is_some_and(|first| first < number)
    }

    /// Whether a key frame begins with this one.
    pub fn begins_key_frame(&self, number: usize) -> bool {
        self.frames[number].place == Place::KeyFrame
    }
}

impl Ledger {
    pub fn ask(&mut self, peer: SocketAddr, requested: String) -> usize {
        self.attempts.push(Attempt {
            peer,
            requested,
            renamed: None,
            is_allowed: false,
            frames: Vec::new(),
            first_key: None,
            jumped_at: None,
            has_stood: false,
            received: Vec::new(),
            seen: 0,
            order: None,
            live_us: 0,
            is_live: false,
        });
        self.attempts.len() - 1
    }

    /// One more frame of this attempt.
    pub fn send(&mut self, attempt: usize, sent: Sent) -> Frame {
        let frames = &mut self.attempts[attempt].frames;
        let number = frames.len();
        frames.push(sent);
        if sent.place == Place::KeyFrame {
            self.attempts[attempt].first_key.get_or_insert(number);
        }
        Frame {
            kind: sent.kind,
            timestamp_ms: sent.timestamp_ms,
            payload: payload(attempt, number, &sent).into(),
        }
    }

    /// The attempt has its name.
    pub fn came(&mut self, attempt: usize, now_us: u64) {
        let stream = self.attempts[attempt].stream().to_owned();
        let lives = self.lives.entry(stream).or_default();
        let it = &mut self.attempts[attempt];
        (it.order, it.live_us, it.is_live) = (Some(lives.len()), now_us, true);
        if !lives.is_empty() {
            it.jumped_at = Some(0);
        }
        lives.push(attempt);
    }

    /// The attempt that has this name now.
    pub fn live(&self, stream: &str) -> Option<usize> {
        let newest = self.lives.get(stream)?.last().copied()?;
        self.attempts[newest].is_live.then_some(newest)
    }
}

/// A video sequence header.
pub fn video_header(configuration: u8) -> Vec<u8> {
    vec![0x17, 0, 0, 0, 0, b'v', configuration]
}

/// An audio sequence header.
pub fn audio_header(configuration: u8) -> Vec<u8> {
    vec![0xAF, 0, b'a', configuration]
}

/// What a payload is.
pub enum Read {
    VideoHeader(u8),
    AudioHeader(u8),
    Media {
        attempt: usize,
        number: usize,
    },
    /// Metadata and the like.
    Other,
}

const NUMBERED: &[u8] = b"\x02\x00\x0aonNumbered";

fn payload(attempt: usize, number: usize, sent: &Sent) -> Vec<u8> {
    let mut bytes = match (sent.kind, sent.place) {
        (FrameKind::Video, Place::KeyFrame | Place::KeyFrameRest) => b"\x17\x01\0\0\0".to_vec(),
        (FrameKind::Video, _) => b"\x27\x01\0\0\0".to_vec(),
        (FrameKind::Audio, _) => b"\xAF\x01".to_vec(),
        (FrameKind::Data, _) => {
            return [
                NUMBERED,
                b"\x00",
                &(attempt as f64).to_be_bytes(),
                b"\x00",
                &(number as f64).to_be_bytes(),
            ]
            .concat();
        }
    };
    bytes.extend_from_slice(&(attempt as u32).to_be_bytes());
    bytes.extend_from_slice(&(number as u32).to_be_bytes());
    bytes.push(sent.configuration);
    let begin = bytes.len();
    bytes.resize(begin + sent.len, (attempt * 31 + number * 7) as u8);
    bytes
}

impl Ledger {
    /// Finds out what a frame is that a player has got.
    pub fn read(&self, frame: &Frame) -> Result<Read, String> {
        let bytes = frame.payload.to_bytes();
        let numbers = match (frame.kind, &bytes[..]) {
            (FrameKind::Video, [0x17, 0, 0, 0, 0, b'v', configuration]) => {
                return Ok(Read::VideoHeader(*configuration));
            }
            (FrameKind::Audio, [0xAF, 0, b'a', configuration]) => {
                return Ok(Read::AudioHeader(*configuration));
            }
            (FrameKind::Video, [0x17 | 0x27, 1, 0, 0, 0, rest @ ..]) => numbers(rest),
            (FrameKind::Audio, [0xAF, 1, rest @ ..]) => numbers(rest),
            (FrameKind::Data, bytes) if bytes.starts_with(NUMBERED) => {
                let number = |at| Some(f64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?) as usize);
                number(14).zip(number(23))
            }
            (FrameKind::Data, bytes) if bytes.starts_with(b"\x02\x00\x0aonMetaData") => {
                return Ok(Read::Other);
            }
            (FrameKind::Data, bytes) if bytes.starts_with(b"\x02\x00\x11|RtmpSampleAccess") => {
                return Ok(Read::Other);
            }
            _ => None,
        };
        let Some((attempt, number)) = numbers else {
            return Err(format!(
                "a frame that no encoder sent: {:?} {:02x?}",
                frame.kind,
                &bytes[..bytes.len().min(40)]
            ));
        };
        let sent = self.attempts.get(attempt).and_then(|it| it.frames.get(number));
        let is_it =
            sent.is_some_and(|sent| sent.kind == frame.kind && payload(attempt, number, sent) == bytes[..]);
        if !is_it {
            return Err(format!("frame {attempt}/{number} is not what was sent"));
        }
        Ok(Read::Media { attempt, number })
    }
}

fn numbers(rest: &[u8]) -> Option<(usize, usize)> {
    let number = |at| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?) as usize);
    number(0).zip(number(4))
}

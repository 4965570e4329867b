//! What one player gets to see of a stream, compared frame by frame with what was sent.

use fanfare::flv::{Frame, FrameKind};

use super::ledger::{Ledger, Place, Read};

/// So far may the time of one kind go back where an encoder's clock was set.
const STEP_BACK_MS: u32 = 1_000;

/// One player's view of one stream, from where it began.
pub struct View {
    pub stream: String,
    /// The last frame: its attempt and its number.
    pub at: Option<(usize, usize)>,
    video_header: Option<u8>,
    audio_header: Option<u8>,
    /// Video begins with the next key frame.
    awaits_key_frame: bool,
    /// The player has asked for no audio, or no video; frames of that kind may be missing.
    pub lacks_audio: bool,
    pub lacks_video: bool,
    /// Audio goes on: what came before the next frame is missing.
    lacked_audio: bool,
    lacked_video: bool,
    /// What it asked for last.
    wants_audio: bool,
    wants_video: bool,
    pub is_paused: bool,
    /// It goes on after a pause: the next frame may be anywhere that a player can begin.
    pub may_move: bool,
    last_ms: [Option<u32>; 2],
    /// Times of this stream may not be the encoder's.
    pub has_own_times: bool,
    /// How often it has been moved ahead.
    pub skips: u64,
    turns: Vec<Turn>,
}

/// From the frames of one encoder to those of another one, which is checked when it is known what there was between.
struct Turn {
    from: (usize, usize),
    to: (usize, usize),
    lacks: (bool, bool, bool),
    can_begin: bool,
    /// It went on after a pause, or the skip has been counted.
    is_counted: bool,
}

/// What excuses a player from having all.
#[derive(Clone, Copy)]
pub struct Excuses {
    /// It read slowly: it may be moved ahead.
    pub is_slow: bool,
    /// Memory is short, or cores stand still: a player may begin anywhere.
    pub is_rough: bool,
    /// Encoders' clocks jump.
    pub has_jumps: bool,
}

impl View {
    pub fn new(stream: String) -> Self {
        Self {
            stream,
            at: None,
            video_header: None,
            audio_header: None,
            awaits_key_frame: true,
            lacks_audio: false,
            lacks_video: false,
            lacked_audio: false,
            lacked_video: false,
            wants_audio: true,
            wants_video: true,
            is_paused: false,
            may_move: false,
            last_ms: [None; 2],
            has_own_times: false,
            skips: 0,
            turns: Vec::new(),
        }
    }

    pub fn ask_for_audio(&mut self, wants: bool) {
        self.lacks_audio |= !wants;
        self.wants_audio = wants;
    }

    pub fn ask_for_video(&mut self, wants: bool) {
        self.lacks_video |= !wants;
        self.wants_video = wants;
    }

    /// It is notified that the audio goes on that it has asked for.
    pub fn audio_goes_on(&mut self) {
        self.lacked_audio |= self.lacks_audio;
        self.lacks_audio &= !self.wants_audio;
    }

    /// It is notified that video goes on: from the next key frame.
    pub fn video_goes_on(&mut self) {
        if self.lacks_video && self.wants_video {
            (self.lacks_video, self.awaits_key_frame, self.lacked_video) = (false, true, true);
        }
    }

    /// The player has got this frame.
    pub fn frame(&mut self, ledger: &mut Ledger, frame: &Frame, excuses: Excuses) -> Result<(), String> {
        if self.is_paused {
            return Err("a frame while it is paused".to_owned());
        }
        match ledger.read(frame)? {
            Read::VideoHeader(configuration) => self.video_header = Some(configuration),
            Read::AudioHeader(configuration) => self.audio_header = Some(configuration),
            Read::Other => {}
            Read::Media { attempt, number } => {
                self.media(ledger, frame, (attempt, number), excuses).map_err(|what| {
                    let sent = |number: usize| ledger.attempts[attempt].frames.get(number);
                    let around: Vec<_> = (number.saturating_sub(3)..number + 1).map(sent).collect();
                    format!("frame {attempt}/{number} after {:?}: {what}; {around:?}", self.at)
                })?;
                let seen = &mut ledger.attempts[attempt].seen;
                *seen = (*seen).max(number + 1);
                self.at = Some((attempt, number));
            }
        }
        Ok(())
    }

    fn media(
        &mut self,
        ledger: &Ledger,
        frame: &Frame,
        (attempt, number): (usize, usize),
        excuses: Excuses,
    ) -> Result<(), String> {
        let it = &ledger.attempts[attempt];
        let sent = it.frames[number];
        if it.stream() != self.stream {
            return Err(format!("it is of {}, and {} is played", it.stream(), self.stream));
        }
        let Some(order) = it.order else { return Err("its encoder has no name".to_owned()) };
        if !it.is_passed_on(number) {
            return Err("it cannot be decoded".to_owned());
        }
        let was_moved = std::mem::take(&mut self.may_move);
        let (lacks_audio, lacks_video) = (self.lacks_audio, self.lacks_video);
        self.lacks_audio |= std::mem::take(&mut self.lacked_audio);
        self.lacks_video |= std::mem::take(&mut self.lacked_video);
        let can_begin = self.can_begin(ledger, (attempt, number), excuses);
        // Pictures that stand still are sent without the audio between them, and go on from each other.
        let has_pictures = it.has_stood
            && self.at.is_some_and(|(before, last)| {
                before == attempt && last < number && {
                    let mut between = last + 1..number;
                    !between
                        .any(|at| it.frames[at].kind == FrameKind::Video && self.wants(ledger, attempt, at))
                }
            });
        let is_moved = match self.at {
            None => true,
            Some((before, last)) if before == attempt => {
                let is_replay = it.has_stood && number <= last;
                if number <= last && !is_replay {
                    return Err("it comes twice, or too late".to_owned());
                }
                is_replay || self.lacks_any(ledger, attempt, last + 1..number)
            }
            Some((before, last)) => {
                if ledger.attempts[before].order > Some(order) {
                    return Err("an encoder of before comes back".to_owned());
                }
                let lacks = (self.lacks_audio, self.lacks_video, self.awaits_key_frame);
                let (from, to) = ((before, last), (attempt, number));
                let is_moved = self.lacks_any(ledger, attempt, 0..number);
                self.turns.push(Turn { from, to, lacks, can_begin, is_counted: was_moved || is_moved });
                is_moved
            }
        };
        (self.lacks_audio, self.lacks_video) = (lacks_audio, lacks_video);
        if is_moved {
            if !can_begin {
                return Err("frames are missing before it, and no player can begin with it".to_owned());
            }
            if self.at.is_some() && !was_moved && !it.has_stood {
                if !excuses.is_slow && !excuses.is_rough {
                    return Err(
                        "frames are missing before it, though the player has read all the time".to_owned()
                    );
                }
                self.skips += 1;
            }
            // Pictures begin with a key frame.
            self.awaits_key_frame |= !has_pictures;
        }
        self.check_headers(sent.kind, sent.place, sent.configuration)?;
        self.check_time(ledger, frame, (attempt, number), excuses)
    }

    fn check_headers(&mut self, kind: FrameKind, place: Place, configuration: u8) -> Result<(), String> {
        let known = match kind {
            FrameKind::Video => {
                if place == Place::KeyFrame {
                    self.awaits_key_frame = false;
                } else if self.awaits_key_frame {
                    return Err("pictures begin without a key frame".to_owned());
                }
                self.video_header
            }
            FrameKind::Audio => self.audio_header,
            FrameKind::Data => return Ok(()),
        };
        if configuration != 0 && known != Some(configuration) {
            return Err(format!("it goes with header {configuration}, and the player has {known:?}"));
        }
        Ok(())
    }

    fn check_time(
        &mut self,
        ledger: &Ledger,
        frame: &Frame,
        (attempt, number): (usize, usize),
        excuses: Excuses,
    ) -> Result<(), String> {
        let it = &ledger.attempts[attempt];
        let at_ms = frame.timestamp_ms;
        let last_ms = match frame.kind {
            FrameKind::Data => return Ok(()),
            FrameKind::Audio => &mut self.last_ms[0],
            FrameKind::Video => &mut self.last_ms[1],
        };
        if it.has_stood || excuses.is_rough {
            *last_ms = None;
            return Ok(());
        }
        let back_ms = last_ms.map_or(0, |last| last.wrapping_sub(at_ms) as i32);
        let most_ms = if excuses.has_jumps { STEP_BACK_MS } else { 0 };
        if back_ms > most_ms as i32 {
            return Err(format!("time goes back by {back_ms} ms, to {at_ms}"));
        }
        *last_ms = Some(at_ms);
        let is_exact = !self.has_own_times && it.jumped_at.is_none_or(|jump| number < jump);
        if is_exact && at_ms != it.frames[number].timestamp_ms {
            return Err(format!("its time is {at_ms}, and was {}", it.frames[number].timestamp_ms));
        }
        Ok(())
    }

    /// Whether a player may begin with this frame: a key frame, or audio and data where there is none yet.
    fn can_begin(&self, ledger: &Ledger, (attempt, number): (usize, usize), excuses: Excuses) -> bool {
        let it = &ledger.attempts[attempt];
        if it.first_key.is_none_or(|first| first >= number) || it.has_stood || excuses.is_rough {
            return true;
        }
        let mut at = number;
        loop {
            if it.begins_key_frame(at) {
                return true;
            }
            // What it does not want lies between.
            if at == 0 || self.wants(ledger, attempt, at - 1) && !it.begins_key_frame(at - 1) {
                return false;
            }
            at -= 1;
        }
    }

    fn lacks_any(&self, ledger: &Ledger, attempt: usize, mut numbers: std::ops::Range<usize>) -> bool {
        numbers.any(|number| self.wants(ledger, attempt, number))
    }

    /// Whether the player is to get this frame, if it comes after those that it has.
    pub fn wants(&self, ledger: &Ledger, attempt: usize, number: usize) -> bool {
        wants(ledger, (attempt, number), (self.lacks_audio, self.lacks_video, self.awaits_key_frame))
    }

    /// All has been sent. Returns how often the player has been moved ahead.
    pub fn finish(&self, ledger: &Ledger, mut note: impl FnMut(String)) -> Result<u64, String> {
        let mut skips = self.skips;
        for turn in &self.turns {
            let lives = &ledger.lives[&self.stream];
            let orders = ledger.attempts[turn.from.0].order..=ledger.attempts[turn.to.0].order;
            let between = lives.iter().filter(|&&it| orders.contains(&ledger.attempts[it].order));
            let is_missing = between.copied().filter(|&it| it != turn.to.0).any(|it| {
                let from = if it == turn.from.0 { turn.from.1 + 1 } else { 0 };
                (from..ledger.attempts[it].seen).any(|number| wants(ledger, (it, number), turn.lacks))
            });
            if is_missing && !turn.can_begin {
                return Err(format!("from {:?} to {:?}, and others have seen more", turn.from, turn.to));
            }
            if is_missing && !turn.is_counted {
                note(format!("moved ahead from {:?} to {:?}", turn.from, turn.to));
                skips += 1;
            }
        }
        Ok(skips)
    }
}

fn wants(ledger: &Ledger, (attempt, number): (usize, usize), lacks: (bool, bool, bool)) -> bool {
    let (lacks_audio, lacks_video, awaits_key_frame) = lacks;
    let it = &ledger.attempts[attempt];
    it.is_passed_on(number)
        && match it.frames[number].kind {
            FrameKind::Audio => !lacks_audio,
            FrameKind::Video => !lacks_video && (!awaits_key_frame || it.begins_key_frame(number)),
            FrameKind::Data => true,
        }
}

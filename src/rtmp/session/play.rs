//! What a peer plays: one stream at a time, where in it it begins, and what a player may ask for meanwhile. Its media is
//! not the session's business.

use super::*;

/// How far a play has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Idle,
    Asked,
    Granted,
}

/// The last of each kind counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    pause: Option<bool>,
    audio: Option<bool>,
    video: Option<bool>,
}

/// Where in a live stream a player begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest key frame, with all since.
    KeyFrame,
    /// At the next key frame.
    Live,
}

impl Session {
    /// The peer plays from now on: media may follow what this makes the session send. Then [`Session::poll`].
    ///
    /// Without a request there is nothing to accept, and nothing happens.
    pub fn accept_play(&mut self) {
        if self.playing != Stage::Asked {
            return;
        }
        self.playing = Stage::Granted;
        let id = self.plays_on;
        self.link.control(Control::User(UserControl::StreamBegin(id)));
        if self.reset {
            self.status(id, "status", "NetStream.Play.Reset", "Playing and resetting.");
        }
        self.status(id, "status", "NetStream.Play.Start", "Started playing.");
        let access = [Value::from("|RtmpSampleAccess"), false.into(), false.into()];
        self.link.data(id, &access);
        let Wishes { pause, audio, video } = std::mem::take(&mut self.wishes);
        if let Some(wanted) = audio {
            self.receive_kind(wanted, Output::ReceiveAudio);
        }
        if let Some(wanted) = video {
            self.receive_kind(wanted, Output::ReceiveVideo);
        }
        if let Some(is_paused) = pause {
            self.pause(is_paused);
        }
    }

    /// The peer does not get to play, or waited in vain after it was accepted: says so, and closes unless the peer
    /// publishes. `code` is `NetStream.Play.StreamNotFound` or `.Failed`.
    pub fn refuse_play(&mut self, code: &str, description: &str) {
        self.playing = Stage::Idle;
        self.refuse(self.plays_on, code, description, CloseReason::Refused(code.to_owned()));
    }

    /// The stream that the peer plays has ended for good: FFmpeg and librtmp stop here. To be sent behind the last
    /// media; what becomes of the connection is the caller's to decide.
    pub fn end_play(&mut self) {
        if self.playing == Stage::Idle {
            return;
        }
        self.playing = Stage::Idle;
        let id = self.plays_on;
        self.status(id, "status", "NetStream.Play.UnpublishNotify", "The stream has ended.");
        self.link.control(Control::User(UserControl::StreamEof(id)));
    }

    /// A second play takes the place of the first. Arguments: name, start, duration, reset.
    pub(super) fn play(&mut self, on: MessageStreamId, command: &Command) -> Result<(), Error> {
        let id = self.streams.asked_on(on);
        let is_running = self.playing != Stage::Idle && self.plays_on == id;
        match self.asked_for(command, is_running)? {
            Asked::Stop if is_running => self.stop_play(),
            Asked::Stop => {}
            Asked::Stream(address) => {
                self.stop_play();
                let start = address.parameter("start").and_then(Start::parse);
                let Address { name, query } = address;
                self.playing = Stage::Asked;
                self.plays_on = id;
                self.reset = command.flag_or(3, false).unwrap_or(false);
                self.outputs.push_back(Output::Play(PlayRequest { name, query, start }));
            }
            Asked::Nonsense(error) => {
                self.stop_play();
                let reason = CloseReason::Name(error);
                self.refuse(id, "NetStream.Play.StreamNotFound", &error.to_string(), reason);
            }
        }
        Ok(())
    }

    pub(super) fn stop_play(&mut self) {
        self.wishes = Wishes::default();
        if std::mem::take(&mut self.playing) != Stage::Idle {
            self.outputs.push_back(Output::StopPlay);
        }
    }

    /// Whether a command on message stream `on` is about what the peer plays. Some send all of theirs on 0.
    pub(super) fn is_about_play(&self, on: MessageStreamId) -> bool {
        self.playing != Stage::Idle && (on == 0 || on == self.plays_on)
    }

    pub(super) fn pause(&mut self, is_paused: bool) {
        if self.playing == Stage::Asked {
            self.wishes.pause = Some(is_paused);
            return;
        }
        let code = if is_paused { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" };
        self.status(self.plays_on, "status", code, "");
        self.outputs.push_back(Output::Pause(is_paused));
    }

    /// §7.2.2.4: going on is told, leaving off is not.
    pub(super) fn receive_kind(&mut self, wanted: bool, output: fn(bool) -> Output) {
        if self.playing == Stage::Asked {
            match output(wanted) {
                Output::ReceiveAudio(_) => self.wishes.audio = Some(wanted),
                _ => self.wishes.video = Some(wanted),
            }
            return;
        }
        if wanted {
            self.status(self.plays_on, "status", "NetStream.Seek.Notify", "");
            self.status(self.plays_on, "status", "NetStream.Play.Start", "");
        }
        self.outputs.push_back(output(wanted));
    }
}

impl Start {
    /// `keyframe` or `live`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "keyframe" => Some(Self::KeyFrame),
            "live" => Some(Self::Live),
            _ => None,
        }
    }
}

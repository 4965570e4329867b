//! Which hook a request is for, and what it is about.

use crate::{
    access::{Action, Notice, NoticeKind, Question},
    config::Hooks,
};

/// What the web service is asked, or notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Hook {
    Connect,
    Publish,
    Play,
    Unpublish,
    Stop,
    Close,
    Update,
}

impl Hook {
    pub(super) const ALL: [Self; 7] =
        [Self::Connect, Self::Publish, Self::Play, Self::Unpublish, Self::Stop, Self::Close, Self::Update];

    /// The hook that decides this, if there is one.
    pub(super) fn asked(action: Action) -> Option<Self> {
        match action {
            Action::Connect => Some(Self::Connect),
            Action::Publish => Some(Self::Publish),
            Action::Play => Some(Self::Play),
            Action::Api => None,
        }
    }

    pub(super) fn notified(kind: NoticeKind) -> Self {
        match kind {
            NoticeKind::Unpublished => Self::Unpublish,
            NoticeKind::Stopped => Self::Stop,
            NoticeKind::Closed => Self::Close,
            NoticeKind::Update => Self::Update,
        }
    }

    /// As it is called in the configuration, and by SRS.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Publish => "on_publish",
            Self::Play => "on_play",
            Self::Unpublish => "on_unpublish",
            Self::Stop => "on_stop",
            Self::Close => "on_close",
            Self::Update => "on_update",
        }
    }

    /// Where the service is.
    pub(super) fn addresses(self, hooks: &Hooks) -> &[String] {
        match self {
            Self::Connect => &hooks.on_connect,
            Self::Publish => &hooks.on_publish,
            Self::Play => &hooks.on_play,
            Self::Unpublish => &hooks.on_unpublish,
            Self::Stop => &hooks.on_stop,
            Self::Close => &hooks.on_close,
            Self::Update => &hooks.on_update,
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub hook: Hook,
    pub question: &'a Question,
    /// Of a notification.
    pub notice: Option<&'a Notice>,
    /// Milliseconds since the relay started.
    pub now_ms: u64,
}

impl<'a> Subject<'a> {
    /// The stream's name, as it is in the end; the application of a connection.
    pub(super) fn name(&self) -> &'a str {
        self.notice.map_or(&self.question.name, |notice| &notice.name)
    }

    /// Application and key of the stream. A connection has no key.
    pub(super) fn app_and_key(&self) -> (&'a str, &'a str) {
        let name = self.name();
        match self.question.action {
            Action::Connect => (name, ""),
            _ => name.rsplit_once('/').unwrap_or(("", name)),
        }
    }

    /// The peer's address, without its port.
    pub(super) fn ip(&self) -> String {
        self.question.peer.ip().to_canonical().to_string()
    }
}

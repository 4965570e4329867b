//! What is to be decided: who wants to do what, and what it says to prove that it may.

use std::{fmt, net::SocketAddr, sync::Arc};

use super::Grant;

/// What a peer wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// To use an application: RTMP's `connect`.
    Connect,
    /// To publish a stream.
    Publish,
    /// To play a stream.
    Play,
    /// To use the HTTP API.
    Api,
}

/// What is to be decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What the peer wants to do.
    pub action: Action,
    /// `app/name`; the application alone where the action is to connect; the path where it is to use the API.
    pub name: String,
    /// Parameters of the address, without `?`, as sent; may contain secrets. Over RTMP those of `connect` come first.
    pub query: String,
    /// Where the peer comes from.
    pub peer: SocketAddr,
    /// What is spoken, as the API names it.
    pub protocol: &'static str,
    /// The connection's number, unique in the process.
    pub connection: u64,
    /// What the peer said of itself when it connected.
    pub party: Arc<Party>,
    /// What this action is about, in addition.
    pub details: Details,
    /// For a service that is asked: what the rules grant if it agrees.
    pub granted: Grant,
}

/// What a peer said of itself when it connected. Strings are as sent, at most a few KiB each: not for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// RTMP's `app`, without parameters; over HTTP empty.
    pub app: String,
    /// RTMP's `tcUrl`, or the URL of an HTTP request. May contain secrets.
    pub tc_url: String,
    /// RTMP's `swfUrl`.
    pub swf_url: String,
    /// RTMP's `pageUrl`; over HTTP `Referer`.
    pub page_url: String,
    /// RTMP's `flashVer`; over HTTP `User-Agent`.
    pub client: String,
    /// The user that it has proved to be when it connected, by Adobe's challenge for example.
    pub user: Option<Arc<str>>,
    /// Over HTTP: `Authorization`. Over RTMP: the user part of `tcUrl`.
    pub login: Option<Login>,
}

/// What a peer shows to prove who it is, besides parameters of the address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Login {
    /// HTTP's Basic, or the user part of a URL.
    Password {
        /// The user.
        user: String,
        /// Its password.
        password: String,
    },
    /// HTTP's Bearer.
    Token(String),
}

/// What a question is about, in addition to a stream's name. RTMP's own numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Details {
    /// Nothing.
    #[default]
    None,
    /// RTMP's `publish`.
    Publish {
        /// `live`, `record` or `append`; as sent, 255 bytes at most.
        kind: String,
    },
    /// RTMP's `play`.
    Play {
        /// Seconds; -2 where the client sends none (RTMP 1.0 §7.2.2.1).
        start: f64,
        /// Seconds; -1 where the client sends none.
        duration: f64,
        /// Whether earlier playlists are to be flushed.
        reset: bool,
    },
}

impl Action {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Publish, Self::Play, Self::Api];

    /// As it is written in a configuration, a log line and a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Play => "play",
            Self::Api => "api",
        }
    }
}

impl Question {
    /// A question without parameters, of a peer that says nothing of itself.
    pub fn new(action: Action, name: &str, peer: SocketAddr, protocol: &'static str) -> Self {
        Self {
            action,
            name: name.to_owned(),
            query: String::new(),
            peer,
            protocol,
            connection: 0,
            party: Arc::default(),
            details: Details::None,
            granted: Grant::default(),
        }
    }
}

/// Shows no secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, ***)"),
            Self::Token(_) => f.write_str("Token(***)"),
        }
    }
}

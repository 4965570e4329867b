//! What a request contains, in each dialect.

use super::{hook::Subject, identity::Identity, mediamtx, nginx, srs};
use crate::config::{Dialect, Hooks, NotifyMethod};

/// A request to the service, without its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub format: Format,
    /// The body, or the query.
    pub text: String,
}

/// Where and in what format the text of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The body of a POST.
    Json,
    /// The body of a POST.
    Form,
    /// The query of a GET.
    Query,
}

impl Request {
    pub(super) fn new(hooks: &Hooks, identity: &Identity, subject: &Subject<'_>) -> Self {
        let json = |text| Self { format: Format::Json, text };
        match hooks.dialect {
            Dialect::Fanfare => json(srs::own_body(identity, subject)),
            Dialect::Srs => json(srs::body(identity, subject)),
            Dialect::Mediamtx => json(mediamtx::body(identity, subject)),
            Dialect::NginxRtmp => match hooks.notify_method {
                NotifyMethod::Post => Self { format: Format::Form, text: nginx::form(subject) },
                NotifyMethod::Get => Self { format: Format::Query, text: nginx::query(subject) },
            },
        }
    }
}

//! One core's business, without I/O: all its connections, who connects, publishes, plays, waits, is refused, ends. Bytes,
//! completions, messages and time come in by the methods of [`Endpoint`]; sends, receives and questions go out through
//! [`Io`]. Knows no socket, ring, runtime, clock or file, so a test runs it in virtual time.
//!
//! ```text
//! admit, received, sent, hung_up ─┐                     ┌─► Io: send, receive, await_hang_up, shut, close, ask
//! deliver (mail, verdicts) ───────┼─► Endpoint ─────────┤
//! advance, tick, pass (time) ─────┘    session, hub     └─► Shared: registry, reports, events
//! ```

#![forbid(unsafe_code)]

mod admission;
mod backlog;
mod behind_proxy;
mod client_name;
mod clock;
mod closing;
mod connection;
mod core;
mod deadlines;
mod denials;
mod drive;
mod expiry;
mod handshakes;
mod io;
mod log_limits;
mod mail;
mod memory;
mod notify;
mod origin;
mod permit;
mod play;
mod protocol;
mod proxy_header;
mod publish;
mod pulse;
mod questions;
mod reason;
mod relief;
pub mod report;
mod retry;
mod sealed;
mod session;
mod shared;
mod slices;
mod still;
mod tasks;
#[cfg(test)]
mod tests;
mod tls;
mod tls_configs;
mod told;
mod transfer;
mod transport;
mod vacated;

pub use self::{
    admission::{Admission, Entrance, Refusal, Ticket},
    client_name::ClientName,
    core::{Endpoint, IoCounts, TICK},
    denials::{DenialLabels, Denials, DeniedPeer},
    handshakes::{HandshakeCounts, HandshakeResult},
    io::{Asked, Direction, Input, Io, IoError},
    log_limits::{LineKind, LogLimits},
    mail::{HttpPlayer, Mail, Mailboxes, Reply},
    permit::{Permit, granted_in_all},
    protocol::Protocol,
    proxy_header::{HeaderFault, HeaderReader, MAX_HEADER_BYTES, ProxyHeader},
    pulse::Stalled,
    questions::VERDICT_TIMEOUT_MS,
    reason::{Reason, ReasonKind},
    sealed::Pool,
    shared::{EventSink, KnownPublisher, Shared},
    still::key_frame,
    tls::{Opened, Tls, TlsError},
    tls_configs::{CertificateReport, TlsConfigs},
    transport::{SendBuffer, Spoken, Transport, TransportKind},
};

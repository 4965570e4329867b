//! The control plane: the HTTP port, on a thread of its own. It serves the page, the API, events and metrics, and hands
//! players that ask for a live body to the cores. No core ever waits for it.

mod api;
mod codec;
mod cors;
mod ebb;
mod error;
mod events;
mod history;
mod linger;
mod listing;
mod live;
mod metrics;
mod page;
mod patience;
mod rights;
mod server;
mod streams;
mod system;
mod token;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use cors::Origins;
use ebb::Ebb;
use events::Events;
use history::History;
use listing::Listing;
use rights::Rights;
use server::Scope;
pub use token::TokenNotice;

use crate::net::{self, Handle};

/// How often the reports of the cores are looked at for rates and history.
const SAMPLE: Duration = Duration::from_secs(1);

/// What all requests share.
struct Control {
    relay: Handle,
    rights: Rights,
    /// Whose pages may play the streams.
    origins: Origins,
    /// Whose pages may read the API.
    api_origins: Origins,
    listing: Listing,
    history: History,
    events: Events,
    connections: api::Connections,
    /// Where it listens for HTTP, and what is served there.
    http: Vec<(SocketAddr, Scope)>,
}

/// What the start-up lines say of HTTP.
pub struct Started {
    /// The addresses in force.
    pub addresses: Vec<SocketAddr>,
    /// Where the token to act with is.
    pub token: TokenNotice,
}

/// Binds the addresses for HTTP and serves them from a thread of its own, as long as the process lives. None where HTTP
/// is not wanted or not to be had.
///
/// # Errors
/// What kept it from starting, as one line.
pub fn start(relay: Handle) -> Result<Option<Started>, String> {
    let config = relay.config();
    let http = net::bind_http(&config.listen.http, config.listen.is_default_http)?;
    let api = net::bind_http(&config.api.listen, false)?;
    let scope = if api.is_empty() { Scope::All } else { Scope::WithoutApi };
    let listeners: Vec<(TcpListener, Scope)> = (http.into_iter().map(|listener| (listener, scope)))
        .chain(api.into_iter().map(|listener| (listener, Scope::All)))
        .collect();
    let http: Vec<(SocketAddr, Scope)> = listeners
        .iter()
        .filter_map(|(listener, scope)| Some((listener.local_addr().ok()?, *scope)))
        .collect();
    let addresses = http.iter().map(|(address, _)| *address).collect();
    if listeners.is_empty() {
        return Ok(None);
    }
    let (token, notice) = token::obtain(&config.api)?;
    if let TokenNotice::ForThisRun { why, .. } = &notice {
        tracing::warn!(reason = why, "the token for the API is not kept");
    }
    let control = Arc::new(Control {
        rights: Rights::new(token, config.api.read_token.clone()),
        origins: Origins::new(&config.http.allow_origins),
        api_origins: Origins::new(&config.api.allow_origins),
        listing: Listing::new(&config.streams)?,
        history: History::default(),
        events: Events::new(&relay),
        connections: api::Connections::default(),
        http,
        relay,
    });
    let cannot = |error| format!("cannot start the thread for HTTP: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let run = move || runtime.block_on(serve(control, listeners));
    thread::Builder::new().name("control".to_owned()).spawn(run).map_err(cannot)?;
    Ok(Some(Started { addresses, token: notice }))
}

async fn serve(control: Arc<Control>, listeners: Vec<(TcpListener, Scope)>) {
    for (listener, scope) in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(server::serve(control.clone(), listener, scope))),
            Err(error) => tracing::error!(%error, "an address for HTTP cannot be waited on"),
        }
    }
    tokio::spawn(events::collect(control.clone()));
    let mut ebb = Ebb::default();
    let mut tick = tokio::time::interval(SAMPLE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        control.history.sample(&control.relay);
        if ebb.has_come(control.relay.connection_count()) {
            net::give_free_pages_back();
        }
    }
}

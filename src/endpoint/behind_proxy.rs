//! Connections that a proxy makes for its clients: whose word is taken, and what changes once the client is named.

use bytes::{Buf, Bytes};

use super::{
    core::Endpoint,
    io::Io,
    reason::{Reason, ReasonKind},
};

impl<I: Io> Endpoint<I> {
    /// Takes the PROXY header off, where one is expected. None if nothing of the client's has come yet, or the connection
    /// has ended.
    pub(super) fn after_proxy_header(&mut self, key: usize, mut bytes: Bytes) -> Option<Bytes> {
        let connection = &mut self.connections[key];
        let Some(reader) = &mut connection.proxy_header else {
            return Some(bytes);
        };
        let config = self.shared.config();
        if !config.proxy.is_trusted(connection.peer.ip()) {
            let why = "this address takes connections from proxies in proxy.trusted alone (proxy.listeners)";
            self.end(key, Reason::with(ReasonKind::Violation, why));
            return None;
        }
        let header = match reader.receive(&bytes) {
            Ok(header) => header?,
            Err(fault) => {
                self.end(key, Reason::with(ReasonKind::Violation, fault.to_string()));
                return None;
            }
        };
        connection.proxy_header = None;
        // It is not the client's: one that sends nothing is a health check, whoever makes it.
        let used = header.used as u64;
        connection.bytes_in = bytes.len() as u64 - used;
        bytes.advance(header.used);
        let (id, proxy) = (connection.id, connection.peer);
        if let Some(client) = header.client {
            connection.peer = client;
            tracing::debug!(id, peer = %client, %proxy, "named by its proxy");
        }
        let peer = connection.peer;
        if let Err(refusal) = self.shared.name_client(&mut connection.ticket, peer, self.now.ms) {
            self.end(key, Reason::refused(&refusal.to_string()));
            return None;
        }
        (!bytes.is_empty()).then_some(bytes)
    }
}

//! The certificates in force, and the files that they come from.

use std::{cell::RefCell, sync::Arc};

use super::watch::{Watch, stamps};
use crate::{
    certificates::{self, Sessions},
    net::Handle,
};

/// The certificates in force.
pub(super) struct InForce {
    pub(super) relay: Handle,
    sessions: Arc<Sessions>,
    watch: RefCell<Watch>,
}

impl InForce {
    /// Those that have just been read with the configuration in force.
    pub(super) fn new(relay: Handle, sessions: Arc<Sessions>) -> Self {
        let watch = RefCell::new(Watch::new(stamps(&certificates::files(&relay.config()))));
        Self { relay, sessions, watch }
    }

    /// Reads the files again if they have changed.
    pub(super) fn look(&self) {
        let now = stamps(&certificates::files(&self.relay.config()));
        if self.watch.borrow_mut().has_changed(now) {
            self.read();
        }
    }

    /// Reads the files, which have just been written.
    pub(super) fn read_now(&self) {
        self.watch.borrow_mut().set_read(stamps(&certificates::files(&self.relay.config())));
        self.read();
    }

    /// Reads the files, and puts them in force. What is wrong with them is logged once: until they change again.
    fn read(&self) {
        match certificates::load(&self.relay.config(), &self.sessions) {
            Ok(Some(tls)) => {
                let names: Vec<&str> = tls.certificates.iter().map(|it| &*it.name).collect();
                tracing::info!(names = names.join(" "), "certificates read again");
                self.relay.set_tls(tls);
            }
            Ok(None) => {}
            Err(reason) => tracing::warn!(reason, "certificates not read: nothing has changed"),
        }
    }
}

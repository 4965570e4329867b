//! Which peers speak TLS, and how they end it. Runs without TLS are as they were before there was any.

use std::net::SocketAddr;

use fanfare::endpoint::{Spoken, Transport, TransportKind};

use super::{
    random::Random,
    world::{LISTENER, SocketId, World},
};

/// Percent of runs in which some peers speak TLS.
const TLS_PERCENT: u64 = 40;
const TLS_SALT: u64 = 0x7150;

/// All choices about TLS of a run; none where all is plain.
pub struct Sockets(Option<Choices>);

struct Choices {
    random: Random,
    /// Percent of peers that speak it.
    share: u64,
}

impl Sockets {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ TLS_SALT);
        let has_tls = random.percent(TLS_PERCENT);
        Self(has_tls.then(|| Choices { share: random.pick(&[20, 60, 100]), random }))
    }

    /// A peer connects to a core.
    pub fn connect(&mut self, world: &mut World, core: usize, peer: SocketAddr) -> SocketId {
        let socket = self.socket(world);
        let transport = world.transport;
        world.cores[core].admit(socket, peer, Spoken { transport, ..Spoken::RTMP.at(LISTENER) }, [7; 32]);
        socket
    }

    /// One that speaks no TLS, whatever is spoken where it connects.
    pub fn connect_wrongly(
        &mut self,
        world: &mut World,
        core: usize,
        peer: SocketAddr,
    ) -> (SocketId, TransportKind) {
        let transport = self.choose(world);
        world.transport = TransportKind::Plain;
        let socket = world.socket();
        world.cores[core].admit(socket, peer, Spoken { transport, ..Spoken::RTMP.at(LISTENER) }, [7; 32]);
        (socket, transport)
    }

    /// A socket whose handshake the HTTP server has done.
    pub fn request(&mut self, world: &mut World) -> (SocketId, Transport) {
        let socket = self.socket(world);
        (socket, world.shake_hands(socket))
    }

    fn socket(&mut self, world: &mut World) -> SocketId {
        self.choose(world);
        let socket = world.socket();
        if let Some(Choices { random, .. }) = &mut self.0 {
            let is_polite = random.percent(70);
            world.at(socket, |socket| socket.tls.iter_mut().for_each(|tls| tls.is_polite = is_polite));
        }
        socket
    }

    fn choose(&mut self, world: &mut World) -> TransportKind {
        if let Some(Choices { random, share }) = &mut self.0 {
            let is_tls = random.percent(*share);
            world.transport = if is_tls { TransportKind::Tls } else { TransportKind::Plain };
            world.is_old_tls = random.percent(25);
        }
        world.transport
    }
}

//! A peer that does not do what it should: sends nothing, sends nonsense, asks and does not read.

use fanfare::{
    endpoint::TransportKind,
    rtmp::{
        chunk::ChunkSize,
        client::{Client, ClientConfig, Event, Role},
        command::Command,
    },
};

use super::{
    pipe::{End, NEVER, Pipe},
    stage::{SLACK_US, SWEEP_US, Stage},
};

pub struct Stranger {
    comes_us: u64,
    manner: Manner,
    pub pipe: Option<Pipe>,
    client: Option<Client>,
    /// When it came, fair time.
    came_us: u64,
    deed_us: u64,
    /// It has sent what it had to send.
    is_done: bool,
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Sends nothing at all.
    Mute,
    /// Sends a part of a handshake.
    Half,
    Noise,
    /// Connects, and asks for nothing.
    Idle,
    /// Connects, and sends nonsense then.
    Broken,
    /// Asks and asks, and does not read.
    Greedy,
}

const HANDSHAKE_BYTES: u64 = 3_073;

impl Stranger {
    pub fn new(stage: &mut Stage) -> Self {
        let manners =
            [Manner::Mute, Manner::Half, Manner::Noise, Manner::Idle, Manner::Broken, Manner::Greedy];
        Self {
            comes_us: stage.now_us() + stage.random.within(0..=8_000) * 1_000,
            manner: stage.random.pick(&manners),
            pipe: None,
            client: None,
            came_us: 0,
            deed_us: NEVER,
            is_done: false,
        }
    }

    pub fn due_us(&self, stage: &Stage) -> u64 {
        match &self.pipe {
            Some(pipe) if pipe.end.is_some() => NEVER,
            Some(pipe) => pipe.due_us(stage).min(self.deed_us),
            None if stage.is_draining => NEVER,
            None => self.comes_us,
        }
    }

    pub fn act(&mut self, stage: &mut Stage) -> bool {
        let now_us = stage.now_us();
        let manner = self.manner;
        let Some(pipe) = &mut self.pipe else {
            if now_us < self.comes_us || stage.is_draining {
                return false;
            }
            self.come(stage);
            return true;
        };
        if now_us >= self.deed_us && pipe.end.is_none() {
            self.deed_us = NEVER;
            self.is_done = true;
            match manner {
                Manner::Broken => {
                    let len = stage.random.within(1..=2_000) as usize;
                    pipe.send(&stage.random.bytes(len));
                }
                Manner::Greedy => {
                    pipe.reads_at_us = NEVER;
                    for number in 0..2_000 {
                        if let Some(client) = &mut self.client {
                            client.send_command(&Command::call("getStreamLength", f64::from(number), []));
                        }
                    }
                }
                _ => {}
            }
        }
        let mut read = Vec::new();
        if let Some(client) = &mut self.client {
            while let Some(event) = client.poll() {
                if let Event::Send(bytes) = event {
                    pipe.send(&bytes);
                }
            }
        }
        let is_busy = pipe.exchange(stage, &mut read);
        if let Some(client) = self.client.as_mut().filter(|_| !read.is_empty())
            && let Err(error) = client.receive(read.into(), stage.world.now_ms())
        {
            stage.fail(&format!("what {} is sent cannot be read: {error}", pipe.peer));
        }
        if pipe.is_at_end(stage) && pipe.end.is_none() && stage.random.percent(40) {
            pipe.go(stage, End::Finished);
        }
        is_busy
    }

    fn come(&mut self, stage: &mut Stage) {
        let core = stage.any_core();
        let peer = stage.world.address();
        let manner = self.manner;
        stage.note(|| format!("{peer} comes, {manner:?}, core {core}"));
        let is_wrong = matches!(manner, Manner::Mute | Manner::Half | Manner::Noise);
        let (socket, transport) = match is_wrong {
            true => stage.sockets.connect_wrongly(&mut stage.world, core, peer),
            false => (stage.sockets.connect(&mut stage.world, core, peer), TransportKind::Plain),
        };
        let mut pipe = Pipe::new(socket, peer, stage);
        self.came_us = stage.fair_us();
        match manner {
            Manner::Mute => {}
            Manner::Half => {
                let len = stage.random.within(1..=HANDSHAKE_BYTES - 1) as usize;
                let mut bytes = stage.random.bytes(len);
                let start = match transport {
                    TransportKind::Plain => &[3][..],
                    // A record that is longer than all that comes.
                    TransportKind::Tls => &[0x16, 3, 1, 0x3F, 0xFF],
                };
                let known = start.len().min(len);
                bytes[..known].copy_from_slice(&start[..known]);
                pipe.send(&bytes);
            }
            Manner::Noise => {
                let len = stage.random.within(1..=5_000) as usize;
                pipe.send(&stage.random.bytes(len));
            }
            Manner::Idle | Manner::Broken | Manner::Greedy => {
                let url = "rtmp://relay/live/nobody".parse().expect("an address");
                let config =
                    ClientConfig { url, role: Role::Play, chunk_size: ChunkSize::INITIAL, fmle: false };
                self.client = Some(Client::new(config, stage.world.now_ms(), [2; 32]));
                self.deed_us = stage.now_us() + stage.random.within(0..=2_000) * 1_000;
            }
        }
        self.pipe = Some(pipe);
    }

    pub fn watch(&mut self, stage: &mut Stage) {
        let Some(pipe) = &mut self.pipe else { return };
        pipe.watch(stage);
        if pipe.end.is_some() || pipe.is_closed(stage) {
            return;
        }
        let waited_us = stage.fair_us() - self.came_us;
        let is_shaking = matches!(self.manner, Manner::Mute | Manner::Half);
        if is_shaking && waited_us > stage.longest.handshake_us + SWEEP_US + SLACK_US {
            stage.fail(&format!("{} has not shaken hands, and is not closed", pipe.peer));
        }
    }
}

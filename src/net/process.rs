//! The process: starts a thread for each core, waits for a signal, shuts the cores down.

#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    convert::Infallible,
    io::{self, PipeReader, Write},
    net::{TcpListener, TcpStream},
    pin::pin,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{broadcast, mpsc},
    time::MissedTickBehavior,
};

use super::{
    accept::accept,
    allocator::give_memory_back,
    handle::{EventSender, Handle},
    listener::{self, Addresses, Listener},
    memlock::{self, patiently},
    ring::RingSize,
    signals::Signals,
    turn::Core,
};
use crate::{
    access::Access,
    config::Config,
    endpoint::{Mail, Mailboxes, Shared, Stalled, report},
    logging, refusal,
    stream::{ConnectionRef, MemoryKind, Registry, Signal},
};

/// Is told how the relay goes. Each call is on the main thread, which does nothing else meanwhile: none may wait.
pub trait Observer {
    /// Every address accepts connections.
    fn started(&self, relay: &Handle);
    /// A signal says to read the configuration again. It may come before the start is complete.
    fn reload(&self);
    /// A second has passed since the start or the last call, also while it is stopping.
    fn second(&self, relay: &Handle);
    /// No new connections are taken; those that are open end by and by.
    fn stopping(&self);
}

/// Runs the relay under these rules until a signal stops it. `beside` is called before the first connection is taken, and
/// starts what is to run beside the cores.
///
/// # Errors
/// What kept it from starting, or going on, as one line.
pub fn run(
    config: Config,
    access: Box<dyn Access>,
    beside: impl AsyncFnOnce(Handle) -> Result<(), String>,
    observer: &impl Observer,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        // First, so that signals are handled from the beginning on.
        let mut signals = Signals::new().map_err(|error| format!("cannot take signals: {error}"))?;
        give_memory_back();
        raise_file_limit();
        // Ports may have to be waited for.
        let relay = tokio::select! {
            relay = Relay::start(config, access, beside) => relay?,
            name = signals.next_stop(|| observer.reload()) => {
                tracing::info!(signal = name, "stopped before the start was complete");
                return Ok(());
            }
        };
        relay.run(&mut signals, observer).await
    })
}

/// A relay whose threads run.
struct Relay {
    parts: Parts,
    addresses: Addresses,
    stops: Vec<TcpListener>,
    event: mpsc::UnboundedReceiver<CoreEvent>,
}

impl Relay {
    async fn start(
        config: Config,
        access: Box<dyn Access>,
        beside: impl AsyncFnOnce(Handle) -> Result<(), String>,
    ) -> Result<Self, String> {
        let (listeners, addresses) = listener::bind(&config).await?;
        let stops: Vec<TcpListener> =
            listeners.iter().flatten().filter_map(|it| it.socket.try_clone().ok()).collect();
        let cores = config.core_count();
        let ring_size =
            memlock::largest_that_fits(cores).await.map_err(|error| explain_refusal(&error, cores))?;
        let (parts, wakes) = Parts::new(config, access).map_err(|error| format!("cannot start: {error}"))?;
        beside(parts.handle(&addresses)).await?;
        let (events, event) = mpsc::unbounded_channel();
        for (number, (listeners, wake)) in listeners.into_iter().zip(wakes).enumerate() {
            let (parts, events) = (parts.clone(), events.clone());
            thread::Builder::new()
                .name(format!("core-{number}"))
                .spawn(move || run_core(number, parts, ring_size, listeners, wake, events))
                .map_err(|error| format!("cannot start a thread: {error}"))?;
        }
        Ok(Self { parts, addresses, stops, event })
    }

    /// Waits until the cores have started, then for a signal, then until they have drained.
    async fn run(mut self, signals: &mut Signals, observer: &impl Observer) -> Result<(), String> {
        let Self { parts, addresses, stops, event } = &mut self;
        let shared = &parts.shared;
        for _ in 0..shared.signals().len() {
            match event.recv().await {
                Some(CoreEvent::Started) => {}
                Some(CoreEvent::Failed(reason)) => return Err(reason),
                Some(CoreEvent::Drained) | None => return Err("a core ended before it started".to_owned()),
            }
        }
        let handle = parts.handle(addresses);
        observer.started(&handle);
        let mut seconds = pin!(parts.every_second(&handle, observer));
        let name = tokio::select! {
            name = signals.next_stop(|| observer.reload()) => name,
            event = event.recv() => return Err(match event {
                Some(CoreEvent::Failed(reason)) => reason,
                _ => "a core ended by itself".to_owned(),
            }),
            never = &mut seconds => match never {},
        };
        let patience = shared.config().shutdown_timeout;
        let shutdown_timeout_ms = patience.as_millis() as u64;
        // What is still held when no connection publishes or plays is a leak.
        let (streams, log_bytes) = held(shared.registry());
        tracing::info!(
            signal = name,
            shutdown_timeout_ms,
            streams,
            log_bytes,
            "stopping: no new connections"
        );
        observer.stopping();
        shared.drain();
        (0..shared.signals().len()).for_each(|core| parts.mailboxes.post(core, Mail::Drain));
        stops.iter().for_each(listener::stop);
        tokio::select! {
            // Every core drops its sender when it has drained.
            () = async { while event.recv().await.is_some() {} } => {
                let (streams, log_bytes) = held(shared.registry());
                tracing::info!(streams, log_bytes, "stopped");
            }
            () = tokio::time::sleep(patience) => tracing::warn!("stopped: connections still open after shutdown_timeout"),
            name = signals.next_stop(|| ()) => tracing::warn!(signal = name, "stopped immediately: second signal"),
            never = &mut seconds => match never {},
        }
        shared.log_summaries(parts.now_ms(), true);
        Ok(())
    }
}

/// Streams that are published or waited for, and the bytes of their logs.
fn held(registry: &Registry) -> (usize, usize) {
    (registry.len(), registry.memory().of(MemoryKind::Segments))
}

/// What a core's thread reports.
enum CoreEvent {
    Started,
    Failed(String),
    Drained,
}

/// One core's thread, from its start to its drain.
fn run_core(
    number: usize,
    parts: Parts,
    ring_size: RingSize,
    listeners: Vec<Listener>,
    wake: PipeReader,
    events: mpsc::UnboundedSender<CoreEvent>,
) {
    let _whole_or_not_at_all = AbortOnPanic(number);
    let Parts { shared, mailboxes, started, .. } = parts;
    if shared.config().pin_cores {
        pin(number);
    }
    let mut ring = tokio_uring::uring_builder();
    ring.setup_clamp();
    let mut runtime = tokio_uring::builder();
    let builder = runtime.entries(ring_size.accepts).uring_builder(&ring);
    let cores = shared.signals().len();
    let rings = Core::new(number, shared, mailboxes, wake, ring_size, started)
        .and_then(|core| Ok((core, patiently(|| tokio_uring::Runtime::new(builder))?)));
    let (core, runtime) = match rings {
        Ok((core, runtime)) => (Rc::new(RefCell::new(core)), runtime),
        Err(error) => {
            let _ = events.send(CoreEvent::Failed(explain_refusal(&error, cores)));
            return;
        }
    };
    let outcome = runtime.block_on(async {
        for listener in listeners {
            accept(&core, listener);
        }
        let _ = events.send(CoreEvent::Started);
        Core::run(core.clone()).await
    });
    let _ = events.send(match outcome {
        Ok(()) => CoreEvent::Drained,
        Err(error) => CoreEvent::Failed(format!("core {number}: {error}")),
    });
}

/// A core that panics takes the process with it: a relay with a dead core would still take connections and not serve
/// them.
struct AbortOnPanic(usize);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(core = self.0, "a core panicked: the process ends");
            logging::flush();
            std::process::abort();
        }
    }
}

/// What a relay consists of beside its threads.
#[derive(Clone)]
struct Parts {
    shared: Arc<Shared>,
    mailboxes: Arc<Mailboxes<TcpStream>>,
    events: broadcast::Sender<report::RelayEvent>,
    started: Instant,
}

impl Parts {
    /// Also returns the reading end of each core's wake.
    fn new(config: Config, access: Box<dyn Access>) -> io::Result<(Self, Vec<PipeReader>)> {
        let mut wakes = Vec::new();
        let mut signals = Vec::new();
        for _ in 0..config.core_count() {
            let (reader, writer) = io::pipe()?;
            wakes.push(reader);
            signals.push(Signal::new(move || {
                // One byte per sleep: the pipe cannot be full, and its reader lives as long as the process.
                let _ = (&writer).write(&[1]);
            }));
        }
        let signals: Arc<[Signal]> = signals.into();
        let mailboxes = Arc::new(Mailboxes::new(signals.clone()));
        let to_publishers = mailboxes.clone();
        let notify_name = move |connection: ConnectionRef, notice| {
            to_publishers.post(connection.core, Mail::Name { connection, notice });
        };
        let events = EventSender::new();
        let sender = events.0.clone();
        let shared = Shared::new(config, signals, access, Box::new(events), notify_name);
        Ok((Self { shared, mailboxes, events: sender, started: Instant::now() }, wakes))
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Looks after the cores. Each look is a second after the one before, so that of a time in which the whole machine
    /// stood still only one is left.
    async fn every_second(&self, relay: &Handle, observer: &impl Observer) -> Infallible {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stalled = None;
        loop {
            tick.tick().await;
            self.shared.check_pulses();
            match (stalled, relay.stalled()) {
                (before, now) if before == now => {}
                (_, Some(Stalled { core })) => {
                    tracing::error!(core, "core stalled: its connections stand still")
                }
                (_, None) => tracing::info!("no core is stalled any longer"),
            }
            stalled = relay.stalled();
            self.shared.log_summaries(self.now_ms(), false);
            observer.second(relay);
        }
    }

    fn handle(&self, addresses: &Addresses) -> Handle {
        let Self { shared, mailboxes, events, started } = self.clone();
        Handle::new(shared, mailboxes, events, addresses, started)
    }
}

/// A relay none of whose cores runs: all of them stand still.
#[cfg(test)]
pub(crate) fn without_cores(config: Config, access: Box<dyn Access>) -> Handle {
    Parts::new(config, access).expect("pipes").0.handle(&Addresses::default())
}

/// A relay needs a descriptor per connection.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "file limit"),
        Err(error) => tracing::warn!(%error, "file limit not raised to the hard limit"),
    }
}

fn pin(number: usize) {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    let Some(cpu) = cpus.get(number % cpus.len().max(1)) else {
        return;
    };
    if core_affinity::set_for_current(*cpu) {
        tracing::debug!(core = number, cpu = cpu.id, "core pinned");
    } else {
        tracing::warn!(core = number, cpu = cpu.id, "core not pinned");
    }
}

/// What to do where the kernel refuses io_uring, for so many cores.
pub fn explain_refusal(error: &io::Error, cores: usize) -> String {
    refusal::explain(error, || memlock::advice(cores))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::TcpStream,
        os::unix::process::ExitStatusExt,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::{
        access::{Decision, Question},
        endpoint::Spoken,
        rtmp::{
            chunk::OUT_CHUNK_SIZE,
            client::{Client, ClientConfig, Event, Role},
        },
    };

    /// Runs a core in a process of its own, which is this test again, and panics on it when a stream begins.
    #[test]
    fn a_core_that_panics_ends_the_process_at_once_and_says_so() {
        const INSIDE: &str = "FANFARE_TEST_CORE_PANICS";
        if std::env::var_os(INSIDE).is_some() {
            return publish_to_a_core_that_panics();
        }
        let name = "net::process::tests::a_core_that_panics_ends_the_process_at_once_and_says_so";
        let again = || {
            let mut again = Command::new(std::env::current_exe().unwrap());
            again.args([name, "--exact", "--nocapture"]).env(INSIDE, "1");
            again
        };
        let ended = again().output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(said.contains("injected") && said.contains("a core panicked: the process ends"), "{said}");

        // Nor does it wait for a reader of its last lines that stands still.
        let (_reader, mut full) = io::pipe().unwrap();
        full.write_all(&[b'x'; 64 << 10]).unwrap();
        let mut ended = again().stdout(Stdio::null()).stderr(full).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match ended.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("it still runs: {:?}", ended.kill()),
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(status.signal(), Some(libc::SIGABRT));
    }

    /// Panics on the core's thread.
    struct Panics;

    impl Access for Panics {
        fn decide(&self, _question: &Question) -> Decision {
            panic!("injected")
        }
    }

    fn publish_to_a_core_that_panics() {
        crate::logging::start(&Config::default().log).unwrap();
        let config = Config { cores: 1, ..Config::default() };
        let (parts, mut wakes) = Parts::new(config, Box::new(Panics)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (events, _event) = mpsc::unbounded_channel();
        let ring_size = RingSize::LARGEST;
        let core = thread::spawn(move || {
            run_core(
                0,
                parts,
                ring_size,
                vec![Listener { socket: listener, spoken: Spoken::RTMP }],
                wakes.remove(0),
                events,
            )
        });

        let url = format!("rtmp://{address}/live/s").parse().unwrap();
        let config = ClientConfig { url, role: Role::Publish, chunk_size: OUT_CHUNK_SIZE, fmle: false };
        let mut client = Client::new(config, 0, [1; 32]);
        let mut socket = TcpStream::connect(address).unwrap();
        let mut buffer = [0; 4096];
        loop {
            while let Some(event) = client.poll() {
                if let Event::Send(bytes) = event {
                    socket.write_all(&bytes).unwrap();
                }
            }
            match socket.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => client.receive(bytes::Bytes::copy_from_slice(&buffer[..n]), 0).unwrap(),
            }
        }
        // Not reached: the process has ended.
        let _ = core.join();
    }
}

//! What systemd is told: the protocol of sd_notify(3), with this test in systemd's place.

use std::{
    ffi::OsStr,
    fs,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{Relay, SOON, Signal, eventually, peer};

/// The socket that a service notifies.
struct Systemd {
    socket: UnixDatagram,
    _folder: TempDir,
    path: PathBuf,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, _folder: folder, path }
    }

    /// Starts the relay as a service whose watchdog ends it after so long a silence, if it is to be watched.
    fn start(&self, watchdog: Option<Duration>, config: &str) -> Relay {
        let time = watchdog.map(|time| time.as_micros().to_string());
        let mut environment = vec![("NOTIFY_SOCKET", self.path.as_os_str())];
        environment.extend(time.iter().map(|time| ("WATCHDOG_USEC", OsStr::new(time))));
        Relay::start_in(&environment, config)
    }

    /// The next notification that has this line, and the lines of all until then.
    fn until(&self, what: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        let mut lines = Vec::new();
        while Instant::now() < deadline {
            let mut text = [0; 4096];
            let Ok(length) = self.socket.recv(&mut text) else { break };
            lines.extend(str::from_utf8(&text[..length]).unwrap().lines().map(str::to_owned));
            if lines.iter().any(|line| what(line)) {
                return lines;
            }
        }
        panic!("not notified: {lines:?}");
    }

    /// What it has been told by now.
    fn so_far(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut lines = Vec::new();
        let mut text = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut text) {
            lines.extend(str::from_utf8(&text[..length]).unwrap().lines().map(str::to_owned));
        }
        self.socket.set_nonblocking(false).unwrap();
        lines
    }
}

#[test]
fn a_service_is_ready_once_it_listens_and_says_what_it_does_until_it_stops() {
    let systemd = Systemd::new();
    let mut relay = systemd.start(None, "");
    assert_eq!(systemd.until(|line| line == "READY=1")[0], "READY=1");
    let _publisher = peer::Rtmp::publishing(&relay, "live/a");
    systemd.until(|line| line == "STATUS=1 publishers, 0 players");

    let file = relay.dir().join("fanfare.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{good}\nno_such_option = 1\n")).unwrap();
    relay.signal(Signal::HUP);
    let lines = systemd.until(|line| line.starts_with("STATUS=1 publishers, 0 players; reload failed: "));
    assert_eq!(lines[0], "RELOADING=1");
    assert!(lines[1].starts_with("MONOTONIC_USEC="), "{lines:?}");
    assert_eq!(lines[2], "READY=1");
    fs::write(&file, good).unwrap();
    relay.signal(Signal::HUP);
    systemd.until(|line| line == "STATUS=1 publishers, 0 players");

    relay.signal(Signal::TERM);
    let lines = systemd.until(|line| line == "STOPPING=1");
    assert!(!lines.iter().any(|line| line.starts_with("WATCHDOG")), "it has no watchdog: {lines:?}");
    assert_eq!(relay.expect_end(SOON).code(), Some(0));
}

#[test]
fn a_core_that_stalls_fails_the_watchdog_and_one_that_goes_on_does_not() {
    let systemd = Systemd::new();
    let relay = systemd.start(Some(Duration::from_secs(30)), "");
    for _ in 0..3 {
        systemd.until(|line| line == "WATCHDOG=1");
    }
    let stopped = Stopped::core(&relay, 1);
    let line = relay.wait_for_log(&["core stalled", "core=1"]);
    systemd.so_far();
    // The main thread goes on: it answers requests to reload.
    relay.signal(Signal::HUP);
    let lines = systemd.until(|line| line == "READY=1");
    assert!(!lines.iter().any(|line| line == "WATCHDOG=1"), "{line}: {lines:?}");
    drop(stopped);
    systemd.until(|line| line == "WATCHDOG=1");
    relay.wait_for_log(&["no core is stalled any longer"]);
}

#[test]
fn a_relay_without_a_supervisor_or_with_one_that_has_gone_serves() {
    let systemd = Systemd::new();
    let relay = systemd.start(Some(Duration::from_secs(30)), "");
    systemd.until(|line| line == "READY=1");
    drop(systemd);
    let _publisher = peer::Rtmp::publishing(&relay, "live/a");
    relay.wait_for_publisher("live/a");
}

#[test]
fn a_health_check_asks_the_relay_that_runs_with_the_same_configuration() {
    let mut relay = Relay::start("shutdown_timeout = '60s'");
    let check = |relay: &Relay| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command.args(["check", "--ready", "--relay", &relay.http_address().to_string()]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&relay), (Some(0), String::new()));
    relay.signal(Signal::TERM);
    relay.expect_end(SOON);
    let (code, error) = check(&relay);
    assert!(code == Some(1) && error.contains("no relay answers"), "{error}");
}

/// One thread of the relay, held by the kernel as a debugger holds it. Goes on when this is dropped.
struct Stopped(libc::pid_t);

impl Stopped {
    fn core(relay: &Relay, number: usize) -> Self {
        let tasks = fs::read_dir(format!("/proc/{}/task", relay.pid())).unwrap();
        let name = format!("core-{number}\n");
        let mut paths = tasks.map(|task| task.unwrap().path());
        let path = paths.find(|path| fs::read_to_string(path.join("comm")).unwrap() == name).unwrap();
        let thread = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        ptrace(libc::PTRACE_SEIZE, thread);
        ptrace(libc::PTRACE_INTERRUPT, thread);
        let stat = path.join("stat");
        eventually("the core stands still", SOON, || {
            fs::read_to_string(&stat).unwrap().rsplit_once(") ").unwrap().1.starts_with('t').then_some(())
        });
        Self(thread)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        ptrace(libc::PTRACE_DETACH, self.0);
    }
}

fn ptrace(request: libc::c_uint, thread: libc::pid_t) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of these requests reads or writes memory of either process.
    let result = unsafe { libc::ptrace(request, thread, none, none) };
    assert_eq!(result, 0, "ptrace: {}", std::io::Error::last_os_error());
}

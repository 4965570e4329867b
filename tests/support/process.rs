//! A program that a test runs: waited for with a deadline, signalled by pidfd, never left running.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

pub use rustix::process::Signal;

use super::newer_ffmpeg::NEWER_FFMPEG;

/// A running program. Dropping it kills it, so that a failed test leaves nothing running.
pub struct Process {
    name: String,
    child: Child,
    /// Still refers to this process after its id has been reused.
    handle: OwnedFd,
    log: Option<PathBuf>,
}

impl Process {
    /// Runs `command` with its output in the file `log`, which a failed expectation shows.
    pub fn start_logged(mut command: Command, log: &Path) -> Process {
        let file = File::create(log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let mut process = Process::start(command);
        process.log = Some(log.to_owned());
        process
    }

    /// Runs `command` with its output as the command says. A program that is not installed fails the test, with a
    /// message that names its Debian package.
    pub fn start(mut command: Command) -> Process {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!("{}", missing(&program)),
            _ => panic!("{program} does not start: {error}"),
        });
        let pid = Pid::from_child(&child);
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        Process { name: program, child, handle, log: None }
    }

    /// Its process id, for /proc.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child process, for the pipes that the command requested.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal, if the process still runs.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// Its exit status, or `None` if it still runs after that time.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap();
            let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
            match poll(&mut ended, Some(&timeout)) {
                Ok(0) => return None,
                Ok(_) => return Some(self.child.wait().unwrap()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("cannot wait for {}: {error}", self.name),
            }
        }
    }

    /// Fails the test unless the program exits with success within that time.
    pub fn expect_success(&mut self, within: Duration) {
        let status = self.expect_end(within);
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.output());
    }

    /// Fails the test unless the program exits by itself within that time, with success or with an error.
    pub fn expect_end(&mut self, within: Duration) -> ExitStatus {
        let status = self
            .wait(within)
            .unwrap_or_else(|| panic!("{} still runs after {within:?}:\n{}", self.name, self.output()));
        assert_eq!(status.signal(), None, "{} was killed:\n{}", self.name, self.output());
        status
    }

    /// Fails the test if the program has ended.
    pub fn expect_running(&mut self) {
        if let Some(status) = self.wait(Duration::ZERO) {
            panic!("{} has ended with {status}:\n{}", self.name, self.output());
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        self.log.as_ref().map(read).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Polls until `condition` returns a value; fails the test after `within` with a message that contains `what`.
pub fn eventually<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// Whether the program is in `PATH`.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The message about a program that is not installed.
pub fn missing(program: &str) -> String {
    let package = match program {
        "ffmpeg" | "ffprobe" | "ffplay" => "ffmpeg",
        "vlc" => "vlc-bin vlc-plugin-base",
        "mpv" => "mpv",
        "/usr/sbin/nginx" => "nginx libnginx-mod-rtmp libnginx-mod-stream",
        "/usr/sbin/haproxy" => "haproxy",
        "/usr/bin/promtool" | "/usr/bin/prometheus" => "prometheus",
        "systemd-analyze" | "systemd-escape" => "systemd",
        "docker-compose" => "docker-compose",
        "rtmpdump" => "rtmpdump",
        "gst-launch-1.0" => {
            "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        }
        "setpriv" | "unshare" => "util-linux",
        "ip" => "iproute2",
        "chromium" => "chromium",
        "pebble" | "pebble-challtestsrv" => "pebble",
        "certutil" => "libnss3-tools",
        "curl" => "curl",
        "openssl" => "openssl",
        "node" => "nodejs",
        NEWER_FFMPEG => {
            return format!(
                "{program} is needed for this test: ./test gets it from PyPI, out of imageio-ffmpeg"
            );
        }
        other if other.ends_with("schemathesis") => {
            return format!("{program} is needed for this test: ./test gets schemathesis from PyPI");
        }
        other => return format!("{other} is needed for this test and is not installed"),
    };
    format!("{program} is needed for this test: apt-get install {package}")
}

/// Short enough not to delay tests, long enough not to load the machine.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

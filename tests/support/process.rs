//! A program that a test runs: waited for with a deadline, signalled by its own handle, never left behind.

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

/// A running program. Dropping it kills it, so a test that fails leaves nothing running.
pub struct Process {
    name: String,
    child: Child,
    /// Names this very process, also after its number went to another one.
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

    /// Runs `command` with its output where the command says. A program that is not there fails the test, and
    /// the message names the Debian package it is in.
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

    /// Its number, for /proc.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its ends of the pipes that the command asked for.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal; to a process that has ended, none.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.handle, signal);
    }

    /// How it ended, or `None` if it still runs after that time.
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

    /// Fails the test unless the program ends by itself, and well, within that time.
    pub fn expect_success(&mut self, within: Duration) {
        let status = self.expect_end(within);
        assert!(status.success(), "{} ended with {status}:\n{}", self.name, self.output());
    }

    /// Fails the test unless the program ends by itself within that time, well or with an error of its own.
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

/// Looks again and again until `condition` gives a value; fails the test after `within`, saying what was missing.
pub fn eventually<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(LOOK_AGAIN);
    }
}

/// Whether the program can be found.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// What to do about a program that is not there.
pub fn missing(program: &str) -> String {
    let package = match program {
        "ffmpeg" | "ffprobe" | "ffplay" => "ffmpeg",
        "vlc" => "vlc-bin vlc-plugin-base",
        "mpv" => "mpv",
        "/usr/sbin/nginx" => "nginx libnginx-mod-rtmp",
        "rtmpdump" => "rtmpdump",
        "gst-launch-1.0" => {
            "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        }
        "setpriv" | "unshare" => "util-linux",
        "ip" => "iproute2",
        "chromium" => "chromium",
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

/// Often enough not to be felt, seldom enough not to load the machine.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

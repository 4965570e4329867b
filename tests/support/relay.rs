//! The relay as a user starts it: the built binary, on a port of its own, with its log lines recorded.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::SOON;
use super::process::{Process, Signal, eventually};

/// A running relay, and a directory for files of its clients.
pub struct Relay {
    process: Process,
    address: SocketAddr,
    http_addresses: Vec<SocketAddr>,
    encrypted: Encrypted,
    log: Log,
    dir: TempDir,
}

/// Where it speaks TLS.
#[derive(Clone, Debug, Default)]
struct Encrypted {
    rtmps: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
}

impl Relay {
    /// Starts one with this TOML configuration in addition to the defaults, and two core threads, so that publisher and
    /// players may be on different cores.
    pub fn start(config: &str) -> Relay {
        Relay::start_with(config, 2)
    }

    /// Starts one with this many core threads.
    pub fn start_with(config: &str, cores: usize) -> Relay {
        Relay::launch(config, cores, Ipv4Addr::LOCALHOST, || Command::new(FANFARE))
    }

    /// Starts one that listens on this address.
    pub fn start_at(ip: Ipv4Addr, config: &str) -> Relay {
        Relay::launch(config, 2, ip, || Command::new(FANFARE))
    }

    /// Starts one with these environment variables.
    pub fn start_in(environment: &[(&str, &OsStr)], config: &str) -> Relay {
        Relay::launch(config, 2, Ipv4Addr::LOCALHOST, || {
            let mut command = Command::new(FANFARE);
            command.envs(environment.iter().copied());
            command
        })
    }

    /// Starts one whose log lines are JSON.
    pub fn start_json(config: &str) -> Relay {
        Relay::launch(config, 2, Ipv4Addr::LOCALHOST, || {
            let mut command = Command::new(FANFARE);
            command.args(["--log-format", "json"]);
            command
        })
    }

    /// Starts one that may open this many files and cannot raise that limit.
    pub fn start_with_files(config: &str, cores: usize, files: usize) -> Relay {
        Relay::launch(config, cores, Ipv4Addr::LOCALHOST, || {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), FANFARE]);
            shell
        })
    }

    /// Starts one as an unprivileged user that may lock this many bytes of memory and cannot raise that limit.
    pub fn start_with_locked_memory(config: &str, cores: usize, bytes: u64) -> Relay {
        Relay::launch(config, cores, Ipv4Addr::LOCALHOST, || {
            let mut command = as_unprivileged_user();
            command.args(["prlimit", &format!("--memlock={bytes}:{bytes}"), FANFARE]);
            command
        })
    }

    /// The relay's arguments are appended to `command`. `<rtmp>` in the configuration is its address for RTMP.
    fn launch(config: &str, cores: usize, ip: Ipv4Addr, command: impl Fn() -> Command) -> Relay {
        let dir = shared_directory();
        let file = dir.path().join("fanfare.toml");
        // Tests wait for each line, however many peers cause it.
        let each_line = if config.contains("lines_per_network") { "" } else { "log.lines_per_network = 0\n" };
        // Another process may take the port before the relay binds it: then try another one.
        for _ in 0..10 {
            let address = free_address(ip);
            let config = config.replace("<rtmp>", &address.to_string());
            std::fs::write(&file, format!("{each_line}{config}")).unwrap();
            if let Some((process, address, http_addresses, encrypted, log)) =
                try_start(command(), &file, cores, address)
            {
                return Relay { process, address, http_addresses, encrypted, log, dir };
            }
        }
        panic!("no port was free");
    }

    /// The address for RTMP clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for browsers.
    pub fn http_address(&self) -> SocketAddr {
        self.http_addresses[0]
    }

    /// The address of the API, if it has one of its own.
    pub fn own_api_address(&self) -> SocketAddr {
        self.http_addresses[1]
    }

    /// The address for clients of RTMPS, if it has one.
    pub fn rtmps_address(&self) -> SocketAddr {
        self.encrypted.rtmps[0]
    }

    /// The address for clients of HTTPS, if it has one.
    pub fn https_address(&self) -> SocketAddr {
        self.encrypted.https[0]
    }

    /// The URL of `/path` for a browser.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http_address())
    }

    /// The URL of `app/name` for an RTMP client.
    pub fn url(&self, name: &str) -> String {
        format!("rtmp://{}/{name}", self.address)
    }

    /// The API token that it created at its start.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.token_file()).expect("it created a token").trim_end().to_owned()
    }

    /// The file with the token.
    pub fn token_file(&self) -> PathBuf {
        self.dir.path().join("fanfare/token")
    }

    /// A directory that any user may write to.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<String> {
        // Also after a test has failed while it held the lock.
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops reading the relay's standard error, or resumes.
    pub fn read_log(&self, is_read: bool) {
        *self.log.is_read.0.lock().unwrap() = is_read;
        self.log.is_read.1.notify_all();
    }

    /// Waits for a log line that contains each of `words`, and returns it; fails the test after [`SOON`].
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        self.wait_for_logs(1, words, SOON).remove(0)
    }

    /// Waits for `count` log lines that contain each of `words`, and returns all such lines.
    pub fn wait_for_logs(&self, count: usize, words: &[&str], within: Duration) -> Vec<String> {
        let deadline = Instant::now() + within;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let matching = |line: &&String| words.iter().all(|word| line.contains(word));
            let found: Vec<String> = lines.iter().filter(matching).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let all = lines.join("\n");
            assert!(
                !left.is_zero(),
                "{} of {count} log lines with {words:?} after {within:?}, in:\n{all}",
                found.len()
            );
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until `app/name` is being published.
    pub fn wait_for_publisher(&self, name: &str) {
        self.wait_for_publishes(name, |begun, ended| begun > ended);
    }

    /// Waits until each publish of `app/name` has ended, and one has.
    pub fn wait_for_publisher_gone(&self, name: &str) {
        self.wait_for_publishes(name, |begun, ended| ended > 0 && begun == ended);
    }

    /// Waits until as many publishes of `app/name` have begun and ended as is wanted.
    fn wait_for_publishes(&self, name: &str, is_wanted: impl Fn(usize, usize) -> bool) {
        let deadline = Instant::now() + SOON;
        // As text or as JSON.
        let names = [format!("stream=\"{name}\""), format!("\"stream\":\"{name}\"")];
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let of_stream = lines.iter().filter(|line| names.iter().any(|name| line.contains(name)));
            let (mut begun, mut ended) = (0, 0);
            for line in of_stream {
                begun += usize::from(line.contains("publishing"));
                ended += usize::from(line.contains("publish ended"));
            }
            if is_wanted(begun, ended) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let all = lines.join("\n");
            assert!(!left.is_zero(), "{name}: {begun} publishes began and {ended} ended, in:\n{all}");
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until this many players have requested `app/name`.
    pub fn wait_for_players(&self, name: &str, count: usize) {
        self.wait_for_logs(count, &["playing", name], SOON);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for it to exit.
    pub fn expect_end(&mut self, within: Duration) -> ExitStatus {
        self.process.expect_end(within)
    }

    /// Fails the test if it has exited.
    pub fn expect_running(&mut self) {
        self.process.expect_running();
    }

    /// Memory in use, in bytes (resident set).
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("Linux reports the resident set of a live process");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Open descriptors. The number varies by a few while the relay starts.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap().count()
    }

    /// Open sockets, its listeners included.
    pub fn open_sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.process.pid())).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }
}

impl Drop for Relay {
    // A failed test shows the relay's log.
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the relay's log:\n{}", self.log().join("\n"));
        }
    }
}

/// The relay's standard error, line by line.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Notified at each new line.
    more: Arc<Condvar>,
    /// False while reading is stopped.
    is_read: Arc<(Mutex<bool>, Condvar)>,
}

impl Log {
    fn follow(&self, stderr: impl Read + Send + 'static) {
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let (is_read, changed) = &*log.is_read;
                drop(changed.wait_while(is_read.lock().unwrap(), |is_read| !*is_read).unwrap());
                log.lines.lock().unwrap().push(line);
                log.more.notify_all();
            }
        });
    }
}

/// The program under test.
pub const FANFARE: &str = env!("CARGO_BIN_EXE_fanfare");

/// `None` if the relay exited at once because the port was in use.
fn try_start(
    mut command: Command,
    config: &Path,
    cores: usize,
    address: SocketAddr,
) -> Option<(Process, SocketAddr, Vec<SocketAddr>, Encrypted, Log)> {
    command
        .arg("--config")
        .arg(config)
        .args(["--rtmp", &address.to_string(), "--cores", &cores.to_string()])
        .args(["--http", &SocketAddr::new(address.ip(), 0).to_string()])
        // Its state directory is its own, not that of the user that runs the tests.
        .env("XDG_STATE_HOME", config.parent().expect("the file is in a directory"))
        .env_remove("STATE_DIRECTORY")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let is_json = command.get_args().any(|arg| arg == "json");
    let mut process = Process::start(command);
    let log = Log { is_read: Arc::new((Mutex::new(true), Condvar::new())), ..Log::default() };
    log.follow(process.child().stderr.take().expect("stderr is a pipe"));
    let mut stdout = BufReader::new(process.child().stdout.take().expect("stdout is a pipe"));
    // Once it listens it prints its addresses: on standard output, or with JSON as a log line.
    let mut first_line = String::new();
    if is_json {
        eventually("the relay listens or exits", SOON, || {
            let line = log.lines.lock().unwrap().iter().find(|line| line.contains("listening")).cloned();
            if let Some(line) = &line {
                assert!(line.contains(&address.to_string()), "{line}");
                let page = line.split("\"page\":\"").nth(1).and_then(|rest| rest.split("/\"").next());
                first_line = format!("rtmp://{address} {}", page.unwrap_or_default());
            }
            line.map(drop).or(process.wait(Duration::ZERO).map(drop))
        });
    } else {
        stdout.read_line(&mut first_line).unwrap();
    }
    if first_line.is_empty() {
        let status = process.expect_end(SOON);
        let lines = log.lines.lock().unwrap().join("\n");
        assert!(lines.contains("in use"), "the relay exited with {status}:\n{lines}");
        return None;
    }
    let addresses = |scheme: &str| -> Vec<SocketAddr> {
        let words = first_line.split_whitespace().filter_map(|word| word.strip_prefix(scheme));
        words.map(|address| address.parse().unwrap()).collect()
    };
    let (rtmp, http) = (addresses("rtmp://"), addresses("http://"));
    assert!(!rtmp.is_empty() && !http.is_empty(), "no address in {first_line:?}");
    // The rest is not needed, but a full pipe would block the relay.
    thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let encrypted = Encrypted { rtmps: addresses("rtmps://"), https: addresses("https://") };
    Some((process, rtmp[0], http, encrypted, log))
}

/// A command that runs its arguments as an unprivileged user. Each call uses another user id, so that no other process
/// counts towards its limits. Without root the current user is unprivileged already.
pub fn as_unprivileged_user() -> Command {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    if rustix::process::geteuid().is_root() {
        let id = 1_000_000 + std::process::id() % 1_000_000 * 100 + CALLS.fetch_add(1, Ordering::Relaxed);
        let mut setpriv = Command::new("setpriv");
        setpriv.args([&format!("--reuid={id}"), &format!("--regid={id}")]);
        setpriv.args(["--clear-groups", "--bounding-set=-all"]);
        setpriv
    } else {
        Command::new("env")
    }
}

fn free_address(ip: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A temporary directory that clients of another user may write to.
fn shared_directory() -> TempDir {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new().prefix("fanfare-").tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    dir
}

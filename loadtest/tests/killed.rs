//! Encoder and player processes that are killed by SIGKILL, with all their connections.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

mod support;

/// The only test in this file: the relay is in this process, whose sockets are counted.
#[test]
fn killing_hundreds_of_players_and_encoders_at_once_affects_no_other_player_and_frees_the_names() {
    const HONEST: usize = 10;
    const STREAMS: usize = 40;
    const PLAYERS: usize = 300;
    let address = support::relay(2).rtmp;
    let at_first = sockets();
    let _encoder = Load::start(address, "publish", "honest", "--bitrate 500k");
    wait_for_sockets(at_first + 1);
    // Every frame is wanted; when it comes on a busy machine is not what is tested here.
    let watch = "-n 10 --parse 1 --settle 0 --seconds 600 --late-after 10000";
    let mut honest = Load::start(address, "play", "honest", watch);
    wait_for_sockets(at_first + 1 + HONEST);
    let in_quiet = sockets();

    for _ in 0..3 {
        let mut encoders = Load::start(address, "publish", "doomed", "--streams 40 --bitrate 200k");
        wait_for_sockets(in_quiet + STREAMS);
        let mut players =
            Load::start(address, "play", "doomed", "--streams 40 -n 300 --ramp 1000 --seconds 600");
        wait_for_sockets(in_quiet + STREAMS + PLAYERS);
        // Time for the relay to refuse an encoder whose name is in use, and for frames to be in flight to all players.
        thread::sleep(Duration::from_millis(500));
        assert!(encoders.still_runs(), "the encoders were refused: is a name still in use?");
        assert!(players.still_runs());
        // Dropping them kills them.
        drop((players, encoders));
        wait_for_sockets(in_quiet);
        assert!(honest.still_runs());
    }
    assert_eq!(honest.stop(), Some(0), "another player was disconnected, or missed a frame");
}

/// A process of the load generator; killed when it is dropped.
struct Load(Child);

impl Load {
    fn start(address: SocketAddr, what: &str, key: &str, options: &str) -> Load {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare-load"));
        command.arg(what).arg(format!("rtmp://{address}/live/{key}")).args(options.split(' '));
        Load(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn still_runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Ends it by SIGTERM, and returns its exit code.
    fn stop(mut self) -> Option<i32> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until this process has this many sockets.
fn wait_for_sockets(count: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while sockets() != count {
        assert!(Instant::now() < deadline, "{} sockets instead of {count}", sockets());
        thread::sleep(Duration::from_millis(10));
    }
}

fn sockets() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

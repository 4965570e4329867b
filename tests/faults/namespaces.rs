//! Networks of a test's own, and links between them that can be cut: network namespaces and veth pairs. What is sent
//! there reaches nobody else.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::support::{is_installed, missing};

/// Where the relay listens, for clients in its own namespace as for those in networks.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Runs `test`, a closure in the function that is the test, in a process of its own with a network namespace of its
/// own, in which it may do as root does.
pub fn in_a_namespace<T: Fn()>(test: T) {
    if std::env::var_os(INSIDE).is_some() {
        ip(&["link", "set", "lo", "up"]);
        ip(&["address", "add", &format!("{RELAY}/32"), "dev", "lo"]);
        return test();
    }
    for program in ["ip", "unshare"] {
        assert!(is_installed(program), "{}", missing(program));
    }
    let mut again = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        again.args(["--user", "--map-root-user"]);
    }
    // "faults::network::name_of_the_test::{{closure}}".
    let (_, name) = std::any::type_name::<T>().split_once("::").unwrap();
    let (name, _) = name.rsplit_once("::").unwrap();
    again.arg("--net").arg(std::env::current_exe().unwrap()).args([name, "--exact", "--nocapture"]);
    let ended = again.env(INSIDE, "1").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    // A name that fits no test is a success.
    let has_run = said.contains("1 passed") || said.contains("1 failed");
    assert!(has_run, "this needs root, or a kernel that lets others have namespaces of their own:\n{said}");
    assert!(ended.status.success(), "{said}");
}

/// A client's network: one cable to the relay's.
pub struct Network {
    namespace: OwnedFd,
    number: u8,
}

impl Network {
    /// One with this number, of those of a test.
    pub fn new(number: u8) -> Network {
        let namespace = thread::spawn(|| {
            // SAFETY: nothing that other threads use by number, as they do files, is parted from them.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            own_namespace()
        });
        let network = Network { namespace: namespace.join().unwrap(), number };
        let (cable, path) = (network.cable(), network.path());
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "cable", "netns", &path]);
        ip(&["address", "add", &format!("10.77.{number}.1/24"), "dev", &cable]);
        ip(&["link", "set", &cable, "up"]);
        network.enter(|| {
            ip(&["address", "add", &format!("10.77.{number}.2/24"), "dev", "cable"]);
            network.plug_in();
        });
        network
    }

    /// Does something as a program there: sockets that are made meanwhile stay there.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let network = Some(LinkNameSpaceType::Network);
        let home = own_namespace();
        move_into_link_name_space(self.namespace.as_fd(), network).unwrap();
        let done = work();
        move_into_link_name_space(home.as_fd(), network).unwrap();
        done
    }

    /// Its cable is pulled. Neither side hears of it; what is sent from now on is lost.
    pub fn cut(&self) {
        self.enter(|| ip(&["link", "set", "cable", "down"]));
    }

    /// The cable is plugged in again.
    pub fn mend(&self) {
        self.enter(|| self.plug_in());
    }

    fn plug_in(&self) {
        ip(&["link", "set", "cable", "up"]);
        // Routes leave with the link, and do not come back.
        ip(&["route", "add", "default", "via", &format!("10.77.{}.1", self.number)]);
    }

    /// What the relay's end of the cable is called.
    fn cable(&self) -> String {
        format!("cable-{}", self.number)
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }
}

/// The namespace of the calling thread.
fn own_namespace() -> OwnedFd {
    std::fs::File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// Runs `ip` in the namespace of the calling thread.
fn ip(arguments: &[&str]) {
    let ended = Command::new("ip").args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "ip {}: {said}", arguments.join(" "));
}

/// Set for a test that is inside.
const INSIDE: &str = "FANFARE_TEST_IN_A_NAMESPACE";

//! Networks of one test, and links between them that can be cut: network namespaces and veth pairs. No packet leaves
//! them.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::support::{is_installed, missing};

/// The relay's address, for clients in its own namespace and in other networks.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// An address of the internet (RFC 5737), for a relay and clients in its own namespace.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Runs `test`, a closure in the test function, in a process of its own with a network namespace of its own, in which
/// it has root's privileges.
pub fn in_a_namespace<T: Fn()>(test: T) {
    if std::env::var_os(INSIDE).is_some() {
        ip(&["link", "set", "lo", "up"]);
        for address in [RELAY, PUBLIC] {
            ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
        }
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
    let output = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    // A name that matches no test is a success, too.
    let has_run = output.contains("1 passed") || output.contains("1 failed");
    assert!(has_run, "this needs root, or a kernel that allows unprivileged namespaces:\n{output}");
    assert!(ended.status.success(), "{output}");
}

/// A client's network, connected by one cable to the relay's.
pub struct Network {
    namespace: OwnedFd,
    number: u8,
}

impl Network {
    /// A network with this number, unique within a test.
    pub fn new(number: u8) -> Network {
        let namespace = thread::spawn(|| {
            // SAFETY: only the network namespace is unshared; descriptors stay shared with other threads.
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

    /// Runs `work` inside this network: sockets created there stay there.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let network = Some(LinkNameSpaceType::Network);
        let home = own_namespace();
        move_into_link_name_space(self.namespace.as_fd(), network).unwrap();
        let done = work();
        move_into_link_name_space(home.as_fd(), network).unwrap();
        done
    }

    /// Pulls the cable. Neither side is notified; everything sent from now on is lost.
    pub fn cut(&self) {
        self.enter(|| ip(&["link", "set", "cable", "down"]));
    }

    /// Plugs the cable in again.
    pub fn plug_in_again(&self) {
        self.enter(|| self.plug_in());
    }

    fn plug_in(&self) {
        ip(&["link", "set", "cable", "up"]);
        // Routes are removed with the link, and not restored with it.
        ip(&["route", "add", "default", "via", &format!("10.77.{}.1", self.number)]);
    }

    /// The name of the relay's end of the cable.
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
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "ip {}: {error}", arguments.join(" "));
}

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "FANFARE_TEST_IN_A_NAMESPACE";

//! Why this system refuses io_uring: which of a setting, a container runtime, gVisor, a service's filter or an old kernel it
//! is, and the line that allows it.

#![forbid(unsafe_code)]

use std::{env, ffi::OsString, fs, io, path::Path};

use rustix::io::Errno;

/// The oldest kernel that has everything which the rings need: cancelling all operations of a socket, receiving and
/// accepting many times with one submission.
const OLDEST_KERNEL: (u32, u32) = (5, 19);

/// What refuses io_uring and how to allow it, as one line. `memory` is the advice where there is no memory for rings.
pub fn explain(error: &io::Error, memory: impl FnOnce() -> String) -> String {
    let advice = match Errno::from_io_error(error) {
        Some(Errno::NOMEM) => memory(),
        Some(Errno::MFILE | Errno::NFILE) => {
            "descriptors are short: raise the file limit (ulimit -n, LimitNOFILE=)".to_owned()
        }
        errno => System::this().advice(errno),
    };
    match advice.as_str() {
        "" => format!("io_uring is refused: {error}"),
        advice => format!("io_uring is refused: {error}; {advice}"),
    }
}

/// Who put this process into a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Kubernetes,
    Docker,
    Podman,
    Nspawn,
    Lxc,
}

/// What is known of the system that may have to do with it.
#[derive(Clone, Debug, Default)]
struct System {
    /// Of the kernel: 6.1.0-18-amd64.
    release: String,
    /// When the kernel was built, and how.
    version: String,
    /// `kernel.io_uring_disabled`: 0, 1 (allowed to a group) or 2; empty where a kernel has no such setting.
    disabled: String,
    /// Whether a filter of system calls is in force for this process.
    is_filtered: bool,
    container: Option<Container>,
    /// Whether systemd has started this process as a service.
    is_service: bool,
    /// `ID` and `VERSION_ID` of os-release: debian 11.
    distribution: String,
}

impl System {
    fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let filter = read("/proc/self/status");
        let filter = filter.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            release: read("/proc/sys/kernel/osrelease"),
            version: read("/proc/sys/kernel/version"),
            disabled: read("/proc/sys/kernel/io_uring_disabled"),
            is_filtered: filter.is_some_and(|mode| mode.trim() != "0"),
            container: container(
                |name| env::var_os(name),
                |path| Path::new(path).exists(),
                &(read("/run/systemd/container") + &read("/proc/self/cgroup")),
            ),
            is_service: env::var_os("INVOCATION_ID").is_some(),
            distribution: distribution(&read("/etc/os-release")),
        }
    }

    /// Empty where nothing is known.
    fn advice(&self, errno: Option<Errno>) -> String {
        let is_forbidden = matches!(errno, Some(Errno::PERM | Errno::ACCESS));
        let is_missing = matches!(errno, Some(Errno::NOSYS));
        let is_old = release_number(&self.release).is_some_and(|found| found < OLDEST_KERNEL);
        if self.is_gvisor() {
            return format!(
                "this is gVisor ({}), whose io_uring has no network: run it on the host's kernel \
                 (docker run --runtime=runc; in Kubernetes a pod without gVisor's runtimeClassName)",
                self.release
            );
        }
        if is_forbidden && !["", "0"].contains(&self.disabled.as_str()) {
            return format!(
                "it is switched off for {} on this kernel: sysctl -w kernel.io_uring_disabled=0 as root{} allows it, \
                 and the same in /etc/sysctl.d/ after the next boot",
                if self.disabled == "1" { "all but one group" } else { "everyone" },
                if self.container.is_some() { " outside of the container" } else { "" },
            );
        }
        if is_old && !is_forbidden {
            let install = match self.distribution.as_str() {
                _ if self.container.is_some() => " on its host",
                "debian 11" => ": apt install -t bullseye-backports linux-image-amd64",
                "ubuntu 22.04" => ": apt install linux-generic-hwe-22.04",
                _ => "",
            };
            return format!(
                "this kernel is {}, and {}.{} or newer is needed{install}",
                self.release, OLDEST_KERNEL.0, OLDEST_KERNEL.1
            );
        }
        if (is_forbidden || is_missing) && (self.is_filtered || self.container.is_some()) {
            return self.allow_in_filter();
        }
        if is_forbidden {
            return "a security module of the kernel forbids it, or a filter: see its log (SELinux: ausearch -m avc -ts recent; \
                    AppArmor: dmesg | grep DENIED)"
                .to_owned();
        }
        if is_missing {
            return format!(
                "this kernel ({}) was built without it: {}.{} or newer with CONFIG_IO_URING=y is needed",
                self.release, OLDEST_KERNEL.0, OLDEST_KERNEL.1
            );
        }
        String::new()
    }

    /// gVisor says since when it has been the same kernel, whatever version it claims to be.
    fn is_gvisor(&self) -> bool {
        self.release.ends_with("-gvisor") || self.version.contains("Sun Jan 10 15:06:54 PST 2016")
    }

    /// Where a filter of system calls hides it.
    fn allow_in_filter(&self) -> String {
        let profile = "fanfare seccomp >seccomp.json writes it";
        match self.container {
            Some(Container::Docker) => "Docker's default seccomp profile forbids it: docker run --security-opt \
                 seccomp=seccomp.json, in compose.yaml security_opt: [\"seccomp=seccomp.json\"] (docker run --rm IMAGE seccomp \
                 >seccomp.json writes the file)"
                .to_owned(),
            Some(Container::Podman) => "Podman's default seccomp profile forbids it: podman run --security-opt \
                 seccomp=seccomp.json (podman run --rm IMAGE seccomp >seccomp.json writes the file)"
                .to_owned(),
            Some(Container::Kubernetes) => format!(
                "the pod's seccomp profile forbids it: securityContext: {{ seccompProfile: {{ type: Localhost, \
                 localhostProfile: fanfare.json }} }}, with the profile in /var/lib/kubelet/seccomp/fanfare.json on the node \
                 ({profile})"
            ),
            Some(Container::Nspawn) => format!(
                "systemd-nspawn's filter forbids it: systemd-nspawn --system-call-filter=\"{SYSTEM_CALLS}\""
            ),
            Some(Container::Lxc) => {
                "the container's seccomp profile forbids it: remove io_uring_setup, io_uring_enter and \
                 io_uring_register from the file of lxc.seccomp.profile"
                    .to_owned()
            }
            None if self.is_service => {
                format!(
                    "the unit's filter forbids it: SystemCallFilter={SYSTEM_CALLS} in its [Service] allows it"
                )
            }
            None => format!("a seccomp filter forbids it: let it allow {SYSTEM_CALLS} ({profile})"),
        }
    }
}

const SYSTEM_CALLS: &str = "io_uring_setup io_uring_enter io_uring_register";

/// What a container shows of its runtime. `names` is what systemd and the control groups say of it.
fn container(
    variable: impl Fn(&str) -> Option<OsString>,
    exists: impl Fn(&str) -> bool,
    names: &str,
) -> Option<Container> {
    let declared = variable("container").unwrap_or_default();
    let says = |word: &str| declared.to_str() == Some(word) || names.contains(word);
    // A pod's containers are Docker's or containerd's, and Podman calls itself docker where it stands in for it.
    if variable("KUBERNETES_SERVICE_HOST").is_some() || says("kubepods") {
        Some(Container::Kubernetes)
    } else if exists("/run/.containerenv") || says("podman") || says("libpod") {
        Some(Container::Podman)
    } else if exists("/.dockerenv") || says("docker") {
        Some(Container::Docker)
    } else if says("systemd-nspawn") {
        Some(Container::Nspawn)
    } else if says("lxc") {
        Some(Container::Lxc)
    } else {
        None
    }
}

/// From 6.1.0-18-amd64: 6 and 1.
fn release_number(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// `ID` and `VERSION_ID`, whose values may be quoted.
fn distribution(os_release: &str) -> String {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\''])
    };
    format!("{} {}", value("ID"), value("VERSION_ID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        System { release: "6.1.0-18-amd64".to_owned(), version: "#1 SMP".to_owned(), ..System::default() }
    }

    fn in_container(container: Container) -> System {
        System { is_filtered: true, container: Some(container), ..system() }
    }

    #[test]
    fn each_cause_has_its_own_line() {
        let disabled = |level: &str| System { disabled: level.to_owned(), ..system() };
        let release = |release: &str| System { release: release.to_owned(), ..system() };
        let on = |distribution: &str, it: System| System { distribution: distribution.to_owned(), ..it };
        let filtered = System { is_filtered: true, ..system() };
        let gvisor = System { version: "#1 SMP Sun Jan 10 15:06:54 PST 2016".to_owned(), ..release("4.4.0") };
        let forbidden = Errno::PERM;
        for (system, errno, expected) in [
            (disabled("2"), forbidden, "sysctl -w kernel.io_uring_disabled=0 as root allows it"),
            (disabled("1"), forbidden, "switched off for all but one group"),
            (
                System { disabled: "2".to_owned(), ..in_container(Container::Docker) },
                forbidden,
                "as root outside of the container allows it",
            ),
            (in_container(Container::Docker), forbidden, "docker run --security-opt seccomp=seccomp.json"),
            // As Docker answered before version 20.10.
            (in_container(Container::Docker), Errno::NOSYS, "docker run --security-opt seccomp=seccomp.json"),
            (in_container(Container::Podman), forbidden, "podman run --security-opt seccomp=seccomp.json"),
            (in_container(Container::Kubernetes), forbidden, "localhostProfile: fanfare.json"),
            (in_container(Container::Nspawn), forbidden, "--system-call-filter=\"io_uring_setup "),
            (in_container(Container::Lxc), forbidden, "lxc.seccomp.profile"),
            (
                System { is_service: true, ..filtered.clone() },
                forbidden,
                "SystemCallFilter=io_uring_setup io_uring_enter io_uring_register",
            ),
            (filtered.clone(), forbidden, "a seccomp filter forbids it"),
            (filtered, Errno::NOSYS, "a seccomp filter forbids it"),
            (gvisor, Errno::NOSYS, "this is gVisor (4.4.0)"),
            (release("5.15.0-gvisor"), Errno::INVAL, "--runtime=runc"),
            (
                release("5.10.0-30-amd64"),
                Errno::INVAL,
                "this kernel is 5.10.0-30-amd64, and 5.19 or newer is needed",
            ),
            (on("debian 11", release("5.10.0-30-amd64")), Errno::INVAL, "apt install -t bullseye-backports "),
            (
                System { container: Some(Container::Lxc), ..on("debian 11", release("5.10.0")) },
                Errno::INVAL,
                "newer is needed on its host",
            ),
            (on("ubuntu 22.04", release("5.15.0-91-generic")), Errno::INVAL, "linux-generic-hwe-22.04"),
            (release("3.10.0-1160.el7"), Errno::NOSYS, "this kernel is 3.10.0-1160.el7"),
            // It has been ported back there, and is switched off.
            (System { disabled: "2".to_owned(), ..release("5.14.0-362.el9") }, forbidden, "sysctl -w"),
            (system(), Errno::NOSYS, "CONFIG_IO_URING=y"),
            (system(), forbidden, "ausearch"),
            (disabled("0"), Errno::ACCESS, "ausearch"),
        ] {
            let advice = system.advice(Some(errno));
            assert!(advice.contains(expected) && !advice.contains('\n'), "{system:?}: {advice}");
        }
        assert_eq!(system().advice(Some(Errno::IO)), "");
        assert_eq!(system().advice(None), "");
    }

    #[test]
    fn containers_are_recognised_by_what_their_runtimes_leave_in_them() {
        let found = |variable: &str, file: &str, names: &str| {
            let (name, value) = variable.split_once('=').unwrap_or_default();
            container(|asked| (asked == name).then(|| value.into()), |path| path == file, names)
        };
        assert_eq!(found("", "", ""), None);
        assert_eq!(found("", "", "0::/user.slice/user-1000.slice/session-2.scope"), None);
        assert_eq!(found("", "/.dockerenv", ""), Some(Container::Docker));
        assert_eq!(found("", "", "12:pids:/docker/0123456789ab"), Some(Container::Docker));
        assert_eq!(found("KUBERNETES_SERVICE_HOST=10.0.0.1", "/.dockerenv", ""), Some(Container::Kubernetes));
        assert_eq!(found("", "", "0::/kubepods.slice/kubepods-pod1.slice"), Some(Container::Kubernetes));
        assert_eq!(found("container=podman", "/run/.containerenv", ""), Some(Container::Podman));
        assert_eq!(found("container=docker", "/run/.containerenv", ""), Some(Container::Podman));
        assert_eq!(found("", "", "systemd-nspawn"), Some(Container::Nspawn));
        assert_eq!(found("container=lxc", "", ""), Some(Container::Lxc));
    }

    #[test]
    fn releases_and_distributions_are_read() {
        assert_eq!(release_number("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(release_number("5.19"), Some((5, 19)));
        assert_eq!(release_number("unknown"), None);
        assert_eq!(release_number(""), None);
        assert_eq!(distribution("NAME=\"Debian\"\nVERSION_ID=\"11\"\nID=debian\n"), "debian 11");
        assert_eq!(distribution(""), " ");
    }

    #[test]
    fn a_shortage_is_not_a_refusal_by_the_system() {
        let explained = |errno: Errno| explain(&errno.into(), || "little memory".to_owned());
        assert!(explained(Errno::NOMEM).ends_with("; little memory"));
        assert!(explained(Errno::MFILE).contains("file limit"));
        assert!(explained(Errno::IO).starts_with("io_uring is refused: "));
    }
}

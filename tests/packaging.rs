//! What packages contain, checked without building one: the lists in `Cargo.toml`, the seccomp profile, the manifests for
//! containers. `packaging/test.sh` builds and installs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};
use toml::{Table, Value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The section `[package.metadata.NAME]` of `Cargo.toml`.
fn metadata(name: &str) -> Table {
    let manifest: Table = read("Cargo.toml").parse().unwrap();
    manifest["package"]["metadata"][name].as_table().unwrap().clone()
}

/// Where a package's files come from and where they go.
fn assets(package: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pair = |asset: &Value| match asset {
        Value::Array(fields) => (text(&fields[0]), format!("/{}", text(&fields[1]))),
        fields => (text(&fields["source"]), text(&fields["dest"])),
    };
    metadata(package)["assets"].as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn a_version_is_that_of_all_crates_and_has_its_changes_and_their_date() {
    let version = env!("CARGO_PKG_VERSION");
    for manifest in ["fanfare-rtmp/Cargo.toml", "loadtest/Cargo.toml"] {
        let manifest: Table = read(manifest).parse().unwrap();
        assert_eq!(manifest["package"]["version"].as_str(), Some(version), "{}", manifest["package"]["name"]);
    }
    let changes = read("CHANGELOG.md");
    let released = changes.lines().filter_map(|line| line.strip_prefix("## ")?.split_once(" - "));
    let (newest, date) = released.into_iter().next().expect("a release with its date");
    assert_eq!(newest, version);
    assert!(date.len() == 10 && date.split('-').all(|part| part.parse::<u16>().is_ok()), "{date}");
}

#[test]
fn every_packaged_file_exists_or_is_made_by_a_script() {
    let scripts = read("packaging/common.sh") + &read("packaging/deb.sh");
    for package in ["deb", "generate-rpm"] {
        for (source, _) in assets(package) {
            let is_there = match source.strip_prefix("target/packages/") {
                // Named in a script by the end of its path, or by the folder that the program writes its pages to.
                Some("dynamic/fanfare") => scripts.contains("binary=$out/$1/fanfare"),
                Some(made) => {
                    let name = made.strip_prefix("share/").expect("made files are in share");
                    let name = name.trim_end_matches(".gz");
                    scripts.contains(if name.starts_with("man/*") { "man \"$share/man\"" } else { name })
                }
                None if source.contains('*') => {
                    let (folder, end) = source.split_once('*').unwrap();
                    let end = end.trim_start_matches("*/*");
                    let mut files = fs::read_dir(root().join(folder)).unwrap();
                    files.any(|file| file.unwrap().file_name().to_string_lossy().ends_with(end))
                }
                None => root().join(&source).exists(),
            };
            assert!(is_there, "{package} lists {source}");
        }
    }
}

#[test]
fn deb_and_rpm_contain_the_same_files() {
    let sources =
        |package| -> BTreeSet<_> { assets(package).into_iter().map(|(source, _)| source).collect() };
    let (deb, rpm) = (sources("deb"), sources("generate-rpm"));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<_> {
        one.difference(other).cloned().collect()
    };
    // Debian has its own forms of the licences, the changelog, and what lintian is to accept.
    assert_eq!(
        only(&deb, &rpm),
        [
            "packaging/debian/lintian-overrides",
            "target/packages/share/changelog.Debian.gz",
            "target/packages/share/changelog.gz",
        ]
    );
    assert_eq!(only(&rpm, &deb), ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"]);
}

#[test]
fn files_in_etc_are_configuration_that_upgrades_keep() {
    let in_etc = |(_, to): &(String, String)| to.starts_with("/etc/");
    let deb = metadata("deb");
    let conf_files = deb["conf-files"].as_array().unwrap();
    assert_eq!(conf_files.len(), 1);
    for (source, to) in assets("deb").into_iter().filter(in_etc) {
        assert!(conf_files.contains(&Value::String(format!("{to}{source}"))), "{to}{source}");
    }
    let rpm = metadata("generate-rpm");
    for asset in rpm["assets"].as_array().unwrap() {
        let is_in_etc = asset["dest"].as_str().unwrap().starts_with("/etc/");
        assert_eq!(asset.get("config").and_then(Value::as_str), is_in_etc.then_some("noreplace"), "{asset}");
    }
}

#[test]
fn each_document_for_operators_is_packaged() {
    for package in ["deb", "generate-rpm"] {
        let sources: Vec<_> = assets(package).into_iter().map(|(source, _)| source).collect();
        for needed in
            ["docs/*.md", "docs/openapi.yaml", "README.md", "fanfare.toml", "packaging/fanfare.service"]
        {
            assert!(sources.iter().any(|source| source == needed), "{package} lacks {needed}");
        }
    }
}

#[test]
fn user_and_folders_are_the_same_everywhere() {
    let unit = read("packaging/fanfare.service");
    assert!(unit.lines().any(|line| line == "User=fanfare"), "{unit}");
    assert!(unit.lines().any(|line| line == "StateDirectory=fanfare"), "{unit}");
    assert!(unit.contains("ExecStart=fanfare --config /etc/fanfare/fanfare.toml"), "{unit}");
    assert!(read("packaging/sysusers.conf").lines().any(|line| line.starts_with("u fanfare - ")));
    for script in ["packaging/debian/postinst", "packaging/rpm/pre.sh"] {
        let script = read(script);
        assert!(script.contains("getent passwd fanfare") && script.contains("/var/lib/fanfare"), "{script}");
    }
    assert!(read("packaging/oci.sh").contains(r#""User": "65532:65532""#));
}

#[test]
fn shell_scripts_are_read_without_an_error() {
    for folder in ["packaging", "packaging/debian", "packaging/rpm"] {
        for file in fs::read_dir(root().join(folder)).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let shell = if text.starts_with("#!/usr/bin/env bash") || text.contains("shellcheck shell=bash") {
                "bash"
            } else if text.starts_with("#!/bin/sh") || folder.ends_with("rpm") {
                "sh"
            } else {
                continue;
            };
            let output = Command::new(shell).arg("-n").arg(&path).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", path.display());
        }
    }
}

mod seccomp {
    use super::*;

    fn profile() -> serde_json::Value {
        serde_json::from_str(&read("packaging/seccomp.json")).unwrap()
    }

    fn rules() -> Vec<(String, serde_json::Value)> {
        let profile = profile();
        let rules = profile["syscalls"].as_array().unwrap();
        let named = |rule: &serde_json::Value| -> Vec<_> {
            assert_eq!(rule["action"], "SCMP_ACT_ALLOW");
            let names = rule["names"].as_array().unwrap();
            names.iter().map(|name| (name.as_str().unwrap().to_owned(), rule["args"].clone())).collect()
        };
        rules.iter().flat_map(named).collect()
    }

    #[test]
    fn what_it_does_not_name_fails_as_if_the_kernel_had_no_such_call() {
        assert_eq!(profile()["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(profile()["defaultErrnoRet"], rustix::io::Errno::NOSYS.raw_os_error());
    }

    #[test]
    fn it_allows_io_uring() {
        for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
            assert!(rules().iter().any(|(name, args)| name == call && args.is_null()), "{call}");
        }
    }

    /// The system calls that Docker's own profile forbids a container without capabilities, or that no relay needs.
    #[test]
    fn it_allows_nothing_that_reaches_beyond_the_container() {
        const NEVER: [&str; 34] = [
            "acct",
            "add_key",
            "bpf",
            "chroot",
            "clone3",
            "delete_module",
            "fanotify_init",
            "finit_module",
            "init_module",
            "kcmp",
            "kexec_load",
            "keyctl",
            "mknod",
            "mknodat",
            "mount",
            "move_mount",
            "name_to_handle_at",
            "open_by_handle_at",
            "open_tree",
            "perf_event_open",
            "pidfd_getfd",
            "pivot_root",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
            "quotactl",
            "reboot",
            "request_key",
            "setns",
            "shmget",
            "swapon",
            "umount2",
            "unshare",
            "userfaultfd",
        ];
        let rules = rules();
        for call in NEVER {
            assert!(!rules.iter().any(|(name, _)| name == call), "{call}");
        }
        // New namespaces would need these.
        let clone: Vec<_> = rules.iter().filter(|(name, _)| name == "clone").collect();
        assert_eq!(clone.len(), 1);
        assert_eq!(clone[0].1[0]["op"], "SCMP_CMP_MASKED_EQ");
        assert_eq!(clone[0].1[0]["value"], 0x7e02_0000);
        assert_eq!(clone[0].1[0]["valueTwo"], 0);
    }

    #[test]
    fn sockets_are_local_of_the_internet_or_for_routes() {
        let families: Vec<_> = rules().into_iter().filter(|(name, _)| name == "socket").collect();
        let families: Vec<_> = families.iter().map(|(_, args)| args[0]["value"].as_u64().unwrap()).collect();
        assert_eq!(
            families,
            [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|it| it as u64)
        );
    }

    #[test]
    fn each_call_is_named_once() {
        let mut seen = BTreeSet::new();
        for (name, args) in rules() {
            assert!(seen.insert((name.clone(), args.to_string())), "{name}");
        }
        let profile = profile();
        for rule in profile["syscalls"].as_array().unwrap() {
            let names: Vec<_> =
                rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
    }
}

mod manifests {
    use super::*;

    /// The value at this path of keys, where numbers are places in a list.
    fn at<'a>(yaml: &'a Yaml<'a>, path: &str) -> &'a Yaml<'a> {
        path.split('.').fold(yaml, |yaml, key| {
            let found = match key.parse::<usize>() {
                Ok(index) => yaml.as_sequence().and_then(|list| list.get(index)),
                Err(_) => yaml.as_mapping_get(key),
            };
            found.unwrap_or_else(|| panic!("{path}: no {key}"))
        })
    }

    fn text<'a>(yaml: &'a Yaml<'a>, path: &str) -> &'a str {
        at(yaml, path).as_str().unwrap_or_else(|| panic!("{path} is no text"))
    }

    fn image() -> String {
        format!("fanfare:{}", env!("CARGO_PKG_VERSION"))
    }

    #[test]
    fn compose_runs_this_version_with_the_profile() {
        let file = read("packaging/compose.yaml");
        let compose = &Yaml::load_from_str(&file).unwrap()[0];
        let service = at(compose, "services.fanfare");
        assert_eq!(text(service, "image"), image());
        assert_eq!(text(service, "security_opt.0"), "seccomp=seccomp.json");
        assert_eq!(at(service, "read_only").as_bool(), Some(true));
        assert_eq!(text(service, "volumes.0"), "state:/var/lib/fanfare");
        let probe = at(service, "healthcheck.test").as_sequence().unwrap();
        let probe: Vec<_> = probe.iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(probe, ["CMD", "/usr/bin/fanfare", "check", "--ready"]);
        assert_eq!(at(service, "ulimits.memlock.hard").as_integer(), Some(-1));
        assert_eq!(text(service, "ports.0"), "1935:1935");
        assert_eq!(text(service, "ports.1"), "8080:8080");
    }

    #[test]
    fn kubernetes_runs_this_version_with_the_profile_and_its_probes_exist() {
        let file = read("packaging/kubernetes.yaml");
        let documents = Yaml::load_from_str(&file).unwrap();
        let [configuration, service, set] = &documents[..] else { panic!("{} documents", documents.len()) };
        assert_eq!(
            [text(configuration, "kind"), text(service, "kind"), text(set, "kind")],
            ["ConfigMap", "Service", "StatefulSet"]
        );
        let pod = at(set, "spec.template.spec");
        let container = at(pod, "containers.0");
        assert_eq!(text(container, "image"), image());
        assert_eq!(at(pod, "securityContext.runAsUser").as_integer(), Some(65532));
        // As the relay's own message names it when io_uring is refused.
        assert_eq!(text(pod, "securityContext.seccompProfile.localhostProfile"), "fanfare.json");
        let api = read("docs/openapi.yaml");
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let path = text(container, &format!("{probe}.httpGet.path"));
            assert!(api.contains(&format!("\n  {path}:\n")), "{probe}: {path}");
            assert_eq!(text(container, &format!("{probe}.httpGet.port")), "http");
        }
        let ports = at(container, "ports").as_sequence().unwrap();
        let ports: Vec<_> =
            ports.iter().map(|port| (text(port, "name"), at(port, "containerPort").as_integer())).collect();
        assert_eq!(ports, [("rtmp", Some(1935)), ("http", Some(8080))]);
    }

    #[test]
    fn the_configuration_for_kubernetes_is_valid_and_leaves_time_to_shut_down() {
        let file = read("packaging/kubernetes.yaml");
        let documents = Yaml::load_from_str(&file).unwrap();
        let configuration = documents[0].as_mapping_get("data").unwrap();
        let configuration = configuration.as_mapping_get("fanfare.toml").unwrap().as_str().unwrap();
        let path = std::env::temp_dir().join(format!("fanfare-kubernetes-{}.toml", std::process::id()));
        fs::write(&path, configuration).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        fs::remove_file(&path).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let effective = String::from_utf8(output.stdout).unwrap();
        assert!(effective.contains("shutdown_timeout = \"20s\""), "{effective}");
        let grace =
            at(&documents[2], "spec.template.spec.terminationGracePeriodSeconds").as_integer().unwrap();
        assert!((21..=60).contains(&grace), "{grace} s");
    }
}

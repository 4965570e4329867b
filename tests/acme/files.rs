//! Certificates in files that change while the relay runs.

use std::fs;

use fanfare::certificates::DevelopmentCertificate;

use crate::support::{Relay, SOON, eventually};
use crate::tls::{addresses, served};

#[test]
fn a_pair_that_is_replaced_is_read_by_itself_and_a_faulty_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start(&crate::from_files(folder.path()));
    let [rtmps, https] = addresses(&relay);
    let name = |address| served(address, "a.example").name;
    assert_eq!(name(https).as_deref(), Some("files.example"));

    let names = vec!["renewed.example".to_owned()];
    let files = DevelopmentCertificate::make(folder.path(), names).unwrap();
    eventually("the new certificate", SOON, || (name(https)? == "renewed.example").then_some(()));
    assert_eq!(name(rtmps).as_deref(), Some("renewed.example"));

    let good = fs::read(&files.key).unwrap();
    fs::write(&files.key, "none").unwrap();
    relay.wait_for_log(&["certificates not read: nothing has changed", "key.pem: no private key in it"]);
    assert_eq!(name(https).as_deref(), Some("renewed.example"));
    fs::write(&files.key, good).unwrap();
    relay.wait_for_logs(2, &["certificates read again", "renewed.example"], SOON);
    let faults = relay.log().iter().filter(|line| line.contains("certificates not read")).count();
    assert_eq!(faults, 1, "it is logged once");
}

//! Keys of tokens that an issuer publishes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use fanfare::certificates::DevelopmentCertificate;
use fanfare::rtmp::client::Role;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::json;

use crate::peer::Rtmp;
use crate::support::web_service::{Reply, WebService};
use crate::support::{Relay, SOON, Signal, eventually};

#[test]
fn keys_are_fetched_and_stay_in_force_while_their_issuer_is_down() {
    let pem = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/access/keys/ec.pem");
    let key = EncodingKey::from_ec_pem(&std::fs::read(pem).unwrap()).unwrap();
    let set = json!({ "keys": [Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()] }).to_string();
    let is_down = Arc::new(AtomicBool::new(false));
    let service = WebService::start({
        let is_down = is_down.clone();
        move |_| match is_down.load(Ordering::Relaxed) {
            true => Reply::Status(503, String::new()),
            false => Reply::Status(200, set.clone()),
        }
    });
    let url = service.url("/jwks?key=hunter22");
    let relay =
        Relay::start(&format!("[[access]]\njwt = true\n[jwt]\njwks_url = '{url}'\njwks_refresh = '10s'\n"));
    let expires =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    let claims = json!({ "action": "publish", "streams": "live/*", "exp": expires.as_secs() });
    let token = encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
    let name = format!("live/show?jwt={token}");
    let asked = service.wait_for(1).remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/jwks?key=hunter22"));
    // The answer is on its way.
    eventually("the key is known", Duration::from_secs(5), || {
        let is_in = Rtmp::answer(&relay, Role::Publish, &name).is_ok();
        is_in.then_some(())
    });
    is_down.store(true, Ordering::Relaxed);
    let line = relay.wait_for_log(&["keys of tokens not fetched", "status 503"]);
    assert!(line.contains("/jwks") && !line.contains("hunter22"), "{line}");
    drop(Rtmp::started(&relay, Role::Publish, &name));
    let wrong = name.replace("jwt=e", "jwt=f");
    assert_eq!(Rtmp::refusal(&relay, Role::Publish, &wrong).0, "NetStream.Publish.Denied");
}

/// Whichever part of the configuration is faulty.
#[test]
fn a_reload_that_fails_changes_nothing_about_the_keys_in_force() {
    let pem = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/access/keys/ec.pem");
    let key = EncodingKey::from_ec_pem(&std::fs::read(pem).unwrap()).unwrap();
    let set = json!({ "keys": [Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()] }).to_string();
    let service = WebService::start(move |_| Reply::Status(200, set.clone()));
    let folder = tempfile::tempdir().unwrap();
    let certificate = DevelopmentCertificate::make(folder.path(), vec!["localhost".to_owned()]).unwrap();
    let config = |jwks: &str, key: &Path, more: &str| {
        format!(
            "{more}\nlisten.https = ['127.0.0.1:0']\n[[access]]\njwt = true\n[jwt]\njwks_url = '{}'\n\
             [tls]\ncertificates = [{{ certificate = '{}', key = '{}' }}]\n",
            service.url(jwks),
            certificate.certificate.display(),
            key.display()
        )
    };
    let relay = Relay::start(&config("/ours", &certificate.key, ""));
    let expires =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    let claims = json!({ "action": "publish", "streams": "live/*", "exp": expires.as_secs() });
    let token = encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap();
    let publish = |name: usize| {
        let name = format!("live/{name}?jwt={token}");
        Rtmp::answer(&relay, Role::Publish, &name).is_ok()
    };
    eventually("the key is known", Duration::from_secs(5), || publish(0).then_some(()));
    let faults = [
        config("/other", Path::new("/no/such/key"), ""),
        config("/other", &certificate.key, "limits.connections = 0"),
        config("/other", &certificate.key, "") + "[[access]]\nstreams = '['\n",
    ];
    for (fault, count) in faults.iter().zip(1..) {
        std::fs::write(relay.dir().join("fanfare.toml"), fault).unwrap();
        relay.signal(Signal::HUP);
        relay.wait_for_logs(count, &["reload failed: nothing has changed"], SOON);
        assert!(publish(count), "{fault}");
    }
    assert_eq!(service.requests().len(), 1, "the keys were not fetched again");
}

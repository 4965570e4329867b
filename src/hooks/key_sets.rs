//! Fetches the keys that an issuer of tokens publishes. While it is down, the keys that are known stay in force.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::service::WebService;
use crate::{access::KeyRing, config::Config};

/// Fetches the set at the start, whenever its address changes, and every `jwt.jwks_refresh`.
pub(super) async fn keep_fresh(service: Rc<WebService>, key_ring: KeyRing) {
    let mut address = String::new();
    let mut due = Instant::now();
    loop {
        let config = service.config();
        if config.jwt.jwks_url != address {
            address.clone_from(&config.jwt.jwks_url);
            due = Instant::now();
        }
        if !address.is_empty() && Instant::now() >= due {
            let refresh = config.jwt.jwks_refresh;
            due = Instant::now()
                + match fetch(&service, &config).await {
                    // A reload that came meanwhile has another issuer.
                    Ok(_) if service.config().jwt.jwks_url != address => Duration::ZERO,
                    Ok(set) => use_set(&key_ring, &address, &set, refresh),
                    Err(error) => failed(&address, &error, refresh),
                };
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn fetch(service: &WebService, config: &Config) -> Result<String, String> {
    let client = service.client(&config.hooks)?;
    let fetched = async {
        let response = client.get(&config.jwt.jwks_url).await?;
        match response.status {
            200 => response.body().await,
            status => Err(format!("status {status}")),
        }
    };
    let body =
        timeout(FETCH_WITHIN, fetched).await.map_err(|_| format!("no answer within {FETCH_WITHIN:?}"))??;
    String::from_utf8(body).map_err(|_| "not UTF-8".to_owned())
}

/// Returns when to fetch again.
fn use_set(key_ring: &KeyRing, address: &str, set: &str, refresh: Duration) -> Duration {
    match key_ring.set_jwks(set) {
        Ok(keys) => {
            tracing::debug!(keys, "keys of tokens fetched");
            refresh
        }
        Err(error) => failed(address, &error, refresh),
    }
}

fn failed(address: &str, error: &str, refresh: Duration) -> Duration {
    // Its query may contain a secret.
    let address = address.split('?').next().unwrap_or_default();
    tracing::warn!(address, error, "keys of tokens not fetched: the known ones stay in force");
    refresh.min(RETRY)
}

/// How soon a reload is seen.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nothing waits for it.
const FETCH_WITHIN: Duration = Duration::from_secs(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(30);

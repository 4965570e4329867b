//! One certificate from an authority: account, order, proof over HTTP (RFC 8555 §8.3), key and certificate.

use std::{fs, io, sync::Arc, time::Duration};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};

use super::client::Client;
use crate::{
    certificates::{Renewals, Store},
    config::Tls,
};

/// Asks less and less often, until the limit for all of it has passed.
const RETRIES: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(240));

/// A new key and the certificates for it, its own first, in PEM.
///
/// # Errors
/// Why there is none, as one line.
pub(super) async fn issue(
    tls: &Tls,
    store: &Store,
    name: &str,
    renewals: &Arc<Renewals>,
) -> Result<String, String> {
    let account = account(tls, store).await?;
    let identifiers = [Identifier::Dns(name.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await.map_err(shown)?;
    // Each is answered until the end of this function.
    let mut offers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(shown)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(ChallengeType::Http01);
        let mut challenge = challenge.ok_or("the authority offers no proof over HTTP (http-01)")?;
        let key_authorization = challenge.key_authorization().as_str().to_owned();
        offers.push(renewals.offer(challenge.token.clone(), key_authorization));
        challenge.set_ready().await.map_err(shown)?;
    }
    match order.poll_ready(&RETRIES).await {
        Ok(OrderStatus::Ready) => {}
        outcome => {
            let reason = refusal(&mut order).await;
            let otherwise = || outcome.map_or_else(shown, |status| format!("the order is {status:?}"));
            return Err(reason.unwrap_or_else(otherwise));
        }
    }
    let key = order.finalize().await.map_err(shown)?;
    let chain = order.poll_certificate(&RETRIES).await.map_err(shown)?;
    Ok(format!("{key}{chain}"))
}

/// The stored account, or a new one.
async fn account(tls: &Tls, store: &Store) -> Result<Account, String> {
    let client = || Ok::<_, String>(Account::builder_with_http(Box::new(Client::new(&tls.acme_ca_file)?)));
    let file = store.account();
    let in_file = |error: String| format!("{}: {error}", file.display());
    match fs::read_to_string(&file) {
        Ok(text) => {
            let credentials: AccountCredentials =
                serde_json::from_str(&text).map_err(|error| in_file(error.to_string()))?;
            return client()?.from_credentials(credentials).await.map_err(shown);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(in_file(error.to_string())),
    }
    let contact = format!("mailto:{}", tls.acme_email);
    let contacts = if tls.acme_email.is_empty() { &[][..] } else { &[&*contact] };
    let new = NewAccount {
        contact: contacts,
        terms_of_service_agreed: tls.acme_terms_agreed,
        only_return_existing: false,
    };
    let (account, credentials) =
        client()?.create(&new, tls.acme_directory.clone(), None).await.map_err(shown)?;
    let text = serde_json::to_string(&credentials).map_err(|error| error.to_string())?;
    store.write(&file, &text).map_err(|error| in_file(error.to_string()))?;
    tracing::info!(file = %file.display(), "account with the authority opened");
    Ok(account)
}

/// What the authority says is wrong with a proof.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(problem.to_string());
        }
    }
    None
}

/// As one line, with what caused it.
fn shown(error: Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text.replace('\n', " ")
}

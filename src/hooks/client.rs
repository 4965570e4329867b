//! The HTTP client: connections that are used again, `http://` and `https://`. Follows no redirect.

use std::{
    error::Error,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{
    Uri,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use sha2::Sha256;

use super::request::{Format, Request};

/// Sends requests.
pub(super) struct Client {
    hyper: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    ca_file: PathBuf,
}

/// A response whose body has not been read.
pub(super) struct Response {
    pub status: u16,
    pub location: Option<String>,
    body: Incoming,
}

impl Client {
    /// Trusts the authorities in this file, or those of the system.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn new(ca_file: &Path) -> Result<Self, String> {
        let mut http = HttpConnector::new();
        // `https://` is for the connector around this one.
        http.enforce_http(false);
        http.set_nodelay(true);
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
        let hyper = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(https.wrap_connector(http));
        Ok(Self { hyper, ca_file: ca_file.to_owned() })
    }

    /// Whether it trusts this file.
    pub(super) fn trusts(&self, ca_file: &Path) -> bool {
        self.ca_file == ca_file
    }

    /// Sends a request, signed if there is a secret, and waits for the head of the response.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn send(
        &self,
        address: &str,
        request: &Request,
        secret: Option<&str>,
    ) -> Result<Response, String> {
        let is_query = request.format == Format::Query;
        let (address, body) = match is_query {
            true => {
                let separator = if address.contains('?') { '&' } else { '?' };
                (format!("{address}{separator}{}", request.text), String::new())
            }
            false => (address.to_owned(), request.text.clone()),
        };
        let mut builder = hyper::Request::builder()
            .method(if is_query { "GET" } else { "POST" })
            .uri(Uri::try_from(address).map_err(|error| error.to_string())?)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*");
        if !is_query {
            let content_type = if request.format == Format::Json {
                "application/json"
            } else {
                "application/x-www-form-urlencoded"
            };
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        if let Some(secret) = secret {
            builder = builder.header(SIGNATURE, signature(secret, &request.text));
        }
        let request = builder.body(Full::from(body)).map_err(|error| error.to_string())?;
        let response = self.hyper.request(request).await.map_err(|error| innermost(&error))?;
        Ok(Response::new(response))
    }

    /// Fetches JSON.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn get(&self, address: &str) -> Result<Response, String> {
        let request =
            hyper::Request::get(address).header(USER_AGENT, AGENT).header(ACCEPT, "application/json");
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let response = self.hyper.request(request).await.map_err(|error| innermost(&error))?;
        Ok(Response::new(response))
    }
}

impl Response {
    fn new(response: hyper::Response<Incoming>) -> Self {
        let location = response.headers().get(LOCATION);
        let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { status: response.status().as_u16(), location, body: response.into_body() }
    }

    /// The body.
    ///
    /// # Errors
    /// It is too large, or broken.
    pub(super) async fn body(mut self) -> Result<Vec<u8>, String> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| innermost(&error))?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            if bytes.len() > MAX_BODY_BYTES {
                return Err(format!("the body is larger than {} KiB", MAX_BODY_BYTES >> 10));
            }
        }
        Ok(bytes.into())
    }

    /// The body does not matter. It is read to its end if that is near, so that the connection can be used again.
    pub(super) fn discard(self) {
        tokio::spawn(async move {
            // Its error is that the connection is not used again.
            let _ = tokio::time::timeout(DISCARD_WITHIN, self.body()).await;
        });
    }
}

fn roots(ca_file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if ca_file.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::debug!(errors = ?found.errors, "the system has no certificates of authorities");
        }
        return Ok(roots);
    }
    let explain = |error: &dyn Error| format!("hooks.ca_file: {}: {error}", ca_file.display());
    let file = File::open(ca_file).map_err(|error| explain(&error))?;
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        roots.add(certificate.map_err(|error| explain(&error))?).map_err(|error| explain(&error))?;
    }
    match roots.is_empty() {
        true => Err(format!("hooks.ca_file: {}: it contains no certificate", ca_file.display())),
        false => Ok(roots),
    }
}

/// `sha256=` and the HMAC-SHA256 of what is sent, in hexadecimal.
fn signature(secret: &str, text: &str) -> HeaderValue {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
    mac.update(text.as_bytes());
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("sha256={digits}")).expect("letters and digits")
}

/// What failed at the bottom: `Connection refused`, not `client error (Connect)`.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

const AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));
const SIGNATURE: HeaderName = HeaderName::from_static("x-fanfare-signature");
/// Shorter than services keep an idle connection: Node.js closes it after 5 s.
const IDLE: Duration = Duration::from_secs(4);
/// As many as there may be requests by default.
const MAX_IDLE: usize = 64;
/// The head of a response.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Answers have less than 1 KiB, JWK Sets a few.
const MAX_BODY_BYTES: usize = 64 << 10;
/// For what is left of a body that does not matter.
const DISCARD_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '{"a":1}' | openssl dgst -sha256 -hmac secret`
    #[test]
    fn the_signature_is_that_of_openssl() {
        let expected = "sha256=aa9e2e3575f5d7098b6caccd790888c36d5fdb63342a73bada2d6a51747a8494";
        assert_eq!(signature("secret", "{\"a\":1}"), expected);
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        for (file, what) in [("/no/such/file", "No such file"), ("/dev/null", "it contains no certificate")] {
            let error = Client::new(file.as_ref()).err().expect("it cannot be used");
            assert!(
                error.starts_with(&format!("hooks.ca_file: {file}: ")) && error.contains(what),
                "{error}"
            );
        }
    }
}

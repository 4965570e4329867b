//! The HTTP client that speaks to the authority, over HTTPS only.

use std::{path::Path, pin::Pin, sync::Arc};

use bytes::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use crate::certificates;

/// Sends requests.
pub(super) struct Client(HyperClient<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>);

impl Client {
    /// Trusts the authorities in this file, or those of the system.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn new(ca_file: &Path) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
        Ok(Self(HyperClient::builder(TokioExecutor::new()).build(https.build())))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let response = self.0.request(request);
        Box::pin(async move {
            response.await.map(BytesResponse::from).map_err(|error| Error::Other(Box::new(error)))
        })
    }
}

fn roots(ca_file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if ca_file.as_os_str().is_empty() {
        // Some of the system's may be too old for rustls.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err("the system has no authorities".to_owned()) } else { Ok(roots) };
    }
    let in_file = |error: String| format!("tls.acme_ca_file: {}: {error}", ca_file.display());
    for certificate in certificates::in_file(ca_file).map_err(in_file)? {
        roots.add(certificate).map_err(|error| in_file(error.to_string()))?;
    }
    Ok(roots)
}

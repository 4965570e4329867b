//! Compresses JSON for clients that accept it: a list of hundreds of streams is twenty times smaller then. The whole
//! response at once, so that its size is known and counted as memory; live bodies and events never come here.

use std::io::Write;

use axum::{
    body::{Body, HttpBody, to_bytes},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};

/// Smaller responses fit into one or two packets as they are.
const MIN_BYTES: u64 = 1_400;

/// The response, compressed if it is JSON and the client accepts it. `request` are the headers of the request.
pub(super) async fn compress(request: &HeaderMap, response: Response) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let is_large = response.body().size_hint().exact().is_some_and(|bytes| bytes >= MIN_BYTES);
    if !is_json || !is_large {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !accepts_gzip(request) {
        return Response::from_parts(head, body);
    }
    // The body is in memory, so reading it does not fail; neither does writing to memory.
    let plain = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    match encoder.write_all(&plain).and_then(|()| encoder.finish()) {
        Ok(bytes) => {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(bytes))
        }
        Err(_) => Response::from_parts(head, Body::from(plain)),
    }
}

/// Accept-Encoding is a list of names, each with an optional weight, of which 0 means no.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::{Json, response::IntoResponse};
    use flate2::read::GzDecoder;

    use super::*;

    fn request(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))])
    }

    #[tokio::test]
    async fn large_json_is_compressed_for_a_client_that_accepts_it() {
        let plain = serde_json::json!({"streams": vec!["live/live_stream"; 1_000]});
        let compressed = compress(&request("deflate, gzip;q=0.5"), Json(&plain).into_response()).await;
        assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(compressed.headers()[header::VARY], "accept-encoding");
        let bytes = to_bytes(compressed.into_body(), usize::MAX).await.unwrap();
        assert!(bytes.len() < 500, "{}", bytes.len());
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain.to_string());
    }

    #[tokio::test]
    async fn other_responses_stay_as_they_are() {
        let large = || Json(vec![0; 5_000]).into_response();
        let text = "x".repeat(5_000).into_response();
        let is_plain = |response: Response| !response.headers().contains_key(header::CONTENT_ENCODING);
        for accept in ["", "br", "gzip;q=0", "gzip; q=0.0", "xgzip"] {
            assert!(is_plain(compress(&request(accept), large()).await), "{accept}");
        }
        assert!(is_plain(compress(&HeaderMap::new(), large()).await));
        assert!(is_plain(compress(&request("gzip"), text).await), "not JSON");
        assert!(is_plain(compress(&request("gzip"), Json(0).into_response()).await), "small");
    }
}

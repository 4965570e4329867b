//! The page: serves the files under `web/`, which are compiled into the binary.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::HttpError;

#[derive(RustEmbed)]
#[folder = "web/"]
#[exclude = "README*"]
#[exclude = "*.md"]
#[exclude = "test*"]
#[exclude = ".*"]
struct Files;

/// The page runs only its own code, and no other site may embed it.
const POLICY: &str = "default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:; \
                      connect-src 'self' ws: wss:; style-src 'self'; script-src 'self'; \
                      worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `/` is the page itself.
pub(super) async fn index(headers: HeaderMap) -> Response {
    file("index.html", &headers)
}

/// `/assets/…`: all files of the page.
pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    file(uri.path().trim_start_matches("/assets/"), &headers)
}

fn file(path: &str, request: &HeaderMap) -> Response {
    let Some(file) = Files::get(path) else {
        return HttpError::not_found("the page has no such file").into_response();
    };
    let tag = tag(&file);
    let mut headers = HeaderMap::new();
    // Browsers cache it but revalidate: the next start may serve another page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if matches(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    if let Ok(kind) = HeaderValue::from_str(kind(&file)) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    (headers, file.data).into_response()
}

/// Text files are UTF-8, which the type alone does not say.
fn kind(file: &EmbeddedFile) -> &str {
    match file.metadata.mimetype() {
        "text/html" => "text/html; charset=utf-8",
        "text/css" => "text/css; charset=utf-8",
        "text/javascript" | "application/javascript" => "text/javascript; charset=utf-8",
        other => other,
    }
}

fn tag(file: &EmbeddedFile) -> String {
    let hash: String = file.metadata.sha256_hash()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hash}\"")
}

/// Whether If-None-Match has this tag, weak or strong: for files both are the same.
fn matches(request: &HeaderMap, tag: &str) -> bool {
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_in_the_binary_without_notes_and_hidden_files() {
        assert!(Files::get("index.html").is_some());
        let about = Files::iter().find(|path| path.ends_with(".md") || path.starts_with('.'));
        assert_eq!(about, None);
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let first = file("index.html", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let again = |value: String| {
            let value = HeaderValue::from_str(&value).unwrap();
            file("index.html", &HeaderMap::from_iter([(header::IF_NONE_MATCH, value)])).status()
        };
        let tag = tag.to_str().unwrap();
        assert_eq!(again(tag.to_owned()), StatusCode::NOT_MODIFIED);
        assert_eq!(again(format!("\"other\", W/{tag}")), StatusCode::NOT_MODIFIED);
        assert_eq!(again("\"other\"".to_owned()), StatusCode::OK);
    }

    #[test]
    fn no_path_leads_outside_the_page() {
        for path in ["../Cargo.toml", "/etc/passwd", "", "assets/../index.html"] {
            assert_eq!(file(path, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn no_file_has_the_path_of_a_stream() {
        assert!(Files::iter().all(|path| !path.ends_with(".flv")), "an app may be called assets");
    }
}

//! Which paths of the HTTP port belong to the API, and thus which names no stream can have: a published stream must be
//! watchable by every protocol at the same address.

/// Whether a path belongs to a version of the API: `/api/v1/…`, and future versions. The page's own files and the
/// other routes never end as a stream's path does, so an app may be named `api`, `assets` or `metrics` all the same.
pub fn is_of_api(path: &str) -> bool {
    let version = path.strip_prefix("/api/v").and_then(|rest| rest.split_once('/'));
    version.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the stream `app/name` would be at a path of the API.
pub fn is_reserved(name: &str) -> bool {
    is_of_api(&format!("/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_api_are_reserved_and_nothing_else() {
        for name in ["api/v1/x", "api/v1/streams/live/a/still", "api/v2/x", "api/v10/x"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in [
            "api/x",
            "api/v/x",
            "api/v1",
            "api/v1x/y",
            "api",
            "apis/v1/x",
            "live/api/v1/x",
            "API/v1/x",
            "assets/x",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}

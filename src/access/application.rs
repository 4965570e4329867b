//! The normal form of an application's name, as streams have it in front of theirs.

use std::borrow::Cow;

use super::shown::decoded;

/// Without what clients add to an application's name, so that none of its forms evades a rule: percent encodings, empty
/// components, the name of the default instance, types of files.
pub(super) fn normal(application: &str) -> Cow<'_, str> {
    let is_normal = |component: &str| !component.is_empty() && without_type(component) == component;
    let is_plain = !application.contains('%') && application.split('/').all(is_normal);
    if is_plain && !application.contains(DEFAULT_INSTANCE) {
        return Cow::Borrowed(application);
    }
    let text = decoded(application);
    let components = text.split('/').map(without_type);
    let components = components.filter(|component| !component.is_empty() && *component != DEFAULT_INSTANCE);
    Cow::Owned(components.collect::<Vec<_>>().join("/"))
}

fn without_type(component: &str) -> &str {
    TYPES.iter().find_map(|prefix| component.strip_prefix(prefix)).unwrap_or(component)
}

/// As Flash Media Server calls it.
const DEFAULT_INSTANCE: &str = "_definst_";
/// That Flash clients put before a name.
const TYPES: [&str; 6] = ["flv:", "mp4:", "mp3:", "f4v:", "id3:", "raw:"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_an_application_is_the_same() {
        for form in
            ["live", "live/", "/live", "//live//", "live/_definst_", "_definst_/live", "flv:live", "%6cive"]
        {
            assert_eq!(normal(form), "live", "{form}");
        }
        assert_eq!(normal("a//b/"), "a/b");
        assert_eq!(normal("a%2Fb"), "a/b");
        assert_eq!(normal("live_definst_"), "live_definst_");
        assert_eq!((normal(""), normal("/")), ("".into(), "".into()));
    }
}

//! Secrets in a configuration: written there, in a file of their own, or in the environment. Never shown.

use std::{ffi::OsString, fmt, io::ErrorKind, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::secret_file::{read_file, read_private_file};

/// Several secrets, all of them valid at once, and where they come from.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    sources: Vec<Source>,
    /// What the sources contained when they were read.
    values: Vec<String>,
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Source {
    /// It is this text.
    Text(String),
    /// Each line of this file is one. Only its owner and its group may have access to it.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// It is in an environment variable, or each of its lines is one.
    Environment {
        /// Its name.
        env: String,
    },
    /// systemd passes it to the service (`LoadCredential=`), and each of its lines is one.
    Credential {
        /// Its name.
        credential: String,
    },
}

impl Secrets {
    /// These texts.
    pub fn of_texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values: Vec<String> = texts.into_iter().map(Into::into).collect();
        Self { sources: values.iter().cloned().map(Source::Text).collect(), values }
    }

    /// Those in a file, each of which has at least this many bytes.
    ///
    /// # Errors
    /// The file and what is wrong with it, as one line.
    pub fn of_file(file: PathBuf, min_bytes: usize) -> Result<Self, String> {
        let mut secrets = Self { sources: vec![Source::File { file }], values: Vec::new() };
        secrets.read(min_bytes, &|_| None).map(|()| secrets)
    }

    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Each of them, once files and variables have been read: see [`super::Config::with_secret_files`].
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The same with `***` in place of each secret that is written here.
    pub(super) fn without_secrets(&self) -> Self {
        let hide = |source: &Source| match source {
            Source::Text(_) => Source::Text(SECRET.to_owned()),
            source => source.clone(),
        };
        Self { sources: self.sources.iter().map(hide).collect(), values: Vec::new() }
    }

    /// Checks those that are known so far. The error contains none of them.
    pub(super) fn check(&self, min_bytes: usize) -> Result<(), String> {
        self.values.iter().try_for_each(|secret| check(secret, min_bytes))
    }

    /// Reads those that are in files and variables, and checks all. The error is the source and what is wrong with it.
    pub(super) fn read(
        &mut self,
        min_bytes: usize,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<(), String> {
        self.values.clear();
        for source in &self.sources {
            let (name, found) = match source {
                Source::Text(text) => (String::new(), Ok(vec![text.clone()])),
                Source::File { file } => (
                    format!("{}: ", file.display()),
                    read_private_file(file).map(|text| lines(&text)).map_err(|error| error.to_string()),
                ),
                Source::Environment { env } => {
                    (format!("environment variable {env}: "), value_of(variable(env)))
                }
                Source::Credential { credential } => {
                    let found =
                        read_credential(credential, variable(CREDENTIALS).filter(|it| !it.is_empty()));
                    (format!("credential {credential}: "), found)
                }
            };
            let secrets = found.and_then(|secrets| match secrets.as_slice() {
                [] => Err("no secret".to_owned()),
                _ => secrets.iter().try_for_each(|secret| check(secret, min_bytes)).map(|()| secrets),
            });
            self.values.extend(secrets.map_err(|what| name + &what)?);
        }
        match self.values.len() {
            0..=MAX_SECRETS => Ok(()),
            count => Err(format!("{count} secrets are too many: at most {MAX_SECRETS}")),
        }
    }
}

/// Only the service can read what is in this directory.
fn read_credential(name: &str, directory: Option<OsString>) -> Result<Vec<String>, String> {
    // Not a path to anything else.
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err("not the name of a credential".to_owned());
    }
    let directory = directory.map(PathBuf::from).ok_or(
        "only a service has it, by LoadCredential= in its unit: $CREDENTIALS_DIRECTORY is not set here",
    )?;
    match read_file(&directory.join(name)) {
        Ok(text) => Ok(lines(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("the service has none of this name: see LoadCredential= in its unit".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn value_of(value: Option<OsString>) -> Result<Vec<String>, String> {
    let value = value.ok_or("is not set")?;
    let text = value.into_string().map_err(|_| "not UTF-8")?;
    Ok(lines(&text))
}

/// Each line that is not empty.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn check(secret: &str, min_bytes: usize) -> Result<(), String> {
    let length = secret.len();
    if !(min_bytes..=MAX_SECRET_BYTES).contains(&length) {
        return Err(format!("a secret here has {min_bytes} to {MAX_SECRET_BYTES} bytes, not {length}"));
    }
    if secret == SECRET {
        return Err(format!("`{SECRET}` stands for a secret that was not shown: it cannot be one"));
    }
    match secret.chars().any(char::is_control) {
        true => Err("a secret has no line break or other control character".to_owned()),
        false => Ok(()),
    }
}

/// The variable with the directory of what systemd passes to a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Shown in place of a secret.
pub(super) const SECRET: &str = "***";
/// An address over RTMP has 4 KiB.
const MAX_SECRET_BYTES: usize = 1024;
/// Each of them is compared, each time.
const MAX_SECRETS: usize = 256;

/// Shows where they come from, and none of them.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.sources.len())
    }
}

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sources.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sources = deserializer.deserialize_any(OneOrMore)?;
        let texts = sources.iter().filter_map(|source| match source {
            Source::Text(text) => Some(text.clone()),
            Source::File { .. } | Source::Environment { .. } | Source::Credential { .. } => None,
        });
        Ok(Self { values: texts.collect(), sources })
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneSource)
    }
}

/// One secret. An error never repeats what was found, which may be the secret.
struct OneSource;

impl<'de> Visitor<'de> for OneSource {
    type Value = Source;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Source, E> {
        Ok(Source::Text(text.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Source, M::Error> {
        let wrong = || {
            de::Error::custom("expected a text, { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }")
        };
        let source = match map.next_key::<String>()?.as_deref() {
            Some("file") => Source::File { file: map.next_value().map_err(|_: M::Error| wrong())? },
            Some("env") => Source::Environment { env: map.next_value().map_err(|_: M::Error| wrong())? },
            Some("credential") => {
                Source::Credential { credential: map.next_value().map_err(|_: M::Error| wrong())? }
            }
            _ => return Err(wrong()),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(wrong());
        }
        Ok(source)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Source, E> {
        Err(E::custom("expected a text in quotes"))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Source, E> {
        Err(E::custom("expected a text in quotes"))
    }
}

/// One secret or a list of them.
struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Vec<Source>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }, or a list of these")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<Source>, E> {
        OneSource.visit_str(text).map(|source| vec![source])
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Vec<Source>, M::Error> {
        OneSource.visit_map(map).map(|source| vec![source])
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vec<Source>, S::Error> {
        let mut sources = Vec::new();
        while let Some(source) = list.next_element()? {
            sources.push(source);
        }
        Ok(sources)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Vec<Source>, E> {
        OneSource.visit_i64(number).map(|source| vec![source])
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Vec<Source>, E> {
        OneSource.visit_f64(number).map(|source| vec![source])
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        keys: Secrets,
    }

    fn read(toml: &str) -> Result<Vec<String>, String> {
        let mut keys = toml::from_str::<File>(toml).map_err(|error| error.message().to_owned())?.keys;
        let variable = |name: &str| (name == "OUR_KEY").then(|| "from-a-variable\nand-another\n".into());
        keys.read(1, &variable).map(|()| keys.values().to_vec())
    }

    fn file(folder: &Path, text: &str, mode: u32) -> String {
        let file = folder.join("keys");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file.display().to_string()
    }

    #[test]
    fn secrets_are_texts_lines_of_files_and_variables() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "first-of-file\r\n\n second \n", 0o640);
        assert_eq!(read("keys = 'one'"), Ok(vec!["one".to_owned()]));
        assert_eq!(read("keys = ['one']"), Ok(vec!["one".to_owned()]));
        assert_eq!(read("keys = { env = 'OUR_KEY' }").unwrap().len(), 2);
        assert_eq!(read("keys = []"), Ok(vec![]));
        let all = format!("keys = ['one', {{ file = '{file}' }}, {{ env = 'OUR_KEY' }}]");
        let expected = ["one", "first-of-file", " second", "from-a-variable", "and-another"];
        assert_eq!(read(&all), Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let open = file(folder.path(), "our-secret\n", 0o644);
        for (toml, expected) in [
            ("keys = 5", "expected a text in quotes"),
            (
                "keys = true",
                "a text, { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }, or a list of these",
            ),
            ("keys = [12345]", "expected a text in quotes"),
            ("keys = { file = 5 }", "expected a text, { file"),
            ("keys = {}", "expected a text, { file"),
            ("keys = ''", "a secret here has 1 to 1024 bytes, not 0"),
            ("keys = '***'", "`***` stands for a secret"),
            ("keys = [\"our-secret\\n\"]", "a secret has no line break"),
            ("keys = { env = 'NOT_OURS' }", "environment variable NOT_OURS: is not set"),
            ("keys = { file = '/no/such/file' }", "/no/such/file: No such file"),
            ("keys = { file = '/dev/null' }", "/dev/null: other users can access it"),
            ("keys = [{ file = '/a', env = 'our-secret' }]", "a text, { file"),
            (&format!("keys = {{ file = '{open}' }}"), "other users can access it (mode 644); chmod 600 it"),
        ] {
            let error = read(toml).unwrap_err();
            assert!(error.contains(expected) && !error.contains("our-secret"), "{toml}: {error}");
        }
        let empty = file(folder.path(), "\n \n", 0o600);
        assert!(read(&format!("keys = {{ file = '{empty}' }}")).unwrap_err().ends_with("keys: no secret"));
    }

    #[test]
    fn credentials_are_what_systemd_passes_to_the_service() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "first\nsecond\n", 0o444);
        let with = |directory: Option<&Path>, toml: &str| {
            let mut keys = toml::from_str::<File>(toml).unwrap().keys;
            let variable =
                |name: &str| directory.filter(|_| name == "CREDENTIALS_DIRECTORY").map(|it| it.into());
            keys.read(1, &variable).map(|()| keys.values().to_vec())
        };
        let (service, named) = (Some(folder.path()), "keys = { credential = 'keys' }");
        assert_eq!(with(service, named), Ok(vec!["first".to_owned(), "second".to_owned()]));
        for (directory, toml, expected) in [
            (None, named, "credential keys: only a service has it"),
            (Some(Path::new("")), named, "credential keys: only a service has it"),
            (
                service,
                "keys = { credential = 'others' }",
                "credential others: the service has none of this name",
            ),
            (service, "keys = { credential = '../keys' }", "not the name of a credential"),
            (service, "keys = { credential = '' }", "not the name of a credential"),
            (service, "keys = { credential = '..' }", "not the name of a credential"),
        ] {
            let error = with(directory, toml).unwrap_err();
            assert!(error.contains(expected), "{toml}: {error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let mut keys = toml::from_str::<File>("keys = ['our-secret', { env = 'OUR_KEY' }]").unwrap().keys;
        keys.read(1, &|_| Some("our-secret".into())).unwrap();
        let shown = format!(
            "{keys:?} {}",
            toml::to_string(
                &[("keys", keys.without_secrets())].into_iter().collect::<std::collections::BTreeMap<_, _>>()
            )
            .unwrap()
        );
        assert!(
            !shown.contains("our-secret") && shown.contains("***") && shown.contains("OUR_KEY"),
            "{shown}"
        );
        assert!(keys.without_secrets().values().is_empty());
    }
}

//! Options from the environment: `FANFARE_PLAY_MAX_LAG` is `play.max_lag`. Secrets also from systemd's credentials.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, fault::Fault, secret, text::in_terms_of_the_file};

/// With what the variables begin. The rest is the option's key in capitals, with `_` in place of the dot.
const PREFIX: &str = "FANFARE_";
/// What other parts of the program read: which file, and the log's filter.
const NO_OPTIONS: [&str; 2] = ["CONFIG", "LOG"];
/// Names of credentials.
const TOKEN: &str = "fanfare.api.token";
const READ_TOKEN: &str = "fanfare.api.read_token";

/// A variable that begins like an option and is none.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// Its name.
    pub variable: String,
    /// The variable of an option that is called the same in its table: `FANFARE_LISTEN_RTMP` for `FANFARE_RTMP`.
    pub similar: Option<String>,
}

impl Config {
    /// This configuration with the options that these environment variables set. A list has commas between its entries,
    /// or is written as in a file, in brackets. Variables of other programs may begin alike, so only those that begin
    /// with a table's name must be options; [`Config::ignored_variables`] names the others.
    ///
    /// # Errors
    /// The variable and what is wrong with it, as one line.
    pub fn with_environment(
        self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, String> {
        let mut config = self;
        let mut own = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let value = value.to_str().ok_or_else(|| format!("{PREFIX}{name}: not UTF-8"))?;
            if !is_of_kubernetes(name, value) {
                own.push((name.to_owned(), value.to_owned()));
            }
        }
        // Either one replaces the other in the file.
        let is_set = |wanted: &str| own.iter().any(|(name, value)| name == wanted && !value.is_empty());
        if is_set("API_READ_TOKEN") {
            config.api.read_token_file = PathBuf::new();
        }
        if is_set("API_READ_TOKEN_FILE") {
            config.api.read_token = String::new();
        }
        for (name, value) in own {
            config = config.with_option(&name, &value).map_err(|what| format!("{PREFIX}{name}: {what}"))?;
        }
        config.check().map_err(|Fault { key, what }| format!("{}: {what}", variable_of(key)))?;
        Ok(config)
    }

    /// This configuration with the secrets in systemd's credentials directory (`LoadCredential=fanfare.api.token:FILE`).
    /// A credential of another name that begins with `fanfare.api.` is an error, because without its secret the relay would
    /// show more.
    ///
    /// # Errors
    /// The file and what is wrong with it, as one line. It does not contain the secret.
    pub fn with_credentials(mut self, directory: &Path) -> Result<Config, String> {
        let entries = fs::read_dir(directory).map(|entries| entries.flatten().collect()).unwrap_or(vec![]);
        let is_unknown =
            |name: &str| name.starts_with("fanfare.api.") && ![TOKEN, READ_TOKEN].contains(&name);
        if let Some(entry) = entries.iter().find(|entry| entry.file_name().to_str().is_some_and(is_unknown)) {
            let file = entry.path();
            let file = file.display();
            return Err(format!("{file}: there is no such credential, only {TOKEN} and {READ_TOKEN}"));
        }
        let credential = |name: &str| {
            let file = directory.join(name);
            match secret::read_credential(&file) {
                Ok(token) => Ok(Some(token)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{}: {error}", file.display())),
            }
        };
        if let Some(token) = credential(TOKEN)? {
            self.api.token = token;
        }
        if let Some(token) = credential(READ_TOKEN)? {
            (self.api.read_token, self.api.read_token_file) = (token, PathBuf::new());
        }
        Ok(self)
    }

    /// The variables among these that begin like options and are none, in order: probably misspelled.
    pub fn ignored_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Ignored> {
        let mut table: Table = Config::default().to_toml().parse().expect("a configuration reads back");
        let tables: Vec<String> = table
            .iter()
            .filter(|(_, value)| value.is_table())
            .map(|(key, _)| key.to_ascii_uppercase())
            .collect();
        let mut ignored: Vec<Ignored> = variables
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.to_str()?.strip_prefix(PREFIX)?;
                // Which users there are is in the file: another one's variable was an error.
                let is_user = name.starts_with("USERS_");
                let is_known = is_user || NO_OPTIONS.contains(&name) || find(&mut table, name).is_some();
                if is_known || is_of_kubernetes(name, &value.to_string_lossy()) {
                    return None;
                }
                let mut in_tables = tables.iter().map(|table| format!("{table}_{name}"));
                let similar = in_tables.find(|name| find(&mut table, name).is_some());
                let with_prefix = |name: &str| format!("{PREFIX}{name}");
                Some(Ignored { variable: with_prefix(name), similar: similar.as_deref().map(with_prefix) })
            })
            .collect();
        ignored.sort_unstable();
        ignored
    }

    fn with_option(self, name: &str, text: &str) -> Result<Config, String> {
        let mut table: Table = self.to_toml().parse().expect("a configuration reads back");
        let begins_like_an_option = begins_with_a_table(&table, name);
        let option = match find(&mut table, name) {
            Some(option) => option,
            None if begins_like_an_option => return Err("there is no such option".to_owned()),
            None => return Ok(self),
        };
        *option = parse(option, text)?;
        let parsed: Result<Config, _> = Value::Table(table).try_into();
        let mut config = parsed.map_err(|error| in_terms_of_the_file(error.message()))?;
        config.mark_defaults();
        Ok(config)
    }
}

/// The option that is called `name` in the environment.
fn find<'a>(table: &'a mut Table, name: &str) -> Option<&'a mut Value> {
    table.iter_mut().find_map(|(key, value)| {
        let rest = name.strip_prefix(&*key.to_ascii_uppercase())?;
        match value {
            Value::Table(inner) => find(inner, rest.strip_prefix('_')?),
            _ => rest.is_empty().then_some(value),
        }
    })
}

/// Whether Kubernetes has set a variable: it does for each service, and one may be called fanfare, or fanfare-api.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let has_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let name = format!("_{name}");
    // `FANFARE_PORT_1935_TCP_ADDR`.
    let is_about_a_port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let parts: Vec<&str> = rest.split('_').collect();
        matches!(parts[..], [port, _, "ADDR" | "PORT" | "PROTO"] if port.parse::<u16>().is_ok())
    });
    has_url || is_about_a_port || name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
}

/// Whether a variable is probably meant for an option.
fn begins_with_a_table(table: &Table, name: &str) -> bool {
    let mut tables =
        table.iter().filter(|(_, value)| value.is_table()).map(|(key, _)| key.to_ascii_uppercase());
    tables.any(|key| name.strip_prefix(&*key).is_some_and(|rest| rest.starts_with('_')))
}

/// The text as a value of the same type as the one that the option has.
fn parse(old: &Value, text: &str) -> Result<Value, String> {
    Ok(match old {
        Value::Integer(_) => {
            Value::Integer(text.parse().map_err(|_| format!("`{text}` is not a whole number"))?)
        }
        Value::Boolean(_) => {
            Value::Boolean(text.parse().map_err(|_| format!("`{text}` is not true or false"))?)
        }
        Value::Array(_) if text.starts_with('[') => {
            let list: Result<Table, _> = format!("list = {text}").parse();
            let mut list = list.map_err(|error| in_terms_of_the_file(error.message()))?;
            list.remove("list").ok_or("not a list")?
        }
        Value::Array(_) => {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            Value::Array(entries.map(|entry| Value::String(entry.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    })
}

/// The variable that sets the option with this key.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Config::default().with_environment(variables)
    }

    fn keys(table: &Table) -> Vec<String> {
        let of = |(name, value): (&String, &Value)| match value {
            Value::Table(inner) => keys(inner).into_iter().map(|key| format!("{name}.{key}")).collect(),
            _ => vec![name.clone()],
        };
        table.iter().flat_map(of).collect()
    }

    #[test]
    fn every_option_has_a_variable_of_its_own() {
        let mut table: Table = Config::default().to_toml().parse().unwrap();
        for key in keys(&table.clone()) {
            let name = variable_of(&key);
            let option = find(&mut table, name.strip_prefix(PREFIX).unwrap()).expect(&key);
            // Marked, so that no two keys find the same one.
            assert_ne!(*option, Value::String("found".to_owned()), "{key}");
            *option = Value::String("found".to_owned());
        }
    }

    #[test]
    fn a_variable_sets_an_option_of_any_type() {
        let config = with(&[
            ("FANFARE_CORES", "3"),
            ("FANFARE_PIN_CORES", "true"),
            ("FANFARE_PLAY_MAX_LAG", "7s"),
            ("FANFARE_LISTEN_RTMP", "127.0.0.1:1, :2"),
            ("FANFARE_LISTEN_HTTP", ""),
            ("FANFARE_STREAMS", "[{ pattern = 'private/*', listed = false }]"),
            ("FANFARE_API_TOKEN", "one-of-our-secrets"),
            ("HOME", "/root"),
        ])
        .unwrap();
        assert_eq!((config.cores, config.pin_cores), (3, true));
        assert_eq!(config.play.max_lag, Duration::from_secs(7));
        let addresses: Vec<_> = config.listen.rtmp.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:1", "0.0.0.0:2", "[::]:2"]);
        assert!(config.listen.http.is_empty() && !config.listen.is_default_http);
        assert!(!config.streams.is_listed("private/a") && config.streams.is_listed("live/a"));
        assert_eq!(config.api.token, "one-of-our-secrets");
    }

    #[test]
    fn what_is_wrong_is_one_line_with_the_variable() {
        for (name, value, expected) in [
            ("FANFARE_PLAY_MAXLAG", "7s", "there is no such option"),
            ("FANFARE_LISTEN_RTMP_PORT", "1935", "there is no such option"),
            ("FANFARE_CORES", "many", "`many` is not a whole number"),
            ("FANFARE_CORES", "257", "257 is out of range: 0 to 256"),
            ("FANFARE_PIN_CORES", "yes", "`yes` is not true or false"),
            ("FANFARE_PLAY_MAX_LAG", "7", "`7` is not a duration with a unit"),
            ("FANFARE_LISTEN_RTMP", "here", "`here` is a name"),
            ("FANFARE_API_TOKEN", "short", "a token has 8 to 1024 bytes, not 5"),
        ] {
            let error = with(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")) && error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_password_of_a_user_of_the_file_can_be_a_variable() {
        let config = Config::from_toml("f", "users.ann = 'of-the-file'").unwrap();
        let set = |name: &str| config.clone().with_environment([(name.into(), "one, another".into())]);
        let ann = set("FANFARE_USERS_ANN").unwrap().users["ann"].values().to_vec();
        assert_eq!(ann, ["one", "another"]);
        let error = set("FANFARE_USERS_EVE").unwrap_err();
        assert_eq!(error, "FANFARE_USERS_EVE: there is no such option");
    }

    #[test]
    fn variables_that_are_no_options_are_ignored() {
        let variables = [
            ("FANFARE_PORT", "tcp://10.0.0.1:1935"),
            ("FANFARE_PORT_1935_TCP_ADDR", "10.0.0.1"),
            ("FANFARE_SERVICE_HOST", "10.0.0.1"),
            // A service that is called fanfare-api.
            ("FANFARE_API_PORT", "tcp://10.0.0.1:8081"),
            ("FANFARE_API_PORT_8081_TCP", "tcp://10.0.0.1:8081"),
            ("FANFARE_API_PORT_8081_TCP_PROTO", "tcp"),
            ("FANFARE_API_SERVICE_HOST", "10.0.0.1"),
            ("FANFARE_API_SERVICE_PORT_METRICS", "8081"),
            ("FANFARE_LOG", "debug"),
            ("FANFARE_CONFIG", "/etc/fanfare.toml"),
            ("FANFARE_STREAM", "live/a"),
        ];
        assert_eq!(with(&variables).unwrap(), Config::default());
    }

    #[test]
    fn variables_that_begin_like_options_and_are_none_are_named() {
        let names = [
            "FANFARE_RTMP",
            "FANFARE_CORE",
            "FANFARE_CORES",
            "FANFARE_API_TOKEN",
            "FANFARE_USERS_ANN",
            "FANFARE_LOG",
            "FANFARE_CONFIG",
            "FANFARE_SERVICE_HOST",
            "FANFARE_PORT_1935_TCP_ADDR",
            "FANFARES",
        ];
        let variables = names.map(|name| (name.into(), "3".into()));
        let ignored = |variable: &str, similar: Option<&str>| Ignored {
            variable: variable.to_owned(),
            similar: similar.map(str::to_owned),
        };
        let expected = [ignored("FANFARE_CORE", None), ignored("FANFARE_RTMP", Some("FANFARE_LISTEN_RTMP"))];
        assert_eq!(Config::ignored_variables(variables), expected);
    }

    #[test]
    fn the_read_token_or_its_file_replaces_both_of_an_earlier_source() {
        let of = |config: &Config| {
            (config.api.read_token.clone(), config.api.read_token_file.display().to_string())
        };
        let with_token = || Config::from_toml("f", "api.read_token = 'of-the-file'").unwrap();
        let with_file = || Config::from_toml("f", "api.read_token_file = '/a/file'").unwrap();
        let set = |config: Config, name: &str, value: &str| {
            of(&config.with_environment([(name.into(), value.into())]).unwrap())
        };
        let pair = |token: &str, file: &str| (token.to_owned(), file.to_owned());
        let (token, file) = ("FANFARE_API_READ_TOKEN", "FANFARE_API_READ_TOKEN_FILE");
        assert_eq!(set(with_file(), token, "of-the-variable"), pair("of-the-variable", ""));
        assert_eq!(set(with_token(), file, "/another/file"), pair("", "/another/file"));
        assert_eq!(set(with_token(), file, ""), pair("of-the-file", ""));
        assert_eq!(set(with_file(), token, ""), pair("", "/a/file"));
        let error = with(&[(token, "of-the-variable"), (file, "/a/file")]).unwrap_err();
        assert!(error.starts_with("FANFARE_API_READ_TOKEN_FILE: read_token is set as well"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("fanfare.api.read_token"),
            "of-a-credential
",
        )
        .unwrap();
        let config = with_file().with_credentials(directory.path()).unwrap();
        assert_eq!(of(&config), pair("of-a-credential", ""));
    }

    #[test]
    fn credentials_are_secrets_that_override_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::default().with_credentials(directory.path()).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.clone().with_credentials("/no/such/directory".as_ref()), Ok(Config::default()));
        std::fs::write(directory.path().join("of-another-program"), "").unwrap();
        std::fs::write(directory.path().join("fanfare.api.token"), "one-of-our-secrets\n").unwrap();
        let config = config.with_credentials(directory.path()).unwrap();
        assert_eq!((config.api.token.as_str(), config.api.read_token.as_str()), ("one-of-our-secrets", ""));
        std::fs::write(directory.path().join("fanfare.api.read_token"), "secret with spaces").unwrap();
        let error = config.with_credentials(directory.path()).unwrap_err();
        assert!(
            error.contains("fanfare.api.read_token: a token has only") && !error.contains("spaces"),
            "{error}"
        );
        std::fs::write(directory.path().join("fanfare.api.readtoken"), "one-of-our-secrets").unwrap();
        let error = Config::default().with_credentials(directory.path()).unwrap_err();
        assert!(error.contains("fanfare.api.readtoken: there is no such credential"), "{error}");
    }
}

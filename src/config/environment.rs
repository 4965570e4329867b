//! Options from the environment: `FANFARE_PLAY_MAX_LAG` is `play.max_lag`. Secrets also from systemd's credentials.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::{Table, Value};

use super::{Config, MAX_TOKEN_BYTES, check_token, fault::Fault, text::in_terms_of_the_file};

/// With what the variables begin. The rest is the option's key in capitals, with `_` in place of the dot.
const PREFIX: &str = "FANFARE_";

impl Config {
    /// This configuration with the options that these environment variables set. A list has commas between its entries,
    /// or is written as in a file, in brackets. Variables of other programs may begin alike: Kubernetes sets
    /// `FANFARE_PORT` for a service that is called fanfare. So only those that begin with a table's name must be options.
    ///
    /// # Errors
    /// The variable and what is wrong with it, as one line.
    pub fn with_environment(
        self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, String> {
        let mut config = self;
        for (name, value) in variables {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let value = value.to_str().ok_or_else(|| format!("{PREFIX}{name}: not UTF-8"))?;
            config = config.with_option(name, value).map_err(|what| format!("{PREFIX}{name}: {what}"))?;
        }
        config.check().map_err(|Fault { key, what }| format!("{}: {what}", variable_of(key)))?;
        Ok(config)
    }

    /// This configuration with the secrets in systemd's credentials directory (`LoadCredential=fanfare.api.token:FILE`).
    ///
    /// # Errors
    /// The file and what is wrong with it, as one line. It does not contain the secret.
    pub fn with_credentials(mut self, directory: &Path) -> Result<Config, String> {
        let secrets = [("api.token", &mut self.api.token), ("api.read_token", &mut self.api.read_token)];
        for (key, secret) in secrets {
            let file = directory.join(format!("fanfare.{key}"));
            let explain = |what: String| format!("{}: {what}", file.display());
            let text = match read(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(explain(error.to_string())),
            };
            let token = text.trim_end();
            check_token(token).map_err(explain)?;
            *secret = token.to_owned();
        }
        Ok(self)
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

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    // With a line ending.
    File::open(path)?.take(MAX_TOKEN_BYTES as u64 + 2).read_to_string(&mut text)?;
    Ok(text)
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
            ("FANFARE_LISTEN_RTMP", "here", "not an address with a port"),
            ("FANFARE_API_TOKEN", "short", "a token has 8 to 1024 bytes, not 5"),
        ] {
            let error = with(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: ")) && error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn variables_that_are_no_options_are_ignored() {
        let variables = [
            ("FANFARE_PORT", "tcp://10.0.0.1:1935"),
            ("FANFARE_PORT_1935_TCP_ADDR", "10.0.0.1"),
            ("FANFARE_SERVICE_HOST", "10.0.0.1"),
            ("FANFARE_LOG", "debug"),
            ("FANFARE_CONFIG", "/etc/fanfare.toml"),
            ("FANFARE_STREAM", "live/a"),
        ];
        assert_eq!(with(&variables).unwrap(), Config::default());
    }

    #[test]
    fn credentials_are_secrets_that_override_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::default().with_credentials(directory.path()).unwrap();
        assert_eq!(config, Config::default());
        std::fs::write(directory.path().join("fanfare.api.token"), "one-of-our-secrets\n").unwrap();
        let config = config.with_credentials(directory.path()).unwrap();
        assert_eq!((config.api.token.as_str(), config.api.read_token.as_str()), ("one-of-our-secrets", ""));
        std::fs::write(directory.path().join("fanfare.api.read_token"), "secret with spaces").unwrap();
        let error = config.with_credentials(directory.path()).unwrap_err();
        assert!(
            error.contains("fanfare.api.read_token: a token has only") && !error.contains("spaces"),
            "{error}"
        );
    }
}

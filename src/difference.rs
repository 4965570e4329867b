//! What a reload, or a restart, with a configuration would change at the relay that is running: asks that for its own,
//! over HTTP, and compares.

#![forbid(unsafe_code)]

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    config::{self, Change, Config},
    control, running,
};

/// What differs. Displays as lines for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What a reload changes.
    pub at_reload: Vec<Change>,
    /// What only a restart changes.
    pub at_restart: Vec<Change>,
    /// Keys with a secret on both sides, which may be another one: a relay does not show it.
    pub not_compared: Vec<String>,
}

/// In place of a secret.
const HIDDEN: &str = "***";

/// Compares a configuration with the one of the relay that runs at `address`, or where the configuration says. The token
/// is that in `token_file`, or one of the configuration.
///
/// # Errors
/// Why the relay cannot be asked, as one line.
pub fn of(
    config: &Config,
    address: Option<SocketAddr>,
    token_file: Option<&Path>,
) -> Result<Difference, String> {
    let address = address
        .or_else(|| running::address(config))
        .ok_or("HTTP is off in this configuration: name the address of the running relay with --relay")?;
    let in_force = ask(address, &tokens(config, token_file)?)?;
    compare(&in_force, config)
}

/// Compares a configuration in JSON, without its secrets, with another one.
fn compare(running: &Value, config: &Config) -> Result<Difference, String> {
    let old: Config = serde_json::from_value(running.clone())
        .map_err(|error| format!("the relay has other options: is it of another version? {error}"))?;
    let shown = config.shown();
    let needs_restart = old.needs_restart(config);
    let (at_restart, at_reload) = config::changes(running, &shown)
        .into_iter()
        .partition(|change| needs_restart.iter().any(|key| change.key == *key));
    let not_compared = config::options(&shown)
        .into_iter()
        .filter(|(key, value)| has_secret(value) && config::options(running).get(key).is_some_and(has_secret))
        .map(|(key, _)| key);
    Ok(Difference { at_reload, at_restart, not_compared: not_compared.collect() })
}

fn has_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => text == HIDDEN,
        Value::Array(list) => list.iter().any(has_secret),
        Value::Object(table) => table.values().any(has_secret),
        _ => false,
    }
}

/// The tokens to try, in their order: the relay may have another one than this configuration.
fn tokens(config: &Config, file: Option<&Path>) -> Result<Vec<String>, String> {
    let read = |file: &Path| {
        config::read_token(file).map_err(|error| {
            format!("no token for the API: {}: {error}; name its file with --token-file", file.display())
        })
    };
    if let Some(file) = file {
        return Ok(vec![read(file)?]);
    }
    let configured = [&config.api.token, &config.api.read_token];
    let mut tokens: Vec<String> = configured.into_iter().filter(|it| !it.is_empty()).cloned().collect();
    let generated: Option<PathBuf> = control::token_file(&config.api);
    match generated.as_deref().map(read) {
        Some(Ok(token)) => tokens.push(token),
        Some(Err(error)) if tokens.is_empty() => return Err(error),
        None if tokens.is_empty() => {
            return Err("no token for the API: name its file with --token-file".to_owned());
        }
        _ => {}
    }
    Ok(tokens)
}

/// The configuration in force.
fn ask(address: SocketAddr, tokens: &[String]) -> Result<Value, String> {
    let mut refusal = String::new();
    for token in tokens {
        let answer = running::get(address, "/api/v1/config", Some(token))
            .map_err(|error| format!("no relay answers at {address}: {error}"))?;
        let status = answer.status.as_str();
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match status {
            "200" if body["config"].is_object() => return Ok(body["config"].clone()),
            "401" => {
                refusal = "it refuses the token; name the file with the one in force with --token-file".into()
            }
            "" | "200" => return Err(format!("what answers at {address} is no fanfare")),
            _ => {
                return Err(format!(
                    "{address} answers {status}: {}",
                    body["detail"].as_str().unwrap_or("no fanfare")
                ));
            }
        }
    }
    Err(format!("{address}: {refusal}"))
}

impl Difference {
    /// Whether nothing is known to differ.
    pub fn is_empty(&self) -> bool {
        self.at_reload.is_empty() && self.at_restart.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            writeln!(f, "# Nothing differs from the running relay.")?;
        }
        for (title, changes) in
            [("# A reload changes:", &self.at_reload), ("# A restart is needed for:", &self.at_restart)]
        {
            if !changes.is_empty() {
                writeln!(f, "{title}")?;
            }
            for Change { key, old, new } in changes {
                writeln!(f, "{key}: {} -> {}", written(old), written(new))?;
            }
        }
        if !self.not_compared.is_empty() {
            writeln!(f, "# Not compared, since a relay shows no secrets: {}", self.not_compared.join(", "))?;
        }
        Ok(())
    }
}

/// A value as it is in a file, or nearly so.
fn written(value: &Value) -> String {
    if value.is_null() { "not set".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufRead, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    fn toml(text: &str) -> Config {
        Config::from_toml("f", text).unwrap()
    }

    #[test]
    fn what_differs_is_told_apart_by_when_it_takes_effect_and_secrets_are_not_shown() {
        let running = toml("api.token = 'first-secret'\nlimits.connections = 7\ncores = 2");
        let config = toml(
            "api.token = 'second-secret'\nlimits.connections = 9\ncores = 3\nproxy.trusted = ['::1/128']",
        );
        let text = compare(&running.shown(), &config).unwrap().to_string();
        let expected = "# A reload changes:\nlimits.connections: 7 -> 9\nproxy.trusted: [] -> [\"::1/128\"]\n\
                        # A restart is needed for:\ncores: 2 -> 3\n\
                        # Not compared, since a relay shows no secrets: api.token\n";
        assert_eq!(text, expected);
        let same = compare(&config.shown(), &config).unwrap();
        assert!(same.is_empty() && same.to_string().starts_with("# Nothing differs"), "{same}");
        let without = compare(&running.shown(), &toml("limits.connections = 7\ncores = 2")).unwrap();
        assert_eq!(without.at_restart.len(), 1, "the token is removed: {without}");
        let mut newer = running.shown();
        newer["limits"]["of_a_later_version"] = 7.into();
        assert!(compare(&newer, &config).unwrap_err().contains("another version? unknown field `of_a_later"));
    }

    const WITH_TOKEN: &str = "api.token = 'the-token'\napi.token_file = '/no/such/file'";

    /// The error where this answers.
    fn error_with(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let head = io::BufReader::new(&socket).lines().map(Result::unwrap);
            assert_eq!(
                head.take_while(|line| !line.is_empty()).next().unwrap(),
                "GET /api/v1/config HTTP/1.0"
            );
            (&socket).write_all(answer.as_bytes()).unwrap();
        });
        let error = of(&toml(WITH_TOKEN), Some(address), None).unwrap_err();
        server.join().unwrap();
        assert!(error.contains(&address.to_string()) && error.lines().count() == 1, "{error}");
        error
    }

    #[test]
    fn what_is_no_relay_or_refuses_is_named() {
        assert!(error_with("SSH-2.0-OpenSSH\r\n").contains("is no fanfare"));
        assert!(error_with("HTTP/1.0 200 OK\r\n\r\n<html>").contains("is no fanfare"));
        assert!(error_with("HTTP/1.1 401 Unauthorized\r\n\r\n{}").contains("--token-file"));
        assert!(
            error_with("HTTP/1.1 404 Not Found\r\n\r\n{\"detail\":\"elsewhere\"}").contains("404: elsewhere")
        );
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = of(&toml(WITH_TOKEN), Some(closed), None).unwrap_err();
        assert!(error.contains("no relay answers") && error.contains("refused"), "{error}");
        let error = of(&toml("listen.http = []"), None, None).unwrap_err();
        assert!(error.contains("--relay"), "{error}");
        let error = of(&toml(""), Some(closed), Some("/no/such/file".as_ref())).unwrap_err();
        assert!(error.contains("/no/such/file") && error.contains("--token-file"), "{error}");
    }
}

//! What differs between two configurations, by key, without a secret.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Config;

/// An option whose value has changed. Values are JSON, with `***` in place of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The full key: table, dot, name.
    pub key: String,
    /// The value before; `null` if there was none.
    pub old: Value,
    /// The value after; `null` if there is none.
    pub new: Value,
}

impl Config {
    /// What is different in `new`, in the order of the keys.
    pub fn changes(&self, new: &Config) -> Vec<Change> {
        let [old_shown, new_shown] = [self, new].map(Config::shown);
        let mut changes = changes(&json(self), &json(new));
        for change in &mut changes {
            let value = |shown: &Value| options(shown).remove(&change.key).unwrap_or_default();
            (change.old, change.new) = (value(&old_shown), value(&new_shown));
        }
        // Files with secrets are named by the configuration, and may contain others than before.
        let by_content = [
            ("access", self.access != new.access),
            ("hooks", self.hooks != new.hooks),
            ("jwt", self.jwt != new.jwt),
            ("users", self.users != new.users),
        ];
        for (table, differs) in by_content {
            let is_in = |key: &str| key == table || key.starts_with(&format!("{table}."));
            if differs && !changes.iter().any(|change| is_in(&change.key)) {
                changes.push(Change { key: table.to_owned(), old: HIDDEN.into(), new: HIDDEN.into() });
            }
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    }

    /// As JSON, with `***` in place of each secret.
    pub fn shown(&self) -> Value {
        json(&self.without_secrets())
    }
}

/// What differs between two configurations in JSON, in the order of the keys.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let (old, mut new) = (options(old), options(new));
    let mut changes: Vec<Change> = old
        .into_iter()
        .map(|(key, old)| Change { new: new.remove(&key).unwrap_or_default(), key, old })
        .filter(|change| change.old != change.new)
        .collect();
    let added = new.into_iter().map(|(key, new)| Change { key, old: Value::Null, new });
    changes.extend(added);
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// Each option of a configuration in JSON by its full key. A list is one value.
pub fn options(config: &Value) -> BTreeMap<String, Value> {
    let Value::Object(table) = config else { return BTreeMap::new() };
    let of = |(name, value): (&String, &Value)| match value {
        Value::Object(_) => {
            options(value).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect()
        }
        _ => vec![(name.clone(), value.clone())],
    };
    table.iter().flat_map(of).collect()
}

fn json(config: &Config) -> Value {
    serde_json::to_value(config).expect("every option has a JSON form: numbers, strings and lists in tables")
}

/// In place of a secret whose file has changed.
const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Config {
        Config::from_toml("f", text).unwrap()
    }

    #[test]
    fn each_option_that_differs_is_named_with_both_values() {
        let old = toml("cores = 2\nplay.max_lag = '7s'\nlimits.exempt = []");
        assert_eq!(old.changes(&old), []);
        let new =
            toml("cores = 2\nplay.max_lag = '9s'\nlimits.exempt = ['192.0.2.0/24']\nusers.ann = 'of-ann'");
        let changes = old.changes(&new);
        let keys: Vec<&str> = changes.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["limits.exempt", "play.max_lag", "users.ann"]);
        assert_eq!((&changes[1].old, &changes[1].new), (&"7s".into(), &"9s".into()));
        assert_eq!(changes[2].old, Value::Null, "it is new");
        assert_eq!(new.changes(&old)[2].new, Value::Null, "it is gone");
    }

    #[test]
    fn a_secret_that_differs_is_named_and_not_shown() {
        let with = |secret: &str| toml(&format!("api.token = '{secret}'"));
        let changes = with("first-secret").changes(&with("second-secret"));
        assert_eq!(changes, [Change { key: "api.token".into(), old: HIDDEN.into(), new: HIDDEN.into() }]);
    }
}

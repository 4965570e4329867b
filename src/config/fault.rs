//! A value that is not allowed.

/// A value that is not allowed, by its key. The caller adds where it comes from: a line of a file or a flag.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Fault {
    /// The full key: table, dot, name.
    pub key: &'static str,
    /// What is wrong with the value.
    pub what: String,
}

//! Who may publish and watch. The rules alone, by `Rules::decide`; and the built relay with real clients.

#[path = "../support/mod.rs"]
mod support;

mod asking;
mod document;
mod relay;
mod rules;
mod tokens;

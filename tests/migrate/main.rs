//! `fanfare migrate`: configurations as operators write them, what they become, and the relay with the result.

#[path = "../support/mod.rs"]
mod support;

mod command;
mod configurations;
mod relay;
mod texts;

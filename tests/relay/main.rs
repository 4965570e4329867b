//! The built relay against our own client sessions: many of them, slow ones, broken ones. Every frame carries a
//! number and bytes that can be checked, so that a player knows exactly what it missed. No other program is needed.

mod bad_input;
mod bit_rates;
mod bystanders;
mod churn;
mod crowd;
mod encoders;
mod fanout;
mod farewells;
mod frames;
mod joining;
mod limits;
mod log_flood;
mod log_lines;
mod memory;
mod process;
mod proxies;
mod publishers;
mod raw;
mod reload;
mod requests;
mod sandbox;
mod slow_players;
mod stress;
mod supervision;
mod time;

#[path = "../support/mod.rs"]
mod support;

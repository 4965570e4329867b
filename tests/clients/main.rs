//! Real publishers and players against the built relay. Other programs are needed, so `./test --quick` leaves this
//! binary out.

mod access;
mod broadcast;
mod encoders;
mod enhanced;
mod examples;
mod hooks;
mod lifecycle;
mod media;
mod messages;
mod openapi;
mod over_http;
mod packaging;
mod page;
mod players;
mod prometheus;
mod proxies;
mod publishers;
mod restream;
mod setups;
mod starting;
#[path = "../support/mod.rs"]
mod support;

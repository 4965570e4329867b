//! Real publishers and players against the built relay: what a user does, and what must come of it. Other programs
//! take part, so `./test --quick` leaves this binary out.

mod broadcast;
mod encoders;
mod enhanced;
mod examples;
mod lifecycle;
mod media;
mod messages;
mod openapi;
mod over_http;
mod page;
mod players;
mod proxies;
mod publishers;
mod restream;
mod starting;
#[path = "../support/mod.rs"]
mod support;

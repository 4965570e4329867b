//! The built relay over RTMPS, HTTPS and secure WebSocket, with the programs that people use. They are needed, so
//! `./test --quick` leaves this binary out.

mod browser;
mod certificates;
mod clients;
mod http2;
mod openssl;
mod ports;
mod renewal;
#[path = "../support/mod.rs"]
mod support;
mod tls_client;

//! The relay that is running, as another process of fanfare asks it over HTTP.

#![forbid(unsafe_code)]

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::config::Config;

/// How long the relay may take: it answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// Larger than any answer.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// Where a relay with this configuration serves its API, from this machine; none without HTTP.
pub fn address(config: &Config) -> Option<SocketAddr> {
    [&config.api.listen, &config.listen.http].into_iter().flatten().next().copied().map(reachable)
}

/// Whether the relay at this address takes connections, as `/readyz` says; without HTTP, whether its first RTMP port does.
///
/// # Errors
/// Why not, as one line.
pub fn is_ready(config: &Config, at: Option<SocketAddr>) -> Result<(), String> {
    let Some(http) = at.or_else(|| address(config)) else {
        let lists = [&config.listen.rtmp, &config.listen.rtmps, &config.listen.https];
        let first = lists.into_iter().flatten().next().copied().map(reachable);
        let first = first.ok_or("the relay listens nowhere in this configuration")?;
        let connected = TcpStream::connect_timeout(&first, PATIENCE);
        return connected.map(drop).map_err(|error| format!("no relay answers at {first}: {error}"));
    };
    let answer =
        get(http, "/readyz", None).map_err(|error| format!("no relay answers at {http}: {error}"))?;
    match answer.status.as_str() {
        "200" => Ok(()),
        "" => Err(format!("what answers at {http} is no fanfare")),
        status => Err(format!("the relay at {http} answers {status}: {}", answer.body.trim())),
    }
}

/// A response.
pub struct Answer {
    /// Empty if it is none of HTTP.
    pub status: String,
    /// Without its head.
    pub body: String,
}

/// One request, without keep-alive.
///
/// # Errors
/// The socket's, and timeouts.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> io::Result<Answer> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let headers = format!("Host: {address}\r\n{authorization}User-Agent: fanfare\r\n");
    socket.write_all(format!("GET {path} HTTP/1.0\r\n{headers}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    socket.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).unwrap_or_default();
    Ok(Answer { status: status.to_owned(), body: body.to_owned() })
}

/// All of the host's addresses include this one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead, net::TcpListener, thread};

    use super::*;

    /// Answers one request with this, and returns its first line.
    fn answering(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut socket = io::BufReader::new(listener.accept().unwrap().0);
            let (mut first, mut line) = (String::new(), String::new());
            socket.read_line(&mut first).unwrap();
            while line != "\r\n" {
                line.clear();
                socket.read_line(&mut line).unwrap();
            }
            socket.get_mut().write_all(answer.as_bytes()).unwrap();
            first
        });
        (address, server)
    }

    #[test]
    fn a_relay_is_ready_if_it_says_so() {
        let config = Config::default();
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\nstopping\n", Err("answers 503: stopping")),
            ("220 mail.example\r\n", Err("is no fanfare")),
            ("", Err("is no fanfare")),
        ] {
            let (address, server) = answering(answer);
            match (is_ready(&config, Some(address)), expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(words)) => assert!(error.contains(words), "{error}"),
                (found, _) => panic!("{answer}: {found:?}"),
            }
            assert_eq!(server.join().unwrap(), "GET /readyz HTTP/1.0\r\n");
        }
    }

    #[test]
    fn without_http_a_relay_is_ready_if_it_takes_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.set_http(vec![]);
        config.set_rtmp(vec![listener.local_addr().unwrap()]);
        assert_eq!(is_ready(&config, None), Ok(()));
        drop(listener);
        assert!(is_ready(&config, None).unwrap_err().starts_with("no relay answers at 127.0.0.1:"));
        config.set_rtmp(vec![]);
        assert!(is_ready(&config, None).is_err());
    }

    #[test]
    fn the_address_is_the_first_one_of_the_api_or_of_http_on_this_machine() {
        let of = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(of("[::]:8080"), "[::1]:8080");
        assert_eq!(of("192.0.2.7:80"), "192.0.2.7:80");
    }
}

//! Listening sockets: one per core and address, so that the kernel spreads connections and no core passes one on.

#![forbid(unsafe_code)]

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::{
    config::{Config, Listen, is_everywhere},
    endpoint::Spoken,
};

/// Connections that wait to be accepted; the kernel's own limit (net.core.somaxconn) applies too.
const BACKLOG: i32 = 4096;
/// Bytes that a socket holds unsent before it counts as full. What a slow player lacks beyond this stays in the stream
/// log, where a skip can still drop it; and 128 KiB is 5 ms at 200 Mbit/s, so no fast player runs dry.
const UNSENT_BYTES: u32 = 128 << 10;
/// How long a port that is in use is waited for, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);
/// When a quiet connection is first probed, and how often after that. This detects a publisher whose network is gone.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(15))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// A listener of one core, which knows what is spoken on it.
pub(super) struct Listener {
    pub socket: TcpListener,
    pub spoken: Spoken,
}

/// Where the relay listens for RTMP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Without encryption.
    pub rtmp: Vec<SocketAddr>,
    /// Over TLS.
    pub rtmps: Vec<SocketAddr>,
}

/// Binds every address once for each core. Returns the listeners by core, and the addresses in force.
///
/// # Errors
/// One line that names the address and the reason. Of a port on all addresses of the host, a family of addresses that
/// this host does not have is left out, as long as another one works.
pub(super) async fn bind(config: &Config) -> Result<(Vec<Vec<Listener>>, Addresses), String> {
    bind_within(PATIENCE, config).await
}

async fn bind_within(patience: Duration, config: &Config) -> Result<(Vec<Vec<Listener>>, Addresses), String> {
    let cores = config.core_count();
    let mut by_core: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut addresses = Addresses::default();
    let mut left_out = None;
    let deadline = Instant::now() + patience;
    let Listen { rtmp, rtmps, .. } = &config.listen;
    let all = (rtmp.iter().map(|&wanted| (wanted, Spoken::RTMP, rtmp, "--rtmp")))
        .chain(rtmps.iter().map(|&wanted| (wanted, Spoken::RTMPS, rtmps, "--rtmps")));
    for (wanted, spoken, list, flag) in all {
        match once_free(wanted, deadline, || bind_all(wanted, cores)).await {
            Ok((address, listeners)) => {
                let list = if spoken == Spoken::RTMPS { &mut addresses.rtmps } else { &mut addresses.rtmp };
                list.push(address);
                let spoken = spoken.at(address);
                let listeners = listeners.into_iter().map(|socket| Listener { socket, spoken });
                by_core.iter_mut().zip(listeners).for_each(|(core, listener)| core.push(listener));
            }
            Err(error) if is_everywhere(list, wanted) && is_unknown_family(&error) => {
                left_out = Some(explain(wanted, &error, flag));
            }
            Err(error) => return Err(explain(wanted, &error, flag)),
        }
    }
    match left_out {
        Some(reason) if addresses.rtmp.is_empty() => Err(reason),
        _ => Ok((by_core, addresses)),
    }
}

/// Binds addresses for HTTP: one listener each, which does not block, and with the same options, for a player's socket
/// goes to a core.
///
/// # Errors
/// One line that names the address and the reason. Where the addresses are the defaults, one that cannot be had is
/// logged and left out.
pub async fn bind_http(wanted: &[SocketAddr], is_default: bool) -> Result<Vec<TcpListener>, String> {
    bind_http_within(PATIENCE, wanted, is_default).await
}

async fn bind_http_within(
    patience: Duration,
    wanted: &[SocketAddr],
    is_default: bool,
) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    let deadline = Instant::now() + patience;
    for &address in wanted {
        match once_free(address, deadline, || bind_alone(address)).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_everywhere(wanted, address) && is_unknown_family(&error) => {
                tracing::debug!(%address, %error, "HTTP address left out");
            }
            Err(error) if is_default => {
                tracing::warn!(%address, reason = explain(address, &error, "--http"), "HTTP address left out");
            }
            Err(error) => return Err(explain(address, &error, "--http")),
        }
    }
    Ok(listeners)
}

/// Binds, again and again while the port is in use. The relay before this one may be on its way out; one that was killed
/// holds its ports until the kernel has taken its rings down.
async fn once_free<T>(
    address: SocketAddr,
    deadline: Instant,
    bind: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    let mut is_logged = false;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                if !std::mem::replace(&mut is_logged, true) {
                    let left_ms = (deadline - Instant::now()).as_millis() as u64;
                    tracing::warn!(%address, left_ms, "port in use: waiting for it");
                }
                tokio::time::sleep(AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}

fn bind_alone(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, false)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The address in force, and a listener for each core.
fn bind_all(wanted: SocketAddr, cores: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // With SO_REUSEPORT a second relay could share the port of a running one unnoticed, and take half its
    // connections. So ask once without it.
    drop(socket(wanted, false)?);
    let mut address = wanted;
    let mut listeners = Vec::new();
    for _ in 0..cores {
        let listener: TcpListener = socket(address, true)?.into();
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((address, listeners))
}

/// Accepted sockets inherit every option that is set here, which saves several system calls per connection.
fn socket(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    // Each send is all that is due: waiting to fill a packet would only delay it.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    // No TCP_USER_TIMEOUT: a window that opens by less than a segment at a time does not count with it, so it ends
    // players that read, only slower than the stream. `send_timeout` is for those that take nothing.
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&address.into())?;
    if is_shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Makes an accept that is under way on this listener, and all later ones, fail.
pub fn stop(listener: &TcpListener) {
    // It fails only where it has been stopped already.
    let _ = SockRef::from(listener).shutdown(std::net::Shutdown::Both);
}

fn is_unknown_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn explain(address: SocketAddr, error: &io::Error, flag: &str) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            &format!(" (another program listens there: stop it, or choose another port with {flag})")
        }
        io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_have_every_option_that_the_listener_was_given() {
        let mut config = Config { cores: 2, ..Config::default() };
        config.set_rtmp(vec![([127, 0, 0, 1], 0).into()]);
        let (by_core, addresses) = bind(&config).await.unwrap();
        assert_eq!(by_core.len(), 2);
        let _peer = std::net::TcpStream::connect(addresses.rtmp[0]).unwrap();
        // The kernel has chosen one of the two.
        by_core.iter().flatten().for_each(|listener| listener.socket.set_nonblocking(true).unwrap());
        let accepted = loop {
            if let Some((accepted, _)) =
                by_core.iter().flatten().find_map(|listener| listener.socket.accept().ok())
            {
                break accepted;
            }
            std::thread::yield_now();
        };
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), None, "slow players are not disconnected for it");
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(15));
    }

    #[tokio::test]
    async fn http_ports_are_never_shared_and_a_default_one_that_is_taken_is_left_out() {
        let first = bind_http(&[([127, 0, 0, 1], 0).into()], false).await.unwrap();
        let taken = first[0].local_addr().unwrap();
        let refusal = bind_http_within(Duration::ZERO, &[taken], false).await.unwrap_err();
        assert!(refusal.contains("choose another port with --http"));
        let free = ([127, 0, 0, 2], 0).into();
        assert_eq!(bind_http_within(Duration::ZERO, &[taken, free], true).await.unwrap().len(), 1);
        let socket = SockRef::from(&first[0]);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
    }

    #[tokio::test]
    async fn a_port_that_another_one_shares_is_in_use_all_the_same() {
        let mut config = Config { cores: 1, ..Config::default() };
        config.set_rtmp(vec![([127, 0, 0, 1], 0).into()]);
        let (_listeners, addresses) = bind(&config).await.unwrap();
        config.set_rtmp(addresses.rtmp);
        let refusal = bind_within(Duration::ZERO, &config).await.map(|_| ()).unwrap_err();
        assert!(refusal.contains("stop it, or choose another port"), "{refusal}");
    }

    #[tokio::test]
    async fn a_port_that_its_holder_gives_up_in_time_is_had() {
        let mut config = Config { cores: 2, ..Config::default() };
        config.set_rtmp(vec![([127, 0, 0, 1], 0).into()]);
        let (listeners, addresses) = bind(&config).await.unwrap();
        let http = bind_http(&[([127, 0, 0, 1], 0).into()], false).await.unwrap();
        let http_address = http[0].local_addr().unwrap();
        config.set_rtmp(addresses.rtmp);
        let holder = std::thread::spawn(move || {
            std::thread::sleep(3 * AGAIN);
            drop((listeners, http));
        });
        assert_eq!(bind(&config).await.unwrap().0.len(), 2);
        assert_eq!(bind_http(&[http_address], true).await.unwrap().len(), 1, "a default one is not given up");
        holder.join().unwrap();
    }
}

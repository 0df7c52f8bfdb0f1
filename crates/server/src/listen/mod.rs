//! Accepts connections, recognises their protocol, and serves them: HTTP/1 or HTTP/2, in clear or
//! through TLS.
//!
//! Independent of routes and handlers: a [`ServiceFactory`] gives the service of each request.

mod body;
mod connection;
mod connections;
mod exchange;
mod flush;
mod gauge;
mod heads;
mod http1;
mod http2;
mod io;
mod opening;
mod protocol;
pub mod proxy_protocol;
mod refusal;
mod register;
mod seen;
mod service;
mod serving;
mod tls;
mod traffic;
mod view;

use std::io as std_io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

pub use connection::{ConnectionHandle, Signal};
pub use connections::Connections;
pub(crate) use exchange::Exchange;
pub(crate) use gauge::StallGauge;
pub use protocol::HttpVersion;
pub(crate) use service::{Label, ServiceFactory};
pub(crate) use serving::Listening;
pub use tls::{TlsError, TlsServer};
pub(crate) use view::{ConnectionFilter, ConnectionView};

use crate::config::{Config, ProxyProtocol};
use crate::network::is_trusted;
use connections::{ConnectionSlot, Full};
use io::Io;
use opening::DetectedProtocol;
use proxy_protocol::ProxyHeader;
use serving::Serving;

/// How many connections the kernel completes while we are busy; further clients retry on their own.
const BACKLOG: u32 = 1024;

/// A pause after a failed accept: the process may be out of file descriptors, and retrying at once
/// would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a refused client may take to read the refusal, and how much it may send meanwhile: a
/// close with unread bytes would be a reset, and the refusal lost.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const REFUSAL_BYTES: u64 = 64 << 10;

/// Takes an address, also one whose last owner has only just left it.
///
/// # Errors
/// The system's error.
pub fn bind(address: SocketAddr) -> std_io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this would let two processes share a port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves the services of `factory` on `listener` until the drain starts. Then nothing new is
/// accepted and idle connections close; running responses go on, as tasks.
pub(crate) async fn serve<F: ServiceFactory>(
    listener: TcpListener,
    listening: Listening,
    factory: F,
) {
    let listening = Arc::new(listening);
    let drain = &listening.drain;
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.draining() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => admit(accepted, &listening, &factory),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Clients that the kernel has connected already get a response instead of a reset.
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        admit(accepted, &listening, &factory);
    }
}

/// Gives a connection its place and its task, or refuses it.
fn admit<F: ServiceFactory>(
    (stream, peer): (TcpStream, SocketAddr),
    listening: &Arc<Listening>,
    factory: &F,
) {
    let serving = Serving {
        factory: factory.clone(),
        config: factory.config(),
        listening: Arc::clone(listening),
    };
    match listening.connections.admit(peer.ip(), &serving.config) {
        Ok((open, id)) => {
            tune(&stream, &serving.config);
            match stream.into_std() {
                Ok(stream) => start(Accepted { id, stream, peer, open }, serving),
                Err(error) => cannot_start(&error),
            }
        }
        Err(full) => refuse(stream, full, &serving),
    }
}

/// Sends small writes at once (RFC 896), and detects a peer that has vanished.
fn tune(stream: &TcpStream, config: &Config) {
    let socket = SockRef::from(stream);
    let tuned = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let tuned = tuned.and_then(|()| socket.set_tcp_user_timeout(Some(config.write_timeout)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket option could not be set");
    }
}

/// An accepted socket on its way to the runtime of its connection.
struct Accepted {
    id: u64,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    open: ConnectionSlot,
}

impl Accepted {
    /// Registers the socket with the current runtime.
    fn register(self, config: &Config) -> Option<Io> {
        let Self { id, stream, peer, open } = self;
        let stream = TcpStream::from_std(stream).inspect_err(cannot_start).ok()?;
        Some(Io::new(id, stream, peer, config, open))
    }
}

fn cannot_start(error: &std_io::Error) {
    tracing::warn!(%error, "cannot serve a connection");
}

/// A task keeps the size of its largest state for its whole life, so each kind of connection is a
/// task of its own, and what comes before is another.
fn start<F: ServiceFactory>(mut accepted: Accepted, serving: Serving<F>) {
    let tasks = serving.listening.tasks.clone();
    let is_encrypted = serving.listening.tls.is_some();
    let core = tasks.core();
    let runtime = core.as_ref().map(|core| core.runtime().clone());
    accepted.open.runs_on(core);
    if is_encrypted {
        tasks.spawn_on(runtime.as_ref(), "handshake", handshake(accepted, serving));
    } else {
        tasks.spawn_on(runtime.as_ref(), "connection", clear(accepted, serving));
    }
}

/// A connection in clear.
async fn clear<F: ServiceFactory>(accepted: Accepted, serving: Serving<F>) {
    let Some(mut io) = accepted.register(&serving.config) else { return };
    let deadline = Instant::now() + serving.config.head_timeout;
    let connection = io.connection();
    if let Err(cause) = origin(&mut io, &serving, deadline).await {
        return connection.log_end(Some(cause));
    }
    match opening(&io, &serving, deadline).await {
        Some(DetectedProtocol::Http2) => {
            let tasks = serving.listening.tasks.clone();
            tasks.spawn("connection", http2::serve(io, connection, serving));
        }
        // The parser refuses anything else.
        Some(DetectedProtocol::Http1 | DetectedProtocol::Tls) => {
            http1::serve(io, connection, serving, deadline).await;
        }
        Some(DetectedProtocol::Proxy) => unexpected_header(&connection),
        Some(DetectedProtocol::Silence) | None => connection.log_end(None),
    }
}

/// The start of a connection through TLS.
async fn handshake<F: ServiceFactory>(accepted: Accepted, serving: Serving<F>) {
    let Some(tls) = serving.listening.tls.clone() else { return };
    let Some(mut io) = accepted.register(&serving.config) else { return };
    let deadline = Instant::now() + serving.config.head_timeout;
    let connection = io.connection();
    if let Err(cause) = origin(&mut io, &serving, deadline).await {
        return connection.log_end(Some(cause));
    }
    match opening(&io, &serving, deadline).await {
        Some(DetectedProtocol::Tls) => {}
        Some(DetectedProtocol::Proxy) => return unexpected_header(&connection),
        Some(DetectedProtocol::Http1 | DetectedProtocol::Http2) => {
            connection.send(&refusal::of_plain_http(&serving.factory));
            linger(io).await;
            return connection.log_end(Some("not_tls"));
        }
        Some(DetectedProtocol::Silence) | None => return connection.log_end(None),
    }
    let handshake_start = Instant::now().into_std();
    let accepted = tokio::select! {
        accepted = timeout_at(deadline, tls.accept(io)) => accepted,
        () = serving.listening.drain.clone().wait_to_close() => return connection.log_end(Some("shutdown")),
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(connection = connection.id(), %error, "handshake failed");
            return connection.log_end(Some("handshake"));
        }
        Err(_elapsed) => return connection.log_end(Some("handshake_timeout")),
    };
    tls::record(&stream, handshake_start, connection.timeline());
    let tasks = serving.listening.tasks.clone();
    if tls::speaks_http2(&stream) {
        tasks.spawn("connection", http2::serve(stream, connection, serving));
    } else {
        tasks.spawn("connection", http1::serve(stream, connection, serving, deadline));
    }
}

/// Reads the PROXY protocol header where a trusted proxy has to send one. The error is the cause
/// for which the connection ends.
async fn origin<F: ServiceFactory>(
    io: &mut Io,
    serving: &Serving<F>,
    deadline: Instant,
) -> Result<(), &'static str> {
    let config = &serving.config;
    let peer = io.connection().peer();
    match config.proxy_protocol {
        ProxyProtocol::On if is_trusted(&config.trusted_proxies, peer.ip()) => {}
        ProxyProtocol::On | ProxyProtocol::Off => return Ok(()),
    }
    let header = tokio::select! {
        header = timeout_at(deadline, io.proxy_header()) => header,
        () = serving.listening.drain.clone().wait_to_close() => return Err("shutdown"),
    };
    match header {
        Ok(Ok(Some(Ok(ProxyHeader::Client(client))))) => match io.belongs_to(client, config) {
            Ok(()) => Ok(()),
            Err(full) => {
                tracing::debug!(%client, cause = full.message(), "connection refused");
                if serving.listening.tls.is_none() {
                    io.connection().send(&refusal::of_connection(&serving.factory, full.message()));
                    linger(io).await;
                }
                Err("too_many_connections")
            }
        },
        Ok(Ok(Some(Ok(ProxyHeader::Proxy)))) => Ok(()),
        Ok(Ok(Some(Err(error)))) => {
            tracing::warn!(%peer, %error, "a trusted proxy's connection was refused (server.proxy_protocol)");
            Err("proxy_protocol")
        }
        // A proxy's check whether the port is open.
        Ok(Ok(None) | Err(_)) => Err("closed"),
        Err(_elapsed) => Err("head_timeout"),
    }
}

/// Closes a connection with a PROXY protocol header that is not expected, or comes a second time:
/// only those of trusted proxies are accepted.
fn unexpected_header(connection: &ConnectionHandle) {
    let peer = connection.peer();
    tracing::warn!(%peer, "closed a connection with an unexpected PROXY protocol header (server.proxy_protocol, server.trusted_proxies)");
    connection.log_end(Some("proxy_protocol"));
}

/// Recognises the client's protocol; `None` where it sends nothing in time, or the server is
/// leaving.
async fn opening<F: ServiceFactory>(
    io: &Io,
    serving: &Serving<F>,
    deadline: Instant,
) -> Option<DetectedProtocol> {
    tokio::select! {
        opening = timeout_at(deadline, io.opening()) => match opening {
            Ok(opening) => opening.ok(),
            Err(_elapsed) => {
                let connection = io.connection();
                if connection.has_unread_bytes() && serving.listening.tls.is_none() {
                    connection.send(&refusal::of_slow_head(&serving.factory));
                }
                None
            }
        },
        () = serving.listening.drain.clone().wait_to_close() => None,
    }
}

/// Refuses a connection for which there is no place. Through TLS a response would cost a handshake:
/// it is only closed.
fn refuse<F: ServiceFactory>(stream: TcpStream, full: Full, serving: &Serving<F>) {
    let listening = &serving.listening;
    tracing::debug!(cause = full.message(), "connection refused");
    let Some(refusing) = listening.connections.refuse().filter(|_| listening.tls.is_none()) else {
        return;
    };
    let response = refusal::of_connection(&serving.factory, full.message());
    listening.tasks.spawn("refusal", async move {
        // A new socket takes these few bytes at once.
        drop(stream.try_write(&response));
        linger(stream).await;
        drop(refusing);
    });
}

/// Closes after the last response, without a reset that would destroy it on its way.
async fn linger(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    use tokio::io::AsyncWriteExt;

    let read = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(REFUSAL_BYTES), &mut tokio::io::sink()).await
    };
    // A client that is still there after that is cut.
    drop(timeout(REFUSAL_TIME, read).await);
}

//! Accepts connections, finds out what their clients speak, and speaks it: HTTP/1 or HTTP/2, in clear or through TLS.

mod connections;
mod exchange;
mod flush;
mod heads;
mod http1;
mod http2;
mod io;
mod opening;
pub mod proxy_protocol;
mod refusal;
mod seen;
mod tls;
mod traffic;
mod trust;
mod view;

use std::io as std_io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::tasks::Tasks;
use futures_util::FutureExt;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

pub use connections::Connections;
pub(crate) use exchange::Exchange;
pub(crate) use http2::Gauge;
pub(crate) use io::Answering;
use io::Io;
pub use io::{Connection, Protocol, Signal};
pub use tls::{Tls, TlsError};
pub(crate) use trust::is_trusted;
pub use trust::{Network, NoNetwork};
pub(crate) use view::{View, Wanted};

use crate::config::{Config, ProxyProtocol};
use crate::drain::Drain;
use crate::live::Live;
use connections::Full;
use opening::Opening;
use proxy_protocol::Origin;

/// How many connections the kernel completes while we are busy; what is more tries again by itself.
const BACKLOG: u32 = 1024;

/// A pause after a failed accept: the process may be out of file descriptors, and a loop would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a refused client may take to hear it, and how much it may say meanwhile: a close with bytes unread would be a
/// reset, and the refusal lost.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
const REFUSAL_BYTES: u64 = 64 << 10;

/// What every connection needs.
#[derive(Clone)]
struct Serving {
    live: Live,
    /// As it was when the connection came.
    config: Arc<Config>,
    tls: Option<Arc<Tls>>,
}

impl Serving {
    fn tasks(&self) -> &Tasks {
        &self.live.app().tasks
    }

    fn drain(&self) -> &Drain {
        &self.live.app().drain
    }
}

/// Takes an address, also one whose last owner has only just left it.
///
/// # Errors
/// What the system says.
pub fn bind(address: SocketAddr) -> std_io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows this would let two processes share a port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `live` on `listener` until its drain says that the server is leaving. Then nothing new is accepted and idle
/// connections close; answers that are on their way go on, as tasks.
pub async fn serve(listener: TcpListener, live: Live, tls: Option<Arc<Tls>>) {
    let drain = live.app().drain.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.leaving() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => admit(accepted, &live, tls.as_ref()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whom the kernel has connected already hears a word instead of a reset.
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        admit(accepted, &live, tls.as_ref());
    }
}

/// Gives a connection its place and its task, or tells it that there is none.
fn admit((stream, peer): (TcpStream, SocketAddr), live: &Live, tls: Option<&Arc<Tls>>) {
    let serving = Serving { live: live.clone(), config: live.config(), tls: tls.cloned() };
    let connections = &live.app().connections;
    match connections.admit(peer.ip(), &serving.config) {
        Ok((open, id)) => {
            tune(&stream, &serving.config);
            let io = Io::new(id, stream, peer, &serving.config, open);
            start(io, serving);
        }
        Err(full) => refuse(stream, full, &serving, connections),
    }
}

/// No token waits for the next (RFC 896), and a peer that vanished is found out.
fn tune(stream: &TcpStream, config: &Config) {
    let socket = SockRef::from(stream);
    let tuned = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let tuned = tuned.and_then(|()| socket.set_tcp_user_timeout(Some(config.write_timeout)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket option could not be set");
    }
}

/// A task keeps the size of its largest state for its whole life, so each kind of connection is a task of its own, and
/// what comes before is another.
fn start(io: Io, serving: Serving) {
    let tasks = serving.tasks().clone();
    if serving.tls.is_some() {
        tasks.spawn("handshake", handshake(io, serving));
    } else {
        tasks.spawn("connection", clear(io, serving));
    }
}

/// A connection in clear.
async fn clear(mut io: Io, serving: Serving) {
    let deadline = Instant::now() + serving.config.head_timeout;
    let connection = io.connection();
    if let Err(cause) = origin(&mut io, &serving, deadline).await {
        return end(&connection, Some(cause));
    }
    match opening(&io, &serving, deadline).await {
        Some(Opening::Http2) => {
            let tasks = serving.tasks().clone();
            tasks.spawn("connection", http2::serve(io, connection, serving));
        }
        // What else it may be, the parser has words for it.
        Some(Opening::Http1 | Opening::Tls) => http1::serve(io, connection, serving, deadline).await,
        Some(Opening::Proxy) => unexpected_header(&connection),
        Some(Opening::Silence) | None => end(&connection, None),
    }
}

/// The begin of a connection through TLS.
async fn handshake(mut io: Io, serving: Serving) {
    let Some(tls) = serving.tls.clone() else { return };
    let deadline = Instant::now() + serving.config.head_timeout;
    let connection = io.connection();
    if let Err(cause) = origin(&mut io, &serving, deadline).await {
        return end(&connection, Some(cause));
    }
    match opening(&io, &serving, deadline).await {
        Some(Opening::Tls) => {}
        Some(Opening::Proxy) => return unexpected_header(&connection),
        Some(Opening::Http1 | Opening::Http2) => {
            connection.say(&refusal::of_plain_words());
            linger(io).await;
            return end(&connection, Some("not_tls"));
        }
        Some(Opening::Silence) | None => return end(&connection, None),
    }
    let begin = Instant::now().into_std();
    let accepted = tokio::select! {
        accepted = timeout_at(deadline, tls.accept(io)) => accepted,
        () = serving.drain().clone().farewell() => return end(&connection, Some("shutdown")),
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(connection = connection.id(), %error, "handshake failed");
            return end(&connection, Some("handshake"));
        }
        Err(_elapsed) => return end(&connection, Some("handshake_timeout")),
    };
    tls::tell(&stream, begin, connection.timeline());
    let tasks = serving.tasks().clone();
    if tls::speaks_http2(&stream) {
        tasks.spawn("connection", http2::serve(stream, connection, serving));
    } else {
        tasks.spawn("connection", http1::serve(stream, connection, serving, deadline));
    }
}

/// Hears whose the connection is, where a trusted proxy has to say that first; or why it cannot be used.
async fn origin(io: &mut Io, serving: &Serving, deadline: Instant) -> Result<(), &'static str> {
    let config = &serving.config;
    let peer = io.connection().peer();
    match config.proxy_protocol {
        ProxyProtocol::On if is_trusted(&config.trusted_proxies, peer.ip()) => {}
        ProxyProtocol::On | ProxyProtocol::Off => return Ok(()),
    }
    let header = tokio::select! {
        header = timeout_at(deadline, io.proxy_header()) => header,
        () = serving.drain().clone().farewell() => return Err("shutdown"),
    };
    match header {
        Ok(Ok(Some(Ok(Origin::Client(client))))) => match io.belongs_to(client, config) {
            Ok(()) => Ok(()),
            Err(full) => {
                tracing::debug!(%client, cause = full.message(), "connection refused");
                if serving.tls.is_none() {
                    io.connection().say(&refusal::of_connection(full.message()));
                    linger(io).await;
                }
                Err("too_many_connections")
            }
        },
        Ok(Ok(Some(Ok(Origin::Proxy)))) => Ok(()),
        Ok(Ok(Some(Err(error)))) => {
            tracing::warn!(%peer, %error, "a trusted proxy's connection was refused (server.proxy_protocol)");
            Err("proxy_protocol")
        }
        // A proxy that looks whether the port is open.
        Ok(Ok(None) | Err(_)) => Err("closed"),
        Err(_elapsed) => Err("head_timeout"),
    }
}

/// Closes a connection that says whose it is without being asked, or a second time: nobody is believed who is not trusted.
fn unexpected_header(connection: &Connection) {
    let peer = connection.peer();
    tracing::warn!(%peer, "a PROXY protocol header that is not believed (server.proxy_protocol, server.trusted_proxies)");
    end(connection, Some("proxy_protocol"));
}

/// What the client speaks; `None` where it does not say in time, or we are closing.
async fn opening(io: &Io, serving: &Serving, deadline: Instant) -> Option<Opening> {
    tokio::select! {
        opening = timeout_at(deadline, io.opening()) => match opening {
            Ok(opening) => opening.ok(),
            Err(_elapsed) => {
                let connection = io.connection();
                if connection.has_begun() && serving.tls.is_none() {
                    connection.say(&refusal::of_slow_head());
                }
                None
            }
        },
        () = serving.drain().clone().farewell() => None,
    }
}

/// Tells a client that there is no place for it. Through TLS that would cost what we do not have: it is only closed.
fn refuse(stream: TcpStream, full: Full, serving: &Serving, connections: &Arc<Connections>) {
    tracing::debug!(cause = full.message(), "connection refused");
    let Some(refusing) = connections.refuse().filter(|_| serving.tls.is_none()) else { return };
    serving.tasks().spawn("refusal", async move {
        // A fresh socket takes so few bytes at once.
        drop(stream.try_write(&refusal::of_connection(full.message())));
        linger(stream).await;
        drop(refusing);
    });
}

/// Closes after the last word, without a reset that would destroy it on its way.
async fn linger(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    use tokio::io::AsyncWriteExt;

    let heard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(REFUSAL_BYTES), &mut tokio::io::sink()).await
    };
    // Whoever is not gone by then is cut.
    drop(timeout(REFUSAL_TIME, heard).await);
}

/// A connection has ended; `cause`: why, if not in order.
fn end(connection: &Connection, cause: Option<&'static str>) {
    let (received, sent) = connection.bytes();
    match cause {
        None => tracing::trace!(connection = connection.id(), received, sent, "connection closed"),
        Some(cause) => tracing::debug!(connection = connection.id(), received, sent, cause, "connection ended early"),
    }
}

//! Where a server is reached, and how long connecting takes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::byte_stream::{ByteStream, MaybeTls};
use crate::connection::Connection;
use crate::runtime::{now, soon};
use crate::tap::Tap;
use crate::trust::Encryption;

/// A server's address, and how to talk to it.
#[derive(Clone)]
pub struct Endpoint {
    /// The address to connect to.
    pub address: SocketAddr,
    /// Its name in requests (`Host`, `:authority`).
    pub authority: String,
    /// The prefix of every path, without a trailing slash.
    pub prefix: String,
    /// The longest wait for the next part of a response.
    pub timeout: Duration,
    /// TLS, and the name that the certificate must have; `None` for plain text.
    pub encryption: Option<(Encryption, String)>,
}

/// A new connection with a tap on it.
#[derive(Debug)]
pub struct OpenedConnection {
    /// Its bytes.
    pub stream: ByteStream,
    /// How it was opened.
    pub info: ConnectionInfo,
}

/// How a connection was opened.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The client's address.
    pub local: SocketAddr,
    /// The server's address.
    pub peer: SocketAddr,
    /// How long `connect` took: the TCP handshake as an application sees it.
    pub connected: Duration,
    /// The TLS handshake after it.
    pub tls: Option<TlsHandshake>,
    /// A copy of its bytes.
    pub tap: Tap,
}

/// A TLS handshake, as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHandshake {
    /// How long it took.
    pub duration: Duration,
    /// The negotiated protocol (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// Whether it resumed an earlier session.
    pub is_resumed: bool,
}

impl Endpoint {
    /// Opens a connection.
    ///
    /// # Errors
    /// The server cannot be reached, or its certificate is not trusted.
    pub async fn connect(&self) -> Result<OpenedConnection> {
        let started = now();
        let stream = soon(TcpStream::connect(self.address))
            .await
            .and_then(|stream| Ok(stream?))
            .with_context(|| format!("connecting to {}", self.address))?;
        let connected = started.elapsed();
        stream.set_nodelay(true)?;
        let (local, peer, tap) = (stream.local_addr()?, self.address, Tap::default());
        let Some((encryption, name)) = &self.encryption else {
            let stream = ByteStream::tapped(MaybeTls::Plain(stream), tap.clone());
            return Ok(OpenedConnection {
                stream,
                info: ConnectionInfo { local, peer, connected, tls: None, tap },
            });
        };
        let name = ServerName::try_from(name.clone())
            .with_context(|| format!("{name} is not a valid server name"))?;
        let started = now();
        let handshake =
            soon(encryption.connector().connect(name, stream)).await.and_then(|stream| Ok(stream?));
        let stream = handshake.with_context(|| match encryption.seen() {
            Some(seen) => {
                format!("the TLS handshake with {peer}, whose certificate has the SHA-256 {seen}")
            }
            None => format!("the TLS handshake with {peer}"),
        })?;
        let state = stream.get_ref().1;
        let alpn = state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let tls = Some(TlsHandshake {
            duration: started.elapsed(),
            alpn,
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        });
        let stream = ByteStream::tapped(MaybeTls::Tls(Box::new(stream)), tap.clone());
        Ok(OpenedConnection { stream, info: ConnectionInfo { local, peer, connected, tls, tap } })
    }
}

impl OpenedConnection {
    /// Uses it for HTTP/1; `authority` goes into `Host`.
    pub fn into_connection(self, authority: &str) -> Connection {
        Connection::on(self.stream, authority.to_owned())
    }
}

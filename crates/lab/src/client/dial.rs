//! How a server is reached, and how long that took.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::pki_types::ServerName;

use super::line::Wire;
use super::{Connection, Encryption, Line, Tap};
use crate::runtime::{now, soon};

/// Where a server is, and what is spoken with it.
#[derive(Clone)]
pub struct Dial {
    /// Its address.
    pub address: SocketAddr,
    /// What it is called in requests (`Host`, `:authority`).
    pub authority: String,
    /// What stands before every path, without a slash at its end.
    pub prefix: String,
    /// How long one waits for the next part of an answer.
    pub patience: Duration,
    /// TLS, and the name that its certificate is to have.
    pub encryption: Option<(Encryption, String)>,
}

/// A connection that was opened, whose bytes pass a tap.
#[derive(Debug)]
pub struct Dialled {
    /// Its bytes.
    pub line: Line,
    /// What is known of it.
    pub facts: Opened,
}

/// What is known of a connection since it was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Our end.
    pub local: SocketAddr,
    /// The server's.
    pub peer: SocketAddr,
    /// How long `connect` took: TCP's handshake, as an application sees it.
    pub connected: Duration,
    /// TLS's handshake behind it.
    pub tls: Option<Shaken>,
    /// A copy of what passes.
    pub tap: Tap,
}

/// A TLS handshake, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaken {
    /// How long it took.
    pub took: Duration,
    /// What was agreed to be spoken (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// Whether it took up an earlier session.
    pub is_resumed: bool,
}

impl Dial {
    /// Opens a connection.
    pub async fn open(&self) -> Result<Dialled> {
        let begin = now();
        let stream = soon(TcpStream::connect(self.address))
            .await
            .and_then(|stream| Ok(stream?))
            .with_context(|| format!("connecting to {}", self.address))?;
        let connected = begin.elapsed();
        stream.set_nodelay(true)?;
        let (local, peer, tap) = (stream.local_addr()?, self.address, Tap::default());
        let Some((encryption, name)) = &self.encryption else {
            let line = Line::tapped(Wire::Clear(stream), tap.clone());
            return Ok(Dialled { line, facts: Opened { local, peer, connected, tls: None, tap } });
        };
        let name = ServerName::try_from(name.clone()).with_context(|| format!("{name} is no name of a server"))?;
        let begin = now();
        let shaken = soon(encryption.connector().connect(name, stream)).await.and_then(|stream| Ok(stream?));
        let stream = shaken.with_context(|| match encryption.seen() {
            Some(seen) => format!("the TLS handshake with {peer}, whose certificate has the SHA-256 {seen}"),
            None => format!("the TLS handshake with {peer}"),
        })?;
        let state = stream.get_ref().1;
        let alpn = state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let tls = Some(Shaken { took: begin.elapsed(), alpn, is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed) });
        let line = Line::tapped(Wire::Encrypted(Box::new(stream)), tap.clone());
        Ok(Dialled { line, facts: Opened { local, peer, connected, tls, tap } })
    }
}

impl Dialled {
    /// To speak HTTP/1 on it, with a server of this name.
    pub fn into_connection(self, authority: &str) -> Connection {
        Connection::on(self.line, authority.to_owned())
    }
}

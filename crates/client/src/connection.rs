//! One HTTP/1 connection to a server: requests, raw bytes, and every way to close it. Responses are
//! in `response.rs`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::byte_stream::{ByteStream, MaybeTls};
use crate::request::Request;

/// A connection. Dropping it closes it: the server sees FIN, or RST if bytes that it sent were not
/// read.
#[derive(Debug)]
pub struct Connection {
    stream: ByteStream,
    /// Bytes that were read and not yet used.
    pub(crate) buffer: BytesMut,
    host: String,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        Self::over(stream, address)
    }

    /// Connects with a receive buffer of about `bytes`, so that not reading stalls the server after
    /// little data.
    pub async fn open_narrow(address: SocketAddr, bytes: u32) -> Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_recv_buffer_size(bytes)?;
        let stream =
            socket.connect(address).await.with_context(|| format!("connecting to {address}"))?;
        Self::over(stream, address)
    }

    /// Connects through TLS; the certificate must be for `name`, a host or an address.
    pub async fn open_encrypted(
        address: SocketAddr,
        name: &str,
        connector: &TlsConnector,
    ) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned())
            .with_context(|| format!("{name} is not a valid server name"))?;
        let stream = connector
            .connect(name, stream)
            .await
            .with_context(|| format!("the TLS handshake with {address}"))?;
        Ok(Self::on(ByteStream::new(MaybeTls::Tls(Box::new(stream))), address.to_string()))
    }

    fn over(stream: TcpStream, address: SocketAddr) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::on(ByteStream::new(MaybeTls::Plain(stream)), address.to_string()))
    }

    /// A connection that is already open; `host` goes into `Host`.
    pub(crate) fn on(stream: ByteStream, host: String) -> Self {
        Self { stream, buffer: BytesMut::new(), host }
    }

    /// Writes a request without waiting: for pipelining, and for closing before the response.
    pub async fn write(&mut self, request: &Request) -> Result<()> {
        let bytes = request.encode(&self.host);
        self.write_raw(&bytes)
            .await
            .with_context(|| format!("writing {} {}", request.method, request.path))
    }

    /// Writes bytes as they are.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Bytes as they arrived: the buffered ones, or those of the next read; empty after the
    /// server's FIN.
    pub async fn read_raw(&mut self) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(self.buffer.split().freeze())
    }

    /// The TCP socket, below TLS.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.stream.socket()
    }

    /// Sends FIN, after `close_notify` with TLS; reading is still possible.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Closes the connection by RST.
    pub fn reset(mut self) -> io::Result<()> {
        reset_on_close(self.stream.socket())
    }

    /// Reads more bytes into the buffer; 0 after the server's FIN.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }
}

/// Makes the coming close of a socket an RST: a linger time of zero discards unsent data (tcp(7),
/// socket(7)).
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

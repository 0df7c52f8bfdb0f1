//! One TCP connection to a server: requests in order, raw bytes, and the ways to cut it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::line::Wire;
use super::{Line, Request, Response};
use crate::wire::take_head;

/// A connection. Dropping it closes it: the peer sees FIN, or RST if bytes it sent were not read.
#[derive(Debug)]
pub struct Connection {
    line: Line,
    pub(super) buffer: BytesMut,
    host: String,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        Self::over(stream, address)
    }

    /// Connects with a receive buffer of about `bytes`, so that not reading stalls the server after little data.
    pub async fn open_narrow(address: SocketAddr, bytes: u32) -> Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_recv_buffer_size(bytes)?;
        let stream = socket.connect(address).await.with_context(|| format!("connecting to {address}"))?;
        Self::over(stream, address)
    }

    /// Connects, and speaks TLS with a server that is to be `name`: a host, or an address.
    pub async fn open_encrypted(address: SocketAddr, name: &str, connector: &TlsConnector) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).with_context(|| format!("{name} is no name of a server"))?;
        let stream = connector.connect(name, stream).await.with_context(|| format!("the TLS handshake with {address}"))?;
        Ok(Self::on(Line::new(Wire::Encrypted(Box::new(stream))), address.to_string()))
    }

    fn over(stream: TcpStream, address: SocketAddr) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::on(Line::new(Wire::Clear(stream)), address.to_string()))
    }

    /// A connection that is open, to a server of this name.
    pub(super) fn on(line: Line, host: String) -> Self {
        Self { line, buffer: BytesMut::new(), host }
    }

    /// Writes a request and waits for its answer's head. [`Response::into_connection`] gives the connection back.
    pub async fn send(mut self, request: &Request) -> Result<Response> {
        self.write(request).await?;
        self.read_response(request).await
    }

    /// Writes a request without waiting, for pipelining and for cuts before the answer.
    pub async fn write(&mut self, request: &Request) -> Result<()> {
        let bytes = request.encode(&self.host);
        self.write_raw(&bytes).await.with_context(|| format!("writing {} {}", request.method, request.path))
    }

    /// Reads the head of the answer to `request`, which was written before; interim answers (1xx but 101) are skipped.
    pub async fn read_response(mut self, request: &Request) -> Result<Response> {
        loop {
            if let Some(head) = take_head(&mut self.buffer)? {
                let response = Response::new(self, &request.method, head)?;
                if response.status >= 200 || response.status == 101 {
                    return Ok(response);
                }
                self = response.abandon();
                continue;
            }
            let read = self.fill().await.with_context(|| format!("reading the answer to {} {}", request.method, request.path))?;
            ensure!(read > 0, "closed before the answer to {} {}", request.method, request.path);
        }
    }

    /// Writes bytes as they are.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.write_all(bytes).await?;
        self.line.flush().await
    }

    /// Bytes as they came: what is buffered, else what the next read gives; empty at the peer's end.
    pub async fn read_raw(&mut self) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(self.buffer.split().freeze())
    }

    /// The socket, below TLS if there is any.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.line.socket()
    }

    /// Sends FIN, through TLS after its own end, and goes on reading.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.line.shutdown().await
    }

    /// Cuts the connection by RST.
    pub fn reset(mut self) -> io::Result<()> {
        reset_on_close(self.line.socket())
    }

    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.line.read_buf(&mut self.buffer).await
    }
}

/// Makes the coming close of a socket an RST: a linger time of zero discards what is unsent (tcp(7), socket(7)).
pub(crate) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

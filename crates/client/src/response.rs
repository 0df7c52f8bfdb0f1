//! A response: its head, its body as it arrives, and how the body ended.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use crate::connection::Connection;
use crate::http1::{Body, Head, Headers, Piece, take_head};
use crate::request::Request;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// Complete: all bytes of its length, the last chunk, or FIN where only the close marks the
    /// end.
    Clean,
    /// Incomplete: the connection ended first, by FIN or by an error ([`Response::cut_by`]).
    Truncated,
}

/// A response whose head was read.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    connection: Connection,
    body: Body,
    end: Option<BodyEnd>,
    cut_by: Option<io::ErrorKind>,
}

impl Connection {
    /// Writes a request and waits for the head of its response. [`Response::into_connection`]
    /// returns the connection.
    pub async fn send(mut self, request: &Request) -> Result<Response> {
        self.write(request).await?;
        self.read_response(request).await
    }

    /// Reads the head of the response to `request`, which was written before; interim responses
    /// (1xx but 101) are skipped.
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
            let read = self.fill().await.with_context(|| {
                format!("reading the response to {} {}", request.method, request.path)
            })?;
            ensure!(read > 0, "closed before the response to {} {}", request.method, request.path);
        }
    }
}

/// Sends a request on a connection of its own and waits for the head of the response.
pub async fn send(address: SocketAddr, request: &Request) -> Result<Response> {
    Connection::open(address).await?.send(request).await
}

impl Response {
    fn new(connection: Connection, method: &str, head: Head) -> Result<Self> {
        let status =
            head.start_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status: u16 =
            status.with_context(|| format!("the status line is {:?}", head.start_line))?;
        // RFC 9112, section 6.3: these have no body, whatever their header fields are.
        let body = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            Body::Length(0)
        } else {
            Body::announced(&head.headers, Body::UntilClose)?
        };
        Ok(Self { status, headers: head.headers, connection, body, end: None, cut_by: None })
    }

    /// The next bytes of the body, as they arrived; `None` at its end, complete or not.
    ///
    /// # Errors
    /// A violation of the framing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.end.is_none() {
            match self.body.take(&mut self.connection.buffer)? {
                Piece::Data(data) => return Ok(Some(data)),
                Piece::End => self.end = Some(BodyEnd::Clean),
                Piece::NeedMore => match self.connection.fill().await {
                    Ok(0) if self.body == Body::UntilClose => self.end = Some(BodyEnd::Clean),
                    Ok(0) => self.end = Some(BodyEnd::Truncated),
                    Ok(_) => {}
                    Err(error) => {
                        self.cut_by = Some(error.kind());
                        self.end = Some(BodyEnd::Truncated);
                    }
                },
            }
        }
        Ok(None)
    }

    /// The rest of the body.
    pub async fn collect(&mut self) -> Result<(Vec<u8>, BodyEnd)> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok((all, self.end().await?))
    }

    /// How the body ended; the rest of it is read and dropped.
    pub async fn end(&mut self) -> Result<BodyEnd> {
        while self.chunk().await?.is_some() {}
        self.end.context("the body has ended")
    }

    /// The error that truncated the body (RST is [`io::ErrorKind::ConnectionReset`]); `None` for
    /// FIN.
    pub fn cut_by(&self) -> Option<io::ErrorKind> {
        self.cut_by
    }

    /// The connection, for raw bytes and for closing it.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The connection, for the next request, after the rest of the body is read. After a 101 it
    /// starts with the bytes that follow the head.
    ///
    /// # Errors
    /// The body was cut, or the server closes the connection after it.
    pub async fn into_connection(mut self) -> Result<Connection> {
        ensure!(self.end().await? == BodyEnd::Clean, "the connection was cut in the body");
        ensure!(
            self.body != Body::UntilClose && !self.headers.has_token("connection", "close"),
            "the server closes"
        );
        Ok(self.connection)
    }

    /// The connection as it is, possibly in the middle of the body.
    pub fn abandon(self) -> Connection {
        self.connection
    }

    /// The content type without its parameters.
    pub fn media_type(&self) -> &str {
        let value = self.headers.get("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    /// Fails unless the content type is `expected`.
    pub(crate) fn ensure_media_type(&self, expected: &str) -> Result<()> {
        let found = self.media_type();
        ensure!(
            found.eq_ignore_ascii_case(expected),
            "status {}: the content type is {found:?}, not {expected}",
            self.status
        );
        Ok(())
    }
}

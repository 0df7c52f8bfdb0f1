//! An answer: its head, and its body as it comes, with the way in which it ended.

use std::io;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::{Connection, Stream, ndjson, sse};
use crate::wire::{Body, Head, Headers, Piece};

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// As its framing says: all bytes of its length, the last chunk, or FIN where only the close ends it.
    Clean,
    /// The connection ended before that, by FIN or by an error ([`Response::cut_by`]).
    Truncated,
}

/// An answer whose head was read.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The fields.
    pub headers: Headers,
    connection: Connection,
    body: Body,
    end: Option<BodyEnd>,
    cut_by: Option<io::ErrorKind>,
}

impl Response {
    pub(super) fn new(connection: Connection, method: &str, head: Head) -> Result<Self> {
        let status = head.start_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status: u16 = status.with_context(|| format!("the status line is {:?}", head.start_line))?;
        // RFC 9112, section 6.3: these have no body, whatever their fields say.
        let body = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            Body::Length(0)
        } else {
            Body::announced(&head.headers, Body::UntilClose)?
        };
        Ok(Self { status, headers: head.headers, connection, body, end: None, cut_by: None })
    }

    /// The next bytes of the body, as they came; `None` at its end, however it ended. An error is a violation of the
    /// framing.
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

    /// How the body ended; what is left of it is read and dropped.
    pub async fn end(&mut self) -> Result<BodyEnd> {
        while self.chunk().await?.is_some() {}
        self.end.context("a body that gives no more has ended")
    }

    /// The error that truncated the body (RST is [`io::ErrorKind::ConnectionReset`]); `None` for FIN.
    pub fn cut_by(&self) -> Option<io::ErrorKind> {
        self.cut_by
    }

    /// The body as a stream of events, in the frame that its content type names.
    pub fn events(self) -> Result<Stream> {
        match self.media_type() {
            "text/event-stream" => sse::stream(self),
            "application/x-ndjson" => ndjson::stream(self),
            other => anyhow::bail!("status {}: {other:?} is not a stream of events", self.status),
        }
    }

    /// The connection, for raw bytes and cuts.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The connection for the next request; the rest of the body is read. After 101 the bytes behind the head are in it.
    pub async fn into_connection(mut self) -> Result<Connection> {
        ensure!(self.end().await? == BodyEnd::Clean, "the connection was cut in the body");
        ensure!(self.body != Body::UntilClose && !self.headers.has_token("connection", "close"), "the server closes");
        Ok(self.connection)
    }

    /// The connection as it is, in the middle of the body.
    pub fn abandon(self) -> Connection {
        self.connection
    }

    /// The content type without its parameters.
    pub fn media_type(&self) -> &str {
        let value = self.headers.get("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    pub(super) fn ensure_media_type(&self, expected: &str) -> Result<()> {
        let found = self.media_type();
        ensure!(found.eq_ignore_ascii_case(expected), "status {}: the content type is {found:?}, not {expected}", self.status);
        Ok(())
    }
}

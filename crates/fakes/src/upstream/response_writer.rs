//! Writes a response to an HTTP/1.1 connection or to an HTTP/2 stream.

use std::io;

use client::reset_on_close;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::http2_writer::Http2Writer;

/// What happens to the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It takes the next request.
    KeepAlive,
    /// FIN was sent; the peer's FIN follows.
    HalfClosed,
    /// It must be dropped, which resets it.
    Reset,
}

/// Where a response is written.
#[derive(Debug)]
pub(super) enum ResponseWriter<'a> {
    /// The writing half of an HTTP/1.1 connection.
    Http1(&'a mut OwnedWriteHalf),
    /// An HTTP/2 stream.
    Http2(Http2Writer),
}

impl ResponseWriter<'_> {
    /// Writes a complete response.
    pub(super) async fn complete(
        &mut self,
        status: u16,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                // Clients ignore the reason phrase (RFC 9112, section 4).
                let mut bytes =
                    format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len())
                        .into_bytes();
                for (name, value) in headers {
                    bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
                bytes.extend_from_slice(b"\r\n");
                bytes.extend_from_slice(body);
                writer.write_all(&bytes).await
            }
            Self::Http2(stream) => {
                stream.head(status, headers)?;
                stream.data(body).await?;
                stream.end()
            }
        }
    }

    /// Writes the head of a streamed response.
    pub(super) async fn head(&mut self, content_type: &str) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                writer.write_all(head.as_bytes()).await
            }
            Self::Http2(stream) => {
                let fields = [("content-type", content_type), ("cache-control", "no-cache")];
                stream.head(200, &fields.map(|(name, value)| (name.to_owned(), value.to_owned())))
            }
        }
    }

    /// Writes a part of a streamed response: one chunk in one write, or one DATA frame.
    pub(super) async fn part(&mut self, part: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
                chunk.extend_from_slice(part);
                chunk.extend_from_slice(b"\r\n");
                writer.write_all(&chunk).await
            }
            Self::Http2(stream) => stream.data(part).await,
        }
    }

    /// Ends a streamed response.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.write_all(b"0\r\n\r\n").await,
            Self::Http2(stream) => stream.end(),
        }
    }

    /// Closes by FIN in the middle of the response.
    pub(super) async fn fin(&mut self) -> io::Result<After> {
        match self {
            Self::Http1(writer) => writer.shutdown().await?,
            Self::Http2(stream) => stream.close_connection().await,
        }
        Ok(After::HalfClosed)
    }

    /// Closes by RST in the middle of the response.
    pub(super) async fn rst(&mut self) -> io::Result<After> {
        match self {
            Self::Http1(writer) => reset_on_close((**writer).as_ref())?,
            Self::Http2(stream) => stream.reset().await,
        }
        Ok(After::Reset)
    }

    /// Writes raw bytes of a head. Does nothing over HTTP/2, where a head is not written in parts.
    pub(super) async fn raw_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.write_all(bytes).await,
            Self::Http2(_) => Ok(()),
        }
    }
}

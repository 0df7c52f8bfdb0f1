//! Where an answer goes: a connection of HTTP/1.1, or a stream of HTTP/2.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::http2::Http2Answer;
use super::play::After;
use crate::client::reset_on_close;

/// The way back to the peer.
#[derive(Debug)]
pub(super) enum Outlet<'a> {
    /// HTTP/1.1: the writing half of a connection.
    Http1(&'a mut OwnedWriteHalf),
    /// HTTP/2: one stream.
    Http2(Http2Answer),
}

impl Outlet<'_> {
    /// Writes a whole answer.
    pub(super) async fn answer(&mut self, status: u16, headers: &[(String, String)], body: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                // The reason is for people only (RFC 9112, section 4).
                let mut bytes = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len()).into_bytes();
                for (name, value) in headers {
                    bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                }
                bytes.extend_from_slice(b"\r\n");
                bytes.extend_from_slice(body);
                writer.write_all(&bytes).await
            }
            Self::Http2(answer) => {
                answer.head(status, headers)?;
                answer.data(body).await?;
                answer.end()
            }
        }
    }

    /// The head of a stream.
    pub(super) async fn head(&mut self, content_type: &str) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
                );
                writer.write_all(head.as_bytes()).await
            }
            Self::Http2(answer) => {
                let fields = [("content-type", content_type), ("cache-control", "no-cache")];
                answer.head(200, &fields.map(|(name, value)| (name.to_owned(), value.to_owned())))
            }
        }
    }

    /// A piece of a stream: one chunk and one write, or one frame of data.
    pub(super) async fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => {
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                writer.write_all(&chunk).await
            }
            Self::Http2(answer) => answer.data(piece).await,
        }
    }

    /// The end of a stream.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.write_all(b"0\r\n\r\n").await,
            Self::Http2(answer) => answer.end(),
        }
    }

    /// Closes by FIN, in mid-stream.
    pub(super) async fn fin(&mut self) -> io::Result<After> {
        match self {
            Self::Http1(writer) => writer.shutdown().await?,
            Self::Http2(answer) => answer.close_connection().await,
        }
        Ok(After::HalfClosed)
    }

    /// Closes by RST, in mid-stream.
    pub(super) async fn rst(&mut self) -> io::Result<After> {
        match self {
            Self::Http1(writer) => reset_on_close((**writer).as_ref())?,
            Self::Http2(answer) => answer.reset().await,
        }
        Ok(After::Reset)
    }

    /// Raw bytes of a head; nothing over HTTP/2, where a head is not written piece by piece.
    pub(super) async fn raw_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1(writer) => writer.write_all(bytes).await,
            Self::Http2(_) => Ok(()),
        }
    }
}

//! Plays one script on the writing half of a connection.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use protocol::frame::sse;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::{Script, Step};
use crate::client::reset_on_close;

/// Often enough that a limit on the time between bytes never strikes, so that only one on the whole head can.
const ENDLESS_HEADER_PAUSE: Duration = Duration::from_millis(50);

/// What becomes of the connection after a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It may take the next request.
    KeepAlive,
    /// Our side is closed; the peer's is to follow.
    HalfClosed,
    /// It is to be dropped, which resets it.
    Reset,
}

pub(super) async fn play(writer: &mut OwnedWriteHalf, script: Script) -> io::Result<After> {
    let mut body = BodyWriter { writer, has_head: false, splits: false };
    for step in script.steps {
        match step {
            Step::Status(status, headers, content) => {
                answer(body.writer, status, &headers, &content).await?;
                return Ok(After::KeepAlive);
            }
            Step::Head => body.head().await?,
            Step::Event(data) => {
                let mut event = BytesMut::new();
                sse::encode(&mut event, None, None, data.to_string().as_bytes());
                body.write(&event).await?;
            }
            Step::Raw(bytes) => body.write(&bytes).await?,
            Step::Mark(marks) => marks.note(),
            Step::Sleep(duration) => tokio::time::sleep(duration).await,
            Step::WaitFor(gate) => gate.notified().await,
            Step::Stall => std::future::pending().await,
            Step::Fin => {
                body.writer.shutdown().await?;
                return Ok(After::HalfClosed);
            }
            Step::Rst => {
                reset_on_close((*body.writer).as_ref())?;
                return Ok(After::Reset);
            }
            Step::End => break,
            Step::EndlessHeaders => endless_headers(body.writer).await?,
            Step::SplitEveryByte(splits) => body.splits = splits,
        }
    }
    body.end().await?;
    Ok(After::KeepAlive)
}

/// Writes a whole answer.
pub(super) async fn answer(writer: &mut OwnedWriteHalf, status: u16, headers: &[(String, String)], body: &[u8]) -> io::Result<()> {
    // The reason is for people only (RFC 9112, section 4).
    let mut bytes = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    writer.write_all(&bytes).await
}

async fn endless_headers(writer: &mut OwnedWriteHalf) -> io::Result<()> {
    writer.write_all(b"HTTP/1.1 200 OK\r\n").await?;
    for number in 0_u64.. {
        writer.write_all(format!("x-filler-{number}: on and on\r\n").as_bytes()).await?;
        tokio::time::sleep(ENDLESS_HEADER_PAUSE).await;
    }
    Ok(())
}

/// The chunked body of a stream.
struct BodyWriter<'a> {
    writer: &'a mut OwnedWriteHalf,
    has_head: bool,
    splits: bool,
}

impl BodyWriter<'_> {
    async fn head(&mut self) -> io::Result<()> {
        if self.has_head {
            return Ok(());
        }
        self.has_head = true;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
        self.writer.write_all(head.as_bytes()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.head().await?;
        let size = if self.splits { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            self.writer.write_all(&chunk).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> io::Result<()> {
        self.head().await?;
        self.writer.write_all(b"0\r\n\r\n").await
    }
}

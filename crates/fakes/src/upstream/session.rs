//! One HTTP/1.1 connection of the fake model server: serves requests in order, and notices when the
//! peer closes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::BytesMut;
use client::http1::{Body, Head, Piece, take_head};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::http2;
use super::play::reply;
use super::respond::{IncomingRequest, respond};
use super::response_writer::{After, ResponseWriter};
use super::state::OpenConnection;

/// The first bytes of an HTTP/2 client (RFC 9113, section 3.4); no HTTP/1.1 method starts like
/// this.
const PREFACE_START: &[u8] = b"PRI ";

/// Serves a connection until one side closes it.
pub(super) async fn run(stream: TcpStream, open: OpenConnection) {
    // Otherwise small writes would wait for acknowledgements. It fails only if the stream is
    // already closed.
    let _ = stream.set_nodelay(true);
    if is_http2(&stream).await {
        return http2::run(stream, Arc::new(open)).await;
    }
    let (reader, mut writer) = stream.into_split();
    let mut incoming = RequestReader { reader, buffer: BytesMut::new() };
    match serve(&mut incoming, &mut writer, &open).await {
        Ok(Closing::ByPeer) => drop(writer),
        // A dropped half sends FIN before the reset; a forgotten one does not.
        Ok(Closing::ByReset) => writer.forget(),
        Err(_) => {
            let body = json!({"error": {"message": "the fake cannot read this request", "type": "invalid_request_error"}});
            let _ = reply(&mut ResponseWriter::Http1(&mut writer), 400, &body).await;
            drop(writer);
        }
    }
    // The socket closes first, so that a test that sees no open connection finds it closed.
    drop(incoming);
    drop(open);
}

/// Peeks at the first bytes.
async fn is_http2(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE_START.len()];
    // Clients send the preface in one piece, so a second is enough.
    for _ in 0..1000 {
        match stream.peek(&mut first).await {
            Ok(count)
                if count > 0
                    && count < first.len()
                    && PREFACE_START.starts_with(&first[..count]) =>
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(count) => return &first[..count] == PREFACE_START,
            Err(_) => return false,
        }
    }
    false
}

/// How the connection ended.
enum Closing {
    ByPeer,
    ByReset,
}

/// Serves requests until the connection ends. Fails if a request cannot be read.
async fn serve(
    incoming: &mut RequestReader,
    writer: &mut OwnedWriteHalf,
    open: &OpenConnection,
) -> Result<Closing> {
    while let Some((head, body)) = incoming.request().await? {
        let mut parts = head.start_line.split(' ');
        let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let request = IncomingRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: head.headers,
            body,
            is_http2: false,
        };
        let mut writer = ResponseWriter::Http1(writer);
        let after = tokio::select! {
            biased;
            () = incoming.closed() => None,
            after = respond(&mut writer, open, request, |_| {}) => after.ok(),
        };
        match after {
            Some(After::KeepAlive) => {}
            Some(After::HalfClosed) => {
                incoming.closed().await;
                break;
            }
            Some(After::Reset) => return Ok(Closing::ByReset),
            // The peer has closed, or writing has failed because of it.
            None => break,
        }
    }
    open.peer_closed();
    Ok(Closing::ByPeer)
}

/// The reading side of the connection.
struct RequestReader {
    reader: OwnedReadHalf,
    buffer: BytesMut,
}

impl RequestReader {
    /// The next request and its body; `None` if the peer closed before it was complete.
    async fn request(&mut self) -> Result<Option<(Head, Vec<u8>)>> {
        let head = loop {
            if let Some(head) = take_head(&mut self.buffer)? {
                break head;
            }
            if !self.fill().await {
                return Ok(None);
            }
        };
        let mut framing =
            Body::announced(&head.headers, Body::Length(0)).context("the body's framing")?;
        let mut body = Vec::new();
        loop {
            match framing.take(&mut self.buffer)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => return Ok(Some((head, body))),
                Piece::NeedMore if self.fill().await => {}
                Piece::NeedMore => return Ok(None),
            }
        }
    }

    /// Returns when the peer has closed, by FIN or RST. Bytes that arrive before are kept for the
    /// next request.
    async fn closed(&mut self) {
        while self.fill().await {}
    }

    async fn fill(&mut self) -> bool {
        self.reader.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }
}

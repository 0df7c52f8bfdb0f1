//! One connection of the fake model server by HTTP/1.1: requests in order, and an eye on the peer while a script is played.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::BytesMut;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::http2;
use super::outlet::Outlet;
use super::play::{After, reply};
use super::respond::{Incoming, respond};
use super::state::Open;
use crate::wire::{Body, Head, Piece, take_head};

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4); no method of HTTP/1.1 begins so.
const PREFACE_BEGINS: &[u8] = b"PRI ";

/// Serves a connection until one side closes it.
pub(super) async fn run(stream: TcpStream, open: Open) {
    // Without it small writes would wait for acknowledgements; if it cannot be set, the stream is closed already.
    let _ = stream.set_nodelay(true);
    if is_http2(&stream).await {
        return http2::run(stream, Arc::new(open)).await;
    }
    let (reader, mut writer) = stream.into_split();
    let mut incoming = Reading { reader, buffer: BytesMut::new() };
    match serve(&mut incoming, &mut writer, &open).await {
        Ok(Closing::ByPeer) => drop(writer),
        // A dropped half sends FIN before the reset; a forgotten one does not.
        Ok(Closing::ByReset) => writer.forget(),
        Err(_) => {
            let body = json!({"error": {"message": "the lab cannot read this request", "type": "invalid_request_error"}});
            let _ = reply(&mut Outlet::Http1(&mut writer), 400, &body).await;
            drop(writer);
        }
    }
    // The socket closes first, so that whoever sees no open connection finds it closed.
    drop(incoming);
    drop(open);
}

/// Looks at the first bytes and leaves them where they are.
async fn is_http2(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE_BEGINS.len()];
    // Clients send the preface in one piece. Whoever needs longer than a second to spell it does not mean it.
    for _ in 0..1000 {
        match stream.peek(&mut first).await {
            Ok(count) if count > 0 && count < first.len() && PREFACE_BEGINS.starts_with(&first[..count]) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(count) => return &first[..count] == PREFACE_BEGINS,
            Err(_) => return false,
        }
    }
    false
}

/// Who ended the connection.
enum Closing {
    ByPeer,
    ByReset,
}

/// An error is a request that cannot be read.
async fn serve(incoming: &mut Reading, writer: &mut OwnedWriteHalf, open: &Open) -> Result<Closing> {
    while let Some((head, body)) = incoming.request().await? {
        let mut words = head.start_line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let request = Incoming { method: method.to_owned(), path: path.to_owned(), headers: head.headers, body, is_http2: false };
        let mut outlet = Outlet::Http1(writer);
        let after = tokio::select! {
            biased;
            () = incoming.closed() => None,
            after = respond(&mut outlet, open, request, |_| {}) => after.ok(),
        };
        match after {
            Some(After::KeepAlive) => {}
            Some(After::HalfClosed) => {
                incoming.closed().await;
                break;
            }
            Some(After::Reset) => return Ok(Closing::ByReset),
            // The peer is gone, or writing failed, which says the same.
            None => break,
        }
    }
    open.peer_closed();
    Ok(Closing::ByPeer)
}

/// What comes from the peer.
struct Reading {
    reader: OwnedReadHalf,
    buffer: BytesMut,
}

impl Reading {
    /// The next request and its body; `None` if the peer closed before it was whole.
    async fn request(&mut self) -> Result<Option<(Head, Vec<u8>)>> {
        let head = loop {
            if let Some(head) = take_head(&mut self.buffer)? {
                break head;
            }
            if !self.fill().await {
                return Ok(None);
            }
        };
        let mut framing = Body::announced(&head.headers, Body::Length(0)).context("the body's framing")?;
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

    /// Returns when the peer has closed, by FIN or RST. Bytes that come before are kept for the next request.
    async fn closed(&mut self) {
        while self.fill().await {}
    }

    async fn fill(&mut self) -> bool {
        self.reader.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0)
    }
}

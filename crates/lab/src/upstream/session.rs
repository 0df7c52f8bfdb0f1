//! One connection of the fake model server: requests in order, and an eye on the peer while a script is played.

use anyhow::{Context, Result};
use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::play::{After, answer, play};
use super::{Open, Script};
use crate::wire::{Body, Head, Piece, take_head};

/// Serves a connection until one side closes it.
pub(super) async fn run(stream: TcpStream, open: Open) {
    // Without it small writes would wait for acknowledgements; if it cannot be set, the stream is closed already.
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut incoming = Incoming { reader, buffer: BytesMut::new() };
    match serve(&mut incoming, &mut writer, &open).await {
        Ok(Closing::ByPeer) => drop(writer),
        // A dropped half sends FIN before the reset; a forgotten one does not.
        Ok(Closing::ByReset) => writer.forget(),
        Err(_) => {
            let body = json!({"error": {"message": "the lab cannot read this request", "type": "invalid_request_error"}});
            let _ = reply(&mut writer, 400, &body).await;
            drop(writer);
        }
    }
    // The socket closes first, so that whoever sees no open connection finds it closed.
    drop(incoming);
    drop(open);
}

/// Who ended the connection.
enum Closing {
    ByPeer,
    ByReset,
}

/// An error is a request that cannot be read.
async fn serve(incoming: &mut Incoming, writer: &mut OwnedWriteHalf, open: &Open) -> Result<Closing> {
    while let Some((head, body)) = incoming.request().await? {
        let after = tokio::select! {
            biased;
            () = incoming.closed() => None,
            after = respond(writer, open, head, &body) => after.ok(),
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

async fn respond(writer: &mut OwnedWriteHalf, open: &Open, head: Head, body: &[u8]) -> std::io::Result<After> {
    let mut words = head.start_line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let route = (method, path.split('?').next().unwrap_or_default());
    if route == ("GET", "/v1/models") {
        return reply(writer, 200, &models(open.list_models())).await;
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_stream = body["stream"] == Value::Bool(true);
    open.record(method, path, head.headers, body);
    if route != ("POST", "/v1/chat/completions") {
        let message = format!("the lab has no {method} {path}");
        return reply(writer, 404, &json!({"error": {"message": message, "type": "invalid_request_error"}})).await;
    }
    if !is_stream {
        // Weir always streams from upstream, whatever its own client asked for.
        let error = json!({"message": "the lab only streams", "type": "invalid_request_error", "param": "stream"});
        return reply(writer, 400, &json!({"error": error})).await;
    }
    let script: Script = open.next_script();
    play(writer, script).await
}

async fn reply(writer: &mut OwnedWriteHalf, status: u16, body: &Value) -> std::io::Result<After> {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    answer(writer, status, &headers, body.to_string().as_bytes()).await?;
    Ok(After::KeepAlive)
}

fn models(names: Vec<String>) -> Value {
    let entry = |name| json!({"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "lab"});
    json!({"object": "list", "data": names.into_iter().map(entry).collect::<Vec<_>>()})
}

/// What comes from the peer.
struct Incoming {
    reader: OwnedReadHalf,
    buffer: BytesMut,
}

impl Incoming {
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

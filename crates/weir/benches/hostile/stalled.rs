//! One reader that takes nothing of what others read.

use anyhow::{Context, Result};
use bytes::Bytes;
use client::websocket::{Handshake, Socket, shake_hands};
use client::{Connection, Request};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use serde_json::json;
use tokio::net::TcpStream;

use crate::bench_server::BenchServer;

/// Its receive buffer, so that the server has to keep what it does not take.
const NARROW: u32 = 4096;

/// How it was to be read.
#[derive(Clone, Copy)]
pub(crate) enum StalledTransport {
    Sse,
    WebSocket,
    Http2,
}

/// The reader.
pub(crate) enum Stalled {
    Sse(Connection),
    WebSocket(Box<Socket>),
    Http2 { body: RecvStream, _send: SendRequest<Bytes>, _task: client::Task },
}

impl Stalled {
    /// Asks for an answer from its start.
    pub(crate) async fn open(
        kind: StalledTransport,
        bench_server: &BenchServer,
        answer: &str,
    ) -> Result<Self> {
        let path = format!("/v1/responses/{answer}?stream=true");
        match kind {
            StalledTransport::Sse => {
                let mut connection = Connection::open_narrow(bench_server.address, NARROW).await?;
                connection.write(&Request::get(&path)).await?;
                Ok(Self::Sse(connection))
            }
            StalledTransport::WebSocket => {
                let connection = Connection::open_narrow(bench_server.address, NARROW).await?;
                let Handshake::Open(connected) =
                    shake_hands(connection, "/v1/responses", &[]).await?
                else {
                    anyhow::bail!("the socket was refused")
                };
                let mut socket = connected.socket;
                socket
                    .send_text(
                        &json!({ "type": "response.resume", "response_id": answer }).to_string(),
                    )
                    .await?;
                Ok(Self::WebSocket(Box::new(socket)))
            }
            StalledTransport::Http2 => {
                let stream = TcpStream::connect(bench_server.address).await?;
                let (send, connection) =
                    Builder::new().initial_window_size(0).handshake(stream).await?;
                let task = client::spawn(async move { drop(connection.await) });
                let mut send = send.ready().await?;
                let request = http::Request::get(format!("http://localhost{path}")).body(())?;
                let body = send.send_request(request, true)?.0.await?.into_body();
                Ok(Self::Http2 { body, _send: send, _task: task })
            }
        }
    }

    /// What became of it.
    pub(crate) async fn end(self) -> Result<String> {
        match self {
            Self::Sse(mut connection) => raw(&mut connection).await,
            Self::WebSocket(mut socket) => raw(socket.connection()).await,
            Self::Http2 { mut body, .. } => {
                let end = client::soon(body.data())
                    .await?
                    .context("the stream ended as if it were whole")?;
                Ok(end.map_or_else(
                    |error| format!("its end: {error}"),
                    |data| format!("it got {} bytes through a shut window", data.len()),
                ))
            }
        }
    }
}

/// How many bytes were there in the end, and what was after them.
async fn raw(connection: &mut Connection) -> Result<String> {
    let mut count = 0;
    loop {
        match client::soon(connection.read_raw()).await? {
            Ok(bytes) if bytes.is_empty() => {
                return Ok(format!("its end: FIN after {} KiB", count >> 10));
            }
            Ok(bytes) => count += bytes.len(),
            Err(error) => {
                return Ok(format!("its end: {:?} after {} KiB", error.kind(), count >> 10));
            }
        }
    }
}

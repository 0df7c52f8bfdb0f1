//! Connections that are made, used once, and then only held; pings are answered, as an honest client would.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use client::Task;
use client::websocket;
use client::{Connection, Request};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use h2::client::Builder;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bench_server::connector;
use crate::neighbour::{AttackKind, AttackTarget};

/// How many are made at once: fewer than the listener's backlog.
const AT_ONCE: usize = 64;

/// Makes them all. Each is a task that ends when its connection does.
pub(crate) async fn gather(kind: AttackKind, target: &AttackTarget) -> Result<Vec<Task>> {
    let connector = target.certificate.as_deref().map(connector).transpose()?.map(Arc::new);
    let silent = if kind == AttackKind::Silent { Some(silent_answer(target).await?) } else { None };
    let opening =
        (0..target.count).map(|_| open(kind, target, connector.as_deref(), silent.as_deref()));
    iter(opening).buffer_unordered(AT_ONCE).try_collect().await
}

async fn open(
    kind: AttackKind,
    target: &AttackTarget,
    connector: Option<&TlsConnector>,
    silent: Option<&str>,
) -> Result<Task> {
    match kind {
        AttackKind::WebSocket => {
            let mut socket = websocket::connect(target.address, "/v1/responses", &[]).await?.socket;
            Ok(client::spawn(async move { while let Ok(Some(_)) = socket.next().await {} }))
        }
        AttackKind::Http2 => {
            let (send, connection) = Builder::new()
                .handshake::<_, bytes::Bytes>(TcpStream::connect(target.address).await?)
                .await?;
            let held = send.clone();
            let task = client::spawn(async move {
                drop(connection.await);
                drop(held);
            });
            let request = http::Request::get("http://localhost/healthz").body(())?;
            ensure!(
                send.ready().await?.send_request(request, true)?.0.await?.status() == 200,
                "not served"
            );
            Ok(task)
        }
        _ => {
            let connection = match connector {
                Some(connector) => {
                    Connection::open_encrypted(target.address, "localhost", connector).await?
                }
                None => Connection::open(target.address).await?,
            };
            let path = silent
                .map_or("/healthz".to_owned(), |id| format!("/v1/responses/{id}?stream=true"));
            let response = connection.send(&Request::get(&path)).await?;
            ensure!(response.status == 200, "not served: {}", response.status);
            let mut connection = if silent.is_some() {
                response.abandon()
            } else {
                response.into_connection().await?
            };
            Ok(client::spawn(async move {
                while connection.read_raw().await.is_ok_and(|bytes| !bytes.is_empty()) {}
            }))
        }
    }
}

/// The id of an answer that says a word and then nothing.
async fn silent_answer(target: &AttackTarget) -> Result<String> {
    let body = json!({ "model": "demo", "input": "/stall 1", "stream": true });
    let mut stream =
        client::send(target.address, &Request::post("/v1/responses", &body)).await?.events()?;
    let created = stream.next().await?.context("an event")?.json()?;
    Ok(created["response"]["id"].as_str().context("an id")?.to_owned())
}

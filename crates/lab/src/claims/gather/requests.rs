//! Experiments with single requests: persistent connections, `Host`, and `ETag`.

use std::time::Duration;

use anyhow::{Context, Result};

use super::experiment::Experiment;
use crate::claims::evidence::{Host, Persistence, Validator};
use crate::plan::Version;
use crate::session::Session;
use client::Request;
use client::soon;

/// A server that closes does so at once; after this time it keeps the connection.
const QUIET: Duration = Duration::from_millis(150);

/// Whether a connection is kept after a response, by version.
pub(super) async fn persistence(setting: &Experiment<'_>) -> Result<Persistence> {
    let healthz = || Request::get("/healthz");
    Ok(Persistence {
        http10: stays(setting, healthz().http_1_0()).await?,
        http10_keep_alive: stays(setting, healthz().http_1_0().header("connection", "keep-alive"))
            .await?,
        http11: stays(setting, healthz()).await?,
        http11_close: stays(setting, healthz().header("connection", "close")).await?,
    })
}

async fn stays(setting: &Experiment<'_>, request: Request) -> Result<bool> {
    let mut session = setting.session(Version::Http11)?;
    let (connection, request) = (session.open().await?, session.prepared(request));
    let mut response = soon(connection.send(&request)).await??;
    response.collect().await?;
    let mut connection = response.abandon();
    let is_quiet = tokio::time::timeout(QUIET, connection.read_raw()).await.is_err();
    if is_quiet {
        // It is only kept if another request is served.
        return Ok(soon(connection.send(&request))
            .await?
            .is_ok_and(|response| response.status == 200));
    }
    Ok(false)
}

/// Requests without `Host`, and with two.
pub(super) async fn host(setting: &Experiment<'_>) -> Result<Host> {
    let endpoint = setting.session(Version::Http11)?.endpoint().clone();
    let (name, prefix) = (endpoint.authority, endpoint.prefix);
    let status = async |head: String| {
        let mut connection = setting.session(Version::Http11)?.open().await?;
        connection.write_raw(head.as_bytes()).await?;
        anyhow::Ok(soon(connection.read_response(&Request::get("/healthz"))).await??.status)
    };
    Ok(Host {
        missing: status(format!("GET {prefix}/healthz HTTP/1.1\r\n\r\n")).await?,
        twice: status(format!(
            "GET {prefix}/healthz HTTP/1.1\r\nhost: {name}\r\nhost: {name}\r\n\r\n"
        ))
        .await?,
        http10: status(format!("GET {prefix}/healthz HTTP/1.0\r\n\r\n")).await?,
    })
}

/// The page, and the page again with its `ETag`, also over HTTP/1.0.
pub(super) async fn validator(setting: &Experiment<'_>) -> Result<Validator> {
    let mut session = setting.session(Version::Http11)?;
    let mut first = session.send(Request::get("/")).await?;
    let tag = first.header("etag").map(str::to_owned);
    let first_bytes = first.body().await?.len() as u64;
    session.end(first).await?;
    let again = Request::get("/").header("if-none-match", tag.as_deref().unwrap_or_default());
    let (status, second_bytes) =
        status_and_length(&mut session, again.clone()).await.context("the page again")?;
    session.close().await?;
    let mut older = setting.session(Version::Http10)?;
    let (status_http10, _) =
        status_and_length(&mut older, again).await.context("the page again, by HTTP/1.0")?;
    older.close().await?;
    Ok(Validator { has_tag: tag.is_some(), status, first_bytes, second_bytes, status_http10 })
}

/// The status of a response, and the length of its body.
async fn status_and_length(session: &mut Session, request: Request) -> Result<(u16, u64)> {
    let mut answer = session.send(request).await?;
    let (status, bytes) = (answer.status(), answer.body().await?.len() as u64);
    session.end(answer).await?;
    Ok((status, bytes))
}

//! What single requests show: what stays behind an answer, `Host`, and `ETag`.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Ground;
use crate::client::Request;
use crate::compare::claims::evidence::{Host, Persistence, Validator};
use crate::compare::plan::Version;
use crate::compare::session::Session;
use crate::runtime::soon;

/// A server that is going to close does so at once; who is quiet for so long stays.
const QUIET: Duration = Duration::from_millis(150);

/// Whether a connection is still there behind an answer, by version.
pub(super) async fn persistence(ground: &Ground<'_>) -> Result<Persistence> {
    let healthz = || Request::get("/healthz");
    Ok(Persistence {
        http10: stays(ground, healthz().http_1_0()).await?,
        http10_keep_alive: stays(ground, healthz().http_1_0().header("connection", "keep-alive")).await?,
        http11: stays(ground, healthz()).await?,
        http11_close: stays(ground, healthz().header("connection", "close")).await?,
    })
}

async fn stays(ground: &Ground<'_>, request: Request) -> Result<bool> {
    let mut session = ground.session(Version::Http11)?;
    let (connection, request) = (session.open().await?, session.dressed(request));
    let mut response = soon(connection.send(&request)).await??;
    response.collect().await?;
    let mut connection = response.abandon();
    let is_quiet = tokio::time::timeout(QUIET, connection.read_raw()).await.is_err();
    if is_quiet {
        // It is only there if it answers once more.
        return Ok(soon(connection.send(&request)).await?.is_ok_and(|response| response.status == 200));
    }
    Ok(false)
}

/// Requests without `Host`, and with two.
pub(super) async fn host(ground: &Ground<'_>) -> Result<Host> {
    let dial = ground.session(Version::Http11)?.dial().clone();
    let (name, prefix) = (dial.authority, dial.prefix);
    let status = async |head: String| {
        let mut connection = ground.session(Version::Http11)?.open().await?;
        connection.write_raw(head.as_bytes()).await?;
        anyhow::Ok(soon(connection.read_response(&Request::get("/healthz"))).await??.status)
    };
    Ok(Host {
        missing: status(format!("GET {prefix}/healthz HTTP/1.1\r\n\r\n")).await?,
        twice: status(format!("GET {prefix}/healthz HTTP/1.1\r\nhost: {name}\r\nhost: {name}\r\n\r\n")).await?,
        http10: status(format!("GET {prefix}/healthz HTTP/1.0\r\n\r\n")).await?,
    })
}

/// The page, and the page again by its `ETag`, also in the words of HTTP/1.0.
pub(super) async fn validator(ground: &Ground<'_>) -> Result<Validator> {
    let mut session = ground.session(Version::Http11)?;
    let mut first = session.send(Request::get("/")).await?;
    let tag = first.header("etag").map(str::to_owned);
    let first_bytes = first.body().await?.len() as u64;
    session.end(first).await?;
    let again = Request::get("/").header("if-none-match", tag.as_deref().unwrap_or_default());
    let (status, second_bytes) = answered(&mut session, again.clone()).await.context("the page again")?;
    session.close().await?;
    let mut older = ground.session(Version::Http10)?;
    let (status_http10, _) = answered(&mut older, again).await.context("the page again, by HTTP/1.0")?;
    older.close().await?;
    Ok(Validator { has_tag: tag.is_some(), status, first_bytes, second_bytes, status_http10 })
}

/// The status of an answer, and how long its body is.
async fn answered(session: &mut Session, request: Request) -> Result<(u16, u64)> {
    let mut answer = session.send(request).await?;
    let (status, bytes) = (answer.status(), answer.body().await?.len() as u64);
    session.end(answer).await?;
    Ok((status, bytes))
}

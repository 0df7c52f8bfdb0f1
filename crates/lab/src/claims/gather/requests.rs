//! Experiments with single requests: persistent connections, `Host`, and `ETag`.

use std::time::Duration;

use anyhow::{Context, Result};

use super::experiment::Experiment;
use crate::bilingual::Bilingual;
use crate::claims::cite::names;
use crate::claims::evidence::{Host, Methods, Persistence, Validator};
use crate::plan::Version;
use crate::session::Session;
use client::Request;
use client::soon;

/// A server that closes does so at once; after this time it keeps the connection.
const QUIET: Duration = Duration::from_millis(150);

/// Whether a connection is kept after a response, by version.
pub(super) async fn persistence(setting: &Experiment<'_>) -> Result<Persistence> {
    let healthz = || Request::get("/healthz");
    let [http10, http10_keep_alive, http11, http11_close] = names::PERSISTENCE;
    Ok(Persistence {
        http10: stays(setting, http10, healthz().http_1_0()).await?,
        http10_keep_alive: stays(
            setting,
            http10_keep_alive,
            healthz().http_1_0().header("connection", "keep-alive"),
        )
        .await?,
        http11: stays(setting, http11, healthz()).await?,
        http11_close: stays(setting, http11_close, healthz().header("connection", "close")).await?,
    })
}

async fn stays(
    setting: &Experiment<'_>,
    (name, en, zh): (&str, &str, &str),
    request: Request,
) -> Result<bool> {
    let mut session = setting.session(Version::Http11)?;
    let (connection, request) = (session.open().await?, session.prepared(request));
    let port = session.opened.first().context("no connection")?.local.port();
    setting.name(port, name, Bilingual::new(en, zh));
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
    let status = async |ladder: &str, title: Bilingual, head: String| {
        let mut session = setting.session(Version::Http11)?;
        let mut connection = session.open().await?;
        setting.name(session.opened.first().context("no connection")?.local.port(), ladder, title);
        connection.write_raw(head.as_bytes()).await?;
        anyhow::Ok(soon(connection.read_response(&Request::get("/healthz"))).await??.status)
    };
    let [missing, twice, http10] = names::HOST;
    Ok(Host {
        missing: status(
            missing,
            Bilingual::new("HTTP/1.1 without Host", "HTTP/1.1，没有 Host"),
            format!("GET {prefix}/healthz HTTP/1.1\r\n\r\n"),
        )
        .await?,
        twice: status(
            twice,
            Bilingual::new("HTTP/1.1 with two Host fields", "HTTP/1.1，两个 Host"),
            format!("GET {prefix}/healthz HTTP/1.1\r\nhost: {name}\r\nhost: {name}\r\n\r\n"),
        )
        .await?,
        http10: status(
            http10,
            Bilingual::new("HTTP/1.0 without Host", "HTTP/1.0，没有 Host"),
            format!("GET {prefix}/healthz HTTP/1.0\r\n\r\n"),
        )
        .await?,
    })
}

/// Methods that the server has, has not at this path, and does not know, all on one connection; and
/// one of them over HTTP/1.0.
pub(super) async fn methods(setting: &Experiment<'_>) -> Result<Methods> {
    let mut session = setting.session(Version::Http11)?;
    let mut allowed = None;
    let mut statuses = Vec::new();
    for method in ["OPTIONS", "PUT", UNKNOWN_METHOD] {
        let mut answer = session.send(Request::new(method, "/v1/models")).await?;
        allowed = allowed.or_else(|| answer.header("allow").map(str::to_owned));
        statuses.push(answer.status());
        answer.body().await?;
        session.end(answer).await?;
    }
    session.close().await?;
    let mut older = setting.session(Version::Http10)?;
    let (put_http10, _) = status_and_length(&mut older, Request::new("PUT", "/v1/models")).await?;
    older.close().await?;
    let [options, put, unknown] = statuses[..] else { anyhow::bail!("three statuses") };
    Ok(Methods { options, allowed, put, put_http10, unknown })
}

/// A method that no server knows. (RFC 2324 has it, for coffee pots.)
const UNKNOWN_METHOD: &str = "BREW";

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

//! Seven streams at once, as a browser with seven tabs would want them.

use std::time::Duration;

use anyhow::Result;
use client::{Trust, within};
use futures_util::future::join_all;
use serde_json::json;

use super::{Check, CheckReport};
use crate::dialect::Dialect;
use crate::finding::Finding;
use crate::measure::{Meter, Transport};
use crate::subject::{SourceRequest, Subject};
use crate::text::text;

/// One more than browsers open to a host over HTTP/1.1.
const STREAMS: usize = 7;

/// How long the first event of each may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Opens seven streams, and asks whether HTTP/2 is spoken.
pub(crate) async fn run(subject: &Subject<'_>, trust: &Trust) -> Result<CheckReport> {
    let is_plain_get = subject.target.dialect == Dialect::Plain && subject.ask.body.is_none();
    if !subject.has_source() && !is_plain_get {
        return Ok(CheckReport::not_made(
            Check::Connections,
            text!("not made: it would ask the model seven times", "未进行：这会向模型发起七次请求"),
        ));
    }
    (subject.progress)(&text!("connections: seven streams at once", "连接：同时打开七个流"));
    let each = (0..STREAMS).map(|_| started(subject));
    let mut open = 0;
    for outcome in join_all(each).await {
        open += usize::from(outcome.unwrap_or(false));
    }
    let speaks_http2 = speaks_http2(subject, trust).await;
    let facts = json!({ "asked": STREAMS, "open": open, "http2": speaks_http2 });
    let mut findings = Vec::new();
    if open < STREAMS {
        findings.push(Finding::problem(
            "streams_at_once",
            text!(
                "Only {open} of {STREAMS} streams started: something limits the connections of one client.",
                "{STREAMS} 个流中只有 {open} 个开始：有一跳限制了单个客户端的连接数。"
            ),
        ));
    }
    let mut lines = vec![text!(
        "{open} of {STREAMS} streams at once have started",
        "同时打开 {STREAMS} 个流，{open} 个已开始"
    )];
    lines.push(if speaks_http2 {
        text!(
            "HTTP/2 is offered: a browser's tabs share one connection",
            "提供 HTTP/2：浏览器的多个标签页共用一条连接"
        )
    } else {
        text!(
            "no HTTP/2 for browsers here: they open six connections to a host, and a seventh tab waits",
            "浏览器在这里用不了 HTTP/2：每个主机最多六条连接，第七个标签页会一直等待"
        )
    });
    Ok(CheckReport::made(Check::Connections, facts, lines, findings))
}

/// Whether a stream has sent its first event in time.
async fn started(subject: &Subject<'_>) -> Result<bool> {
    let meter = Meter { longest: PATIENCE, ..subject.meter };
    let subject = Subject { meter, ..*subject };
    let outcome = if subject.has_source() {
        let wanted = SourceRequest::new(4, Duration::from_millis(500), 100);
        subject.source(Transport::Sse, wanted, "identity").await?
    } else {
        let request = subject.target.request(subject.ask, "identity");
        subject.meter.stream(&subject.target.place, &request, subject.target.dialect, None).await?
    };
    Ok(outcome.is_ok_and(|measured| !measured.events.is_empty()))
}

/// Whether the server chooses HTTP/2 in the TLS handshake, as browsers need it.
async fn speaks_http2(subject: &Subject<'_>, trust: &Trust) -> bool {
    if !subject.target.place.is_encrypted() {
        return false;
    }
    let Ok(place) = subject.target.place.offering(trust, &["h2", "http/1.1"]) else { return false };
    match within(PATIENCE, place.connect()).await {
        Ok(Ok((_, connecting))) => {
            connecting.tls.and_then(|tls| tls.alpn).is_some_and(|alpn| alpn == "h2")
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

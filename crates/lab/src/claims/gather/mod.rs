//! Gathers the evidence: from the measured cells, and from an experiment for each claim that they
//! do not cover.

mod connections;
mod experiment;
mod losses;
mod requests;
mod streams;

use std::time::Duration;

use anyhow::Result;
use client::within;

use super::evidence::{Chunking, Delay, Evidence, Exchanges, MidStream, Parallel};
use crate::numbers::Measured;
use crate::plan::{Cell, Dialect, Plan, Transport, Version};
use crate::run::Harness;
use experiment::Experiment;

/// The number of experiments.
pub const EXPERIMENTS: u64 = 7;

/// Gathers the evidence, and calls `step` after each experiment. Also returns which experiments
/// failed, and why.
pub async fn gather(
    harness: &Harness,
    plan: &Plan,
    measured: &[Measured],
    mut step: impl FnMut(),
) -> (Evidence, Vec<String>) {
    let setting = Experiment { harness, plan, tls: harness.clear.is_none() };
    let mut evidence = of_cells(measured);
    let mut missing = Vec::new();
    if let Some(seen) = attempt(
        harness.timeout,
        "how connections end",
        Box::pin(connections::closing(&setting)),
        &mut missing,
        &mut step,
    )
    .await
    {
        (evidence.handshake, evidence.fin, evidence.endings, evidence.half_close) = seen;
    }
    evidence.persistence = attempt(
        harness.timeout,
        "what stays behind an answer",
        Box::pin(requests::persistence(&setting)),
        &mut missing,
        &mut step,
    )
    .await;
    evidence.host = attempt(
        harness.timeout,
        "Host",
        Box::pin(requests::host(&setting)),
        &mut missing,
        &mut step,
    )
    .await;
    evidence.validator = attempt(
        harness.timeout,
        "ETag",
        Box::pin(requests::validator(&setting)),
        &mut missing,
        &mut step,
    )
    .await;
    if let Some((seen, connections)) = attempt(
        harness.timeout,
        "answers at the same time",
        Box::pin(streams::multiplexing(&setting)),
        &mut missing,
        &mut step,
    )
    .await
    {
        evidence.multiplexing = Some(seen);
        evidence.parallel = parallel(measured, seen.answers, connections);
    }
    evidence.loss = attempt(
        harness.timeout,
        "a lost segment",
        Box::pin(losses::loss(&setting)),
        &mut missing,
        &mut step,
    )
    .await
    .flatten();
    if let Some(seen) = attempt(
        harness.timeout,
        "what streams are made of",
        Box::pin(streams::contents(&setting)),
        &mut missing,
        &mut step,
    )
    .await
    {
        let streams::StreamContents { text, media_type, format, sameness, resumption } = seen;
        (evidence.text, evidence.media_type, evidence.format) =
            (Some(text), Some(media_type), Some(format));
        (evidence.sameness, evidence.resumption) = (Some(sameness), Some(resumption));
    }
    (evidence, missing)
}

/// The result of an experiment; if it fails, the reason is added to `missing`.
async fn attempt<T>(
    timeout: Duration,
    what: &str,
    work: impl Future<Output = Result<T>>,
    missing: &mut Vec<String>,
    step: &mut impl FnMut(),
) -> Option<T> {
    let done = within(timeout, work).await.and_then(|done| done);
    step();
    done.map_err(|error| missing.push(format!("{what}: {error:#}"))).ok()
}

/// The evidence from the measured cells.
fn of_cells(measured: &[Measured]) -> Evidence {
    // Without TLS if possible.
    let find = |transport, version| {
        let is_it = |tls| {
            move |measured: &&Measured| {
                measured.cell == Some(Cell { dialect: Dialect::Responses, transport, version, tls })
            }
        };
        [false, true].into_iter().find_map(|tls| {
            measured.iter().filter(|measured| measured.failed.is_none()).find(is_it(tls))
        })
    };
    let sse = |version| find(Transport::Sse, version);
    let socket = |version| find(Transport::Websocket, version);
    let exchanges = |measured: &Measured| Exchanges {
        answers: measured.answers,
        events: measured.events,
        requests: measured.requests,
        connections: measured.connections,
        // A retransmitted SYN is not another handshake.
        syn: measured.wire.as_ref().map(|wire| wire.connections),
        fin: measured.fin_before_end,
    };
    let mid_stream = |measured: Option<&Measured>| {
        measured?
            .mid_stream
            .as_ref()
            .map(|request| (request.new_connections, request.is_before_end))
    };
    let added = |measured: Option<&Measured>| {
        measured?.times.added_ms.map(|spread| (spread.p50, spread.p99))
    };
    Evidence {
        sse: sse(Version::Http11).map(exchanges),
        websocket: socket(Version::Http11).map(exchanges),
        chunking: chunking([sse(Version::Http10), sse(Version::Http11), sse(Version::Http2)]),
        speaking: (|| {
            Some(MidStream {
                sse_http11: mid_stream(sse(Version::Http11))?,
                sse_http2: mid_stream(sse(Version::Http2))?,
                websocket_http11: mid_stream(socket(Version::Http11))?,
                websocket_http2: mid_stream(socket(Version::Http2))?,
            })
        })(),
        delay: (|| {
            Some(Delay {
                sse: added(sse(Version::Http11))?,
                websocket: added(socket(Version::Http11))?,
                json: added(find(Transport::Json, Version::Http11))?,
                tokens: sse(Version::Http11)?.tokens?,
            })
        })(),
        ..Evidence::default()
    }
}

fn chunking([http10, http11, http2]: [Option<&Measured>; 3]) -> Option<Chunking> {
    let (http10, http11, http2) = (http10?, http11?, http2?);
    Some(Chunking {
        body_bytes: http11.bytes.down.body,
        http10: http10.bytes.down.framing,
        http11: http11.bytes.down.framing,
        http2: http2.bytes.down.framing,
        connections_http10: http10.connections,
        connections_http11: http11.connections,
    })
}

fn parallel(
    measured: &[Measured],
    answers: u64,
    (connections_http11, connections_http2): (u64, u64),
) -> Option<Parallel> {
    let added = |version| {
        let is_it = |cell: Cell| {
            cell.dialect == Dialect::Responses
                && cell.transport == Transport::Sse
                && cell.version == version
        };
        measured
            .iter()
            .find(|measured| measured.failed.is_none() && measured.cell.is_some_and(is_it))?
            .times
            .added_ms
            .map(|spread| spread.p50)
    };
    Some(Parallel {
        answers,
        connections_http11,
        connections_http2,
        added_http11_ms: added(Version::Http11)?,
        added_http2_ms: added(Version::Http2)?,
    })
}

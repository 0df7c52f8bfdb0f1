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

use super::evidence::{Chunking, Delay, Evidence, Exchanges, MidStream, Parallel, TransportDelay};
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

/// The measured cells of one API.
#[derive(Clone, Copy)]
struct DialectCells<'a> {
    dialect: Dialect,
    measured: &'a [Measured],
}

impl<'a> DialectCells<'a> {
    /// A measured cell, without TLS if possible.
    fn find(self, transport: Transport, version: Version) -> Option<&'a Measured> {
        [false, true].into_iter().find_map(|tls| {
            let cell = Cell { dialect: self.dialect, transport, version, tls };
            self.measured
                .iter()
                .find(|measured| measured.failed.is_none() && measured.cell == Some(cell))
        })
    }

    fn sse(self, version: Version) -> Option<&'a Measured> {
        self.find(Transport::Sse, version)
    }

    fn socket(self, version: Version) -> Option<&'a Measured> {
        self.find(Transport::Websocket, version)
    }

    fn exchanges(self, transport: Transport) -> Option<Exchanges> {
        let measured = self.find(transport, Version::Http11)?;
        Some(Exchanges {
            dialect: self.dialect,
            answers: measured.answers,
            events: measured.events,
            requests: measured.requests,
            connections: measured.connections,
            // A retransmitted SYN is not another handshake.
            syn: measured.wire.as_ref().map(|wire| wire.connections),
            fin: measured.fin_before_end,
        })
    }

    fn chunking(self) -> Option<Chunking> {
        let http10 = self.sse(Version::Http10)?;
        let (http11, http2) = (self.sse(Version::Http11)?, self.sse(Version::Http2)?);
        Some(Chunking {
            body_bytes: http11.bytes.down.body,
            http10: http10.bytes.down.framing,
            http11: http11.bytes.down.framing,
            http2: http2.bytes.down.framing,
            connections_http10: http10.connections,
            connections_http11: http11.connections,
        })
    }

    fn speaking(self) -> Option<MidStream> {
        let mid_stream = |measured: Option<&Measured>| {
            let request = measured?.mid_stream.as_ref()?;
            Some((request.new_connections, request.is_before_end))
        };
        Some(MidStream {
            sse_http11: mid_stream(self.sse(Version::Http11))?,
            sse_http2: mid_stream(self.sse(Version::Http2))?,
            websocket_http11: mid_stream(self.socket(Version::Http11))?,
            websocket_http2: mid_stream(self.socket(Version::Http2))?,
        })
    }

    fn delay(self) -> Option<Delay> {
        Some(Delay {
            dialect: self.dialect,
            sse: added(self.sse(Version::Http11))?,
            websocket: added(self.socket(Version::Http11))?,
            json: added(self.find(Transport::Json, Version::Http11)),
        })
    }
}

fn added(measured: Option<&Measured>) -> Option<TransportDelay> {
    let measured = measured?;
    let calmest_ms = measured.calmest_added_ms()?;
    Some(TransportDelay { all: measured.times.added_ms?, calmest_ms })
}

/// The first API whose cells show it.
fn first<'a, T>(
    measured: &'a [Measured],
    find: impl Fn(DialectCells<'a>) -> Option<T>,
) -> Option<T> {
    Dialect::ALL.into_iter().find_map(|dialect| find(DialectCells { dialect, measured }))
}

/// The evidence from the measured cells.
fn of_cells(measured: &[Measured]) -> Evidence {
    let demo = DialectCells { dialect: Dialect::Classic, measured };
    Evidence {
        sse: first(measured, |cells| cells.exchanges(Transport::Sse)),
        websocket: first(measured, |cells| cells.exchanges(Transport::Websocket)),
        demo_sse: demo.exchanges(Transport::Sse),
        demo_websocket: demo.exchanges(Transport::Websocket),
        demo_done: demo.sse(Version::Http11).and_then(|measured| measured.done),
        chunking: first(measured, DialectCells::chunking),
        speaking: first(measured, DialectCells::speaking),
        delay: first(measured, DialectCells::delay),
        ..Evidence::default()
    }
}

fn parallel(
    measured: &[Measured],
    answers: u64,
    (connections_http11, connections_http2): (u64, u64),
) -> Option<Parallel> {
    first(measured, |cells| {
        Some(Parallel {
            answers,
            connections_http11,
            connections_http2,
            added_http11: added(cells.sse(Version::Http11))?,
            added_http2: added(cells.sse(Version::Http2))?,
        })
    })
}

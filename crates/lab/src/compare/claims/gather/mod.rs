//! Gathers the evidence: from the cells that were measured, and by an experiment for each claim that no cell tells about.

mod connections;
mod losses;
mod requests;
mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lens::flow::side::Side;
use serde_json::json;

use super::evidence::{Chunking, Delay, Evidence, Exchanges, Parallel, Speaking};
use crate::client::Request;
use crate::compare::numbers::Measured;
use crate::compare::plan::{Cell, Dialect, Plan, Transport, Version};
use crate::compare::run::Bench;
use crate::compare::session::Session;
use crate::compare::wire::Caught;
use crate::runtime::within;

/// How many experiments there are.
pub const EXPERIMENTS: u64 = 7;

/// Gathers all that can be had, and calls `step` behind each experiment. What could not be had, and why, is told beside it.
pub async fn gather(bench: &Bench, plan: &Plan, measured: &[Measured], mut step: impl FnMut()) -> (Evidence, Vec<String>) {
    let ground = Ground { bench, plan, tls: bench.clear.is_none() };
    let mut evidence = of_cells(measured);
    let mut missing = Vec::new();
    if let Some(seen) =
        experiment(bench.patience, "how connections end", Box::pin(connections::closing(&ground)), &mut missing, &mut step).await
    {
        (evidence.handshake, evidence.fin, evidence.endings, evidence.half_close) = seen;
    }
    evidence.persistence =
        experiment(bench.patience, "what stays behind an answer", Box::pin(requests::persistence(&ground)), &mut missing, &mut step).await;
    evidence.host = experiment(bench.patience, "Host", Box::pin(requests::host(&ground)), &mut missing, &mut step).await;
    evidence.validator = experiment(bench.patience, "ETag", Box::pin(requests::validator(&ground)), &mut missing, &mut step).await;
    if let Some((seen, connections)) =
        experiment(bench.patience, "answers at the same time", Box::pin(streams::multiplexing(&ground)), &mut missing, &mut step).await
    {
        evidence.multiplexing = Some(seen);
        evidence.parallel = parallel(measured, seen.answers, connections);
    }
    evidence.loss = experiment(bench.patience, "a lost segment", Box::pin(losses::loss(&ground)), &mut missing, &mut step).await.flatten();
    if let Some(seen) =
        experiment(bench.patience, "what streams are made of", Box::pin(streams::words(&ground)), &mut missing, &mut step).await
    {
        let streams::Words { text, media_type, format, sameness, resumption } = seen;
        (evidence.text, evidence.media_type, evidence.format) = (Some(text), Some(media_type), Some(format));
        (evidence.sameness, evidence.resumption) = (Some(sameness), Some(resumption));
    }
    (evidence, missing)
}

/// What came of an experiment; `None`, and why, if nothing did.
async fn experiment<T>(
    patience: Duration,
    what: &str,
    work: impl Future<Output = Result<T>>,
    missing: &mut Vec<String>,
    step: &mut impl FnMut(),
) -> Option<T> {
    let done = within(patience, work).await.and_then(|done| done);
    step();
    done.map_err(|error| missing.push(format!("{what}: {error:#}"))).ok()
}

/// Where experiments are made.
struct Ground<'a> {
    bench: &'a Bench,
    plan: &'a Plan,
    tls: bool,
}

impl Ground<'_> {
    fn session(&self, version: Version) -> Result<Session> {
        let dial = self.bench.dial(self.tls, version, &Arc::default())?;
        Ok(Session::new(dial, version, self.bench.key.as_deref()))
    }

    /// A question whose answer goes on for a while.
    fn question(&self) -> &str {
        &self.plan.long_question
    }

    /// One whose answer is short.
    fn short_question(&self) -> Result<&str> {
        self.plan.questions.first().map(String::as_str).context("no question")
    }

    /// The request for its answer, as a stream or in one piece.
    fn ask(&self, question: &str, stream: bool) -> Request {
        let body = json!({ "model": self.plan.model, "input": question, "stream": stream });
        Request::post("/v1/responses", &body).header("accept", "text/event-stream").header("prefer", "wait=0")
    }

    /// What was caught of these ports; `None` where nothing is captured.
    async fn caught(&self, ports: &BTreeSet<u16>) -> Option<Caught> {
        Some(Caught::collect(self.bench.recorder.as_ref()?, ports).await)
    }

    fn forget_packets(&self) {
        if let Some(recorder) = &self.bench.recorder {
            drop(recorder.take());
        }
    }
}

/// What the cells say already.
fn of_cells(measured: &[Measured]) -> Evidence {
    // In clear if it can be.
    let find = |transport, version| {
        let is_it = |tls| move |measured: &&Measured| measured.cell == Some(Cell { dialect: Dialect::Responses, transport, version, tls });
        [false, true].into_iter().find_map(|tls| measured.iter().filter(|measured| measured.failed.is_none()).find(is_it(tls)))
    };
    let sse = |version| find(Transport::Sse, version);
    let socket = |version| find(Transport::Websocket, version);
    let exchanges = |measured: &Measured| Exchanges {
        answers: measured.answers,
        events: measured.events,
        requests: measured.requests,
        connections: measured.connections,
        // A SYN that was repeated is no other handshake.
        syn: measured.wire.as_ref().map(|wire| wire.connections),
        fin: measured.fin_before_end,
    };
    let speech = |measured: Option<&Measured>| measured?.speech.as_ref().map(|speech| (speech.new_connections, speech.heard_before_end));
    let added = |measured: Option<&Measured>| measured?.times.added_ms.map(|spread| (spread.p50, spread.p99));
    Evidence {
        sse: sse(Version::Http11).map(exchanges),
        websocket: socket(Version::Http11).map(exchanges),
        chunking: chunking([sse(Version::Http10), sse(Version::Http11), sse(Version::Http2)]),
        speaking: (|| {
            Some(Speaking {
                sse_http11: speech(sse(Version::Http11))?,
                sse_http2: speech(sse(Version::Http2))?,
                websocket_http11: speech(socket(Version::Http11))?,
                websocket_http2: speech(socket(Version::Http2))?,
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

fn parallel(measured: &[Measured], answers: u64, (connections_http11, connections_http2): (u64, u64)) -> Option<Parallel> {
    let added = |version| {
        let is_it = |cell: Cell| cell.dialect == Dialect::Responses && cell.transport == Transport::Sse && cell.version == version;
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

/// The host on which a side of a connection is.
fn host_of(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

//! Gathers the evidence: from the cells that were measured, and by an experiment for each claim that no cell tells about.

mod connections;
mod losses;
mod requests;
mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use lens::flow::Side;

use super::evidence::{Chunking, Delay, Evidence, Exchanges, Parallel, Resumption, Speaking};
use crate::compare::numbers::Measured;
use crate::compare::plan::{Cell, Dialect, Plan, Transport, Version};
use crate::compare::run::Bench;
use crate::compare::session::Session;
use crate::compare::wire::Caught;

/// Gathers all that can be had; what could not, and why, is told beside it.
pub async fn gather(bench: &Bench, plan: &Plan, measured: &[Measured]) -> (Evidence, Vec<String>) {
    let ground = Ground { bench, plan, tls: bench.clear.is_none() };
    let mut evidence = of_cells(measured);
    let mut missing = Vec::new();
    let mut failed = |what: &str, error: anyhow::Error| missing.push(format!("{what}: {error:#}"));
    match connections::closing(&ground).await {
        Ok(seen) => (evidence.handshake, evidence.fin, evidence.endings, evidence.half_close) = seen,
        Err(error) => failed("how connections end", error),
    }
    match requests::persistence(&ground).await {
        Ok(seen) => evidence.persistence = Some(seen),
        Err(error) => failed("what stays behind an answer", error),
    }
    match requests::host(&ground).await {
        Ok(seen) => evidence.host = Some(seen),
        Err(error) => failed("Host", error),
    }
    match requests::validator(&ground).await {
        Ok(seen) => evidence.validator = Some(seen),
        Err(error) => failed("ETag", error),
    }
    match streams::multiplexing(&ground).await {
        Ok((seen, connections)) => {
            evidence.multiplexing = Some(seen);
            evidence.parallel = parallel(measured, seen.answers, connections);
        }
        Err(error) => failed("answers at the same time", error),
    }
    match losses::loss(&ground).await {
        Ok(seen) => evidence.loss = seen,
        Err(error) => failed("a lost segment", error),
    }
    match streams::words(&ground).await {
        Ok(seen) => (evidence.text, evidence.media_type, evidence.format, evidence.sameness) = seen,
        Err(error) => failed("what streams are made of", error),
    }
    (evidence, missing)
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

    fn model(&self) -> &str {
        &self.plan.model
    }

    fn question(&self) -> Result<&str> {
        self.plan.questions.first().map(String::as_str).context("no question")
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
    let find = |transport, version| {
        let cell = |tls| Cell { dialect: Dialect::Responses, transport, version, tls };
        [false, true].into_iter().find_map(|tls| measured.iter().find(|measured| measured.cell == Some(cell(tls))))
    };
    let sse = |version| find(Transport::Sse, version);
    let socket = |version| find(Transport::Websocket, version);
    let exchanges = |measured: &Measured| Exchanges {
        answers: measured.answers,
        events: measured.events,
        requests: measured.requests,
        connections: measured.connections,
        // One of two SYNs is the server's.
        syn: measured.wire.as_ref().map(|wire| wire.syn / 2),
        fin: measured.fin_before_end,
    };
    let speech = |measured: Option<&Measured>| measured?.speech.as_ref().map(|speech| (speech.new_connections, speech.heard_before_end));
    let added = |measured: Option<&Measured>| measured?.times.added_ms.map(|spread| (spread.p50, spread.p99));
    let resumption = sse(Version::Http11)
        .and_then(|measured| measured.cut.as_ref())
        .and_then(|cut| Some(Resumption { before: cut.pieces_before, whole: cut.pieces_whole?, missing: cut.missing, twice: cut.twice }));
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
        resumption,
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
        measured.iter().find(|measured| measured.cell.is_some_and(is_it))?.times.added_ms.map(|spread| spread.p50)
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

//! Gathers the evidence: from the measured cells, and from an experiment for each claim that they
//! do not cover.

mod connections;
mod experiment;
mod losses;
mod requests;
mod streams;

use anyhow::Result;
use client::within;

use super::cite;
use super::evidence::{Chunking, Delay, Evidence, Exchanges, MidStream, Parallel, Passing};
use super::packets::{Citing, PacketSet};
use crate::numbers::Measured;
use crate::plan::{Cell, Dialect, Plan, Transport, Version};
use crate::run::Harness;
use experiment::Experiment;

/// The number of experiments.
pub const EXPERIMENTS: u64 = 8;

/// What happened after an experiment.
pub type Step<'a> = dyn FnMut(Option<PacketSet>) + 'a;

/// Gathers the evidence, and calls `step` after each experiment with its packets. Also returns
/// which experiments failed, and why.
pub async fn gather(
    harness: &Harness,
    plan: &Plan,
    measured: &[Measured],
    step: &mut Step<'_>,
) -> (Evidence, Vec<String>) {
    let mut evidence = of_cells(measured);
    let mut run = Run { harness, plan, missing: Vec::new(), step };
    let work = async |setting: &Experiment<'_>| connections::closing(setting).await;
    if let Some(seen) =
        run.attempt(("closes", "how connections end"), work, cite::connections::closes).await
    {
        (evidence.handshake, evidence.fin, evidence.endings, evidence.half_close) = seen;
    }
    let work = async |setting: &Experiment<'_>| requests::persistence(setting).await;
    evidence.persistence = run
        .attempt(("persistence", "what remains after an answer"), work, cite::requests::persistence)
        .await;
    let work = async |setting: &Experiment<'_>| requests::host(setting).await;
    evidence.host = run.attempt(("host", "Host"), work, cite::requests::host).await;
    let work = async |setting: &Experiment<'_>| requests::methods(setting).await;
    evidence.methods = run.attempt(("methods", "methods"), work, cite::requests::methods).await;
    let work = async |setting: &Experiment<'_>| requests::validator(setting).await;
    evidence.validator = run.attempt(("validator", "ETag"), work, cite::requests::validator).await;
    let work = async |setting: &Experiment<'_>| streams::multiplexing(setting).await;
    if let Some((seen, connections)) = run
        .attempt(("multiplexing", "answers at the same time"), work, cite::streams::multiplexing)
        .await
    {
        evidence.multiplexing = Some(seen);
        evidence.parallel = parallel(measured, seen.answers, connections);
    }
    let work = async |setting: &Experiment<'_>| losses::loss(setting).await;
    evidence.loss =
        run.attempt(("loss", "a lost segment"), work, cite::connections::loss).await.flatten();
    let work = async |setting: &Experiment<'_>| streams::contents(setting).await;
    if let Some(seen) =
        run.attempt(("streams", "what streams are made of"), work, cite::streams::contents).await
    {
        let streams::StreamContents { text, media_type, format, sameness, resumption } = seen;
        (evidence.text, evidence.media_type, evidence.format) =
            (Some(text), Some(media_type), Some(format));
        (evidence.sameness, evidence.resumption) = (Some(sameness), Some(resumption));
    }
    (evidence, run.missing)
}

/// The experiments, one after another.
struct Run<'a, 'b> {
    harness: &'a Harness,
    plan: &'a Plan,
    missing: Vec<String>,
    step: &'a mut Step<'b>,
}

impl Run<'_, '_> {
    /// The result of an experiment; if it fails, the reason is added to `missing`. `name` is that of
    /// its packets, and of the experiment in a sentence.
    async fn attempt<T>(
        &mut self,
        (name, what): (&str, &str),
        work: impl AsyncFnOnce(&Experiment<'_>) -> Result<T>,
        cite: fn(&mut Citing<'_>),
    ) -> Option<T> {
        let setting = Experiment::new(self.harness, self.plan);
        let done =
            within(self.harness.timeout, Box::pin(work(&setting))).await.and_then(|done| done);
        let packets = Box::pin(setting.packets(name, cite)).await;
        (self.step)(packets);
        done.map_err(|error| self.missing.push(format!("{what}: {error:#}"))).ok()
    }
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
        passing: sse(Version::Http11).and_then(passing),
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

/// The tokens of the last answer. `None` if the model's are not known.
fn passing(measured: &Measured) -> Option<Passing> {
    let (given, arrived) = (&measured.strip.given_ms, &measured.strip.arrived_ms);
    let pairs = given.iter().skip(1).zip(arrived);
    let before_next = pairs.filter(|(next, arrived)| arrived < next).count() as u64;
    // The last token has none after it.
    let before_next = before_next + u64::from(given.len() == arrived.len());
    let (tokens, pieces) = (given.len() as u64, arrived.len() as u64);
    (!given.is_empty()).then_some(Passing { tokens, pieces, before_next })
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

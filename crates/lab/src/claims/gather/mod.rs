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
use super::evidence::{
    Chunking, Delay, Evidence, Exchanges, MidStream, Parallel, Passing, TransportDelay,
};
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
        passing: first(measured, |cells| passing(cells.sse(Version::Http11)?)),
        speaking: first(measured, DialectCells::speaking),
        delay: first(measured, DialectCells::delay),
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

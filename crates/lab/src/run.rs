//! Runs a plan cell by cell, and combines the measurements of client, server and wire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lens::capture::PacketRecorder;
use lens::http::ConnectionReading;
use lens::namespace::link::EmulatedLink;
use lens::namespace::link::settings::LinkSettings;

use super::bytes::{BothDirections, ByteKinds, of_tap};
use super::captured::CapturedConnections;
use super::conversation::ConversationClient;
use super::cut::CutTarget;
use super::numbers::{CutCost, Measured, RunSummary};
use super::plan::{Cell, Dialect, Plan, Transport, Version};
use super::recording::RunRecorder;
use super::samples::Samples;
use super::server_view::ServerView;
use super::session::{OpenedPorts, Session};
use super::spread::Spread;
use super::stamps::Stamps;
use super::{cut, mid_stream};
use crate::claims::cite::cells;
use crate::claims::packets::{Citing, PacketSet};
use crate::clock::unique;
use client::within;
use client::{ConnectionInfo, Encryption, Endpoint, KeyLines, Trust};

/// Returns the processor time of the server.
pub type Processor = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// The server under test, and how it is observed.
#[derive(Clone)]
pub struct Harness {
    /// Its address without TLS.
    pub clear: Option<ServerAddress>,
    /// Its address with TLS, the name of its certificate, and which certificates to trust.
    pub encrypted: Option<(ServerAddress, String, Trust)>,
    /// The API key.
    pub key: Option<String>,
    /// The longest wait for a response.
    pub timeout: Duration,
    /// When its model sent tokens, if it is in this process.
    pub stamps: Option<Stamps>,
    /// Its processor time.
    pub processor: Option<Processor>,
    /// The packet capture.
    pub recorder: Option<Arc<PacketRecorder>>,
    /// Reads the kernel's tables of sockets on both hosts (`/proc/net/tcp`).
    pub sockets: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// A path to the same server that can delay and lose packets.
    pub road: Option<ShapedRoute>,
}

/// A path to the server with delays and losses.
#[derive(Clone)]
pub struct ShapedRoute {
    /// The path's control.
    pub road: Arc<EmulatedLink>,
    /// The delay and bandwidth outside experiments.
    pub path: LinkSettings,
    /// The server's address at its end, without TLS.
    pub server: ServerAddress,
    /// The packet capture on it, if it is not that of the harness.
    pub recorder: Option<Arc<PacketRecorder>>,
}

/// A server's address, and its name there.
#[derive(Clone, Debug)]
pub struct ServerAddress {
    /// The address to connect to.
    pub address: std::net::SocketAddr,
    /// Its name in requests.
    pub authority: String,
    /// The prefix of every path.
    pub prefix: String,
}

/// What a run of a cell includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// The conversation, a cut, and a message while an answer streams.
    First,
    /// The conversation alone, for more times.
    Again,
}

/// The outcome of a run of a cell.
#[derive(Debug, Default)]
pub struct CellOutcome {
    /// The numbers, without times.
    pub measured: Measured,
    /// The times.
    pub samples: Samples,
    /// The run in short.
    pub run: RunSummary,
    /// The packets, if captured: of the conversation, of the cut, and of the request while an answer
    /// streams.
    pub packets: Vec<PacketSet>,
}

impl Harness {
    /// The endpoint for a cell. Each has a new TLS configuration, without cached sessions.
    pub fn endpoint(
        &self,
        tls: bool,
        version: Version,
        key_lines: &Arc<KeyLines>,
    ) -> Result<Endpoint> {
        if !tls {
            let server = self.clear.clone().context("there is no way in clear")?;
            return Ok(Endpoint {
                address: server.address,
                authority: server.authority,
                prefix: server.prefix,
                timeout: self.timeout,
                encryption: None,
            });
        }
        let (server, name, trust) =
            self.encrypted.clone().context("there is no way through TLS")?;
        let protocols = if version == Version::Http2 { ["h2"] } else { ["http/1.1"] };
        let encryption =
            Encryption::with_protocols(&trust, &protocols, Arc::<KeyLines>::clone(key_lines))?;
        Ok(Endpoint {
            address: server.address,
            authority: server.authority,
            prefix: server.prefix,
            timeout: self.timeout,
            encryption: Some((encryption, name)),
        })
    }

    /// A client for the measurement's own requests, outside all cells.
    pub fn control(&self, tls: bool) -> Result<Session> {
        let endpoint = self.endpoint(tls, Version::Http11, &Arc::default())?;
        Ok(Session::new(endpoint, Version::Http11, self.key.as_deref()))
    }

    /// Asks one question in each dialect, so that one-time work of the server is in no cell.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn warm_up(&self, plan: &Plan) -> Result<()> {
        let question = plan.questions.first().map_or("", String::as_str);
        for tls in [self.clear.is_some().then_some(false), self.encrypted.is_some().then_some(true)]
            .into_iter()
            .flatten()
        {
            for dialect in Dialect::ALL {
                let cell =
                    Cell { dialect, transport: Transport::Sse, version: Version::Http11, tls };
                if plan.cells.iter().any(|other| other.dialect == dialect && other.tls == tls) {
                    let mut session = self.control(tls)?;
                    drop(session.open().await?);
                    // A failure is reported by its cell.
                    let mut conversation =
                        ConversationClient::new(cell, &plan.model, session, unique("warm-up"));
                    drop(self.in_time(Box::pin(conversation.ask(question))).await);
                }
            }
        }
        Ok(())
    }

    /// Measures one cell; if that fails, the outcome contains the reason.
    pub async fn measure(&self, cell: Cell, plan: &Plan, kind: RunKind) -> CellOutcome {
        Box::pin(self.try_to_measure(cell, plan, kind)).await.unwrap_or_else(|error| CellOutcome {
            measured: Measured {
                cell: Some(cell),
                failed: Some(format!("{error:#}")),
                ..Measured::default()
            },
            ..CellOutcome::default()
        })
    }

    async fn try_to_measure(&self, cell: Cell, plan: &Plan, kind: RunKind) -> Result<CellOutcome> {
        let mut control = self.control(cell.tls)?;
        let key_lines = Arc::new(KeyLines::default());
        let endpoint = self.endpoint(cell.tls, cell.version, &key_lines)?;
        let open = || Session::new(endpoint.clone(), cell.version, self.key.as_deref());
        if let Some(recorder) = &self.recorder {
            drop(recorder.take());
        }
        let mut conversation =
            ConversationClient::new(cell, &plan.model, open(), unique("compare"));
        let mut view = ServerView::default();
        let mut turns = RunRecorder::new(self.stamps.as_ref(), self.processor.as_deref());
        for question in &plan.questions {
            turns.turn(self.in_time(Box::pin(conversation.ask(question)))).await?;
            // The server keeps only a limited number of closed connections.
            self.in_time(view.look(&mut control, &ports(&conversation.session.opened))).await?;
        }
        let (opened, requests) =
            self.in_time(async { conversation.close().await?.close().await }).await?;
        let ports = ports(&opened);
        self.in_time(view.wait(&mut control, &ports)).await?;
        let captured = match &self.recorder {
            Some(recorder) => Some(CapturedConnections::collect(recorder, &ports).await),
            None => None,
        };
        self.in_time(control.close()).await?;
        let keys_of_conversation = key_lines.take();
        let over = turns.over;
        let (mut measured, samples) = turns.finish(cell, &opened, requests);
        account(&mut measured, &opened, &view, captured.as_ref(), self.whose());
        measured.fin_before_end =
            over.zip(captured.as_ref()).map(|(over, captured)| captured.fins_before(over));
        let mut packets = Vec::new();
        if let Some(captured) = captured {
            packets.push(packet_set(cell, plan, ("", cells::conversation), captured));
        }
        if kind == RunKind::First {
            self.experiment(&mut measured, cell, plan, &open, &mut packets).await;
        }
        // Wireshark applies keys to the packets after them.
        if let Some(first) = packets.first_mut() {
            first.key_lines = keys_of_conversation + &key_lines.take();
        }
        let run = samples.summary();
        Ok(CellOutcome { measured, samples, run, packets })
    }

    /// Cuts an answer, and sends a request during another. A failure is noted and does not affect
    /// the measurement.
    async fn experiment(
        &self,
        measured: &mut Measured,
        cell: Cell,
        plan: &Plan,
        open: &impl Fn() -> Session,
        packets: &mut Vec<PacketSet>,
    ) {
        let question = plan.questions.last().map_or("", String::as_str);
        let pieces = measured.tokens.map(|tokens| tokens / measured.answers.max(1));
        let target = CutTarget { cell, model: &plan.model, question, pieces, pace: plan.pace };
        self.forget_stamps();
        let ports = OpenedPorts::default();
        match self.in_time(Box::pin(cut::cut(target, || open().recording(&ports)))).await {
            Ok(cut) => {
                measured.cut =
                    Some(CutCost { model_gave: self.given_after(&cut, plan.pace).await, ..cut });
            }
            Err(error) => measured.missing.push(format!("a cut: {error:#}")),
        }
        if let Some(captured) = self.captured_soon(&ports).await {
            packets.push(packet_set(cell, plan, (" cut", |_, _| {}), captured));
        }
        let ports = OpenedPorts::default();
        let session = open().recording(&ports);
        match self
            .in_time(Box::pin(mid_stream::measure(cell, &plan.model, &plan.long_question, session)))
            .await
        {
            Ok(request) => measured.mid_stream = request,
            Err(error) => measured.missing.push(format!("a word while it streams: {error:#}")),
        }
        if let Some(captured) = self.captured_soon(&ports).await {
            packets.push(packet_set(cell, plan, (" mid-stream", cells::mid_stream), captured));
        }
        self.forget_stamps();
    }

    /// The packets of connections that were cut or abandoned. They are not waited for long, since
    /// nothing is counted in them.
    async fn captured_soon(&self, ports: &OpenedPorts) -> Option<CapturedConnections> {
        let (recorder, ports) = (self.recorder.as_ref()?, ports.all());
        let mut captured = CapturedConnections::default();
        captured.wait(&[recorder], &ports, SOON).await;
        (!captured.packets.is_empty()).then_some(captured)
    }

    /// The number of tokens that the model sent until some time after a cut that cannot be resumed.
    async fn given_after(&self, cut: &CutCost, pace: Option<Duration>) -> Option<u64> {
        let (stamps, pace) = (self.stamps.as_ref()?, pace?);
        if cut.resumed_by.is_some() {
            return None;
        }
        let rest = cut.pieces_whole.unwrap_or_default().min(TOKENS_AFTER_CUT);
        tokio::time::sleep(pace * u32::try_from(rest).unwrap_or_default()).await;
        Some(stamps.take().len() as u64)
    }

    fn forget_stamps(&self) {
        if let Some(stamps) = &self.stamps {
            drop(stamps.take());
        }
    }

    /// Limits the wait for a server.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        within(self.timeout, work).await?
    }

    fn whose(&self) -> ServerOwner {
        if self.stamps.is_some() { ServerOwner::Ours } else { ServerOwner::Elsewhere }
    }
}

/// The number of tokens to wait for after a cut: those of a model that was not stopped.
const TOKENS_AFTER_CUT: u64 = 30;

/// The longest wait for the packets of connections that were cut or abandoned.
const SOON: Duration = Duration::from_millis(100);

/// The packets of a cell, or of one of its experiments, with what the rulings cite of them.
fn packet_set(
    cell: Cell,
    plan: &Plan,
    (suffix, cite): (&str, fn(&mut Citing<'_>, Cell)),
    captured: CapturedConnections,
) -> PacketSet {
    let reads = captured.read();
    let mut citing = Citing::new(&reads, Vec::new());
    if cells::is_chosen(cell, &plan.cells) {
        cite(&mut citing, cell);
    }
    let cited = citing.finish();
    drop(reads);
    PacketSet { name: format!("{cell}{suffix}"), captured, key_lines: String::new(), cited }
}

/// Whether the server is this process's. A proxy in front of another server has connections of its
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerOwner {
    Ours,
    Elsewhere,
}

fn ports(opened: &[ConnectionInfo]) -> BTreeSet<u16> {
    opened.iter().map(|opened| opened.local.port()).collect()
}

/// Counts the bytes, up to three times, and records where the counts differ.
fn account(
    measured: &mut Measured,
    opened: &[ConnectionInfo],
    view: &ServerView,
    captured: Option<&CapturedConnections>,
    whose: ServerOwner,
) {
    let reads = captured.map(CapturedConnections::read).unwrap_or_default();
    let (mut wrong, mut gaps, mut unknown) = (Vec::new(), Vec::new(), 0);
    for one in opened {
        let port = one.local.port();
        let mut differ =
            |what: &str, ours: BothDirections, theirs: Option<BothDirections>| match theirs {
                Some(theirs) if theirs == ours => {}
                Some(theirs) => wrong
                    .push(format!("port {port}: the client counts {ours:?}, {what} {theirs:?}")),
                None => wrong.push(format!("port {port}: {what} cannot tell its bytes")),
            };
        let Some((tapped, conversation)) = of_tap(&one.tap.tapped()) else {
            differ("the client itself", BothDirections::default(), None);
            continue;
        };
        gaps.extend(between_events(&conversation));
        let server = view.bytes(port);
        // Only the server and the capture count TLS.
        let with_tls = |plain: ByteKinds, tls: u64| ByteKinds { tls, ..plain };
        let ours = match server.filter(|_| one.tls.is_some()) {
            Some(server) => BothDirections {
                up: with_tls(tapped.up, server.up.tls),
                down: with_tls(tapped.down, server.down.tls),
            },
            None => tapped,
        };
        match (server, whose) {
            (None, ServerOwner::Elsewhere) => unknown += 1,
            (None, ServerOwner::Ours) | (Some(_), _) => differ("the server", ours, server),
        }
        // With TLS, the capture can only be compared if the server reports the bytes of TLS.
        if captured.is_some() && (one.tls.is_none() || server.is_some()) {
            let on_wire = reads.iter().find(|read| read.connection.addresses.client.port() == port);
            let all_tls =
                |kinds: ByteKinds| ByteKinds { tls: kinds.total(), ..ByteKinds::default() };
            let expected = if one.tls.is_some() {
                BothDirections { up: all_tls(ours.up), down: all_tls(ours.down) }
            } else {
                ours
            };
            differ("the capture", expected, on_wire.and_then(|read| read.bytes));
        }
        measured.bytes += ours;
    }
    if let Some(forgotten) =
        captured.map(|captured| captured.forgotten).filter(|forgotten| *forgotten > 0)
    {
        measured.missing.push(format!("{forgotten} packets that the capture had no room for"));
    }
    if unknown > 0 && view.is_there() {
        measured.missing.push(format!("what the server counts of {unknown} connections: it does not know them, as behind a proxy"));
    }
    measured.event_bytes = Spread::of(gaps);
    measured.disagreements = wrong;
    measured.bodies = (view.known() > 0).then(|| view.bodies());
    measured.kernel = view.kernel();
    measured.closed = view.closed();
    measured.wire = captured.map(CapturedConnections::wire);
}

/// Bytes from the end of one event to the end of the next, in the stream from the server.
#[expect(clippy::cast_precision_loss, reason = "events are far shorter than 2^52 bytes")]
fn between_events(conversation: &ConnectionReading) -> Vec<f64> {
    let events = &conversation.readings.server.events;
    events.windows(2).map(|pair| (pair[1].range.end - pair[0].range.end) as f64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use client::Tap;

    /// The disagreements for a connection without bytes and the server's counts of it.
    fn disagreements(server: &serde_json::Value) -> Vec<String> {
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 50_000));
        let opened = ConnectionInfo {
            local,
            peer: local,
            connected: Duration::ZERO,
            tls: None,
            tap: Tap::default(),
        };
        let view = ServerView::of([(
            50_000,
            json!({ "received": server, "sent": { "tls": 0, "head": 0, "framing": 0, "body": 0 } }),
        )]);
        let mut measured = Measured::default();
        account(&mut measured, &[opened], &view, None, ServerOwner::Ours);
        measured.disagreements
    }

    #[test]
    fn different_counts_are_reported() {
        assert!(disagreements(&json!({ "tls": 0, "head": 0, "framing": 0, "body": 0 })).is_empty());
        for kind in ["tls", "head", "framing", "body"] {
            let mut counted = json!({ "tls": 0, "head": 0, "framing": 0, "body": 0 });
            counted[kind] = 1.into();
            let found = disagreements(&counted);
            assert!(
                matches!(&found[..], [one] if one.contains("port 50000") && one.contains("the server")),
                "{found:?}"
            );
        }
        assert!(disagreements(&json!({})).concat().contains("cannot tell"));
    }
}

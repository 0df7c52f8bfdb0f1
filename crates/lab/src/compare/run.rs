//! Runs a plan, cell by cell, and brings together what the client, the server and the wire say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lens::capture::Recorder;
use lens::http::Conversation;
use lens::moment::Moment;
use lens::namespace::road::Road;
use lens::namespace::road::path::Path;

use super::bytes::{BothWays, Kinds, of_tap};
use super::cut::Target;
use super::numbers::{Cut, Measured, Spread, Strip, Times, milliseconds};
use super::plan::{Cell, Dialect, Plan, Transport, Version};
use super::server_view::ServerView;
use super::session::Session;
use super::stamps::Stamps;
use super::talk::{Talk, Turn};
use super::wire::Caught;
use super::{cut, speech};
use crate::client::{Dial, Encryption, KeyLines, Opened, Trust};
use crate::runtime::{unique, wall_clock, within};

/// Gives the processor time that the server has had.
pub type Processor = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// Where the server is, and what can be known of it.
#[derive(Clone)]
pub struct Bench {
    /// In clear.
    pub clear: Option<Door>,
    /// Through TLS.
    pub encrypted: Option<(Door, String, Trust)>,
    /// The key to show.
    pub key: Option<String>,
    /// How long one waits for an answer.
    pub patience: Duration,
    /// When its model said what, if it is in this process.
    pub stamps: Option<Stamps>,
    /// Its processor time.
    pub processor: Option<Processor>,
    /// The packets.
    pub recorder: Option<Arc<Recorder>>,
    /// The kernel's tables of sockets on both hosts, as `/proc/net/tcp` has them.
    pub sockets: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// A way to the same server on which packets can be lost.
    pub road: Option<RoadDoor>,
}

/// A way on which packets take their time, and some are lost.
#[derive(Clone)]
pub struct RoadDoor {
    /// The way.
    pub road: Arc<Road>,
    /// What packets suffer there, unless an experiment wants otherwise.
    pub path: Path,
    /// The server at its end, in clear.
    pub door: Door,
}

/// An address, and what the server is called there.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where to connect to.
    pub address: std::net::SocketAddr,
    /// What requests call it.
    pub authority: String,
    /// What stands before every path.
    pub prefix: String,
}

/// A cell with what was caught of it.
pub struct Outcome {
    /// The numbers.
    pub measured: Measured,
    /// The packets, where they could be captured.
    pub caught: Option<Caught>,
    /// The secrets of its TLS.
    pub key_lines: String,
}

impl Bench {
    /// How a cell reaches the server. A new client each time: none has a TLS session yet.
    pub fn dial(&self, tls: bool, version: Version, key_lines: &Arc<KeyLines>) -> Result<Dial> {
        if !tls {
            let door = self.clear.clone().context("there is no way in clear")?;
            return Ok(Dial {
                address: door.address,
                authority: door.authority,
                prefix: door.prefix,
                patience: self.patience,
                encryption: None,
            });
        }
        let (door, name, trust) = self.encrypted.clone().context("there is no way through TLS")?;
        let protocols = if version == Version::Http2 { ["h2"] } else { ["http/1.1"] };
        let encryption = Encryption::speaking(&trust, &protocols, Arc::<KeyLines>::clone(key_lines))?;
        Ok(Dial {
            address: door.address,
            authority: door.authority,
            prefix: door.prefix,
            patience: self.patience,
            encryption: Some((encryption, name)),
        })
    }

    /// A client of the measurement itself, which is no part of any cell.
    pub fn control(&self, tls: bool) -> Result<Session> {
        let dial = self.dial(tls, Version::Http11, &Arc::default())?;
        Ok(Session::new(dial, Version::Http11, self.key.as_deref()))
    }

    /// Asks one question on each way: what a server does only once is no part of any cell. An error if nobody is there.
    pub async fn warm_up(&self, plan: &Plan) -> Result<()> {
        let question = plan.questions.first().map_or("", String::as_str);
        for tls in [self.clear.is_some().then_some(false), self.encrypted.is_some().then_some(true)].into_iter().flatten() {
            for dialect in Dialect::ALL {
                let cell = Cell { dialect, transport: Transport::Sse, version: Version::Http11, tls };
                if plan.cells.iter().any(|other| other.dialect == dialect && other.tls == tls) {
                    let mut session = self.control(tls)?;
                    drop(session.open().await?);
                    // What does not work says so in its cell.
                    let mut talk = Talk::new(cell, &plan.model, session, unique("warm-up"));
                    drop(self.in_time(Box::pin(talk.ask(question))).await);
                }
            }
        }
        Ok(())
    }

    /// Measures one cell. One that cannot be measured says why.
    pub async fn measure(&self, cell: Cell, plan: &Plan) -> Outcome {
        Box::pin(self.try_to_measure(cell, plan)).await.unwrap_or_else(|error| Outcome {
            measured: Measured { cell: Some(cell), failed: Some(format!("{error:#}")), ..Measured::default() },
            caught: None,
            key_lines: String::new(),
        })
    }

    async fn try_to_measure(&self, cell: Cell, plan: &Plan) -> Result<Outcome> {
        let mut control = self.control(cell.tls)?;
        let key_lines = Arc::new(KeyLines::default());
        let dial = self.dial(cell.tls, cell.version, &key_lines)?;
        let open = || Session::new(dial.clone(), cell.version, self.key.as_deref());
        if let Some(recorder) = &self.recorder {
            drop(recorder.take());
        }
        let mut talk = Talk::new(cell, &plan.model, open(), unique("compare"));
        let (mut view, mut told) = (ServerView::default(), Told::default());
        for question in &plan.questions {
            told.turn(self, Box::pin(talk.ask(question))).await?;
            // It remembers only so many connections that are over.
            self.in_time(view.look(&mut control, &ports(&talk.session.opened))).await?;
        }
        let (opened, requests) = self.in_time(async { talk.close().await?.close().await }).await?;
        let ports = ports(&opened);
        self.in_time(view.wait(&mut control, &ports)).await?;
        let caught = match &self.recorder {
            Some(recorder) => Some(Caught::collect(recorder, &ports).await),
            None => None,
        };
        self.in_time(control.close()).await?;
        let mut measured = told.measured(cell, &opened, requests);
        account(&mut measured, &opened, &view, caught.as_ref(), self.whose());
        measured.fin_before_end = told.over.zip(caught.as_ref()).map(|(over, caught)| caught.fins_before(over));
        self.experiment(&mut measured, cell, plan, open).await;
        Ok(Outcome { measured, caught, key_lines: key_lines.take() })
    }

    /// Cuts an answer, and speaks during another. What does not work is said, and takes nothing away from what was measured.
    async fn experiment(&self, measured: &mut Measured, cell: Cell, plan: &Plan, open: impl Fn() -> Session) {
        let question = plan.questions.last().map_or("", String::as_str);
        let pieces = measured.tokens.map(|tokens| tokens / measured.answers.max(1));
        let target = Target { cell, model: &plan.model, question, pieces, pace: plan.pace };
        self.forget_stamps();
        match self.in_time(Box::pin(cut::cut(target, &open))).await {
            Ok(cut) => measured.cut = Some(Cut { model_gave: self.given_after(&cut, plan.pace).await, ..cut }),
            Err(error) => measured.missing.push(format!("a cut: {error:#}")),
        }
        match self.in_time(Box::pin(speech::speak(cell, &plan.model, &plan.long_question, open()))).await {
            Ok(speech) => measured.speech = speech,
            Err(error) => measured.missing.push(format!("a word while it streams: {error:#}")),
        }
        self.forget_stamps();
    }

    /// How many tokens the model gave of an answer that nobody can go on with, some time after it was cut.
    async fn given_after(&self, cut: &Cut, pace: Option<Duration>) -> Option<u64> {
        let (stamps, pace) = (self.stamps.as_ref()?, pace?);
        if cut.resumed_by.is_some() {
            return None;
        }
        let rest = cut.pieces_whole.unwrap_or_default().min(STILL);
        tokio::time::sleep(pace * u32::try_from(rest).unwrap_or_default()).await;
        Some(stamps.take().len() as u64)
    }

    fn forget_stamps(&self) {
        if let Some(stamps) = &self.stamps {
            drop(stamps.take());
        }
    }

    /// Waits for a server, but not for ever.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        within(self.patience, work).await?
    }

    fn whose(&self) -> Whose {
        if self.stamps.is_some() { Whose::Ours } else { Whose::Elsewhere }
    }
}

/// A model that was not stopped gives so many tokens more, or all there are, until it is looked.
const STILL: u64 = 30;

/// Whose the server is. One elsewhere may be behind something that has connections of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Elsewhere,
}

fn ports(opened: &[Opened]) -> BTreeSet<u16> {
    opened.iter().map(|opened| opened.local.port()).collect()
}

/// What the turns of a cell told.
#[derive(Default)]
struct Told {
    turns: Vec<Turn>,
    tokens: Option<u64>,
    added: Vec<f64>,
    /// Of each turn, in microseconds for each token.
    processor: Vec<f64>,
    strip: Strip,
    /// When the last answer was over.
    over: Option<Moment>,
}

impl Told {
    async fn turn(&mut self, bench: &Bench, ask: impl Future<Output = Result<Turn>>) -> Result<()> {
        let processor = || bench.processor.as_ref().and_then(|processor| processor());
        bench.forget_stamps();
        let before = processor();
        let turn = bench.in_time(ask).await?;
        let used = before.zip(processor()).map(|(before, after)| after.saturating_sub(before));
        self.over = Some(wall_clock());
        if let Some(stamps) = &bench.stamps {
            let given = stamps.take();
            *self.tokens.get_or_insert_default() += given.len() as u64;
            self.added.extend(added(&given, &turn.arrivals));
            self.strip.given_ms = given.iter().map(|given| milliseconds(given.saturating_duration_since(turn.asked))).collect();
            if let Some(used) = used.filter(|_| !given.is_empty()) {
                self.processor.push(used.as_secs_f64() * 1e6 / f64::from(u32::try_from(given.len())?));
            }
        }
        self.strip.arrived_ms = turn.arrivals.iter().map(|arrived| milliseconds(*arrived - turn.asked)).collect();
        self.turns.push(turn);
        Ok(())
    }

    fn measured(&self, cell: Cell, opened: &[Opened], requests: u64) -> Measured {
        let turns = &self.turns;
        let of = |time: &dyn Fn(&Turn) -> Option<Duration>| Spread::of_times(turns.iter().filter_map(time));
        let gaps = turns.iter().flat_map(|turn| turn.arrivals.windows(2).map(|pair| pair[1] - pair[0]));
        let tls = |is_resumed: bool| {
            let shaken = opened.iter().filter_map(|opened| opened.tls.as_ref()).filter(move |tls| tls.is_resumed == is_resumed);
            Spread::of_times(shaken.map(|tls| tls.took))
        };
        let pieces = turns.iter().map(|turn| turn.arrivals.len() as u64).sum();
        // Where the model does not say what it gave, what came in pieces counts.
        let tokens = self.tokens.or_else(|| (cell.transport != Transport::Json).then_some(pieces)).filter(|tokens| *tokens > 0);
        Measured {
            cell: Some(cell),
            answers: turns.len() as u64,
            tokens,
            events: turns.iter().map(|turn| turn.events).sum(),
            text_bytes: turns.iter().map(|turn| turn.text.len() as u64).sum(),
            requests,
            connections: opened.len() as u64,
            times: Times {
                connect_ms: Spread::of_times(opened.iter().map(|opened| opened.connected)),
                tls_full_ms: tls(false),
                tls_resumed_ms: tls(true),
                head_ms: of(&|turn| turn.head.map(|head| head - turn.asked)),
                first_token_ms: of(&|turn| turn.arrivals.first().map(|first| *first - turn.asked)),
                whole_ms: of(&|turn| Some(turn.ended - turn.asked)),
                gap_ms: Spread::of_times(gaps),
                added_ms: Spread::of(self.added.clone()),
            },
            processor_us_per_token: Spread::of(self.processor.clone()).map(|spread| spread.p50),
            strip: self.strip.clone(),
            ..Measured::default()
        }
    }
}

/// How long each token was under way. What comes in one piece at the end was under way until then.
fn added(given: &[Instant], arrivals: &[Instant]) -> Vec<f64> {
    let late = |(given, arrived): (&Instant, &Instant)| milliseconds(arrived.saturating_duration_since(*given));
    match arrivals {
        [whole] if given.len() > 1 => given.iter().map(|given| late((given, whole))).collect(),
        _ if given.len() == arrivals.len() => given.iter().zip(arrivals).map(late).collect(),
        _ => Vec::new(),
    }
}

/// Counts the bytes, three times where that can be, and says where the counts differ.
fn account(measured: &mut Measured, opened: &[Opened], view: &ServerView, caught: Option<&Caught>, whose: Whose) {
    let reads = caught.map(Caught::read).unwrap_or_default();
    let (mut wrong, mut gaps, mut unknown) = (Vec::new(), Vec::new(), 0);
    for one in opened {
        let port = one.local.port();
        let mut differ = |what: &str, ours: BothWays, theirs: Option<BothWays>| match theirs {
            Some(theirs) if theirs == ours => {}
            Some(theirs) => wrong.push(format!("port {port}: the client counts {ours:?}, {what} {theirs:?}")),
            None => wrong.push(format!("port {port}: {what} cannot tell its bytes")),
        };
        let Some((tapped, conversation)) = of_tap(&one.tap.tapped()) else {
            differ("the client itself", BothWays::default(), None);
            continue;
        };
        gaps.extend(between_events(&conversation));
        let server = view.bytes(port);
        // Only the server and the wire see TLS.
        let with_tls = |plain: Kinds, tls: u64| Kinds { tls, ..plain };
        let ours = match server.filter(|_| one.tls.is_some()) {
            Some(server) => BothWays { up: with_tls(tapped.up, server.up.tls), down: with_tls(tapped.down, server.down.tls) },
            None => tapped,
        };
        match (server, whose) {
            (None, Whose::Elsewhere) => unknown += 1,
            (None, Whose::Ours) | (Some(_), _) => differ("the server", ours, server),
        }
        // Without the server's word nobody but the wire knows how much of it is TLS's.
        if caught.is_some() && (one.tls.is_none() || server.is_some()) {
            let on_wire = reads.iter().find(|read| read.connection.addresses.client.port() == port);
            let all_tls = |kinds: Kinds| Kinds { tls: kinds.total(), ..Kinds::default() };
            let expected = if one.tls.is_some() { BothWays { up: all_tls(ours.up), down: all_tls(ours.down) } } else { ours };
            differ("the capture", expected, on_wire.and_then(|read| read.bytes));
        }
        measured.bytes += ours;
    }
    if let Some(forgotten) = caught.map(|caught| caught.forgotten).filter(|forgotten| *forgotten > 0) {
        measured.missing.push(format!("{forgotten} packets that the capture had no room for"));
    }
    if unknown > 0 && view.is_there() {
        measured.missing.push(format!("what the server counts of {unknown} connections: it does not know them, as behind a proxy"));
    }
    measured.event_bytes = Spread::of(gaps);
    measured.disagreements = wrong;
    measured.said = (view.known() > 0).then(|| view.said());
    measured.kernel = view.kernel();
    measured.closed = view.closed();
    measured.wire = caught.map(Caught::wire);
}

/// From the end of one event to that of the next, in bytes of the stream from the server.
#[expect(clippy::cast_precision_loss, reason = "events are far shorter than 2^52 bytes")]
fn between_events(conversation: &Conversation) -> Vec<f64> {
    let events = &conversation.readings.server.events;
    events.windows(2).map(|pair| (pair[1].range.end - pair[0].range.end) as f64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::Tap;

    /// A connection on which nothing was said, and what the server counted of it.
    fn disagreements(server: &serde_json::Value) -> Vec<String> {
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 50_000));
        let opened = Opened { local, peer: local, connected: Duration::ZERO, tls: None, tap: Tap::default() };
        let view = ServerView::of([(50_000, json!({ "received": server, "sent": { "tls": 0, "head": 0, "framing": 0, "body": 0 } }))]);
        let mut measured = Measured::default();
        account(&mut measured, &[opened], &view, None, Whose::Ours);
        measured.disagreements
    }

    #[test]
    fn a_byte_that_only_one_has_counted_is_told() {
        assert!(disagreements(&json!({ "tls": 0, "head": 0, "framing": 0, "body": 0 })).is_empty());
        for kind in ["tls", "head", "framing", "body"] {
            let mut counted = json!({ "tls": 0, "head": 0, "framing": 0, "body": 0 });
            counted[kind] = 1.into();
            let told = disagreements(&counted);
            assert!(matches!(&told[..], [one] if one.contains("port 50000") && one.contains("the server")), "{told:?}");
        }
        assert!(disagreements(&json!({})).concat().contains("cannot tell"));
    }

    #[test]
    fn what_comes_in_one_piece_was_under_way_until_then() {
        let begin = crate::runtime::now();
        let at = |milliseconds: u64| begin + Duration::from_millis(milliseconds);
        assert_eq!(added(&[at(0), at(5), at(10)], &[at(1), at(7), at(10)]), [1.0, 2.0, 0.0]);
        assert_eq!(added(&[at(0), at(5), at(10)], &[at(12)]), [12.0, 7.0, 2.0]);
        assert_eq!(added(&[at(0)], &[at(3)]), [3.0]);
        assert!(added(&[at(0), at(5)], &[at(1), at(2), at(3)]).is_empty(), "which is which is not known");
    }
}

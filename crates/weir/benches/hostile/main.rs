//! What hostile clients cost everybody else: the added delay of a hundred readers' tokens and the server's memory, alone,
//! beside ten thousand idle connections, beside a reader that never reads, beside attacks, and beside a caller who asks for all it can.
//!
//! The server is the release build in a process of its own, and so is the client beside the readers. The same number of
//! readers use a second server at the same time, which nobody attacks: a machine that is busy with
//! other things shows there.

mod attack;
mod bench_server;
mod caller;
mod crowd;
mod machine;
mod neighbour;
mod readers;
mod stalled;

use std::env;
use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join;

use bench_server::{BenchServer, BenchWire};
use neighbour::{AttackKind, Neighbour};
use readers::{Delays, READERS};
use stalled::Stalled;

/// Idle connections of each kind, where the machine's limit of open files suffices.
const CONNECTIONS: usize = 10_000;

/// Slow clients at once.
const SLOW: usize = 1_000;

/// Clients of an attack that goes as fast as it can.
const FAST: usize = 16;

/// Bodies at once that are as large as may be.
const BODIES: usize = 4;

/// After an attack, until memory is looked at again.
const REST: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let wanted = arguments.find(|argument| !argument.starts_with('-'));
    if wanted.as_deref() == Some("client") {
        return neighbour::run(&arguments.collect::<Vec<_>>());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(Measurement { wanted }.run())
}

/// The table.
struct Measurement {
    /// Only rows with this in their name.
    wanted: Option<String>,
}

impl Measurement {
    async fn run(self) -> Result<()> {
        let connections =
            env::var("WEIR_CONNECTIONS").ok().map_or(Ok(CONNECTIONS), |count| count.parse())?;
        // The server keeps a file for the upstream of each connection, and 64 for itself; the readers need theirs, too.
        let connections = connections
            .min((machine::open_files()?.saturating_sub(64) / 2).saturating_sub(2 * READERS));
        head(&format!(
            "{READERS} readers, {} tokens a second each; {connections} idle",
            readers::PACE
        ))?;
        self.row("alone", BenchWire::Clear, &[], None).await?;
        self.row(
            "beside a process that uses one core",
            BenchWire::Clear,
            &[],
            Some((AttackKind::Burn, 1)),
        )
        .await?;
        for (name, kind) in [
            ("idle: HTTP/1.1 keep-alive", AttackKind::KeepAlive),
            ("idle: WebSocket", AttackKind::WebSocket),
            ("idle: HTTP/2", AttackKind::Http2),
            ("idle: SSE readers of a silent answer", AttackKind::Silent),
        ] {
            self.row(name, BenchWire::Clear, &[], Some((kind, connections))).await?;
        }
        for (name, kind, count) in [
            ("attack: slow heads", AttackKind::SlowHeads, SLOW),
            ("attack: slow bodies", AttackKind::SlowBodies, SLOW),
            ("attack: header bombs, HTTP/1.1", AttackKind::HeaderBombs, FAST),
            ("attack: header bombs, HTTP/2", AttackKind::Continuations, FAST),
            ("attack: rapid reset", AttackKind::RapidReset, FAST),
            ("attack: compression bombs", AttackKind::CompressionBombs, FAST),
        ] {
            // So that slow bodies meet their limit while we look.
            let settings = [
                ("WEIR_SERVER_WEBSOCKET_DEFLATE", "true"),
                ("WEIR_SERVER_BODY_TIMEOUT", "5s"),
                ("WEIR_SERVER_HEAD_TIMEOUT", "5s"),
            ];
            self.row(name, BenchWire::Clear, &settings, Some((kind, count))).await?;
        }
        self.callers().await?;
        head(&format!("{READERS} readers through TLS"))?;
        self.row("TLS: alone", BenchWire::Tls, &[], None).await?;
        self.row(
            "TLS idle: HTTP/1.1 keep-alive",
            BenchWire::Tls,
            &[],
            Some((AttackKind::Tls, connections)),
        )
        .await?;
        head(&format!("{READERS} readers of one answer, {} MiB long", readers::SAID >> 20))?;
        self.shared("one answer: alone", None).await?;
        for (name, kind) in [
            ("one answer: SSE that is never read", stalled::StalledTransport::Sse),
            ("one answer: WebSocket that is never read", stalled::StalledTransport::WebSocket),
            ("one answer: HTTP/2 with its window shut", stalled::StalledTransport::Http2),
        ] {
            self.shared(name, Some(kind)).await?;
        }
        Ok(())
    }

    /// Readers by one key, and another key that asks for all it can, with the default settings.
    async fn callers(&self) -> Result<()> {
        head(&format!("{READERS} readers by one key, beside another"))?;
        // Beside an upstream the demo model is off; what asks for it here takes no answers of the readers'.
        let settings = [("WEIR_DEMO_ENABLED", "true")];
        self.row("keys: alone", BenchWire::Keyed, &settings, None).await?;
        for (name, kind, count) in [
            ("caller: 5,000 calls and their outputs", AttackKind::Calls, FAST),
            ("caller: bodies of 30 MiB of zeros", AttackKind::Zeros, BODIES),
            ("caller: sessions", AttackKind::Sessions, FAST),
            ("caller: stored answers of 200 KiB", AttackKind::Stored, FAST),
            ("caller: answers in the background", AttackKind::Background, FAST),
        ] {
            self.row(name, BenchWire::Keyed, &settings, Some((kind, count))).await?;
        }
        Ok(())
    }

    fn is_wanted(&self, name: &str) -> bool {
        name.ends_with("alone") || self.wanted.as_ref().is_none_or(|wanted| name.contains(wanted))
    }

    /// Readers of answers of their own, beside somebody.
    async fn row(
        &self,
        name: &str,
        wire: BenchWire,
        settings: &[(&str, &str)],
        beside: Option<(AttackKind, usize)>,
    ) -> Result<()> {
        if !self.is_wanted(name) {
            return Ok(());
        }
        let (bench_server, quiet) =
            (BenchServer::open(wire, settings).await?, BenchServer::open(wire, settings).await?);
        let before = bench_server.resident()?;
        let mut neighbour = None;
        if let Some((kind, count)) = beside {
            neighbour = Some(Neighbour::start(kind, &bench_server, count).await?);
        }
        let crowded = bench_server.resident()?;
        let delays = bench_server
            .during(try_join(readers::of_their_own(&bench_server), readers::of_their_own(&quiet)))
            .await?;
        let peak = bench_server.peak()?;
        let mut notes = Vec::new();
        if let (Some(neighbour), Some((kind, count))) = (neighbour, beside) {
            notes.push(neighbour.end().await?);
            if kind.is_idle() {
                let each = (crowded - before) / f64::from(u32::try_from(count)?);
                notes.push(format!("{each:.1} KiB of resident memory each"));
            }
        }
        tokio::time::sleep(REST).await;
        print(name, &bench_server, &delays, [before, peak, bench_server.resident()?])?;
        notes
            .iter()
            .filter(|note| !note.is_empty())
            .try_for_each(|note| say(&format!("    {note}")))
    }

    /// Readers of one answer, beside one that never reads.
    async fn shared(&self, name: &str, kind: Option<stalled::StalledTransport>) -> Result<()> {
        if !self.is_wanted(name) {
            return Ok(());
        }
        let settings = [("WEIR_SERVER_WRITE_TIMEOUT", "5s")];
        let (bench_server, quiet) = (
            BenchServer::open(BenchWire::Clear, &settings).await?,
            BenchServer::open(BenchWire::Clear, &settings).await?,
        );
        let (answer, other) = (
            readers::SharedResponse::start(&bench_server).await?,
            readers::SharedResponse::start(&quiet).await?,
        );
        let before = bench_server.resident()?;
        let mut stalled = None;
        if let Some(kind) = kind {
            stalled = Some(Stalled::open(kind, &bench_server, &answer.id).await?);
        }
        let delays =
            bench_server.during(try_join(answer.read(&bench_server), other.read(&quiet))).await?;
        let peak = bench_server.peak()?;
        let note = match stalled {
            Some(stalled) => Some(stalled.end().await?),
            None => None,
        };
        tokio::time::sleep(REST).await;
        print(name, &bench_server, &delays, [before, peak, bench_server.resident()?])?;
        note.map_or(Ok(()), |note| say(&format!("    {note}")))
    }
}

fn head(title: &str) -> Result<()> {
    let (delay, other, ratio, memory) =
        ("added delay of a token, ms", "at the other server", "ratio", "resident, MiB");
    say(&format!("\n{title:42} {delay:28} | {other:20} | {ratio:17} | cpu% | {memory}"))?;
    let (three, times) = ("   p50    p90    p99", "  p50   p90   p99");
    say(&format!("{:42} {three}   worst | {three} | {times} |      | before   peak  after", ""))
}

/// Prints a row: the server's figures, and the other's.
fn print(
    name: &str,
    bench_server: &BenchServer,
    (delays, other): &(Delays, Delays),
    memory: [f64; 3],
) -> Result<()> {
    let columns =
        |delays: [f64; 3], precision: usize| delays.map(|delay| format!("{delay:.precision$}"));
    let shares = [0.5, 0.9, 0.99];
    let [p50, p90, p99] = columns(shares.map(|share| delays.at(share)), 2);
    let [o50, o90, o99] = columns(shares.map(|share| other.at(share)), 2);
    let [r50, r90, r99] = columns(shares.map(|share| delays.at(share) / other.at(share)), 2);
    let [before, peak, after] = memory.map(|kib| kib / 1024.0);
    let (worst, load) = (delays.at(1.0), bench_server.load());
    say(&format!(
        "{name:42} {p50:>6} {p90:>6} {p99:>6} {worst:7.2} | {o50:>6} {o90:>6} {o99:>6} | {r50:>5} {r90:>5} {r99:>5} | {load:4.0} | \
         {before:6.0} {peak:6.0} {after:6.0}"
    ))
}

fn say(line: &str) -> Result<()> {
    writeln!(stdout(), "{line}")?;
    Ok(())
}

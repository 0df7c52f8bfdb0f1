//! The readers whose delay is measured: from the upstream's write of a token to the read that brought it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client::{Request, Stream};
use fakes::{Marks, Script};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::sync::Notify;

use crate::bench_server::BenchServer;

/// Readers at once.
pub(crate) const READERS: usize = 100;

/// Tokens a second for each.
pub(crate) const PACE: u32 = 20;

/// What the shared answer has said before the measurement: more than the sockets' buffers on both sides take.
pub(crate) const SAID: usize = 8 << 20;

/// Tokens of each answer: eleven seconds of them.
const TOKENS: usize = 220;

/// The first second does not count: connections are made in it.
const FIRST: usize = 20;

/// One of the pieces in which that was said.
const PIECE: usize = 64 << 10;

/// The word after them.
const START: &str = "start";

/// How long a token took, of all tokens, the fastest first.
#[derive(Clone)]
pub(crate) struct Delays(Vec<Duration>);

impl Delays {
    /// Milliseconds that this share of all tokens did not exceed.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index, rounded"
        )]
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).map_or(f64::NAN, |delay| delay.as_secs_f64() * 1e3)
    }
}

/// Every reader has an answer of its own, which comes from the upstream on a connection of its own.
pub(crate) async fn of_their_own(bench_server: &BenchServer) -> Result<Delays> {
    let marks: Vec<Marks> = (0..READERS).map(|_| Marks::default()).collect();
    for (answer, marks) in marks.iter().enumerate() {
        // They come one after another, as independent answers do.
        let stagger =
            Duration::from_secs(1) / PACE * u32::try_from(answer)? / u32::try_from(READERS)?;
        bench_server.upstream.script(
            tokens(Script::new().role().sleep(stagger), answer, marks).finish("stop").done(),
        );
    }
    let request = bench_server.sign(Request::post(
        "/v1/responses",
        &json!({ "model": "scripted", "stream": true, "input": "hello" }),
    ));
    let reading = marks.iter().map(|_| async {
        let mut stream = bench_server.connect().await?.send(&request).await?.events()?;
        read_to_last(&mut stream).await
    });
    delays(try_join_all(reading).await?, &marks)
}

/// An answer that all read together.
pub(crate) struct SharedResponse {
    pub(crate) id: String,
    /// Where it stands.
    position: u64,
    gate: Arc<Notify>,
    marks: Marks,
}

impl SharedResponse {
    /// Starts it and waits until its first part was said.
    pub(crate) async fn start(bench_server: &BenchServer) -> Result<Self> {
        let (gate, marks) = (Arc::new(Notify::new()), Marks::default());
        let piece = "x".repeat(PIECE);
        let said = Script::new()
            .role()
            .contents(&vec![piece.as_str(); SAID / PIECE])
            .content(START)
            .wait_for(&gate);
        bench_server.upstream.script(tokens(said, 0, &marks).stall());
        let body = json!({ "model": "scripted", "stream": true, "input": "hello" });
        let mut stream = bench_server
            .connect()
            .await?
            .send(&Request::post("/v1/responses", &body))
            .await?
            .events()?;
        let created = stream.next().await?.context("an event")?.json()?;
        let id = created["response"]["id"].as_str().context("an id")?.to_owned();
        let position = loop {
            let event = stream.next().await?.context("an event")?.json()?;
            if event["delta"] == START {
                break event["sequence_number"].as_u64().context("a position")?;
            }
        };
        Ok(Self { id, position, gate, marks })
    }

    /// All read what comes; when all are there, it goes on.
    pub(crate) async fn read(&self, bench_server: &BenchServer) -> Result<Delays> {
        let request = Request::get(&format!(
            "/v1/responses/{}?stream=true&starting_after={}",
            self.id, self.position
        ));
        let ready = Cell::new(0);
        let reading = (0..READERS).map(|_| async {
            let mut stream = bench_server.connect().await?.send(&request).await?.events()?;
            ready.set(ready.get() + 1);
            if ready.get() == READERS {
                self.gate.notify_one();
            }
            read_to_last(&mut stream).await
        });
        delays(try_join_all(reading).await?, std::slice::from_ref(&self.marks))
    }
}

/// Appends the tokens of an answer. Each says which it is.
fn tokens(script: Script, answer: usize, marks: &Marks) -> Script {
    let pause = Duration::from_secs(1) / PACE;
    (0..TOKENS).fold(script, |script, token| {
        script.sleep(pause).mark(marks).content(&format!("{answer}:{token}"))
    })
}

/// A token, as it came: its answer, its number in it, and when.
type Token = (usize, usize, Instant);

/// Reads all tokens of an answer, and no further.
async fn read_to_last(stream: &mut Stream) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    while tokens.len() < TOKENS {
        let event = stream.next().await?.context("a stream ended early")?;
        if event.name.as_deref() == Some("response.output_text.delta") {
            let said = event.json()?;
            let (answer, token) =
                said["delta"].as_str().and_then(|word| word.split_once(':')).context("a token")?;
            tokens.push((answer.parse()?, token.parse()?, event.arrived));
        }
    }
    Ok(tokens)
}

fn delays(read: Vec<Vec<Token>>, marks: &[Marks]) -> Result<Delays> {
    let written: Vec<Vec<Instant>> = marks.iter().map(Marks::times).collect();
    let mut delays = Vec::new();
    for (answer, token, arrived) in
        read.into_iter().flatten().filter(|(_, token, _)| *token >= FIRST)
    {
        let written = written
            .get(answer)
            .and_then(|times| times.get(token))
            .context("a token that nobody wrote")?;
        delays.push(arrived.saturating_duration_since(*written));
    }
    delays.sort_unstable();
    Ok(Delays(delays))
}

//! What one token costs the whole server: processor time of the release build, by the kernel's account, while readers take
//! paced streams over loopback; side by side with a relay that does not look at the bytes.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write, stdout};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use client::{BodyEnd, Request};
use fakes::{Script, Upstream};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Streams at once.
const STREAMS: usize = 50;

/// Tokens of each stream.
const TOKENS: usize = 800;

/// The pause between two tokens of a stream: each token is a write of its own, as with a real model.
const PAUSE: Duration = Duration::from_millis(10);

/// How often servers with and without the lens are measured: a tenth of a second's processor time is noise, in either direction.
const LENS_ROUNDS: usize = 12;

/// The kernel's unit of processor time in `/proc/<pid>/stat` (proc(5), `sysconf(_SC_CLK_TCK)`), which is 100 on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["relay", upstream, ..] => runtime.block_on(relay(upstream.parse()?)),
        ["lens", ..] => runtime.block_on(measure_lens()),
        _ => runtime.block_on(measure()),
    }
}

/// What it costs that the lens counts every byte by kind: a server with it and one without, which stream at the same time, so
/// that what slows the machine down slows both.
async fn measure_lens() -> Result<()> {
    say(&format!(
        "{STREAMS} streams, {TOKENS} tokens each, with the lens, and as many at the same time without; {LENS_ROUNDS} times"
    ))?;
    let sampling = |share| Server::start(weir().env("WEIR_LENS_SAMPLING", share));
    let (with, without) = (sampling("1")?, sampling("0")?);
    let request = Request::post("/v1/responses", &demo()).header("accept", "text/event-stream");
    let (mut sum_with, mut sum_without) = (0.0, 0.0);
    for _ in 0..LENS_ROUNDS {
        let (with, without) = tokio::try_join!(with.spent(&request), without.spent(&request))?;
        say(&format!(
            "{with:6.1} µs of processor time per token with the lens, {without:.1} without"
        ))?;
        sum_with += with;
        sum_without += without;
    }
    say(&format!("{:+.1} % on average", (sum_with / sum_without - 1.0) * 100.0))
}

/// Weir with the demo model at our pace, and nothing kept on a disk.
fn weir() -> Command {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args(["--listen", "127.0.0.1:0", "--data", ":memory:", "--log-level", "warn"]);
    weir.env("WEIR_DEMO_TOKENS_PER_SECOND", (1000 / PAUSE.as_millis()).to_string());
    weir
}

/// The demo's answer of as many tokens as a stream has.
fn demo() -> Value {
    json!({ "model": "demo", "stream": true, "input": format!("/lorem {TOKENS}") })
}

async fn measure() -> Result<()> {
    let upstream = Upstream::start().await?;
    let pieces = vec![" stream"; TOKENS];
    upstream.default_script(Script::text(&pieces).paced(PAUSE));
    let pace = 1000 / PAUSE.as_millis();
    say(&format!("{STREAMS} streams, {TOKENS} tokens each, {pace} tokens a second each"))?;

    let relay = Server::start(
        Command::new(env::current_exe()?).args(["relay", &upstream.address().to_string()]),
    )?;
    let chat = json!({ "model": "scripted", "stream": true, "messages": [{ "role": "user", "content": "hello" }] });
    let baseline = relay
        .cost("relay, chat completions over SSE", &Request::post("/v1/chat/completions", &chat))
        .await?;
    drop(relay);

    let mut weir = weir();
    weir.env("OPENAI_BASE_URL", upstream.base_url()).env("OPENAI_API_KEY", "none");
    let weir = Server::start(&mut weir)?;
    let responses = json!({ "model": "scripted", "stream": true, "input": "hello" });
    let demo = demo();
    for (name, path, body, accept) in [
        ("weir, chat completions over SSE", "/v1/chat/completions", &chat, "text/event-stream"),
        (
            "weir, chat completions over NDJSON",
            "/v1/chat/completions",
            &chat,
            "application/x-ndjson",
        ),
        ("weir, responses over SSE", "/v1/responses", &responses, "text/event-stream"),
        ("weir, responses over NDJSON", "/v1/responses", &responses, "application/x-ndjson"),
        (
            "weir, demo without upstream, responses over SSE",
            "/v1/responses",
            &demo,
            "text/event-stream",
        ),
    ] {
        let cost = weir.cost(name, &Request::post(path, body).header("accept", accept)).await?;
        say(&format!("    {:.1} times the relay", cost / baseline))?;
    }
    Ok(())
}

/// A server in a process of its own, so that its processor time is its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts a program that says where it listens, as `http://ADDRESS`, in its first line.
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://"))
            .context("it does not say where it listens")?;
        Ok(Self { child, address: address.parse()? })
    }

    /// Runs all streams, and says what each token cost.
    async fn cost(&self, name: &str, request: &Request) -> Result<f64> {
        let cost = self.spent(request).await.with_context(|| name.to_owned())?;
        say(&format!("{cost:6.1} µs of processor time per token: {name}"))?;
        Ok(cost)
    }

    /// Runs all streams and gives the microseconds of processor time for each token that was read.
    async fn spent(&self, request: &Request) -> Result<f64> {
        let before = self.ticks()?;
        let streams = (0..STREAMS).map(|_| tokens(self.address, request));
        let read: usize = futures_util::future::try_join_all(streams).await?.into_iter().sum();
        let seconds = (self.ticks()? - before) / TICKS_PER_SECOND;
        ensure!(read >= STREAMS * TOKENS, "only {read} tokens came");
        Ok(seconds * 1e6 / f64::from(u32::try_from(read)?))
    }

    /// User and system time so far (fields 14 and 15 of proc(5), after the name in parentheses).
    fn ticks(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("not what proc(5) says")?;
        let times: Vec<u32> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(times.into_iter().map(f64::from).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the measurement has shown.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads one stream to its end and counts its tokens.
async fn tokens(address: SocketAddr, request: &Request) -> Result<usize> {
    let mut stream = client::send(address, request).await?.events()?;
    let (events, end) = stream.collect().await?;
    if end != BodyEnd::Clean {
        bail!("a stream was cut");
    }
    Ok(events.iter().filter(|event| event.json().is_ok_and(|data| is_token(&data))).count())
}

fn is_token(data: &Value) -> bool {
    let chat = data
        .pointer("/choices/0/delta/content")
        .and_then(Value::as_str)
        .is_some_and(|text| !text.is_empty());
    chat || data.get("type").is_some_and(|kind| kind == "response.output_text.delta")
}

/// The least that a server in the middle can do: it passes bytes on as they come.
async fn relay(upstream: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("http://{}", listener.local_addr()?))?;
    let mut running = Vec::new();
    loop {
        let (mut client, _) = listener.accept().await?;
        running.push(client::spawn(async move {
            let Ok(mut server) = TcpStream::connect(upstream).await else { return };
            if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_ok() {
                // However it ends, its reader sees it end.
                drop(copy_bidirectional(&mut client, &mut server).await);
            }
        }));
    }
}

fn say(line: &str) -> Result<()> {
    writeln!(stdout(), "{line}")?;
    Ok(())
}

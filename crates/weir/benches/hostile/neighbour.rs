//! Who stands beside the readers: a process of its own, told over a connection when to stop, and telling what it saw.

use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, timeout};

use crate::bench_server::BenchServer;
use crate::{attack, crowd, machine};

/// How long ten thousand connections may take to be made.
const PATIENCE: Duration = Duration::from_secs(300);

/// The variable that hands the process its key: what others can see in a list of processes is no place for one.
const KEY: &str = "HOSTILE_KEY";

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttackKind {
    Burn,
    KeepAlive,
    WebSocket,
    Http2,
    Silent,
    Tls,
    SlowHeads,
    SlowBodies,
    HeaderBombs,
    Continuations,
    RapidReset,
    CompressionBombs,
    Calls,
    Zeros,
    Sessions,
    Stored,
    Background,
}

impl AttackKind {
    const ALL: [Self; 17] = [
        Self::Burn,
        Self::KeepAlive,
        Self::WebSocket,
        Self::Http2,
        Self::Silent,
        Self::Tls,
        Self::SlowHeads,
        Self::SlowBodies,
        Self::HeaderBombs,
        Self::Continuations,
        Self::RapidReset,
        Self::CompressionBombs,
        Self::Calls,
        Self::Zeros,
        Self::Sessions,
        Self::Stored,
        Self::Background,
    ];

    /// Whether it only holds connections.
    pub(crate) fn is_idle(self) -> bool {
        matches!(self, Self::KeepAlive | Self::WebSocket | Self::Http2 | Self::Silent | Self::Tls)
    }
}

/// The process, as the measurement sees it. It ends with this.
pub(crate) struct Neighbour {
    process: Child,
    control: BufReader<TcpStream>,
}

impl Neighbour {
    /// Starts it and waits until it is at its work: idle connections are all there then.
    pub(crate) async fn start(
        kind: AttackKind,
        bench_server: &BenchServer,
        count: usize,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut command = Command::new(env::current_exe()?);
        command.args([
            "client",
            &format!("{kind:?}"),
            &listener.local_addr()?.to_string(),
            &bench_server.address.to_string(),
            &count.to_string(),
        ]);
        if let Some(key) = bench_server.attackers_key() {
            command.env(KEY, key);
        }
        let process = command.args(bench_server.certificate()).spawn()?;
        let (control, _) = timeout(PATIENCE, listener.accept()).await??;
        let mut neighbour = Self { process, control: BufReader::new(control) };
        let mut line = String::new();
        timeout(PATIENCE, neighbour.control.read_line(&mut line)).await??;
        ensure!(line == "ready\n", "{kind:?} could not start");
        Ok(neighbour)
    }

    /// Stops it; what it saw.
    pub(crate) async fn end(mut self) -> Result<String> {
        self.control.get_mut().shutdown().await?;
        let mut seen = String::new();
        timeout(PATIENCE, self.control.read_to_string(&mut seen)).await??;
        Ok(seen)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Where it has ended by itself there is nothing to be done.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The process itself: one task.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [kind, control, address, count, certificate @ ..] = arguments else {
        anyhow::bail!("too few arguments")
    };
    let kind = AttackKind::ALL
        .into_iter()
        .find(|known| format!("{known:?}") == *kind)
        .context("an unknown kind")?;
    let target = AttackTarget {
        address: address.parse()?,
        count: count.parse()?,
        certificate: certificate.first().map(PathBuf::from),
        key: env::var(KEY).ok(),
    };
    let control: SocketAddr = control.parse()?;
    machine::open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut control = TcpStream::connect(control).await?;
        let seen = if kind.is_idle() {
            let crowd = crowd::gather(kind, &target).await?;
            // It was to be made soon; now it only stands there.
            machine::step_back()?;
            control.write_all(b"ready\n").await?;
            control.read_u8().await.err().context("the measurement says nothing but its end")?;
            format!(
                "{} of {} still there",
                crowd.iter().filter(|held| !held.is_finished()).count(),
                target.count
            )
        } else {
            machine::step_back()?;
            let begun = client::now();
            let mut tally = OutcomeCounts::default();
            control.write_all(b"ready\n").await?;
            tokio::select! {
                () = attack::go_on(kind, &target, &mut tally) => {}
                _ = control.read_u8() => {}
            }
            tally.in_words(begun.elapsed())
        };
        control.write_all(seen.as_bytes()).await?;
        Ok(())
    })
}

/// Who is attacked, and by how many.
pub(crate) struct AttackTarget {
    pub(crate) address: SocketAddr,
    pub(crate) count: usize,
    pub(crate) certificate: Option<PathBuf>,
    /// The caller's, where the server knows keys.
    pub(crate) key: Option<String>,
}

/// How often each outcome was seen.
#[derive(Default)]
pub(crate) struct OutcomeCounts(BTreeMap<String, u64>);

impl OutcomeCounts {
    pub(crate) fn count(&mut self, outcome: String) {
        *self.0.entry(outcome).or_default() += 1;
    }

    fn in_words(&self, time: Duration) -> String {
        let words: Vec<String> =
            self.0.iter().map(|(outcome, count)| format!("{count} × {outcome}")).collect();
        if words.is_empty() {
            String::new()
        } else {
            format!("in {:.0} s: {}", time.as_secs_f64(), words.join(", "))
        }
    }
}

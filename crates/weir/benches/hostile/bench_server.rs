//! The server in a process of its own, with a scripted upstream in this one.

use std::cell::Cell;
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use client::{Connection, Request};
use fakes::Upstream;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The kernel's unit of processor time in `/proc/<pid>/stat` (proc(5), `sysconf(_SC_CLK_TCK)`), which is 100 on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is under HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BenchWire {
    Clear,
    Tls,
    /// In clear, to those who have a key: the readers have one, and an attacker another.
    Keyed,
}

/// A server that ends with this, and its upstream.
pub(crate) struct BenchServer {
    server: Child,
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Upstream,
    pair: Option<Pair>,
    keys: Option<Keys>,
    /// Percents of one core during the measurement.
    load: Cell<f64>,
}

impl BenchServer {
    pub(crate) async fn open(wire: BenchWire, settings: &[(&str, &str)]) -> Result<Self> {
        let upstream = Upstream::start().await?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["--listen", "127.0.0.1:0", "--log-level", "error"]);
        let keys = if wire == BenchWire::Keyed { Some(Keys::make()?) } else { None };
        command
            .arg("--data")
            .arg(keys.as_ref().map_or(Path::new(":memory:"), |keys| keys.data.path()));
        command.env("OPENAI_BASE_URL", upstream.base_url()).env("OPENAI_API_KEY", "none");
        // It is ours, and the server refuses settings that it does not know.
        command.env_remove("WEIR_CONNECTIONS");
        // As many as the system allows; and who is idle stays until it is counted.
        command
            .env("WEIR_SERVER_CONNECTIONS", "20000")
            .env("WEIR_SERVER_IDLE_TIMEOUT", "10m")
            .envs(settings.iter().copied());
        let pair = if wire == BenchWire::Tls { Some(Pair::make()?) } else { None };
        if let Some(pair) = &pair {
            command.arg("--tls-cert").arg(pair.certificate()).arg("--tls-key").arg(pair.key());
        }
        let mut server = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let address = line
            .split_whitespace()
            .find_map(|word| word.split_once("://"))
            .context("it does not say where it listens")?
            .1;
        Ok(Self { server, address: address.parse()?, upstream, pair, keys, load: Cell::new(0.0) })
    }

    /// A request of the readers.
    pub(crate) fn sign(&self, request: Request) -> Request {
        match &self.keys {
            Some(keys) => request.bearer(&keys.readers),
            None => request,
        }
    }

    /// What an attacker shows.
    pub(crate) fn attackers_key(&self) -> Option<&str> {
        self.keys.as_ref().map(|keys| keys.attackers.as_str())
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        match &self.pair {
            None => Connection::open(self.address).await,
            Some(pair) => {
                Connection::open_encrypted(
                    self.address,
                    "localhost",
                    &connector(&pair.certificate())?,
                )
                .await
            }
        }
    }

    /// The file of the certificate.
    pub(crate) fn certificate(&self) -> Option<PathBuf> {
        self.pair.as_ref().map(Pair::certificate)
    }

    /// Watches the server's processor time during a measurement.
    pub(crate) async fn during<T>(
        &self,
        measurement: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (begun, before) = (client::now(), self.ticks()?);
        let measured = measurement.await?;
        let seconds = (self.ticks()? - before) / TICKS_PER_SECOND;
        self.load.set(100.0 * seconds / begun.elapsed().as_secs_f64());
        Ok(measured)
    }

    /// Percents of one core during the last measurement.
    pub(crate) fn load(&self) -> f64 {
        self.load.get()
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most there ever was, in KiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .context("not what proc(5) says")?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    }

    /// User and system time so far (fields 14 and 15 of proc(5), after the name in parentheses).
    fn ticks(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("not what proc(5) says")?;
        let times: Vec<u32> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(times.into_iter().map(f64::from).sum())
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        // It may have ended by itself, which the measurement has shown.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A directory of data that knows two callers.
struct Keys {
    data: TempDir,
    readers: String,
    attackers: String,
}

impl Keys {
    fn make() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let make = |name| -> Result<String> {
            let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
            let made = command
                .args(["key", "create", "--name", name, "--data"])
                .arg(data.path())
                .output()?;
            ensure!(made.status.success(), "no key: {}", String::from_utf8_lossy(&made.stderr));
            Ok(String::from_utf8(made.stdout)?.trim().to_owned())
        };
        let (readers, attackers) = (make("readers")?, make("attackers")?);
        Ok(Self { data, readers, attackers })
    }
}

/// A certificate and its key, in files that end with this.
struct Pair(TempDir);

impl Pair {
    fn make() -> Result<Self> {
        let pair = Self(tempfile::tempdir()?);
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(pair.certificate(), cert.pem())?;
        fs::write(pair.key(), signing_key.serialize_pem())?;
        Ok(pair)
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}

/// A client's side of TLS that believes this certificate.
pub(crate) fn connector(certificate: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

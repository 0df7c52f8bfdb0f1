//! A server as a separate process that receives signals, and whose log can be awaited.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Request, Response};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

/// The timeout for immediate events, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_late| panic!("nothing happened within {PATIENCE:?}"))
}

/// The program with its own data and working directories, and none of our environment.
pub(crate) fn weir(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if [
            "WEIR_",
            "OPENAI_",
            "ANTHROPIC_",
            "GEMINI_",
            "GOOGLE_",
            "OLLAMA_",
            "OTEL_",
            "XDG_",
            "RUST_LOG",
            "NOTIFY_SOCKET",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
            || name.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command.env("HOME", directory).current_dir(directory).stdin(Stdio::null());
    command.arg("--data").arg(directory.join("data")).args(["--log-format", "json"]);
    command
}

/// A running server; dropping it kills it.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Log>,
    logging: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Notify,
}

impl Service {
    pub(crate) async fn start(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let log = Arc::new(Log::default());
        let logging = spawn_blocking({
            let log = Arc::clone(&log);
            move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = errors.read(&mut bytes) {
                    log.text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                    log.grown.notify_one();
                }
            }
        });
        let greeting = spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).map(|_| line)
        });
        let greeting = in_time(greeting).await.unwrap().unwrap();
        let address =
            greeting.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address
            .unwrap_or_else(|| panic!("{greeting:?} {}", log.text.lock().unwrap()))
            .parse()
            .unwrap();
        Self { address, child, log, logging: Some(logging) }
    }

    pub(crate) async fn send(&self, request: &Request) -> Response {
        in_time(client::send(self.address, request)).await.unwrap()
    }

    pub(crate) async fn json(&self, request: &Request) -> (u16, Value) {
        let mut response = self.send(request).await;
        (response.status, client::json::value(&mut response).await.unwrap())
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Waits for the `count`th line that contains `words`, and returns it.
    pub(crate) async fn logged(&self, words: &str, count: usize) -> Value {
        let found = async {
            loop {
                let log = self.log();
                let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
                if let Some(line) = whole.lines().filter(|line| line.contains(words)).nth(count - 1)
                {
                    return serde_json::from_str(line).unwrap();
                }
                self.log.grown.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_late| panic!("no {words:?} in\n{}", self.log()))
    }

    /// Waits for it to exit; returns its status and log.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        let ended = async {
            loop {
                match self.child.try_wait().unwrap() {
                    Some(status) => return status,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let status = in_time(ended).await;
        if let Some(logging) = self.logging.take() {
            in_time(logging).await.unwrap();
        }
        (status, self.log())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

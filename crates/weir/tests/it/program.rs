//! The program as a separate process: started, called, killed and restarted on the same data.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{BodyEnd, Request, Response};
use fakes::Upstream;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

pub(crate) mod reader;

/// The start timeout: recovery counts the tokens of partial responses, in a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The program with its own data and working directories, and none of our environment.
pub(crate) fn weir(directory: &Path) -> Command {
    weir_on(directory, directory.join("data").as_os_str())
}

/// The same with another data directory, or none (`:memory:`). `WEIR_TEST_BINARY` selects another build, such as for
/// a long run of `crash.rs`.
pub(crate) fn weir_on(directory: &Path, data: &OsStr) -> Command {
    let binary =
        std::env::var_os("WEIR_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into());
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["WEIR_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "OLLAMA_", "OTEL_", "XDG_", "RUST_LOG"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || name.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", directory)
        .current_dir(directory)
        .stdin(Stdio::null())
        .arg("--data")
        .arg(data);
    command
}

/// Runs a command until it exits.
pub(crate) async fn run(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client::soon(spawn_blocking(move || child.wait_with_output())).await.unwrap().unwrap().unwrap()
}

pub(crate) async fn run_in(
    directory: &TempDir,
    arguments: &[&str],
) -> (ExitStatus, String, String) {
    let mut command = weir(directory.path());
    command.args(arguments);
    let output = run(command).await;
    (
        output.status,
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// All files in a directory, recursively, except those that disappear meanwhile.
pub(crate) fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The files in a directory that contain these bytes.
pub(crate) fn holding(directory: &Path, marker: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
    };
    walk(directory).into_iter().filter(holds).collect()
}

/// What outlives the process: its data, its upstream and its settings. Every start uses the same.
pub(crate) struct ServerHome {
    pub(crate) home: TempDir,
    pub(crate) upstream: Upstream,
    data: OsString,
    settings: Vec<(String, String)>,
}

impl ServerHome {
    pub(crate) async fn new() -> Self {
        let home = TempDir::new().unwrap();
        let data = home.path().join("data").into_os_string();
        Self { home, upstream: Upstream::start().await.unwrap(), data, settings: Vec::new() }
    }

    /// Sets an environment variable for the next start.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(found, _)| found != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// The same with another data directory.
    pub(crate) fn on(mut self, data: impl Into<OsString>) -> Self {
        self.data = data.into();
        self
    }

    pub(crate) fn data(&self) -> &Path {
        Path::new(&self.data)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = weir_on(self.home.path(), &self.data);
        self.equip(&mut command);
        command
    }

    /// Passes the settings and the upstream to a command.
    pub(crate) fn equip(&self, command: &mut Command) {
        command
            .env("OPENAI_API_KEY", "sk-of-q8Zv41Tn0bX")
            .env("OPENAI_BASE_URL", self.upstream.base_url());
        // A failure scripted for the upstream is not retried.
        command.env("WEIR_RETRIES_COUNT", "0");
        // In addition to the upstream.
        command.env("WEIR_DEMO_ENABLED", "true");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    pub(crate) fn spawn(&self) -> Starting {
        Starting::spawn(self.command())
    }

    pub(crate) async fn start(&self) -> RunningServer {
        self.spawn().listening().await
    }

    /// Starts it on an address that clients already use.
    pub(crate) async fn start_at(&self, address: SocketAddr) -> RunningServer {
        Starting::spawn_at(self.command(), address).listening().await
    }
}

/// A server that has not printed its address yet; dropping it kills it.
pub(crate) struct Starting {
    process: Process,
    greeting: JoinHandle<std::io::Result<String>>,
}

impl Starting {
    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_at(command, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn spawn_at(mut command: Command, address: SocketAddr) -> Self {
        command
            .args(["--listen", &address.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        let logging = spawn_blocking(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut bytes) {
                lines.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let greeting = spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).map(|_| line)
        });
        Self { process: Process { child, log, logging: Some(logging) }, greeting }
    }

    /// Waits for the greeting.
    pub(crate) async fn listening(self) -> RunningServer {
        let Self { mut process, greeting } = self;
        let greeting = tokio::time::timeout(START, greeting)
            .await
            .unwrap_or_else(|late| panic!("{late}: {}", process.logged()))
            .unwrap()
            .unwrap();
        let address =
            greeting.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let Some(address) = address else {
            let (status, log) = process.ended().await;
            panic!("it ended with {status}: {greeting:?} {log}")
        };
        RunningServer { process, address: address.parse().unwrap(), greeting }
    }

    /// Waits for it to exit without a greeting; returns its status and error output.
    pub(crate) async fn refused(mut self) -> (ExitStatus, String) {
        let (status, log) = self.process.ended().await;
        assert_eq!(client::soon(self.greeting).await.unwrap().unwrap().unwrap(), "", "{log}");
        (status, log)
    }

    /// `kill -9`. Returns whether it came before the greeting.
    pub(crate) async fn kill(mut self) -> bool {
        self.process.kill().await;
        client::soon(self.greeting).await.unwrap().unwrap().unwrap().is_empty()
    }
}

/// A running process; dropping it kills it.
struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Reads the log to its end.
    logging: Option<JoinHandle<()>>,
}

impl Process {
    fn logged(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    async fn kill(&mut self) -> String {
        self.child.kill().unwrap();
        self.ended().await.1
    }

    async fn ended(&mut self) -> (ExitStatus, String) {
        let ended = async {
            loop {
                match self.child.try_wait().unwrap() {
                    Some(status) => return status,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let status = client::soon(ended).await.unwrap();
        if let Some(logging) = self.logging.take() {
            client::soon(logging).await.unwrap().unwrap();
        }
        (status, self.logged())
    }
}

#[expect(clippy::print_stderr, reason = "a test that fails should say what the server said")]
impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.lock().map(|log| log.clone()).unwrap_or_default();
            eprintln!("what the server {} logged:\n{log}", self.child.id());
        }
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running server; dropping it kills it.
pub(crate) struct RunningServer {
    process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) greeting: String,
}

impl RunningServer {
    pub(crate) async fn start(command: Command) -> Self {
        Starting::spawn(command).listening().await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub(crate) async fn send(&self, request: &Request) -> Response {
        client::soon(client::send(self.address, request)).await.unwrap().unwrap()
    }

    pub(crate) async fn json(&self, request: &Request) -> (u16, Value) {
        let mut response = self.send(request).await;
        (response.status, client::soon(client::json::value(&mut response)).await.unwrap().unwrap())
    }

    /// The body of a response.
    pub(crate) async fn body(&self, request: &Request) -> (u16, Vec<u8>) {
        let mut response = self.send(request).await;
        let (body, end) = client::soon(response.collect()).await.unwrap().unwrap();
        assert_eq!(end, BodyEnd::Clean, "the body of {} was cut", request.path);
        (response.status, body)
    }

    pub(crate) fn terminate(&self) {
        let killed =
            Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// `kill -9`; waits until the process is gone.
    pub(crate) async fn kill(&mut self) {
        let log = self.process.kill().await;
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Waits for it to exit; returns its status and log.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        self.process.ended().await
    }

    /// Stops it like a service manager; it must exit successfully.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        let (status, log) = self.ended().await;
        assert!(status.success() && !log.contains("panicked"), "{status}: {log}");
    }
}

/// A request to the scripted upstream.
pub(crate) fn question(input: &str) -> Value {
    json!({ "model": "m", "input": input })
}

/// The request with more fields.
pub(crate) fn with(mut question: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        question[name] = value.clone();
    }
    question
}

pub(crate) fn ask(question: &Value) -> Request {
    Request::post("/v1/responses", question)
}

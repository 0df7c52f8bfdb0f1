//! The program itself: its commands, its exits, its signals and its logs.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use lab::client::{self, BodyEnd, Request, Response};
use lab::upstream::{Script, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};

/// The program with a data directory and a working directory of its own, and nothing of our environment that it reads.
fn weir(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["WEIR_", "OPENAI_", "OTEL_", "XDG_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix))
            || name.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command.env("HOME", directory).current_dir(directory).stdin(Stdio::null()).arg("--data").arg(directory.join("data"));
    command
}

/// Runs a command that ends by itself.
async fn run(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    lab::soon(spawn_blocking(move || child.wait_with_output())).await.unwrap().unwrap().unwrap()
}

async fn run_in(directory: &TempDir, arguments: &[&str]) -> (ExitStatus, String, String) {
    let mut command = weir(directory.path());
    command.args(arguments);
    let output = run(command).await;
    (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A running server; dropping it kills it.
struct Server {
    child: Child,
    address: SocketAddr,
    greeting: String,
    log: Arc<Mutex<String>>,
    /// Reads the log to its end.
    logging: Option<JoinHandle<()>>,
}

impl Server {
    async fn start(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
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
        let greeting = lab::soon(spawn_blocking(move || {
            let mut line = String::new();
            out.read_line(&mut line).map(|_| line)
        }));
        let greeting = greeting.await.unwrap().unwrap().unwrap();
        let address = greeting.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.unwrap_or_else(|| panic!("{greeting:?} {}", log.lock().unwrap())).parse().unwrap();
        Self { child, address, greeting, log, logging: Some(logging) }
    }

    async fn send(&self, request: &Request) -> Response {
        lab::soon(client::send(self.address, request)).await.unwrap().unwrap()
    }

    async fn json(&self, request: &Request) -> (u16, Value) {
        let mut response = self.send(request).await;
        (response.status, client::json::value(&mut response).await.unwrap())
    }

    fn terminate(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Waits for it to end by itself; gives its status and what it logged.
    async fn ended(&mut self) -> (ExitStatus, String) {
        let ended = async {
            loop {
                match self.child.try_wait().unwrap() {
                    Some(status) => return status,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let status = lab::soon(ended).await.unwrap();
        if let Some(logging) = self.logging.take() {
            lab::soon(logging).await.unwrap().unwrap();
        }
        let log = self.log.lock().unwrap().clone();
        (status, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn ask(input: &str) -> Request {
    Request::post("/v1/responses", &json!({ "model": "demo", "input": input }))
}

#[tokio::test]
async fn it_says_where_it_is_answers_and_ends_on_sigterm() {
    let directory = TempDir::new().unwrap();
    let mut server = Server::start(weir(directory.path())).await;
    assert!(server.greeting.contains("curl") && server.greeting.ends_with('\n'), "{}", server.greeting);
    let (status, answer) = server.json(&ask("/echo hello")).await;
    assert_eq!((status, &answer["output"][0]["content"][0]["text"]), (200, &json!("hello")));
    assert_eq!(server.json(&Request::get("/readyz")).await.1["status"], "ready");
    server.terminate();
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(client::send(server.address, &Request::get("/healthz")).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn running_answers_end_truly_when_it_is_told_to_stop() {
    let directory = TempDir::new().unwrap();
    let upstream = Upstream::start().await.unwrap();
    let gate = Arc::new(Notify::new());
    let begun = Script::new().role().content("Once");
    let mut command = weir(directory.path());
    command.env("OPENAI_API_KEY", "sk-marker").env("OPENAI_BASE_URL", upstream.base_url());
    let mut server = Server::start(command).await;
    let question = Request::post("/v1/responses", &json!({ "model": "m", "input": "hi", "stream": true }));
    upstream.script(begun.clone().wait_for(&gate).content(" more").finish("stop").done().end());
    let mut ends = server.send(&question).await.events().unwrap();
    lab::soon(upstream.wait_requests(1)).await.unwrap();
    upstream.script(begun.stall());
    let mut hangs = server.send(&question).await.events().unwrap();
    lab::soon(upstream.wait_requests(2)).await.unwrap();
    server.terminate();
    // Nothing new is taken, what runs gets its time.
    let refused = async { while client::send(server.address, &Request::get("/healthz")).await.is_ok() {} };
    lab::soon(refused).await.unwrap();
    gate.notify_one();
    let (events, end) = lab::soon(ends.collect()).await.unwrap().unwrap();
    let last = events[events.len() - 2].json().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["output"][0]["content"][0]["text"], end),
        (&json!("response.completed"), &json!("Once more"), BodyEnd::Clean)
    );
    let (events, end) = lab::soon(hangs.collect()).await.unwrap().unwrap();
    let last = events[events.len() - 2].json().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["error"]["code"], end),
        (&json!("response.failed"), &json!("server_shutdown"), BodyEnd::Clean)
    );
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    lab::soon(upstream.wait_open(0)).await.unwrap();
}

#[tokio::test]
async fn help_and_settings_are_for_people() {
    let directory = TempDir::new().unwrap();
    let (status, out, _) = run_in(&directory, &["--help"]).await;
    assert!(status.success() && ["config", "key", "serve", "--listen", "Examples"].iter().all(|word| out.contains(word)), "{out}");

    let mut command = weir(directory.path());
    command.env("OPENAI_API_KEY", "sk-marker-of-openai").env("WEIR_UPSTREAM_IDLE_TIMEOUT", "30s").args([
        "config",
        "--listen",
        "127.0.0.1:1234",
    ]);
    let output = run(command).await;
    let (out, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    for line in [
        "server.listen 127.0.0.1:1234 --listen",
        "timeouts.idle 30s WEIR_UPSTREAM_IDLE_TIMEOUT",
        "upstream.openai.api_key (hidden) OPENAI_API_KEY",
    ] {
        let found = out.lines().any(|found| found.split_whitespace().collect::<Vec<_>>().join(" ") == line);
        assert!(found, "{line}:\n{out}");
    }
    assert!(!out.contains("sk-marker") && !errors.contains("sk-marker"), "{out}{errors}");
}

#[tokio::test]
async fn everything_that_is_wrong_is_reported_at_once() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("weir.toml"), "[server]\nheartbeat = \"soon\"\nlisten_on = \"x\"\n").unwrap();
    let mut command = weir(directory.path());
    command.env("WEIR_ENGINE_RUNNING", "-1").env("WEIR_WIBBLE", "1").args(["--listen", "nowhere", "--log-level", "=loud="]);
    let output = run(command).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{errors}");
    for place in ["weir.toml:2:", "weir.toml:3:", "WEIR_ENGINE_RUNNING", "WEIR_WIBBLE", "--listen", "--log-level"] {
        assert!(errors.contains(place), "{place}:\n{errors}");
    }
    assert!(output.stdout.is_empty());
    let (status, _, errors) = run_in(&directory, &["--wibble"]).await;
    assert_eq!(status.code(), Some(2), "{errors}");
}

#[tokio::test]
async fn without_a_key_it_does_not_listen_beyond_loopback() {
    let directory = TempDir::new().unwrap();
    let (status, out, errors) = run_in(&directory, &["--listen", "0.0.0.0:0"]).await;
    assert!(!status.success() && out.is_empty(), "{out}");
    assert!(errors.contains("weir key create"), "{errors}");
}

#[tokio::test]
async fn a_key_is_needed_once_there_is_one_and_a_revoked_one_is_refused_at_once() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(weir(directory.path())).await;
    assert_eq!(server.json(&ask("/echo hi")).await.0, 200, "nobody needs one yet");
    let (status, key, hints) = run_in(&directory, &["key", "create", "--name", "laptop"]).await;
    let key = key.trim_end();
    assert!(status.success() && key.starts_with("wk_") && !key.contains('\n') && !hints.contains(key), "{hints}");
    let (_, other, _) = run_in(&directory, &["key", "create", "--name", "phone"]).await;

    let (status, refused) = server.json(&ask("/echo hi")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("missing_api_key")));
    let (status, refused) = server.json(&ask("/echo hi").bearer("wk_guessed")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(server.json(&ask("/echo hi").bearer(key)).await.0, 200);

    let (_, list, _) = run_in(&directory, &["key", "list"]).await;
    assert!(list.contains("laptop") && list.contains("phone") && !list.contains(key), "{list}");
    let id = list.lines().find(|line| line.contains("laptop")).and_then(|line| line.split_whitespace().next()).unwrap();
    let (status, _, errors) = run_in(&directory, &["key", "revoke", id]).await;
    assert!(status.success(), "{errors}");
    assert_eq!(server.json(&ask("/echo hi").bearer(key)).await.0, 401);
    assert_eq!(server.json(&ask("/echo hi").bearer(other.trim_end())).await.0, 200);
    let (_, found, _) = run_in(&directory, &["key", "revoke", id]).await;
    assert!(found.is_empty());
    for file in walk(directory.path()) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains(other.trim_end()), "{} holds a key in the clear", file.display());
    }
}

fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn the_log_holds_no_prompt_no_answer_and_no_key() {
    let directory = TempDir::new().unwrap();
    let upstream = Upstream::start().await.unwrap();
    upstream.script(Script::text(&["answer-", "marker"]));
    upstream.script(Script::text(&["answer-", "marker"]));
    upstream.script(Script::new().content("answer-marker").rst());
    upstream.script(Script::error(401, &json!({ "error": { "message": "Incorrect API key provided: upstream-key-marker" } })));
    let (_, key, _) = run_in(&directory, &["key", "create"]).await;
    let key = key.trim_end();
    let mut command = weir(directory.path());
    command.env("OPENAI_API_KEY", "upstream-key-marker").env("OPENAI_BASE_URL", upstream.base_url()).args(["--log-format", "json"]);
    let mut server = Server::start(command).await;
    let body = json!({ "model": "m", "input": "prompt-marker", "instructions": "prompt-marker", "metadata": { "a": "prompt-marker" } });
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.json(&Request::post("/v1/responses", &body).bearer(key)).await.0);
    }
    assert_eq!(statuses, [200, 200, 502, 502]);
    for request in [
        Request::post("/v1/responses", &json!({ "model": 1, "input": "prompt-marker" })).bearer(key),
        Request::post("/v1/responses", &body).bearer("wk_guessed-marker"),
        Request::get("/v1/responses/x?api_key=guessed-marker").bearer(key),
    ] {
        statuses.push(server.json(&request).await.0);
    }
    assert_eq!(statuses[4..], [400, 401, 404]);
    server.terminate();
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.lines().count() >= 7, "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    for secret in ["prompt-marker", "answer-", "key-marker", "guessed-marker", key] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

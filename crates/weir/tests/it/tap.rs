//! `weir tap`: a response's events with their times, live, as they were, and saved.

mod saved;

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Request, Stream};
use fakes::Script;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::resume::{id_of, take};
use crate::service::{Service, in_time, weir};
use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan, ask};

/// The pause of the scripted model before its last words.
const PAUSE: Duration = Duration::from_millis(400);

/// The program, to be run against a server.
pub(super) fn tap(directory: &Path, server: SocketAddr, id: &str, more: &[&str]) -> Command {
    let mut command = weir(directory);
    command.args(["tap", id, "--server", &format!("http://{server}")]).args(more);
    command
}

/// Runs a command until it exits.
pub(super) async fn run(mut command: Command) -> Output {
    in_time(spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

/// The same for one that succeeds. Returns its lines of events.
async fn tapped(command: Command) -> Vec<Line> {
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    lines(&text(&output.stdout))
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The line of an event.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    time_ms: f64,
    position: u64,
    kind: String,
}

impl Line {
    /// `None` for lines that are not of an event.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [time, gap, position, kind, bytes, ..] = words[..] else { return None };
        bytes.parse::<u64>().ok()?;
        assert!(gap == "-" || gap.starts_with('+'), "{line}");
        Some(Self {
            time_ms: time.parse().ok()?,
            position: position.parse().ok()?,
            kind: kind.to_owned(),
        })
    }
}

fn lines(text: &str) -> Vec<Line> {
    text.lines().filter_map(Line::read).collect()
}

fn positions(lines: &[Line]) -> Vec<u64> {
    lines.iter().map(|line| line.position).collect()
}

/// Runs a response whose text pauses before its end. Returns its id.
pub(super) async fn paused_response(server: &TestServer) -> String {
    let script = Script::new().contents(&["One ", "two "]).sleep(PAUSE).content("three\u{1b}[2J.");
    server.upstream.script(script.finish("stop").usage(3, 3, 0).done());
    let mut stream = server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    let (data, _end) = stream.collect_data().await.unwrap();
    id_of(std::str::from_utf8(&data[0]).unwrap())
}

/// The times that the server has recorded, in milliseconds.
pub(super) async fn recorded(server: &TestServer, id: &str) -> Vec<f64> {
    let (status, times) = server.get(&format!("/v1/responses/{id}/event_times")).await;
    assert_eq!(status, 200, "{times}");
    times["times_ms"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect()
}

/// A response that waits for a gate after its first words, the rest of its stream, and the gate.
async fn held_response(server: &TestServer) -> (String, Stream, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let script = Script::new().role().content("First.").wait_for(&gate).content(" Last.");
    server.upstream.script(script.finish("stop").done());
    let mut stream = server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    // Up to the first piece of text.
    let created = take(&mut stream, 5).await;
    (id_of(&created[0]), stream, gate)
}

/// A tap that runs.
struct RunningTap {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl RunningTap {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines: Some(lines) }
    }

    /// Reads up to the line of an event of this type that contains `words`.
    async fn until(&mut self, kind: &'static str, words: &'static str) -> Vec<Line> {
        let mut out = self.lines.take().unwrap();
        let reading = spawn_blocking(move || {
            let mut found = Vec::new();
            loop {
                let text = out.next().unwrap().unwrap();
                if let Some(line) = Line::read(&text) {
                    let is_last = line.kind == kind && text.contains(words);
                    found.push(line);
                    if is_last {
                        return (found, out);
                    }
                }
            }
        });
        let (found, out) = in_time(reading).await.unwrap();
        self.lines = Some(out);
        found
    }

    fn interrupt(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    /// The exit status, and the rest of standard output.
    async fn ended(mut self) -> (Option<i32>, String) {
        let out = self.lines.take().unwrap();
        let ending = spawn_blocking(move || {
            let rest: Vec<String> = out.map(Result::unwrap).collect();
            (self.child.wait().unwrap().code(), rest.join("\n"))
        });
        in_time(ending).await.unwrap()
    }
}

#[tokio::test]
async fn a_running_response_is_shown_live() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let (id, mut reader, gate) = held_response(&server).await;
    let mut running = RunningTap::start(tap(directory.path(), server.address, &id, &[]));
    let seen = running.until("response.output_text.delta", "\"First.\"").await;
    assert_eq!(positions(&seen), [0, 1, 2, 3, 4], "what was before the tap, and no more");
    gate.notify_one();
    let live = running.until("response.output_text.delta", "\" Last.\"").await;
    assert_eq!(positions(&live), [5]);
    assert!(live[0].time_ms > seen[4].time_ms, "{live:?} {seen:?}");
    let (status, rest) = running.ended().await;
    assert_eq!(status, Some(0), "{rest}");
    assert_eq!(lines(&rest).last().unwrap().kind, "response.completed");
    assert!(rest.contains("first text after "), "{rest}");
    assert!(rest.contains("times: when the server appended"), "{rest}");
    reader.end().await.unwrap();
    server.quiet().await;
    server.close().await;
}

#[tokio::test]
async fn a_finished_response_has_its_gaps_again_or_comes_at_once() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let id = paused_response(&server).await;
    let recorded = recorded(&server, &id).await;
    let whole = recorded[recorded.len() - 1] - recorded[0];
    assert!(whole >= PAUSE.as_secs_f64() * 1000.0, "{recorded:?}");

    let command = |more: &[&str]| tap(directory.path(), server.address, &id, more);
    let began = Instant::now();
    let shown = tapped(command(&["--pace", "original"])).await;
    // The program has to start as well, so that this is a lower bound only.
    assert!(began.elapsed() >= PAUSE, "{:?}", began.elapsed());
    let times: Vec<f64> = shown.iter().map(|line| line.time_ms).collect();
    assert_eq!(times, recorded, "the times are those of the log");
    assert_eq!(positions(&shown), (0..recorded.len() as u64).collect::<Vec<_>>());

    // Each event is shown at its distance from the first one.
    let path = directory.path().join("original.json");
    let save = ["--save", path.to_str().unwrap()];
    tapped(command(&save)).await;
    for gap in gaps_missed(&path) {
        assert!(gap >= -1.0, "an event was shown {gap} ms before its time");
    }
    let path = directory.path().join("fast.json");
    let save = ["--pace", "fast", "--save", path.to_str().unwrap()];
    let fast = tapped(command(&save)).await;
    assert_eq!(fast, shown, "the same times, whatever the pace");
    let first = gaps_missed(&path).into_iter().fold(f64::MAX, f64::min);
    assert!(first < -PAUSE.as_secs_f64() * 500.0, "no event waited: {first}");
    server.quiet().await;
    server.close().await;
}

/// How much later than its distance from the first event each event of a saved tap was taken.
fn gaps_missed(path: &Path) -> Vec<f64> {
    let saved: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let number = |event: &Value, name: &str| event[name].as_f64().unwrap();
    let events = saved["events"].as_array().unwrap();
    let lag = |event: &Value| number(event, "taken_ms") - number(event, "logged_ms");
    events.iter().map(|event| lag(event) - lag(&events[0])).collect()
}

#[tokio::test]
async fn a_tap_starts_at_the_event_it_is_asked_for() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let id = paused_response(&server).await;
    let count = recorded(&server, &id).await.len() as u64;
    let command = |from: &str| {
        tap(directory.path(), server.address, &id, &["--pace", "fast", "--from", from])
    };
    assert_eq!(positions(&tapped(command("4")).await), (4..count).collect::<Vec<_>>());
    let late = run(command("999")).await;
    assert_eq!(late.status.code(), Some(2));
    assert!(text(&late.stderr).contains("no event 998"), "{}", text(&late.stderr));
    server.close().await;
}

#[tokio::test]
async fn what_a_model_writes_cannot_control_the_terminal() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let id = paused_response(&server).await;
    let output = run(tap(directory.path(), server.address, &id, &["--pace", "fast"])).await;
    let out = text(&output.stdout);
    assert!(out.contains("\"three\u{241b}[2J.\""), "{out}");
    assert!(!out.contains('\u{1b}'), "{out}");
    server.close().await;
}

#[tokio::test]
async fn ctrl_c_ends_the_tap_and_not_the_response() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let (id, mut reader, gate) = held_response(&server).await;
    let path = directory.path().join("part.json");
    let save = ["--save", path.to_str().unwrap()];
    let mut running = RunningTap::start(tap(directory.path(), server.address, &id, &save));
    running.until("response.output_text.delta", "\"First.\"").await;
    running.interrupt();
    let (status, rest) = running.ended().await;
    assert_eq!(status, Some(130), "{rest}");
    assert!(rest.contains("5 events, "), "{rest}");
    let saved: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((&saved["end"], saved["events"].as_array().unwrap().len()), (&json!("stopped"), 5));
    assert!(saved["events"][4]["logged_ms"].as_f64().unwrap() > 0.0, "{saved:#}");
    gate.notify_one();
    let (left, end) = reader.collect_data().await.unwrap();
    assert_eq!(end, client::BodyEnd::Clean);
    // After it comes `[DONE]`.
    let last: Value = serde_json::from_slice(&left[left.len() - 2]).unwrap();
    assert_eq!(last["type"], "response.completed", "the response went on");
    server.quiet().await;
    server.close().await;
}

#[tokio::test]
async fn what_cannot_be_tapped_exits_with_2() {
    let directory = TempDir::new().unwrap();
    let plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    let server = TestServer::open_with(plan).await;
    let create = Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" }));
    let (_, own) = server.json(&create.bearer(ALICE)).await;
    let id = own["id"].as_str().unwrap();
    let unknown = format!("resp_{}", "0".repeat(id.len() - 5));
    let gone: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let mut errors = Vec::new();
    for (server, id, key, expected) in [
        (server.address, id, None, "WEIR_API_KEY"),
        (server.address, id, Some("wk_wrong"), "WEIR_API_KEY"),
        (server.address, id, Some(BOB), "not found"),
        (server.address, unknown.as_str(), Some(ALICE), "not found"),
        (gone, id, None, "cannot reach"),
        (server.address, "../models", Some(ALICE), "not the id"),
    ] {
        let mut command = tap(directory.path(), server, id, &["--save", "out.json"]);
        command.envs(key.map(|key| ("WEIR_API_KEY", key)));
        let output = run(command).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected) && output.stdout.is_empty(), "{expected}: {error}");
        errors.push(error.replace(id, "ID"));
    }
    assert_eq!(errors[2], errors[3], "another caller's response is not told from none");
    assert!(leftovers(directory.path()).is_empty(), "{:?}", leftovers(directory.path()));

    let mut command = tap(directory.path(), server.address, id, &["--save", "out.txt"]);
    let output = run({
        command.env("WEIR_API_KEY", ALICE);
        command
    })
    .await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--format"), "{}", text(&output.stderr));
    let missing = ["--save", "no/such/directory/out.json", "--key", ALICE];
    let output = run(tap(directory.path(), server.address, id, &missing)).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("out.json"), "{}", text(&output.stderr));
    server.close().await;
}

/// The files that a tap has made in its directory.
fn leftovers(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("out")).collect()
}

/// A response that was running when its server died has no times; one that had ended has.
#[tokio::test]
async fn times_outlive_a_restart_as_far_as_they_were_stored() {
    let (directory, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut command = weir(directory.path());
    command.arg("serve");
    let mut service = Service::start(command).await;
    let create = |text: &str| {
        Request::post("/v1/responses", &json!({ "model": "demo", "input": text, "stream": true }))
    };
    let send = async |request: Request| {
        client::send(service.address, &request).await.unwrap().events().unwrap()
    };
    let mut ended = send(create("/count 3")).await;
    let (data, _end) = ended.collect_data().await.unwrap();
    let ended = id_of(std::str::from_utf8(&data[0]).unwrap());
    let path = |id: &str| Request::get(&format!("/v1/responses/{id}/event_times"));
    let before = json_of(service.address, path(&ended)).await;
    // After the events comes `[DONE]`.
    assert_eq!(before["times_ms"].as_array().unwrap().len(), data.len() - 1);
    let mut running = send(create("/count 100000")).await;
    let running_id = id_of(&take(&mut running, 8).await[0]);
    let live = json_of(service.address, path(&running_id)).await;
    assert!(live["elapsed_ms"].as_f64().unwrap() > 0.0, "{live}");
    service.signal("KILL");
    service.ended().await;

    let mut command = weir(directory.path());
    command.arg("serve");
    let service = Service::start(command).await;
    assert_eq!(json_of(service.address, path(&ended)).await, before);
    let lost = json_of(service.address, path(&running_id)).await;
    assert_eq!(
        (&lost["created_at_ms"], &lost["elapsed_ms"], &lost["times_ms"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    let output = run(tap(home.path(), service.address, &running_id, &[])).await;
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    assert!(out.contains("the server has recorded no others"), "{out}");
}

async fn json_of(server: SocketAddr, request: Request) -> Value {
    let mut response = client::send(server, &request).await.unwrap();
    assert_eq!(response.status, 200);
    serde_json::from_slice(&response.collect().await.unwrap().0).unwrap()
}

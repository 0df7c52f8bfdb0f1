//! The files of a tap: JSON, HAR 1.2, and packets that Wireshark reads.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{paused_response, recorded, run, tap, text};
use crate::test_server::{ALICE, MODEL, TestServer, TestServerPlan};

/// Taps a finished response into a file, and returns its path in the directory.
async fn save(server: &TestServer, directory: &TempDir, id: &str, name: &str, key: Option<&str>) {
    let mut command =
        tap(directory.path(), server.address, id, &["--pace", "fast", "--save", name]);
    command.envs(key.map(|key| ("WEIR_API_KEY", key)));
    let output = run(command).await;
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("saved: "), "{errors}");
    let names = std::fs::read_dir(directory.path()).unwrap();
    let partial = names
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".partial"));
    assert_eq!(partial.count(), 0, "only whole files are left");
}

fn read(directory: &TempDir, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory.path().join(name)).unwrap()).unwrap()
}

/// The events of a response as JSON.
async fn events(server: &TestServer, id: &str) -> Vec<Value> {
    let (_, page) = server.get(&format!("/v1/responses/{id}/events?wait=0")).await;
    page["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn json_has_every_event_with_its_times() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let id = paused_response(&server).await;
    save(&server, &directory, &id, "out.json", None).await;
    let saved = read(&directory, "out.json");
    let events = events(&server, &id).await;
    let found: Vec<&Value> =
        saved["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
    assert_eq!(found, events.iter().collect::<Vec<_>>());
    let times: Vec<f64> = saved["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["logged_ms"].as_f64().unwrap())
        .collect();
    assert_eq!(times, recorded(&server, &id).await);
    let bytes: u64 = saved["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["bytes"].as_u64().unwrap())
        .sum();
    let summary = &saved["summary"];
    assert_eq!(
        (&saved["end"], &summary["events"], &summary["bytes"], &summary["times"]),
        (&json!("complete"), &json!(events.len()), &json!(bytes), &json!("log"))
    );
    assert!(summary["text_gaps"]["slowest_ms"].as_f64().unwrap() >= 400.0, "{summary}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = std::fs::metadata(directory.path().join("out.json")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    server.close().await;
}

/// The fields that HAR 1.2 requires, and their types.
fn check_har(har: &Value) {
    let log = &har["log"];
    assert_eq!(log["version"], "1.2");
    let is_text = |value: &Value, names: &[&str]| {
        for name in names {
            assert!(value[name].is_string(), "{name}: {value}");
        }
    };
    let is_number = |value: &Value, names: &[&str]| {
        for name in names {
            assert!(value[name].is_number(), "{name}: {value}");
        }
    };
    let are_pairs = |value: &Value| {
        value.as_array().unwrap().iter().for_each(|pair| is_text(pair, &["name", "value"]));
    };
    is_text(&log["creator"], &["name", "version"]);
    for entry in log["entries"].as_array().unwrap() {
        is_text(entry, &["startedDateTime", "serverIPAddress", "connection"]);
        let date = entry["startedDateTime"].as_str().unwrap();
        assert!(date.len() == 24 && date.contains('T') && date.ends_with('Z'), "{date}");
        assert!(entry["cache"].is_object());
        let (request, response) = (&entry["request"], &entry["response"]);
        is_text(request, &["method", "url", "httpVersion"]);
        is_number(request, &["headersSize", "bodySize"]);
        is_number(response, &["status", "headersSize", "bodySize"]);
        is_text(response, &["statusText", "httpVersion", "redirectURL"]);
        for part in [request, response] {
            are_pairs(&part["headers"]);
            assert!(part["cookies"].is_array());
        }
        are_pairs(&request["queryString"]);
        is_number(&response["content"], &["size"]);
        is_text(&response["content"], &["mimeType", "text"]);
        let timings = &entry["timings"];
        is_number(timings, &["blocked", "dns", "connect", "ssl", "send", "wait", "receive"]);
        let sum: f64 = ["connect", "send", "wait", "receive"]
            .iter()
            .map(|name| timings[name].as_f64().unwrap())
            .sum();
        assert!((entry["time"].as_f64().unwrap() - sum).abs() < 0.01, "{entry}");
    }
}

#[tokio::test]
async fn har_has_the_request_its_response_and_the_events() {
    let directory = TempDir::new().unwrap();
    let plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    let server = TestServer::open_with(plan).await;
    let create = client::Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" }));
    let (_, response) = server.json(&create.bearer(ALICE)).await;
    let id = response["id"].as_str().unwrap();
    save(&server, &directory, id, "out.har", Some(ALICE)).await;
    let har = read(&directory, "out.har");
    check_har(&har);
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "one request");
    let (request, answer) = (&entries[0]["request"], &entries[0]["response"]);
    let url = format!("http://{}/v1/responses/{id}?stream=true", server.address);
    assert_eq!((&request["url"], &answer["status"]), (&json!(url), &json!(200)));
    assert!(!har.to_string().contains(ALICE), "the key is in no file");
    let body = answer["content"]["text"].as_str().unwrap();
    assert_eq!(answer["content"]["size"], body.len());
    let messages = entries[0]["_eventSourceMessages"].as_array().unwrap();
    let data: Vec<&str> = messages.iter().map(|one| one["data"].as_str().unwrap()).collect();
    for (position, data) in data.iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(event["sequence_number"], position);
        assert_eq!(event["type"], messages[position]["eventName"]);
        assert!(body.contains(&format!("data: {data}\n")), "{data}");
        assert!(messages[position]["_logged_ms"].is_number(), "{}", messages[position]);
    }
    let times: Vec<f64> = messages.iter().map(|one| one["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 1.0e9, "{times:?}");
    assert!(data.last().unwrap().contains("response.completed"));
    server.close().await;
}

/// What tshark prints; `None` where it is not installed.
fn tshark(path: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("tshark");
    command.env("LC_ALL", "C.UTF-8").env("HOME", "/nonexistent").arg("-r").arg(path);
    let output = command.args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(text(&output.stdout))
}

#[tokio::test]
async fn packets_are_those_of_the_connection_or_say_that_they_are_synthesised() {
    let (server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let id = paused_response(&server).await;
    let count = recorded(&server, &id).await.len();
    save(&server, &directory, &id, "out.pcapng", None).await;
    let path = directory.path().join("out.pcapng");
    let file = std::fs::read(&path).unwrap();
    assert_eq!(file[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section header");
    let shown = String::from_utf8_lossy(&file);
    assert!(shown.contains("as captured") || shown.contains("SYNTHESISED"), "the comment");
    let port = format!("tcp.port=={},http", server.address.port());
    let fields = ["-d", &port, "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"];
    if let Some(found) = tshark(&path, &fields) {
        assert_eq!(found.trim(), format!("/v1/responses/{id}?stream=true"));
        let streams = tshark(&path, &["-T", "fields", "-e", "tcp.stream"]).unwrap();
        assert!(streams.lines().all(|stream| stream == "0"), "one connection: {streams}");
        let follow = tshark(&path, &["-q", "-z", "follow,tcp,ascii,0"]).unwrap();
        assert_eq!(follow.matches("\"sequence_number\":").count(), count, "{follow}");
    }
    server.close().await;
}

#[tokio::test]
async fn a_key_is_in_no_packet() {
    let directory = TempDir::new().unwrap();
    let plan = TestServerPlan { with_keys: true, ..TestServerPlan::default() };
    let server = TestServer::open_with(plan).await;
    let create = client::Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" }));
    let (_, response) = server.json(&create.bearer(ALICE)).await;
    let id = response["id"].as_str().unwrap();
    save(&server, &directory, id, "out.pcapng", Some(ALICE)).await;
    let file = std::fs::read(directory.path().join("out.pcapng")).unwrap();
    let shown = String::from_utf8_lossy(&file);
    assert!(!shown.contains(ALICE));
    assert!(shown.contains("response.completed"), "the server's bytes are there");
    server.close().await;
}

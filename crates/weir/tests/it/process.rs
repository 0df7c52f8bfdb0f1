//! The program itself: its commands, exit codes, signals and logs.

use std::sync::Arc;

use client::{BodyEnd, Request};
use fakes::{Script, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::program::{RunningServer, run, run_in, walk, weir};

fn ask(input: &str) -> Request {
    Request::post("/v1/responses", &json!({ "model": "demo", "input": input }))
}

#[tokio::test]
async fn it_prints_its_address_serves_and_exits_on_sigterm() {
    let directory = TempDir::new().unwrap();
    let mut server = RunningServer::start(weir(directory.path())).await;
    assert!(
        server.greeting.contains("curl") && server.greeting.ends_with('\n'),
        "{}",
        server.greeting
    );
    let (status, answer) = server.json(&ask("/echo hello")).await;
    assert_eq!((status, &answer["output"][0]["content"][0]["text"]), (200, &json!("hello")));
    assert_eq!(server.json(&Request::get("/readyz")).await.1["status"], "ready");
    server.terminate();
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        client::send(server.address, &Request::get("/healthz")).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn running_responses_end_properly_on_shutdown() {
    let directory = TempDir::new().unwrap();
    let upstream = Upstream::start().await.unwrap();
    let gate = Arc::new(Notify::new());
    let begun = Script::new().role().content("Once");
    let mut command = weir(directory.path());
    command
        .env("OPENAI_API_KEY", "sk-marker")
        .env("OPENAI_BASE_URL", upstream.base_url())
        .env("WEIR_SHUTDOWN_GRACE", "2s");
    let mut server = RunningServer::start(command).await;
    let question =
        Request::post("/v1/responses", &json!({ "model": "m", "input": "hi", "stream": true }));
    upstream.script(begun.clone().wait_for(&gate).content(" more").finish("stop").done().end());
    let mut ends = server.send(&question).await.events().unwrap();
    client::soon(upstream.wait_requests(1)).await.unwrap();
    upstream.script(begun.stall());
    let mut hangs = server.send(&question).await.events().unwrap();
    client::soon(upstream.wait_requests(2)).await.unwrap();
    server.terminate();
    // New connections are rejected, and running responses get their grace period.
    let refused =
        async { while client::send(server.address, &Request::get("/healthz")).await.is_ok() {} };
    client::soon(refused).await.unwrap();
    gate.notify_one();
    let (events, end) = client::soon(ends.collect()).await.unwrap().unwrap();
    let last = events[events.len() - 2].json().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["output"][0]["content"][0]["text"], end),
        (&json!("response.completed"), &json!("Once more"), BodyEnd::Clean)
    );
    let (events, end) = client::soon(hangs.collect()).await.unwrap().unwrap();
    let last = events[events.len() - 2].json().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["error"]["code"], end),
        (&json!("response.failed"), &json!("server_shutdown"), BodyEnd::Clean)
    );
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    client::soon(upstream.wait_open(0)).await.unwrap();
}

#[tokio::test]
async fn help_and_settings_are_readable() {
    let directory = TempDir::new().unwrap();
    let (status, out, _) = run_in(&directory, &["--help"]).await;
    assert!(
        status.success()
            && ["config", "key", "serve", "--listen", "Examples"]
                .iter()
                .all(|word| out.contains(word)),
        "{out}"
    );

    let mut command = weir(directory.path());
    command
        .env("OPENAI_API_KEY", "sk-marker-of-openai")
        .env("WEIR_UPSTREAM_IDLE_TIMEOUT", "30s")
        .args(["config", "--listen", "127.0.0.1:1234"]);
    let output = run(command).await;
    let (out, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    for line in [
        "server.listen 127.0.0.1:1234 --listen",
        "timeouts.idle 30s WEIR_UPSTREAM_IDLE_TIMEOUT",
        "upstream.openai.api_key (hidden) OPENAI_API_KEY",
    ] {
        let found =
            out.lines().any(|found| found.split_whitespace().collect::<Vec<_>>().join(" ") == line);
        assert!(found, "{line}:\n{out}");
    }
    assert!(!out.contains("sk-marker") && !errors.contains("sk-marker"), "{out}{errors}");
}

#[tokio::test]
async fn all_configuration_errors_are_reported_together() {
    let directory = TempDir::new().unwrap();
    std::fs::write(
        directory.path().join("weir.toml"),
        "[server]\nheartbeat = \"soon\"\nlisten_on = \"x\"\n",
    )
    .unwrap();
    let mut command = weir(directory.path());
    command.env("WEIR_ENGINE_RUNNING", "-1").env("WEIR_WIBBLE", "1").args([
        "--listen",
        "nowhere",
        "--log-level",
        "=loud=",
    ]);
    let output = run(command).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{errors}");
    for place in [
        "weir.toml:2:",
        "weir.toml:3:",
        "WEIR_ENGINE_RUNNING",
        "WEIR_WIBBLE",
        "--listen",
        "--log-level",
    ] {
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
async fn a_key_is_required_once_there_is_one_and_a_revoked_one_is_rejected_at_once() {
    let directory = TempDir::new().unwrap();
    let server = RunningServer::start(weir(directory.path())).await;
    assert_eq!(server.json(&ask("/echo hi")).await.0, 200, "nobody needs one yet");
    let (status, key, hints) = run_in(&directory, &["key", "create", "--name", "laptop"]).await;
    let key = key.trim_end();
    assert!(
        status.success() && key.starts_with("wk_") && !key.contains('\n') && !hints.contains(key),
        "{hints}"
    );
    let (_, other, _) = run_in(&directory, &["key", "create", "--name", "phone"]).await;

    let (status, refused) = server.json(&ask("/echo hi")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("missing_api_key")));
    let (status, refused) = server.json(&ask("/echo hi").bearer("wk_guessed")).await;
    assert_eq!((status, &refused["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(server.json(&ask("/echo hi").bearer(key)).await.0, 200);

    let (_, list, _) = run_in(&directory, &["key", "list"]).await;
    assert!(list.contains("laptop") && list.contains("phone") && !list.contains(key), "{list}");
    let id = list
        .lines()
        .find(|line| line.contains("laptop"))
        .and_then(|line| line.split_whitespace().next())
        .unwrap();
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

#[tokio::test]
async fn the_log_contains_no_prompt_no_response_and_no_key() {
    let directory = TempDir::new().unwrap();
    let upstream = Upstream::start().await.unwrap();
    upstream.script(Script::text(&["answer-", "marker"]));
    upstream.script(Script::text(&["answer-", "marker"]));
    upstream.script(Script::new().content("answer-marker").rst());
    upstream.script(Script::error(
        401,
        &json!({ "error": { "message": "Incorrect API key provided: upstream-key-marker" } }),
    ));
    let (_, key, _) = run_in(&directory, &["key", "create"]).await;
    let key = key.trim_end();
    let mut command = weir(directory.path());
    command
        .env("OPENAI_API_KEY", "upstream-key-marker")
        .env("OPENAI_BASE_URL", upstream.base_url())
        .args(["--log-format", "json"]);
    let mut server = RunningServer::start(command).await;
    let body = json!({ "model": "m", "input": "prompt-marker", "instructions": "prompt-marker", "metadata": { "a": "prompt-marker" } });
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.json(&Request::post("/v1/responses", &body).bearer(key)).await.0);
    }
    assert_eq!(statuses, [200, 200, 502, 502]);
    for request in [
        Request::post("/v1/responses", &json!({ "model": 1, "input": "prompt-marker" }))
            .bearer(key),
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
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    for secret in ["prompt-marker", "answer-", "key-marker", "guessed-marker", key] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

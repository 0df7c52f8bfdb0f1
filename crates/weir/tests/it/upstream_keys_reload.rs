//! Keys that change while responses run: running ones keep theirs, new ones use the new keys.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Request};
use fakes::{Script, Upstream, VendorError};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::service::{Service, in_time, weir};

const AGAIN: &str = "reloaded the settings";

fn question() -> Request {
    Request::post("/v1/responses", &json!({ "model": "m", "input": "hi", "stream": true }))
}

#[tokio::test]
async fn a_response_keeps_its_key_while_new_ones_use_the_new_keys() {
    let directory = TempDir::new().unwrap();
    let lab = Upstream::start().await.unwrap();
    lab.require_keys(&["sk-old-secret"]);
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    put("keys", "# of the north\nsk-old-secret\n");
    let upstream = format!(
        "[[upstream]]\nname = \"lab\"\nmodels = [\"m\"]\nbase_url = \"{}\"\n",
        lab.base_url()
    );
    put(
        "weir.toml",
        &format!(
            "{upstream}api_key_file = \"keys\"\nkey_strategy = \"round_robin\"\nkey_concurrency = 1\n"
        ),
    );
    let server = Service::start(weir(directory.path())).await;
    let gate = Arc::new(Notify::new());
    lab.script(
        Script::new()
            .role()
            .content("Once")
            .wait_for(&gate)
            .content(" upon")
            .finish("stop")
            .done()
            .end(),
    );
    let mut running = server.send(&question()).await.events().unwrap();
    in_time(lab.wait_requests(1)).await;

    // The old key is revoked at the same time; one line becomes two.
    lab.require_keys(&["sk-new-secret", "sk-more-secret"]);
    put("keys", "sk-new-secret\n\nsk-more-secret\n");
    let line = server.logged(AGAIN, 1).await;
    assert_eq!(line["applied"], "upstream.lab.api_key", "{line}");
    let before = lab.requests().len();
    for _ in 0..4 {
        let (events, end) =
            in_time(server.send(&question()).await.events().unwrap().collect()).await.unwrap();
        assert_eq!((events.last().unwrap().data.as_ref(), end), (&b"[DONE]"[..], BodyEnd::Clean));
    }
    let mut keys: Vec<String> =
        lab.requests()[before..].iter().map(|request| request.key.clone().unwrap()).collect();
    keys.sort();
    assert_eq!(keys, ["sk-more-secret", "sk-more-secret", "sk-new-secret", "sk-new-secret"]);

    gate.notify_one();
    let (events, end) = in_time(running.collect()).await.unwrap();
    let last = events[events.len() - 2].json().unwrap();
    assert_eq!((&last["type"], end), (&json!("response.completed"), BodyEnd::Clean));
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "Once upon");
    assert_eq!(lab.requests()[0].key.as_deref(), Some("sk-old-secret"));

    // The list of keys is updated, by label.
    let (_, list) = server.json(&Request::get("/v1/upstreams")).await;
    let labels: Vec<_> = list["data"][0]["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["1", "2"], "{list}");
    assert!(!server.log().contains("-secret"), "{}", server.log());
}

/// Any settings change used to reset paused keys and free all slots. Only SIGHUP retries a refused
/// key, after its account was fixed.
#[tokio::test]
async fn running_calls_and_paused_keys_survive_unrelated_changes() {
    let directory = TempDir::new().unwrap();
    let lab = Upstream::start().await.unwrap();
    let keys = "api_key = [\"sk-busy-secret\", \"sk-good-secret\", \"sk-third-secret\"]\nkey_strategy = \"order\"\nkey_concurrency = 2\n";
    let upstream = format!(
        "[[upstream]]\nname = \"lab\"\nmodels = [\"m\"]\nbase_url = \"{}\"\n{keys}",
        lab.base_url()
    );
    let put = |text: &str| fs::write(directory.path().join("weir.toml"), text).unwrap();
    put(&upstream);
    let server = Service::start(weir(directory.path())).await;
    let gate = Arc::new(Notify::new());
    lab.script_for_key(
        "sk-busy-secret",
        Script::refused_for(429, VendorError::RateLimit, Duration::from_secs(60)),
    );
    let held = Script::new().role().content("Once").wait_for(&gate).finish("stop").done().end();
    lab.script_for_key("sk-good-secret", held.clone());
    lab.script_for_key("sk-good-secret", held);
    let mut running = Vec::new();
    for count in [2, 3] {
        running.push(server.send(&question()).await.events().unwrap());
        in_time(lab.wait_requests(count)).await;
    }

    put(&format!(
        "{upstream}[[upstream]]\nname = \"other\"\nmodels = [\"x\"]\nbase_url = \"http://127.0.0.1:1/v1\"\n"
    ));
    server.logged(AGAIN, 1).await;
    // One is paused and one is at its limit: the third is next.
    in_time(server.send(&question()).await.events().unwrap().collect()).await.unwrap();
    let keys: Vec<_> = lab.requests().into_iter().map(|request| request.key.unwrap()).collect();
    assert_eq!(keys, ["sk-busy-secret", "sk-good-secret", "sk-good-secret", "sk-third-secret"]);
    let (_, list) = server.json(&Request::get("/v1/upstreams")).await;
    assert_eq!(
        (&list["data"][0]["keys"][0]["state"], &list["data"][0]["running"]),
        (&json!("cooling"), &json!(2)),
        "{list}"
    );
    assert_eq!(list["data"][1]["id"], "other");
    for mut stream in running {
        gate.notify_one();
        in_time(stream.collect()).await.unwrap();
    }
}

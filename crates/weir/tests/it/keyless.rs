//! Without keys a server serves this machine only: it does not start for others, rejects requests passed on by a
//! proxy, and rejects pages of other ports of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use client::{Connection, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{RunningServer, run_in, weir};
use crate::service::{self, Service};
use crate::test_server::{ALICE, MODEL, TestServer, TestServerPlan};

/// Requests that callers of a server without keys can make, all as administrator.
fn requests() -> Vec<Request> {
    vec![
        Request::get("/v1/models"),
        Request::get("/v1/upstreams"),
        Request::get("/metrics"),
        Request::get("/v1/lens/connections"),
        Request::get("/chat?message=hi"),
        Request::get("/createSse").header("uid", "u1"),
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })),
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "hi", "stream": true })),
        Request::post(
            "/v1/chat/completions",
            &json!({ "model": MODEL, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
        Request::post("/v1/embeddings", &json!({ "model": MODEL, "input": "hi" })),
        Request::post("/v1/tickets", &json!({ "cookie": true })),
    ]
}

#[tokio::test]
async fn requests_passed_on_by_a_proxy_require_a_key() {
    let test_server = TestServer::open().await;
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "chat.example"),
        ("x-forwarded-proto", "https"),
        ("X-Forwarded-Anything", ""),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("cf-connecting-ip", "203.0.113.9"),
    ] {
        for request in requests() {
            let what = format!("{} {} {name}: {value}", request.method, request.path);
            let (status, body) = test_server.json(&request.header(name, value)).await;
            assert_eq!(
                (status, &body["error"]["code"]),
                (403, &json!("key_required")),
                "{what}: {body}"
            );
            assert_eq!(body["error"]["param"], json!(name.to_ascii_lowercase()), "{what}");
            assert!(
                body["error"]["message"].as_str().unwrap().contains("weir key create"),
                "{what}: {body}"
            );
        }
        for path in ["/v1/responses", "/websocket/u1"] {
            let connection = Connection::open(test_server.address).await.unwrap();
            let shaken =
                client::websocket::shake_hands(connection, path, &[(name, value)]).await.unwrap();
            let client::websocket::Handshake::Refused(refused) = shaken else {
                panic!("{path} was opened")
            };
            assert_eq!(refused.status, 403, "{path} {name}");
        }
    }
    assert!(test_server.upstream.requests().is_empty());
    // Requests without signs of a proxy pass, as do pages and probes that never need a key.
    assert_eq!(
        test_server.send(&Request::get("/v1/models").header("via", "1.1 proxy")).await.status,
        200
    );
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(
            test_server
                .send(&Request::get(path).header("x-forwarded-for", "203.0.113.9"))
                .await
                .status,
            200,
            "{path}"
        );
    }
    test_server.keys.add(
        ALICE,
        engine::keys::Caller { owner: protocol::id::Owner::new("alice"), admin: false },
    );
    let keyed = Request::get("/v1/models").header("x-forwarded-for", "203.0.113.9").bearer(ALICE);
    assert_eq!(test_server.send(&keyed).await.status, 200, "with a key it does not matter");
    test_server.quiet().await;
    test_server.close().await;
}

/// An image on a page of another port started a capture: `Sec-Fetch-Site` of such a page is `same-site`.
#[tokio::test]
async fn pages_of_other_ports_are_rejected() {
    for with_keys in [false, true] {
        let test_server =
            TestServer::open_with(TestServerPlan { with_keys, ..TestServerPlan::default() }).await;
        for path in [
            "/v1/lens/connections",
            "/v1/models",
            "/v1/upstreams",
            "/v1/responses/resp_1?stream=true",
            "/chat?message=hi",
        ] {
            for site in ["same-site", "cross-site"] {
                let (status, body) = test_server
                    .json(&Request::get(path).header("sec-fetch-site", site).bearer(ALICE))
                    .await;
                assert_eq!(
                    (status, &body["error"]["code"]),
                    (403, &json!("origin_not_allowed")),
                    "{site}: {path}"
                );
            }
        }
        for site in ["same-origin", "none"] {
            assert_eq!(
                test_server
                    .send(&Request::get("/v1/models").header("sec-fetch-site", site).bearer(ALICE))
                    .await
                    .status,
                200
            );
        }
        assert!(test_server.upstream.requests().is_empty());
        test_server.close().await;
    }
}

#[tokio::test]
async fn settings_that_open_the_server_require_a_key() {
    let directory = TempDir::new().unwrap();
    let settings = [
        ("server.hosts", "hosts = [\"chat.example\"]"),
        ("server.trusted_proxies", "trusted_proxies = [\"127.0.0.1\"]"),
        ("server.proxy_protocol", "proxy_protocol = \"on\"\nconnections = 100"),
    ];
    let file = directory.path().join("weir.toml");
    for (name, line) in settings {
        fs::write(&file, format!("[server]\n{line}\n")).unwrap();
        let (status, out, errors) = run_in(&directory, &["--listen", "127.0.0.1:0"]).await;
        assert!(!status.success() && out.is_empty(), "{name}: {out}");
        assert!(errors.contains(name) && errors.contains("weir key create"), "{name}: {errors}");
    }
    // A reload does not apply them either.
    fs::write(&file, "[server]\nheartbeat = \"20s\"\n").unwrap();
    let server = Service::start(service::weir(directory.path())).await;
    for (name, line) in settings {
        fs::write(&file, format!("[server]\nheartbeat = \"20s\"\n{line}\n")).unwrap();
        server.signal("HUP");
        let line = server.logged(&format!("{name} makes this server reachable"), 1).await;
        assert_eq!(line["level"], "ERROR", "{line}");
    }
    let (status, body) =
        server.json(&Request::get("/v1/models").header("host", "chat.example")).await;
    assert_eq!((status, &body["error"]["code"]), (421, &json!("misdirected_request")));
    let key = create_key(&directory).await;
    fs::write(&file, "[server]\nhosts = [\"chat.example\"]\n").unwrap();
    server.signal("HUP");
    server.logged("reloaded the settings", 1).await;
    assert_eq!(
        server
            .json(&Request::get("/v1/models").header("host", "chat.example").bearer(&key))
            .await
            .0,
        200
    );
    drop(server);
    let server = RunningServer::start(weir(directory.path())).await;
    assert_eq!(
        server
            .json(&Request::get("/v1/models").header("host", "chat.example").bearer(&key))
            .await
            .0,
        200
    );
}

async fn create_key(directory: &TempDir) -> String {
    let (status, key, hints) = run_in(directory, &["key", "create", "--admin"]).await;
    assert!(status.success(), "{hints}");
    key.trim_end().to_owned()
}

#[tokio::test]
async fn losing_the_keys_prevents_the_next_start_too() {
    let directory = TempDir::new().unwrap();
    let key = create_key(&directory).await;
    let keys = directory.path().join("data/keys.json");
    let saved = fs::read(&keys).unwrap();
    let mut server = RunningServer::start(weir(directory.path())).await;
    fs::remove_file(&keys).unwrap();
    assert_eq!(server.json(&Request::get("/v1/models")).await.0, 401, "while it runs");
    assert_eq!(server.json(&Request::get("/v1/models").bearer(&key)).await.0, 401, "while it runs");
    server.terminate();
    server.ended().await;
    let (status, out, errors) = run_in(&directory, &["--listen", "127.0.0.1:0"]).await;
    assert!(!status.success() && out.is_empty(), "{out}");
    assert!(
        ["keys.json", "weir key create", "backup"].iter().all(|word| errors.contains(word)),
        "{errors}"
    );
    let (_, list, hints) = run_in(&directory, &["key", "list"]).await;
    assert!(
        list.is_empty()
            && hints.contains("every request is refused")
            && hints.contains("keys.json"),
        "{hints}"
    );
    fs::write(&keys, saved).unwrap();
    let server = RunningServer::start(weir(directory.path())).await;
    assert_eq!(server.json(&Request::get("/v1/models").bearer(&key)).await.0, 200);
}

#[tokio::test]
async fn a_backup_contains_the_keys_and_its_restore_requires_them() {
    let directory = TempDir::new().unwrap();
    let key = create_key(&directory).await;
    let mut server = RunningServer::start(weir(directory.path())).await;
    let copy = directory.path().join("copy.db");
    let (status, _, hints) = run_in(&directory, &["store", "backup", copy.to_str().unwrap()]).await;
    assert!(status.success() && hints.contains("keys"), "{hints}");
    server.terminate();
    server.ended().await;

    let elsewhere = TempDir::new().unwrap();
    let data = elsewhere.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(&copy, data.join("weir.db")).unwrap();
    let server = RunningServer::start(weir(elsewhere.path())).await;
    let (status, body): (u16, Value) = server.json(&Request::get("/v1/upstreams")).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("missing_api_key")));
    assert_eq!(server.json(&Request::get("/v1/upstreams").bearer(&key)).await.0, 200);
    assert_eq!(fs::metadata(data.join("keys.json")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// In a directory that others can write, a planted `keys.json` would make them administrators.
#[tokio::test]
async fn a_data_directory_writable_by_others_is_rejected() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
        let (status, out, errors) = run_in(&directory, &["--listen", "127.0.0.1:0"]).await;
        assert!(
            !status.success() && out.is_empty() && errors.contains("chmod go-w"),
            "{mode:o}: {errors}"
        );
        let (status, out, errors) = run_in(&directory, &["key", "create"]).await;
        assert!(
            !status.success() && out.is_empty() && errors.contains("chmod go-w"),
            "{mode:o}: {errors}"
        );
    }
    fs::remove_dir_all(&data).unwrap();
    let server = RunningServer::start(weir(directory.path())).await;
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700, "made by Weir");
    drop(server);
}

//! Packets of connections: exact, captured only if permitted, and visible only to the connection's owner.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Connection, Request, Response, websocket};
use engine::memory::keys::MemoryKeys;
use engine::tasks::Tasks;
use fakes::Script;
use serde_json::{Value, json};
use server::{App, AppParts, CaptureMode, Drain, LensConfig, LiveServer, PortCapture};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PIECES, count, of, raw};
use crate::test_server::{ADMIN, ALICE, BOB, MODEL, TestServer, TestServerPlan};

pub(super) const LIST: &str = "/v1/lens/connections";

pub(super) fn ladder(id: u64) -> String {
    format!("{LIST}/{id}/ladder.svg")
}

/// Whether this process has CAP_NET_RAW, bit 13 (capabilities(7)), from `/proc/self/status`.
fn has_net_raw() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.is_some_and(|set| u64::from_str_radix(set.trim(), 16).unwrap() & (1 << 13) != 0)
}

/// The first request, which starts a capture. Returns whether it started; only a missing permission is tolerated.
pub(super) async fn is_captured(test_server: &TestServer, key: Option<&str>) -> bool {
    let request = Request::get(LIST);
    let (status, list) = test_server
        .json(&key.map_or_else(|| request.clone(), |key| request.clone().bearer(key)))
        .await;
    assert_eq!(status, 200, "{list}");
    let (state, reason) =
        (list["capture"]["state"].as_str().unwrap(), list["capture"]["reason"].as_str().unwrap());
    assert!(
        ["on", "not_permitted", "not_supported"].contains(&state) && !reason.is_empty(),
        "{list}"
    );
    assert_eq!(state == "on", has_net_raw(), "{list}");
    state == "on"
}

/// The connection from this port, once its packets are complete.
async fn ended(test_server: &TestServer, port: u16) -> Value {
    let ended = async {
        loop {
            let seen = of(test_server, port).await;
            if seen["packets"]["ending"]["state"] == "closed" {
                return seen;
            }
        }
    };
    client::soon(ended).await.unwrap()
}

async fn text(mut response: Response) -> String {
    String::from_utf8(response.collect().await.unwrap().0).unwrap()
}

#[tokio::test]
async fn packets_show_how_a_connection_started_what_it_carried_and_how_it_ended() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.classic.model = Some(MODEL.into());
    }))
    .await;
    if !is_captured(&test_server, None).await {
        return test_server.close().await;
    }
    test_server.upstream.script(Script::text(&PIECES));
    let request = "GET /chat?message=a-secret-question HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (answer, port) = raw(&test_server, request).await;
    test_server.wait_connections(1).await;
    let seen = ended(&test_server, port).await;
    let packets = &seen["packets"];
    assert!(count(&packets["listed"]) >= 8 && packets["listed"] == packets["total"], "{packets}");
    let [syn, syn_ack, ack] = ["syn", "syn_ack", "ack"].map(|step| &packets["handshake"][step]);
    assert_eq!(
        (&syn["relative_sequence"], &syn["acknowledgment"]),
        (&json!(0), &Value::Null),
        "{packets}"
    );
    assert_eq!(
        count(&syn_ack["acknowledgment"]),
        (count(&syn["sequence"]) + 1) & 0xFFFF_FFFF,
        "{packets}"
    );
    assert_eq!(
        (&ack["relative_sequence"], &ack["relative_acknowledgment"], &ack["from"]),
        (&json!(1), &json!(1), &json!("client"))
    );
    assert!(packets["handshake"]["round_trip_ms"].as_f64().unwrap() > 0.0, "{packets}");
    let (client, server) = (&packets["client"], &packets["server"]);
    assert_eq!(
        (count(&client["payload_bytes"]), count(&server["payload_bytes"])),
        (request.len(), answer.len()),
        "{packets}"
    );
    assert_eq!(
        (&client["syn"], &client["fin"], &server["fin"], &server["rst"]),
        (&json!(1), &json!(1), &json!(1), &json!(0)),
        "{packets}"
    );
    assert_eq!(
        (&packets["ending"]["by"], &packets["ending"]["time_wait"]),
        (&json!("server"), &json!(["server"])),
        "{packets}"
    );

    let id = seen["id"].as_u64().unwrap();
    for (language, word) in [("en", "client"), ("zh", "客户端")] {
        let response = test_server
            .send(&Request::get(&format!("{}?language={language}&width=400", ladder(id))))
            .await;
        assert_eq!(
            (response.status, response.headers.get("content-type")),
            (200, Some("image/svg+xml"))
        );
        let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        assert_eq!(response.headers.get("content-security-policy"), Some(policy));
        let picture = text(response).await;
        assert!(
            picture.contains("SYN") && picture.contains("FIN") && picture.contains(word),
            "{picture}"
        );
        assert!(
            picture.contains("GET /chat?… HTTP/1.1") && !picture.contains("secret"),
            "no question is in it: {picture}"
        );
        assert!(
            PIECES.iter().all(|piece| *piece == ", " || !picture.contains(piece)),
            "nor an answer: {picture}"
        );
    }
    for (query, param) in
        [("language=fr", "language"), ("width=10", "width"), ("width=99999", "width")]
    {
        let (status, fault) = test_server.get(&format!("{}?{query}", ladder(id))).await;
        assert_eq!((status, &fault["error"]["param"]), (400, &json!(param)), "{fault}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn connections_from_before_the_capture_are_drawn_without_guessing_contents() {
    let test_server = TestServer::open().await;
    let mut stream = TcpStream::connect(test_server.address).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    // The bytes after the first request are a body that looks like a request.
    let body = b"GET /secret HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    client::soon(async { while of(&test_server, port).await["requests"] != 1 {} }).await.unwrap();
    if is_captured(&test_server, None).await {
        stream.write_all(body).await.unwrap();
        let mut answer = [0; 4096];
        assert!(client::soon(stream.read(&mut answer)).await.unwrap().unwrap() > 0);
        let drawn = async { while of(&test_server, port).await["packets"].is_null() {} };
        client::soon(drawn).await.unwrap();
        let seen = of(&test_server, port).await;
        assert_eq!(seen["packets"]["handshake"], Value::Null, "{seen}");
        let picture =
            text(test_server.send(&Request::get(&ladder(seen["id"].as_u64().unwrap()))).await)
                .await;
        assert!(!picture.contains("secret"), "{picture}");
    }
    drop(stream);
    test_server.close().await;
}

#[tokio::test]
async fn nothing_is_captured_when_disabled() {
    let lens = LensConfig { capture: CaptureMode::Off, ..LensConfig::default() };
    let test_server =
        TestServer::open_with(TestServerPlan::server(|server| server.lens = lens)).await;
    let (_, list) = test_server.get(LIST).await;
    assert_eq!(list["capture"]["state"], "off", "{list}");
    assert!(list["capture"]["reason"].as_str().unwrap().contains("lens.capture"), "{list}");
    assert_eq!(list["data"][0]["packets"], Value::Null);
    let (status, fault) = test_server.get(&ladder(list["data"][0]["id"].as_u64().unwrap())).await;
    assert_eq!((status, &fault["error"]["code"]), (404, &json!("not_captured")), "{fault}");
    assert!(fault["error"]["message"].as_str().unwrap().contains("lens.capture"), "{fault}");
    let (status, fault) = test_server.get(&ladder(4711)).await;
    assert_eq!((status, &fault["error"]["code"]), (404, &json!("connection_not_found")), "{fault}");
    let (status, fault) = test_server.get(&format!("{LIST}/none/ladder.svg")).await;
    assert_eq!((status, &fault["error"]["code"]), (404, &json!("connection_not_found")), "{fault}");
    test_server.close().await;
}

/// A second listener of the server, whose process may not capture.
async fn get_at_a_door_without_permission(
    test_server: &TestServer,
    paths: &[&str],
) -> Vec<(u16, Value)> {
    let mut config = server::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..server::Config::default()
    };
    let listener = server::bind(config.listen).unwrap();
    config.listen = listener.local_addr().unwrap();
    let (address, tasks, drain) = (config.listen, Tasks::new(), Drain::default());
    let app = App::new(AppParts {
        engine: test_server.engine.clone(),
        keys: Arc::new(MemoryKeys::default()),
        config: Arc::new(config),
        connections: Arc::default(),
        is_encrypted: false,
        classic: Arc::default(),
        grants: Arc::default(),
        tickets: Arc::default(),
        capture: Arc::new(PortCapture::refused()),
        metrics: Arc::default(),
        tasks: tasks.clone(),
        drain: drain.clone(),
        rates: Arc::default(),
        sources: Arc::default(),
    });
    let serving = tokio::spawn(server::serve(listener, LiveServer::new(app), None));
    let mut answers = Vec::new();
    for path in paths {
        let mut response = client::send(address, &Request::get(path)).await.unwrap();
        answers.push((
            response.status,
            serde_json::from_slice(&response.collect().await.unwrap().0).unwrap(),
        ));
    }
    drain.drain(Duration::ZERO);
    client::soon(serving).await.unwrap().unwrap();
    assert_eq!(tasks.shutdown(Duration::from_secs(2)).await, 0, "tasks were left behind");
    answers
}

#[tokio::test]
async fn without_permission_to_capture_bytes_are_counted_and_the_reason_reported() {
    let test_server = TestServer::open().await;
    let answers =
        get_at_a_door_without_permission(&test_server, &["/healthz", LIST, &ladder(0)]).await;
    let (status, list) = &answers[1];
    assert_eq!((*status, &list["capture"]["state"]), (200, &json!("not_permitted")), "{list}");
    assert!(list["capture"]["reason"].as_str().unwrap().contains("CAP_NET_RAW"), "{list}");
    let first = &list["data"][1];
    assert_eq!(
        (&first["packets"], &first["sampled"], &first["last_requests"][0]["path"]),
        (&Value::Null, &json!(true), &json!("/healthz"))
    );
    let (status, fault) = &answers[2];
    assert_eq!((*status, &fault["error"]["code"]), (404, &json!("not_captured")), "{fault}");
    assert!(fault["error"]["message"].as_str().unwrap().contains("CAP_NET_RAW"), "{fault}");
    test_server.close().await;
}

#[tokio::test]
async fn packets_from_before_the_first_request_are_not_shown() {
    let test_server = TestServer::open().await;
    let (_, port) =
        raw(&test_server, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await;
    test_server.wait_connections(0).await;
    if is_captured(&test_server, None).await {
        let seen = of(&test_server, port).await;
        assert_eq!(seen["packets"], Value::Null, "{seen}");
        let (status, fault) = test_server.get(&ladder(seen["id"].as_u64().unwrap())).await;
        assert_eq!((status, &fault["error"]["code"]), (404, &json!("not_captured")), "{fault}");
    }
    test_server.close().await;
}

/// The only connection with a lane, as this caller sees it.
pub(super) async fn of_lane(test_server: &TestServer, key: &str, lane: &str) -> Value {
    let (status, list) =
        test_server.json(&Request::get(&format!("{LIST}?lane={lane}")).bearer(key)).await;
    assert_eq!((status, list["data"].as_array().unwrap().len()), (200, 1), "{list}");
    list["data"][0].clone()
}

#[tokio::test]
async fn a_diagram_is_visible_to_the_connections_owner_only() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let is_captured = is_captured(&test_server, Some(ADMIN)).await;
    let ask = |lane: &str| {
        Request::post(
            &format!("/v1/responses?lane={lane}"),
            &json!({ "model": MODEL, "input": "hi" }),
        )
    };
    // One of Alice's own, and one that a proxy uses for both.
    let own = Connection::open(test_server.address)
        .await
        .unwrap()
        .send(&ask("own").bearer(ALICE))
        .await
        .unwrap();
    let mut shared = Connection::open(test_server.address).await.unwrap();
    for key in [ALICE, BOB] {
        let mut response = shared.send(&ask("shared").bearer(key)).await.unwrap();
        assert_eq!(response.status, 200);
        response.collect().await.unwrap();
        shared = response.into_connection().await.unwrap();
    }
    let id = |seen: &Value| seen["id"].as_u64().unwrap();
    let (hers, both) =
        (of_lane(&test_server, ALICE, "own").await, of_lane(&test_server, ALICE, "shared").await);
    assert_eq!((&hers["shared"], &both["shared"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&both["packets"], both["last_requests"].as_array().unwrap().len()),
        (&Value::Null, 1),
        "{both}"
    );
    assert_eq!(
        of_lane(&test_server, ADMIN, "shared").await["last_requests"].as_array().unwrap().len(),
        2
    );

    let status = async |key: &str, id: u64| {
        let mut response = test_server.send(&Request::get(&ladder(id)).bearer(key)).await;
        let body = response.collect().await.unwrap().0;
        let fault: Option<Value> = serde_json::from_slice(&body).ok();
        (
            response.status,
            fault
                .map_or(String::new(), |fault| fault["error"]["code"].as_str().unwrap().to_owned()),
        )
    };
    let picture = if is_captured { (200, String::new()) } else { (404, "not_captured".to_owned()) };
    let refusal = |code: &str| (404, code.to_owned());
    assert_eq!(status(ALICE, id(&hers)).await, picture);
    assert_eq!(status(ADMIN, id(&hers)).await, picture);
    assert_eq!(status(BOB, id(&hers)).await, refusal("connection_not_found"));
    assert_eq!(status(ALICE, id(&both)).await, refusal("connection_shared"));
    assert_eq!(status(BOB, id(&both)).await, refusal("connection_shared"));
    assert_eq!(status(ADMIN, id(&both)).await, picture);
    let stranger = test_server.send(&Request::get(&ladder(id(&hers)))).await;
    assert_eq!(stranger.status, 401);
    // Another caller's lane name is not found.
    let (_, list) = test_server.json(&Request::get(&format!("{LIST}?lane=own")).bearer(BOB)).await;
    assert_eq!(list["data"], json!([]));
    drop((own, shared));
    test_server.close().await;
}

#[tokio::test]
async fn a_socket_is_found_by_its_lane_and_a_request_is_no_lane() {
    let test_server = TestServer::open().await;
    let socket = websocket::connect(test_server.address, "/v1/responses?lane=a-socket", &[])
        .await
        .unwrap()
        .socket;
    raw(
        &test_server,
        "GET /chat?message=hi&lane=mine HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await;
    let (_, list) = test_server.get(&format!("{LIST}?lane=a-socket")).await;
    assert_eq!(
        (&list["data"][0]["last_requests"][0]["status"], &list["data"][1]),
        (&json!(101), &Value::Null),
        "{list}"
    );
    assert_eq!(
        list["data"][0]["last_requests"][0]["ended_ms"],
        Value::Null,
        "it lasts as long as the socket: {list}"
    );
    let (_, list) = test_server.get(&format!("{LIST}?lane=mine")).await;
    assert_eq!(list["data"], json!([]));
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn a_page_can_have_its_connection_closed() {
    let test_server = TestServer::open().await;
    for (path, is_closed) in
        [("/v1/models?close=true", true), ("/v1/models", false), ("/healthz?close=true", false)]
    {
        let mut stream = TcpStream::connect(test_server.address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = vec![0; 64 << 10];
        let count = client::soon(stream.read(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert_eq!(answer.contains("connection: close"), is_closed, "{path}: {answer}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn unsampled_connections_have_totals_only() {
    for (sampling, expected) in [(0.0, [false, false]), (0.5, [false, true]), (1.0, [true, true])] {
        let lens = LensConfig { sampling, ..LensConfig::default() };
        let test_server =
            TestServer::open_with(TestServerPlan::server(|server| server.lens = lens)).await;
        for is_sampled in expected {
            let (answer, port) = raw(
                &test_server,
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )
            .await;
            test_server.wait_connections(0).await;
            let (_, list) = test_server.get(LIST).await;
            let seen = list["data"]
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["peer"].as_str().unwrap().ends_with(&format!(":{port}")));
            let seen = seen.unwrap();
            assert_eq!(
                (&seen["sampled"], count(&seen["sent"]["total"])),
                (&json!(is_sampled), answer.len()),
                "{sampling}: {seen}"
            );
            let parts = [
                &seen["sent"]["tls"],
                &seen["received"]["head"],
                &seen["said"],
                &seen["reads"],
                &seen["first_byte_sent_ms"],
            ];
            assert!(parts.iter().all(|part| part.is_null() != is_sampled), "{sampling}: {seen}");
            assert_eq!(
                (&seen["requests"], &seen["last_requests"][0]["status"]),
                (&json!(1), &json!(200))
            );
            // With this request and one more, every second connection of the test is an odd one.
            test_server.get("/healthz").await;
            test_server.wait_connections(0).await;
        }
        test_server.close().await;
    }
}

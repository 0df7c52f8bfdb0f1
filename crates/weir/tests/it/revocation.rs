//! A revoked key ends everything it opened within two seconds: sockets of both kinds, streams in every dialect,
//! waiting requests, and background responses. So do the first key, for what was open without one, and the age of a
//! socket.

use std::time::{Duration, Instant};

use client::websocket::{self, End, Handshake, Socket};
use client::{BodyEnd, Request, http2};
use engine::keys::Caller;
use fakes::Script;
use protocol::id::Owner;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{RunningServer, run_in, weir};
use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan};

/// The time limit, and an allowance for a busy machine.
const PROMPTLY: Duration = Duration::from_secs(2);

async fn keyed() -> TestServer {
    TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() }).await
}

/// A model that starts and then stalls.
fn endless() -> Script {
    Script::new().role().content("Once").stall()
}

async fn connect(test_server: &TestServer, path: &str, key: Option<&str>) -> Socket {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> =
        bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    websocket::connect(test_server.address, path, &headers).await.unwrap().socket
}

/// All messages of a socket until it is closed with 1008.
async fn turned_away(socket: &mut Socket) -> Vec<String> {
    let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1008), .. }), "{end:?}");
    messages
}

fn is_revoked(message: &str) -> bool {
    let event: Value = serde_json::from_str(message).unwrap();
    event["type"] == "error"
        && event["status"] == 401
        && event["error"]["code"] == "invalid_api_key"
}

fn revoke(test_server: &TestServer) -> Instant {
    test_server.keys.revoke(&Owner::new("alice"));
    Instant::now()
}

fn check_prompt(since: Instant) {
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
}

#[tokio::test]
async fn idle_sockets_of_both_kinds_are_closed() {
    let test_server = keyed().await;
    let mut responses = connect(&test_server, "/v1/responses", Some(ALICE)).await;
    let mut classic = connect(&test_server, "/websocket/u1", Some(ALICE)).await;
    let mut of_bob = connect(&test_server, "/v1/responses", Some(BOB)).await;
    let since = revoke(&test_server);
    assert!(is_revoked(turned_away(&mut responses).await.last().unwrap()));
    assert!(turned_away(&mut classic).await.last().unwrap().contains("invalid_api_key"));
    check_prompt(since);
    test_server.upstream.script(Script::text(&["hi"]));
    of_bob
        .send_text(&json!({ "type": "response.create", "model": MODEL, "input": "x" }).to_string())
        .await
        .unwrap();
    assert_eq!(crate::drain::event(&mut of_bob).await["type"], "response.created");
    drop(of_bob);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn sockets_with_running_responses_are_closed_and_these_cancelled() {
    let test_server = keyed().await;
    test_server.upstream.script(endless());
    test_server.upstream.script(endless());
    let mut responses = connect(&test_server, "/v1/responses", Some(ALICE)).await;
    let create = json!({ "type": "response.create", "model": MODEL, "input": "x", "stream_id": "a", "store": true });
    responses.send_text(&create.to_string()).await.unwrap();
    while crate::drain::event(&mut responses).await["type"] != "response.output_text.delta" {}
    let mut classic = connect(&test_server, "/websocket/u1", Some(ALICE)).await;
    classic.send_text("hello").await.unwrap();
    client::soon(test_server.upstream.wait_requests(2)).await.unwrap();
    let since = revoke(&test_server);
    let messages = turned_away(&mut responses).await;
    assert!(is_revoked(messages.last().unwrap()), "{messages:?}");
    let messages = turned_away(&mut classic).await;
    assert!(
        messages.last().unwrap().contains("invalid_api_key")
            && !messages.iter().any(|message| message == "[DONE]"),
        "{messages:?}"
    );
    test_server.quiet().await;
    check_prompt(since);
    client::soon(test_server.upstream.wait_open(0)).await.unwrap();
    test_server.close().await;
}

/// Immediately: starting something new checks the key.
#[tokio::test]
async fn nothing_new_starts_on_a_socket_with_a_revoked_key() {
    let test_server = keyed().await;
    let create = json!({ "type": "response.create", "model": MODEL, "input": "x" });
    for (path, message) in
        [("/v1/responses", create.to_string()), ("/websocket/u1", "hello".to_owned())]
    {
        let key = format!("wk_of{path}");
        test_server.keys.add(&key, Caller { owner: Owner::new("carol"), admin: false });
        let mut socket = connect(&test_server, path, Some(&key)).await;
        test_server.keys.revoke(&Owner::new("carol"));
        socket.send_text(&message).await.unwrap();
        assert!(
            turned_away(&mut socket).await.last().unwrap().contains("invalid_api_key"),
            "{path}"
        );
    }
    assert!(test_server.upstream.requests().is_empty());
    test_server.close().await;
}

#[tokio::test]
async fn streams_break_off_with_an_error_in_their_dialect() {
    let test_server = keyed().await;
    let ask = |path: &str, body: &Value| Request::post(path, body).bearer(ALICE);
    let question = json!({ "model": MODEL, "input": "x", "stream": true });
    let chat =
        json!({ "model": MODEL, "messages": [{ "role": "user", "content": "x" }], "stream": true });
    let requests = [
        ask("/v1/responses", &question),
        ask("/v1/responses", &question).header("accept", "application/x-ndjson"),
        ask("/v1/chat/completions", &chat),
        ask("/v1/completions", &json!({ "model": MODEL, "prompt": "x", "stream": true })),
        Request::get("/chat?message=hello").bearer(ALICE),
        Request::get("/createSse").header("uid", "u2").bearer(ALICE),
    ];
    let mut streams = Vec::new();
    for request in &requests {
        test_server.upstream.script(endless());
        streams.push(test_server.stream(request).await);
    }
    let since = revoke(&test_server);
    for (request, stream) in requests.iter().zip(&mut streams) {
        let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
        let what = format!("{} {events:?}", request.path);
        assert_ne!(end, BodyEnd::Clean, "{what}");
        let said = format!("{events:?}");
        assert!(said.contains("invalid_api_key") && !said.contains("[DONE]"), "{what}");
    }
    test_server.quiet().await;
    check_prompt(since);
    test_server.close().await;
}

#[tokio::test]
async fn an_http_2_connection_loses_the_revoked_streams_only() {
    let test_server = keyed().await;
    let client =
        http2::Client::over(tokio::net::TcpStream::connect(test_server.address).await.unwrap())
            .await
            .unwrap();
    let bearer = format!("Bearer {ALICE}");
    let mut socket = client.socket("/v1/responses", &[("authorization", &bearer)]).await.unwrap();
    test_server.upstream.script(endless());
    let ask =
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "x", "stream": true }))
            .bearer(ALICE);
    let mut body = client.send(&ask).await.unwrap().into_body();
    let since = revoke(&test_server);
    let mut said = String::new();
    let end = loop {
        match client::soon(http2::chunk(&mut body)).await.unwrap() {
            Some(Ok(bytes)) => said += &String::from_utf8_lossy(&bytes),
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(_))) && said.contains("invalid_api_key"), "{end:?} {said}");
    assert!(is_revoked(&client::soon(socket.next_text()).await.unwrap().unwrap()));
    let end = client::soon(socket.next_text()).await.unwrap();
    assert!(matches!(end, Err(http2::End::Closed(Some(1008)))), "{end:?}");
    check_prompt(since);
    let (models, bob) = (Request::get("/v1/models"), format!("Bearer {BOB}"));
    assert_eq!(
        client.send(&models.clone().header("authorization", &bearer)).await.unwrap().status(),
        401
    );
    assert_eq!(client.send(&models.header("authorization", &bob)).await.unwrap().status(), 200);
    drop((socket, client));
    test_server.quiet().await;
    test_server.close().await;
}

/// A reader that reads nothing blocks a write; it is not awaited as long as others. Two threads:
/// without optimisation the end of a response of this size takes one of them for about a second,
/// and what is timed here must not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_reads_nothing_is_cut_off() {
    let test_server = keyed().await;
    let connection = client::Connection::open_narrow(test_server.address, 4096).await.unwrap();
    let headers = [("authorization", &*format!("Bearer {ALICE}"))];
    let Handshake::Open(mut open) =
        websocket::shake_hands(connection, "/v1/responses", &headers).await.unwrap()
    else {
        panic!("refused")
    };
    // More than all buffers hold.
    let long = "word ".repeat(1 << 18);
    test_server
        .upstream
        .script((0..5).fold(Script::new().role(), |script, _| script.content(&long)).stall());
    let create = json!({ "type": "response.create", "model": MODEL, "input": "x", "store": false });
    open.socket.send_text(&create.to_string()).await.unwrap();
    let all = async {
        while test_server.engine.census().log_bytes < 5 * long.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    client::soon(all).await.unwrap();
    let since = revoke(&test_server);
    test_server.wait_connections(0).await;
    // This client reads nothing, so no close frame reaches it: the connection is cut off.
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    test_server.quiet().await;
    drop(open);
    test_server.close().await;
}

#[tokio::test]
async fn a_caller_that_waits_for_an_answer_is_refused() {
    let test_server = keyed().await;
    let background = json!({ "model": MODEL, "input": "x", "background": true });
    test_server.upstream.script(endless());
    let id =
        test_server.json(&Request::post("/v1/responses", &background).bearer(ALICE)).await.1["id"]
            .as_str()
            .unwrap()
            .to_owned();
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    let position = "starting_after=100000";
    test_server.upstream.script(endless());
    test_server.upstream.script(endless());
    let requests = [
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "x" })).bearer(ALICE),
        Request::post(
            "/v1/chat/completions",
            &json!({ "model": MODEL, "messages": [{ "role": "user", "content": "x" }] }),
        )
        .bearer(ALICE),
    ];
    let waiting = requests.iter().map(|request| test_server.json(request));
    let revoked = async {
        client::soon(test_server.upstream.wait_requests(3)).await.unwrap();
        revoke(&test_server)
    };
    let (answers, since) = tokio::join!(futures_util::future::join_all(waiting), revoked);
    for (status, body) in answers {
        assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")), "{body}");
    }
    check_prompt(since);
    let poll = Request::get(&format!("/v1/responses/{id}/events?wait=1&{position}")).bearer(ALICE);
    assert_eq!(test_server.json(&poll).await.0, 401);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn background_responses_are_cancelled_with_a_reason() {
    let test_server = keyed().await;
    let background = json!({ "model": MODEL, "input": "x", "background": true });
    let start = async |key: &str| {
        test_server.upstream.script(endless());
        let (status, body) =
            test_server.json(&Request::post("/v1/responses", &background).bearer(key)).await;
        assert_eq!(status, 200, "{body}");
        body["id"].as_str().unwrap().to_owned()
    };
    let (hers, his) = (start(ALICE).await, start(BOB).await);
    client::soon(test_server.upstream.wait_requests(2)).await.unwrap();
    let since = revoke(&test_server);
    client::soon(async {
        while test_server.engine.census().running > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    check_prompt(since);
    // With another key of that owner, which only this test can make, it is found as it ended.
    test_server.keys.add(ALICE, Caller { owner: Owner::new("alice"), admin: false });
    let ended =
        test_server.json(&Request::get(&format!("/v1/responses/{hers}")).bearer(ALICE)).await.1;
    assert_eq!(
        (&ended["status"], &ended["incomplete_details"]["reason"]),
        (&json!("cancelled"), &json!("key_revoked")),
        "{ended}"
    );
    let runs = test_server.json(&Request::get(&format!("/v1/responses/{his}")).bearer(BOB)).await.1;
    assert_eq!(runs["status"], "in_progress");
    test_server
        .json(&Request::post(&format!("/v1/responses/{his}/cancel"), &json!({})).bearer(BOB))
        .await;
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn what_was_open_without_a_key_ends_with_the_first_key() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(endless());
    let mut stream = test_server
        .stream(&Request::post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": "x", "stream": true }),
        ))
        .await;
    let mut responses = connect(&test_server, "/v1/responses", None).await;
    let mut classic = connect(&test_server, "/websocket/u1", None).await;
    test_server.keys.add(ALICE, Caller { owner: Owner::new("alice"), admin: false });
    let since = Instant::now();
    assert!(is_revoked(turned_away(&mut responses).await.last().unwrap()));
    assert!(turned_away(&mut classic).await.last().unwrap().contains("invalid_api_key"));
    assert_ne!(client::soon(stream.collect()).await.unwrap().unwrap().1, BodyEnd::Clean);
    test_server.quiet().await;
    check_prompt(since);
    test_server.close().await;
}

/// The classic socket ignored `server.socket_age`.
#[tokio::test]
async fn sockets_of_both_kinds_have_a_maximum_age() {
    let test_server = TestServer::open_with(TestServerPlan::server(|server| {
        server.socket_age = Duration::from_millis(300);
    }))
    .await;
    for path in ["/v1/responses", "/websocket/u1"] {
        let mut socket = connect(&test_server, path, None).await;
        let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        assert!(
            messages.is_empty() && matches!(end, End::Closed { code: Some(1001), .. }),
            "{path}: {messages:?} {end:?}"
        );
    }
    // Running responses finish, and waiting ones are rejected with an error of the API.
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    test_server.upstream.script(
        Script::new().role().content("Once").wait_for(&gate).content(" more").finish("stop").done(),
    );
    let mut classic = connect(&test_server, "/websocket/u1", None).await;
    classic.send_text("hello").await.unwrap();
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    classic.send_text("and?").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.notify_one();
    let (messages, end) = client::soon(classic.collect()).await.unwrap().unwrap();
    let said = messages.concat();
    assert!(
        said.contains("Once") && said.contains(" more") && said.contains("connect again"),
        "{said}"
    );
    assert_eq!(messages.iter().filter(|message| *message == "[DONE]").count(), 2, "{said}");
    assert!(matches!(end, End::Closed { code: Some(1001), .. }), "{end:?}");
    assert_eq!(test_server.upstream.requests().len(), 1);
    test_server.quiet().await;
    test_server.close().await;
}

/// The same with the program, its key file and `weir key`.
#[tokio::test]
async fn the_command_line_ends_what_a_running_server_has_open() {
    let directory = TempDir::new().unwrap();
    let server = RunningServer::start(weir(directory.path())).await;
    let open = async |headers: &[(&str, &str)]| {
        let connect =
            async |path| websocket::connect(server.address, path, headers).await.unwrap().socket;
        (connect("/v1/responses").await, connect("/websocket/u1").await)
    };
    let (mut responses, mut classic) = open(&[]).await;
    let (_, key, hints) = run_in(&directory, &["key", "create"]).await;
    assert!(hints.contains("first key"), "{hints}");
    turned_away(&mut responses).await;
    turned_away(&mut classic).await;

    let bearer = format!("Bearer {}", key.trim_end());
    let (mut responses, mut classic) = open(&[("authorization", &bearer)]).await;
    let slow = Request::post(
        "/v1/responses",
        &json!({ "model": "demo", "input": "/slow 500", "stream": true }),
    )
    .bearer(key.trim_end());
    let mut stream = server.send(&slow).await.events().unwrap();
    let (_, list, _) = run_in(&directory, &["key", "list"]).await;
    let id = list
        .lines()
        .find_map(|line| line.split_whitespace().next().filter(|word| word.starts_with("key_")))
        .unwrap();
    let (status, _, hints) = run_in(&directory, &["key", "revoke", id]).await;
    assert!(status.success() && hints.contains("refuses every request"), "{hints}");
    let since = Instant::now();
    assert!(is_revoked(turned_away(&mut responses).await.last().unwrap()));
    turned_away(&mut classic).await;
    assert_ne!(client::soon(stream.collect()).await.unwrap().unwrap().1, BodyEnd::Clean);
    check_prompt(since);
    // As it reports: access needs another key.
    assert_eq!(server.json(&Request::get("/v1/models")).await.0, 401);
    let (_, list, hints) = run_in(&directory, &["key", "list"]).await;
    assert!(list.is_empty() && hints.contains("refuses every request"), "{hints}");
    let (_, key, _) = run_in(&directory, &["key", "create"]).await;
    assert_eq!(server.json(&Request::get("/v1/models").bearer(key.trim_end())).await.0, 200);
    drop(server);

    // A server started without keys serves this machine.
    let (_, list, _) = run_in(&directory, &["key", "list"]).await;
    let id = list
        .lines()
        .find_map(|line| line.split_whitespace().next().filter(|word| word.starts_with("key_")))
        .unwrap();
    run_in(&directory, &["key", "revoke", id]).await;
    let server = RunningServer::start(weir(directory.path())).await;
    assert_eq!(server.json(&Request::get("/v1/models")).await.0, 200);
}

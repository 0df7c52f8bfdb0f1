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

use crate::house::{ALICE, BOB, House, MODEL, Plan};
use crate::program::{Server, run_in, weir};

/// The time limit, and an allowance for a busy machine.
const PROMPTLY: Duration = Duration::from_secs(2);

async fn keyed() -> House {
    House::open_with(Plan { with_keys: true, ..Plan::default() }).await
}

/// A model that starts and then stalls.
fn endless() -> Script {
    Script::new().role().content("Once").stall()
}

async fn connect(house: &House, path: &str, key: Option<&str>) -> Socket {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    websocket::connect(house.address, path, &headers).await.unwrap().socket
}

/// All messages of a socket until it is closed with 1008.
async fn turned_away(socket: &mut Socket) -> Vec<String> {
    let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed { code: Some(1008), .. }), "{end:?}");
    messages
}

fn is_revoked(message: &str) -> bool {
    let event: Value = serde_json::from_str(message).unwrap();
    event["type"] == "error" && event["status"] == 401 && event["error"]["code"] == "invalid_api_key"
}

fn revoke(house: &House) -> Instant {
    house.keys.revoke(&Owner::new("alice"));
    Instant::now()
}

fn check_prompt(since: Instant) {
    assert!(since.elapsed() < PROMPTLY, "{:?}", since.elapsed());
}

#[tokio::test]
async fn idle_sockets_of_both_kinds_are_closed() {
    let house = keyed().await;
    let mut responses = connect(&house, "/v1/responses", Some(ALICE)).await;
    let mut classic = connect(&house, "/websocket/u1", Some(ALICE)).await;
    let mut of_bob = connect(&house, "/v1/responses", Some(BOB)).await;
    let since = revoke(&house);
    assert!(is_revoked(turned_away(&mut responses).await.last().unwrap()));
    assert!(turned_away(&mut classic).await.last().unwrap().contains("invalid_api_key"));
    check_prompt(since);
    house.upstream.script(Script::text(&["hi"]));
    of_bob.send_text(&json!({ "type": "response.create", "model": MODEL, "input": "x" }).to_string()).await.unwrap();
    assert_eq!(crate::drain::event(&mut of_bob).await["type"], "response.created");
    drop(of_bob);
    house.quiet().await;
    house.close().await;
}

#[tokio::test]
async fn sockets_with_running_responses_are_closed_and_these_cancelled() {
    let house = keyed().await;
    house.upstream.script(endless());
    house.upstream.script(endless());
    let mut responses = connect(&house, "/v1/responses", Some(ALICE)).await;
    let create = json!({ "type": "response.create", "model": MODEL, "input": "x", "stream_id": "a", "store": true });
    responses.send_text(&create.to_string()).await.unwrap();
    while crate::drain::event(&mut responses).await["type"] != "response.output_text.delta" {}
    let mut classic = connect(&house, "/websocket/u1", Some(ALICE)).await;
    classic.send_text("hello").await.unwrap();
    client::soon(house.upstream.wait_requests(2)).await.unwrap();
    let since = revoke(&house);
    let messages = turned_away(&mut responses).await;
    assert!(is_revoked(messages.last().unwrap()), "{messages:?}");
    let messages = turned_away(&mut classic).await;
    assert!(messages.last().unwrap().contains("invalid_api_key") && !messages.iter().any(|message| message == "[DONE]"), "{messages:?}");
    house.quiet().await;
    check_prompt(since);
    client::soon(house.upstream.wait_open(0)).await.unwrap();
    house.close().await;
}

/// Immediately: starting something new checks the key.
#[tokio::test]
async fn nothing_new_starts_on_a_socket_with_a_revoked_key() {
    let house = keyed().await;
    let create = json!({ "type": "response.create", "model": MODEL, "input": "x" });
    for (path, message) in [("/v1/responses", create.to_string()), ("/websocket/u1", "hello".to_owned())] {
        let key = format!("wk_of{path}");
        house.keys.add(&key, Caller { owner: Owner::new("carol"), admin: false });
        let mut socket = connect(&house, path, Some(&key)).await;
        house.keys.revoke(&Owner::new("carol"));
        socket.send_text(&message).await.unwrap();
        assert!(turned_away(&mut socket).await.last().unwrap().contains("invalid_api_key"), "{path}");
    }
    assert!(house.upstream.requests().is_empty());
    house.close().await;
}

#[tokio::test]
async fn streams_break_off_with_an_error_in_their_dialect() {
    let house = keyed().await;
    let ask = |path: &str, body: &Value| Request::post(path, body).bearer(ALICE);
    let question = json!({ "model": MODEL, "input": "x", "stream": true });
    let chat = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "x" }], "stream": true });
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
        house.upstream.script(endless());
        streams.push(house.stream(request).await);
    }
    let since = revoke(&house);
    for (request, stream) in requests.iter().zip(&mut streams) {
        let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
        let what = format!("{} {events:?}", request.path);
        assert_ne!(end, BodyEnd::Clean, "{what}");
        let said = format!("{events:?}");
        assert!(said.contains("invalid_api_key") && !said.contains("[DONE]"), "{what}");
    }
    house.quiet().await;
    check_prompt(since);
    house.close().await;
}

#[tokio::test]
async fn an_http_2_connection_loses_the_revoked_streams_only() {
    let house = keyed().await;
    let client = http2::Client::over(tokio::net::TcpStream::connect(house.address).await.unwrap()).await.unwrap();
    let bearer = format!("Bearer {ALICE}");
    let mut socket = client.socket("/v1/responses", &[("authorization", &bearer)]).await.unwrap();
    house.upstream.script(endless());
    let ask = Request::post("/v1/responses", &json!({ "model": MODEL, "input": "x", "stream": true })).bearer(ALICE);
    let mut body = client.send(&ask).await.unwrap().into_body();
    let since = revoke(&house);
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
    assert_eq!(client.send(&models.clone().header("authorization", &bearer)).await.unwrap().status(), 401);
    assert_eq!(client.send(&models.header("authorization", &bob)).await.unwrap().status(), 200);
    drop((socket, client));
    house.quiet().await;
    house.close().await;
}

/// A reader that reads nothing blocks a write; it is not awaited as long as others.
#[tokio::test]
async fn a_socket_that_reads_nothing_is_cut_off() {
    let house = keyed().await;
    let connection = client::Connection::open_narrow(house.address, 4096).await.unwrap();
    let headers = [("authorization", &*format!("Bearer {ALICE}"))];
    let Handshake::Open(mut open) = websocket::shake_hands(connection, "/v1/responses", &headers).await.unwrap() else { panic!("refused") };
    // More than all buffers hold.
    let long = "word ".repeat(1 << 18);
    house.upstream.script((0..5).fold(Script::new().role(), |script, _| script.content(&long)).stall());
    let create = json!({ "type": "response.create", "model": MODEL, "input": "x", "store": false });
    open.socket.send_text(&create.to_string()).await.unwrap();
    let all = async {
        while house.engine.census().log_bytes < 5 * long.len() as u64 {
            tokio::task::yield_now().await;
        }
    };
    client::soon(all).await.unwrap();
    let since = revoke(&house);
    house.wait_connections(0).await;
    // This client reads nothing, so no close frame reaches it: the connection is cut off.
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    house.quiet().await;
    drop(open);
    house.close().await;
}

#[tokio::test]
async fn a_caller_that_waits_for_an_answer_is_refused() {
    let house = keyed().await;
    let background = json!({ "model": MODEL, "input": "x", "background": true });
    house.upstream.script(endless());
    let id = house.json(&Request::post("/v1/responses", &background).bearer(ALICE)).await.1["id"].as_str().unwrap().to_owned();
    client::soon(house.upstream.wait_requests(1)).await.unwrap();
    let position = "starting_after=100000";
    house.upstream.script(endless());
    house.upstream.script(endless());
    let requests = [
        Request::post("/v1/responses", &json!({ "model": MODEL, "input": "x" })).bearer(ALICE),
        Request::post("/v1/chat/completions", &json!({ "model": MODEL, "messages": [{ "role": "user", "content": "x" }] })).bearer(ALICE),
    ];
    let waiting = requests.iter().map(|request| house.json(request));
    let revoked = async {
        client::soon(house.upstream.wait_requests(3)).await.unwrap();
        revoke(&house)
    };
    let (answers, since) = tokio::join!(futures_util::future::join_all(waiting), revoked);
    for (status, body) in answers {
        assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")), "{body}");
    }
    check_prompt(since);
    let poll = Request::get(&format!("/v1/responses/{id}/events?wait=1&{position}")).bearer(ALICE);
    assert_eq!(house.json(&poll).await.0, 401);
    house.quiet().await;
    house.close().await;
}

#[tokio::test]
async fn background_responses_are_cancelled_with_a_reason() {
    let house = keyed().await;
    let background = json!({ "model": MODEL, "input": "x", "background": true });
    let start = async |key: &str| {
        house.upstream.script(endless());
        let (status, body) = house.json(&Request::post("/v1/responses", &background).bearer(key)).await;
        assert_eq!(status, 200, "{body}");
        body["id"].as_str().unwrap().to_owned()
    };
    let (hers, his) = (start(ALICE).await, start(BOB).await);
    client::soon(house.upstream.wait_requests(2)).await.unwrap();
    let since = revoke(&house);
    client::soon(async {
        while house.engine.census().running > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    check_prompt(since);
    // With another key of that owner, which only this test can make, it is found as it ended.
    house.keys.add(ALICE, Caller { owner: Owner::new("alice"), admin: false });
    let ended = house.json(&Request::get(&format!("/v1/responses/{hers}")).bearer(ALICE)).await.1;
    assert_eq!((&ended["status"], &ended["incomplete_details"]["reason"]), (&json!("cancelled"), &json!("key_revoked")), "{ended}");
    let runs = house.json(&Request::get(&format!("/v1/responses/{his}")).bearer(BOB)).await.1;
    assert_eq!(runs["status"], "in_progress");
    house.json(&Request::post(&format!("/v1/responses/{his}/cancel"), &json!({})).bearer(BOB)).await;
    house.quiet().await;
    house.close().await;
}

#[tokio::test]
async fn what_was_open_without_a_key_ends_with_the_first_key() {
    let house = House::open().await;
    house.upstream.script(endless());
    let mut stream = house.stream(&Request::post("/v1/responses", &json!({ "model": MODEL, "input": "x", "stream": true }))).await;
    let mut responses = connect(&house, "/v1/responses", None).await;
    let mut classic = connect(&house, "/websocket/u1", None).await;
    house.keys.add(ALICE, Caller { owner: Owner::new("alice"), admin: false });
    let since = Instant::now();
    assert!(is_revoked(turned_away(&mut responses).await.last().unwrap()));
    assert!(turned_away(&mut classic).await.last().unwrap().contains("invalid_api_key"));
    assert_ne!(client::soon(stream.collect()).await.unwrap().unwrap().1, BodyEnd::Clean);
    house.quiet().await;
    check_prompt(since);
    house.close().await;
}

/// The classic socket ignored `server.socket_age`.
#[tokio::test]
async fn sockets_of_both_kinds_have_a_maximum_age() {
    let house = House::open_with(Plan::server(|server| server.socket_age = Duration::from_millis(300))).await;
    for path in ["/v1/responses", "/websocket/u1"] {
        let mut socket = connect(&house, path, None).await;
        let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        assert!(messages.is_empty() && matches!(end, End::Closed { code: Some(1001), .. }), "{path}: {messages:?} {end:?}");
    }
    // Running responses finish, and waiting ones are rejected with an error of the API.
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    house.upstream.script(Script::new().role().content("Once").wait_for(&gate).content(" more").finish("stop").done());
    let mut classic = connect(&house, "/websocket/u1", None).await;
    classic.send_text("hello").await.unwrap();
    client::soon(house.upstream.wait_requests(1)).await.unwrap();
    classic.send_text("and?").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    gate.notify_one();
    let (messages, end) = client::soon(classic.collect()).await.unwrap().unwrap();
    let said = messages.concat();
    assert!(said.contains("Once") && said.contains(" more") && said.contains("connect again"), "{said}");
    assert_eq!(messages.iter().filter(|message| *message == "[DONE]").count(), 2, "{said}");
    assert!(matches!(end, End::Closed { code: Some(1001), .. }), "{end:?}");
    assert_eq!(house.upstream.requests().len(), 1);
    house.quiet().await;
    house.close().await;
}

/// The same with the program, its key file and `weir key`.
#[tokio::test]
async fn the_command_line_ends_what_a_running_server_has_open() {
    let directory = TempDir::new().unwrap();
    let server = Server::start(weir(directory.path())).await;
    let open = async |headers: &[(&str, &str)]| {
        let connect = async |path| websocket::connect(server.address, path, headers).await.unwrap().socket;
        (connect("/v1/responses").await, connect("/websocket/u1").await)
    };
    let (mut responses, mut classic) = open(&[]).await;
    let (_, key, hints) = run_in(&directory, &["key", "create"]).await;
    assert!(hints.contains("first key"), "{hints}");
    turned_away(&mut responses).await;
    turned_away(&mut classic).await;

    let bearer = format!("Bearer {}", key.trim_end());
    let (mut responses, mut classic) = open(&[("authorization", &bearer)]).await;
    let slow = Request::post("/v1/responses", &json!({ "model": "demo", "input": "/slow 500", "stream": true })).bearer(key.trim_end());
    let mut stream = server.send(&slow).await.events().unwrap();
    let (_, list, _) = run_in(&directory, &["key", "list"]).await;
    let id = list.lines().find_map(|line| line.split_whitespace().next().filter(|word| word.starts_with("key_"))).unwrap();
    let (status, _, hints) = run_in(&directory, &["key", "revoke", id]).await;
    assert!(status.success() && hints.contains("lets nobody in"), "{hints}");
    let since = Instant::now();
    assert!(is_revoked(turned_away(&mut responses).await.last().unwrap()));
    turned_away(&mut classic).await;
    assert_ne!(client::soon(stream.collect()).await.unwrap().unwrap().1, BodyEnd::Clean);
    check_prompt(since);
    // As it reports: access needs another key.
    assert_eq!(server.json(&Request::get("/v1/models")).await.0, 401);
    let (_, list, hints) = run_in(&directory, &["key", "list"]).await;
    assert!(list.is_empty() && hints.contains("lets nobody in"), "{hints}");
    let (_, key, _) = run_in(&directory, &["key", "create"]).await;
    assert_eq!(server.json(&Request::get("/v1/models").bearer(key.trim_end())).await.0, 200);
    drop(server);

    // A server started without keys serves this machine.
    let (_, list, _) = run_in(&directory, &["key", "list"]).await;
    let id = list.lines().find_map(|line| line.split_whitespace().next().filter(|word| word.starts_with("key_"))).unwrap();
    run_in(&directory, &["key", "revoke", id]).await;
    let server = Server::start(weir(directory.path())).await;
    assert_eq!(server.json(&Request::get("/v1/models")).await.0, 200);
}

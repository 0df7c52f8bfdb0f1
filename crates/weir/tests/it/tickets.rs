//! Tickets open one WebSocket or one stream, once; sessions end what they opened; both have limits for each caller.

use client::websocket::{self, End, Handshake};
use client::{BodyEnd, Connection, Request, http2};
use serde_json::{Value, json};

use crate::test_server::{ADMIN, ALICE, BOB, TestServer, TestServerPlan};

async fn test_server() -> TestServer {
    TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() }).await
}

async fn ticket(test_server: &TestServer, request: Request) -> String {
    let (status, body) = test_server.json(&request).await;
    assert_eq!(status, 200, "{body}");
    body["ticket"].as_str().unwrap().to_owned()
}

fn of(key: &str, body: &Value) -> Request {
    Request::post("/v1/tickets", body).bearer(key)
}

/// The status of a handshake; 101 if it was opened.
async fn shake(test_server: &TestServer, path: &str) -> u16 {
    match websocket::shake_hands(Connection::open(test_server.address).await.unwrap(), path, &[])
        .await
        .unwrap()
    {
        Handshake::Open(mut open) => {
            open.socket.close(1000, "").await.unwrap();
            open.status
        }
        Handshake::Refused(refused) => refused.status,
    }
}

/// The status of a request with a ticket in its URL, read to its end.
async fn status(test_server: &TestServer, request: Request, ticket: &str) -> u16 {
    let sign = if request.path.contains('?') { '&' } else { '?' };
    let mut response = test_server
        .send(&Request { path: format!("{}{sign}ticket={ticket}", request.path), ..request })
        .await;
    response.collect().await.unwrap();
    response.status
}

/// Alice's completed response.
async fn answered(test_server: &TestServer) -> String {
    let ask = Request::post("/v1/responses", &json!({ "model": "demo", "input": "/echo hi" }))
        .bearer(ALICE);
    test_server.json(&ask).await.1["id"].as_str().unwrap().to_owned()
}

/// A ticket that a WebSocket had used worked for `POST` with a `Last-Event-ID`, any number of times, for an hour.
#[tokio::test]
async fn a_used_ticket_opens_nothing() {
    let test_server = test_server().await;
    let id = answered(&test_server).await;
    let events = format!("/v1/responses/{id}/events");
    let ask = || Request::post("/v1/responses", &json!({ "model": "demo", "input": "x" }));
    let used = ticket(&test_server, of(ALICE, &json!({}))).await;
    assert_eq!(shake(&test_server, &format!("/v1/responses?ticket={used}")).await, 101);
    for request in [
        ask(),
        ask().header("last-event-id", "0"),
        Request::get(&events),
        Request::get(&events).header("last-event-id", "0"),
    ] {
        assert_eq!(status(&test_server, request, &used).await, 401);
    }
    assert_eq!(shake(&test_server, &format!("/v1/responses?ticket={used}")).await, 401);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn an_unused_ticket_opens_streams_only() {
    let test_server = test_server().await;
    let id = answered(&test_server).await;
    let (response, events) = (format!("/v1/responses/{id}"), format!("/v1/responses/{id}/events"));
    let waiting = ticket(&test_server, of(ALICE, &json!({}))).await;
    let of_admin = ticket(&test_server, of(ADMIN, &json!({}))).await;
    for last in [false, true] {
        for (request, ticket) in [
            (
                Request::post(
                    "/v1/responses",
                    &json!({ "model": "demo", "input": "x", "stream": true }),
                ),
                &waiting,
            ),
            (
                Request::post(
                    "/v1/chat/completions",
                    &json!({ "model": "demo", "messages": [{ "role": "user", "content": "x" }] }),
                ),
                &waiting,
            ),
            (Request::post(&format!("{response}/cancel"), &json!({})), &waiting),
            (Request::new("DELETE", &response), &waiting),
            (Request::get(&response), &waiting),
            (Request::get(&format!("{events}?wait=1")), &waiting),
            (Request::new("HEAD", &events), &waiting),
            (Request::get("/v1/models"), &waiting),
            (Request::get("/v1/lens/connections"), &waiting),
            (Request::get("/closeSse").header("uid", "u1"), &waiting),
            (Request::post("/v1/tickets", &json!({ "cookie": true })), &waiting),
            (Request::get("/metrics"), &of_admin),
            (Request::get("/v1/upstreams"), &of_admin),
        ] {
            let what = format!("{} {}", request.method, request.path);
            let request = if last { request.header("last-event-id", "0") } else { request };
            assert_eq!(status(&test_server, request, ticket).await, 401, "{what}");
        }
    }
    assert_eq!(
        test_server.json(&Request::get(&response).bearer(ALICE)).await.0,
        200,
        "nothing was deleted"
    );
    // None of this has used it up. An EventSource reconnects with the same URL, and to nothing else.
    assert_eq!(status(&test_server, Request::get(&events), &waiting).await, 200);
    assert_eq!(status(&test_server, Request::get(&events), &waiting).await, 401, "once");
    assert_eq!(
        status(&test_server, Request::get(&events).header("last-event-id", "0"), &waiting).await,
        200
    );
    let other = format!("/v1/responses/{}/events", answered(&test_server).await);
    for request in [Request::get(&other), Request::get(&format!("{response}?stream=true"))] {
        assert_eq!(status(&test_server, request.header("last-event-id", "0"), &waiting).await, 401);
    }
    assert_eq!(shake(&test_server, &format!("/v1/responses?ticket={waiting}")).await, 401);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_ticket_opens_only_its_target() {
    let test_server = test_server().await;
    let id = answered(&test_server).await;
    let events = format!("/v1/responses/{id}/events");
    let bound = ticket(&test_server, of(ALICE, &json!({ "for": events }))).await;
    assert_eq!(shake(&test_server, &format!("/v1/responses?ticket={bound}")).await, 401);
    assert_eq!(shake(&test_server, &format!("/websocket/u1?ticket={bound}")).await, 401);
    assert_eq!(
        status(&test_server, Request::get(&format!("/v1/responses/{id}?stream=true")), &bound)
            .await,
        401
    );
    assert_eq!(status(&test_server, Request::get(&events), &bound).await, 200);
    for path in ["/v1/responses", "/websocket/u1"] {
        let bound = ticket(&test_server, of(ALICE, &json!({ "for": path }))).await;
        assert_eq!(status(&test_server, Request::get(&events), &bound).await, 401);
        assert_eq!(shake(&test_server, &format!("{path}?ticket={bound}")).await, 101);
    }
    for (wrong, code) in [
        (json!("/metrics"), "invalid_value"),
        (json!("/v1/responses?stream=true"), "invalid_value"),
        (json!(7), "invalid_type"),
    ] {
        let (status, body) = test_server.json(&of(ALICE, &json!({ "for": wrong }))).await;
        assert_eq!(
            (status, &body["error"]["code"], &body["error"]["param"]),
            (400, &json!(code), &json!("for")),
            "{wrong}"
        );
    }
    let (status, body) =
        test_server.json(&of(ALICE, &json!({ "for": events, "cookie": true }))).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("for")));
    // Another caller's response is not found with it.
    let of_bob = ticket(&test_server, of(BOB, &json!({ "for": events }))).await;
    assert_eq!(self::status(&test_server, Request::get(&events), &of_bob).await, 404);
    test_server.quiet().await;
    test_server.close().await;
}

/// Over HTTP/2 a WebSocket is a `CONNECT`, and a stream an ordinary request.
#[tokio::test]
async fn tickets_work_the_same_over_http_2() {
    let test_server = test_server().await;
    let id = answered(&test_server).await;
    let client =
        http2::Client::over(tokio::net::TcpStream::connect(test_server.address).await.unwrap())
            .await
            .unwrap();
    let of_socket = ticket(&test_server, of(ALICE, &json!({ "for": "/v1/responses" }))).await;
    let (refused, _) =
        client.extended_connect(&format!("/websocket/u1?ticket={of_socket}"), &[]).await.unwrap();
    assert_eq!(refused.status(), 401);
    for expected in [200, 401] {
        let (response, _) = client
            .extended_connect(&format!("/v1/responses?ticket={of_socket}"), &[])
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), expected);
    }
    let of_events = ticket(&test_server, of(ALICE, &json!({}))).await;
    let events = format!("/v1/responses/{id}/events?ticket={of_events}");
    let again = Request::get(&events).header("last-event-id", "0");
    let delete = Request::new("DELETE", &format!("/v1/responses/{id}?ticket={of_events}"));
    for (request, expected) in
        [(delete, 401), (Request::get(&events), 200), (Request::get(&events), 401), (again, 200)]
    {
        assert_eq!(
            client.send(&request).await.unwrap().status().as_u16(),
            expected,
            "{} {expected}",
            request.method
        );
    }
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

async fn session(test_server: &TestServer, key: &str) -> String {
    let response = test_server.send(&of(key, &json!({ "cookie": true }))).await;
    response.headers.get("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_ends_what_it_opened() {
    let test_server = test_server().await;
    let cookie = session(&test_server, ALICE).await;
    let make = || Request::post("/v1/tickets", &json!({})).header("cookie", &cookie);
    let (spent, waiting) = (ticket(&test_server, make()).await, ticket(&test_server, make()).await);
    let mut by_ticket =
        websocket::connect(test_server.address, &format!("/v1/responses?ticket={spent}"), &[])
            .await
            .unwrap()
            .socket;
    let mut by_cookie =
        websocket::connect(test_server.address, "/v1/responses", &[("cookie", &cookie)])
            .await
            .unwrap()
            .socket;
    let slow = json!({ "model": "demo", "input": "/slow 5000", "stream": true, "store": false });
    let slow = Request::post("/v1/responses", &slow).header("cookie", &cookie);
    let mut stream = test_server.stream(&slow).await;
    let mut of_key = websocket::connect(
        test_server.address,
        "/v1/responses",
        &[("authorization", &format!("Bearer {ALICE}"))],
    )
    .await
    .unwrap()
    .socket;
    assert_eq!(
        test_server
            .send(&Request::new("DELETE", "/v1/tickets").header("cookie", &cookie))
            .await
            .status,
        204
    );

    for socket in [&mut by_ticket, &mut by_cookie] {
        let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        let last: Value = serde_json::from_str(messages.last().unwrap()).unwrap();
        assert_eq!(
            (&last["type"], &last["error"]["code"]),
            (&json!("error"), &json!("invalid_api_key")),
            "{last}"
        );
        assert!(matches!(end, End::Closed { code: Some(1008), .. }), "{end:?}");
    }
    let (_, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_ne!(end, BodyEnd::Clean);
    assert_eq!(shake(&test_server, &format!("/v1/responses?ticket={waiting}")).await, 401);
    assert_eq!(
        test_server.send(&Request::get("/v1/models").header("cookie", &cookie)).await.status,
        401
    );
    // The key itself still works.
    of_key
        .send_text(
            &json!({ "type": "response.create", "model": "demo", "input": "/echo hi" }).to_string(),
        )
        .await
        .unwrap();
    assert_eq!(crate::drain::event(&mut of_key).await["type"], "response.created");
    drop(of_key);
    test_server.quiet().await;
    test_server.close().await;
}

/// Ten thousand sessions of one caller logged out everybody else.
#[tokio::test]
async fn one_caller_cannot_log_out_others() {
    let test_server = test_server().await;
    let hers =
        (session(&test_server, ALICE).await, ticket(&test_server, of(ALICE, &json!({}))).await);
    let first = session(&test_server, BOB).await;
    for _ in 0..64 {
        session(&test_server, BOB).await;
    }
    for _ in 0..300 {
        ticket(&test_server, of(BOB, &json!({}))).await;
    }
    assert_eq!(
        test_server.send(&Request::get("/v1/models").header("cookie", &first)).await.status,
        401,
        "his own oldest went"
    );
    assert_eq!(
        test_server.send(&Request::get("/v1/models").header("cookie", &hers.0)).await.status,
        200
    );
    assert_eq!(shake(&test_server, &format!("/v1/responses?ticket={}", hers.1)).await, 101);
    test_server.quiet().await;
    test_server.close().await;
}

//! `GET /v1/responses/{id}/events`: a response read by a browser's `EventSource`, and by long polling.

use client::soon;
use client::{BodyEnd, Connection, Request, StreamEvent};
use serde_json::{Value, json};

use crate::resume::{GatedScript, ask_rich, id_of, rest, rich_answer, take};
use crate::test_server::TestServer;

#[tokio::test]
async fn a_browser_gets_unnamed_events_with_ids() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    let mut response = test_server.send(&Request::get(&format!("/v1/responses/{id}/events"))).await;
    assert_eq!((response.status, response.media_type()), (200, "text/event-stream"));
    let (body, end) = response.collect().await.unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let expected = whole
        .iter()
        .enumerate()
        .map(|(position, data)| format!("id: {position}\ndata: {data}\n\n"));
    let expected = expected.fold("retry: 1000\n\n".to_owned(), |body, event| body + &event);
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    // `Accept` is ignored here: an `EventSource` only reads event streams.
    let ndjson = Request::get(&format!("/v1/responses/{id}/events"))
        .header("accept", "application/x-ndjson");
    assert_eq!(test_server.send(&ndjson).await.media_type(), "text/event-stream");
    test_server.close().await;
}

#[tokio::test]
async fn a_browser_resumes_at_every_position() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    for position in 0..whole.len() - 1 {
        let request = Request::get(&format!("/v1/responses/{id}/events"))
            .header("last-event-id", &position.to_string());
        let events = events(&test_server, &request).await;
        let expected: Vec<(usize, &String)> = whole.iter().enumerate().skip(position + 1).collect();
        assert!(
            events.iter().map(|(position, data)| (*position, data)).eq(expected),
            "after {position}"
        );
    }
    test_server.close().await;
}

#[tokio::test]
async fn the_header_has_precedence_over_the_query_and_both_names_work() {
    let test_server = TestServer::open().await;
    let (id, _) = rich_answer(&test_server).await;
    let path = format!("/v1/responses/{id}/events");
    for (query, header, first) in [
        ("?starting_after=3", None, 4),
        ("?lastEventId=5", None, 6),
        ("?lastEventId=5&starting_after=3", None, 6),
        ("?starting_after=3&lastEventId=5", Some("7"), 8),
        ("?starting_after=3", Some("0"), 1),
        ("", None, 0),
    ] {
        let mut request = Request::get(&format!("{path}{query}"));
        if let Some(position) = header {
            request = request.header("last-event-id", position);
        }
        assert_eq!(events(&test_server, &request).await[0].0, first, "{query} {header:?}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn only_the_terminal_position_returns_no_content() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    let path = format!("/v1/responses/{id}/events");
    let last = whole.len() - 1;
    let mut response =
        test_server.send(&Request::get(&path).header("last-event-id", &last.to_string())).await;
    assert_eq!((response.status, response.collect().await.unwrap().0.len()), (204, 0));
    assert_eq!(
        test_server.send(&Request::get(&format!("{path}?starting_after={last}"))).await.status,
        204
    );
    assert_eq!(
        test_server
            .send(&Request::get(&format!("{path}?starting_after={}", last - 1)))
            .await
            .status,
        200
    );

    // A running response read so far is not at its end.
    let gated = GatedScript::rich();
    test_server.upstream.script(gated.script.clone());
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask_rich())).await;
    let id = id_of(&take(&mut stream, 2).await[0]);
    let mut browser = test_server
        .stream(&Request::get(&format!("/v1/responses/{id}/events")).header("last-event-id", "1"))
        .await;
    gated.open_all();
    let (events, end) = soon(browser.collect()).await.unwrap().unwrap();
    assert_eq!((events.len(), end), (whole.len() - 2, BodyEnd::Clean));
    rest(&mut stream, crate::test_server::TestFrame::Sse).await;
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn invalid_positions_are_rejected() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    let path = format!("/v1/responses/{id}/events");
    let refused = [
        (Request::get(&path).header("last-event-id", "x"), "invalid_value", "Last-Event-ID"),
        // An invalid header is an error even with a valid query.
        (
            Request::get(&format!("{path}?lastEventId=1")).header("last-event-id", "-1"),
            "invalid_value",
            "Last-Event-ID",
        ),
        (Request::get(&format!("{path}?lastEventId=")), "invalid_value", "lastEventId"),
        (Request::get(&format!("{path}?starting_after=1e3")), "invalid_value", "starting_after"),
        (Request::get(&format!("{path}?wait=61")), "invalid_value", "wait"),
        (Request::get(&format!("{path}?wait=x")), "invalid_value", "wait"),
        (
            Request::get(&path).header("last-event-id", &whole.len().to_string()),
            "position_out_of_range",
            "starting_after",
        ),
    ];
    for (request, code, param) in refused {
        let (status, body) = test_server.json(&request).await;
        let error = &body["error"];
        assert_eq!(
            (status, &error["code"], &error["param"]),
            (400, &json!(code), &json!(param)),
            "{request:?}"
        );
    }
    let (status, body) = test_server.get("/v1/responses/resp_unknown/events").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("response_not_found")));
    test_server.close().await;
}

#[tokio::test]
async fn a_long_poll_returns_existing_events_at_once() {
    let test_server = TestServer::open().await;
    let (id, whole) = rich_answer(&test_server).await;
    let poll = async |after: usize| {
        test_server.get(&format!("/v1/responses/{id}/events?wait=60&starting_after={after}")).await
    };
    let (status, body) = poll(3).await;
    let expected: Vec<Value> =
        whole.iter().skip(4).map(|data| serde_json::from_str(data).unwrap()).collect();
    assert_eq!((status, body), (200, json!({ "object": "list", "data": expected, "ended": true })));
    let (status, body) = poll(whole.len() - 1).await;
    assert_eq!(
        (status, body),
        (200, json!({ "object": "list", "data": [], "ended": true })),
        "the end does not wait"
    );
    test_server.close().await;
}

#[tokio::test]
async fn a_long_poll_waits_for_the_next_event() {
    let test_server = TestServer::open().await;
    let gated = GatedScript::rich();
    test_server.upstream.script(gated.script.clone());
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask_rich())).await;
    let id = id_of(&take(&mut stream, 2).await[0]);

    let (status, body) =
        test_server.get(&format!("/v1/responses/{id}/events?wait=0&starting_after=1")).await;
    assert_eq!(
        (status, body),
        (200, json!({ "object": "list", "data": [], "ended": false })),
        "nothing came"
    );

    let mut position = 1;
    let mut ended = false;
    let mut gates = 0..gated.gates.len();
    let mut polled: Vec<Value> = Vec::new();
    while !ended {
        let request =
            Request::get(&format!("/v1/responses/{id}/events?wait=60&starting_after={position}"));
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write(&request).await.unwrap();
        // The upstream sends nothing before this, so a response to the poll has waited, or came just in time.
        if let Some(gate) = gates.next() {
            gated.open(gate..gate + 1);
        }
        let mut response = soon(connection.read_response(&request)).await.unwrap().unwrap();
        let body = soon(client::json::value(&mut response)).await.unwrap().unwrap();
        let events = body["data"].as_array().unwrap();
        assert!(!events.is_empty(), "{body}");
        assert_eq!(events[0]["sequence_number"].as_u64(), Some(position + 1));
        polled.extend(events.iter().cloned());
        position = events[events.len() - 1]["sequence_number"].as_u64().unwrap();
        ended = body["ended"] == true;
    }
    assert_eq!(polled[polled.len() - 1]["type"], "response.completed");
    let streamed: Vec<Value> = rest(&mut stream, crate::test_server::TestFrame::Sse)
        .await
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(polled, streamed);
    test_server.quiet().await;
    test_server.close().await;
}

/// Reads an event stream like a browser: positions and data.
async fn events(test_server: &TestServer, request: &Request) -> Vec<(usize, String)> {
    let (events, end) = soon(test_server.stream(request).await.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let read = |event: StreamEvent| {
        assert_eq!(event.name, None);
        let id = String::from_utf8(event.id.unwrap().to_vec()).unwrap();
        (id.parse().unwrap(), String::from_utf8(event.data.to_vec()).unwrap())
    };
    events.into_iter().map(read).collect()
}

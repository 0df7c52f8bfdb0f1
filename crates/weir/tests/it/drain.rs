//! The steps of a shutdown, by their numbers in `weir::shutdown`; those that require a process are in `rolling.rs`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::websocket::{self, End, Socket};
use client::{BodyEnd, Connection, Request, Response};
use fakes::Script;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::http2::Http2Client;
use crate::test_server::{
    MODEL, TestApi, TestFrame, TestServer, TestServerPlan, WAYS, ask, question,
};

const SECONDS: Duration = Duration::from_secs(1);

async fn test_server(spread: Duration, grace: Duration) -> TestServer {
    TestServer::open_with(TestServerPlan { grace, spread, ..TestServerPlan::default() }).await
}

/// Starts a shutdown, and waits until nothing new is accepted.
async fn leave(test_server: TestServer) -> JoinHandle<()> {
    let address = test_server.address;
    let closing = tokio::spawn(test_server.close());
    let refused = async { while Connection::open(address).await.is_ok() {} };
    client::soon(refused).await.unwrap();
    closing
}

/// An idle connection that has served a request.
async fn idle(address: SocketAddr) -> Connection {
    let response =
        Connection::open(address).await.unwrap().send(&Request::get("/healthz")).await.unwrap();
    response.into_connection().await.unwrap()
}

async fn socket(address: SocketAddr) -> Socket {
    websocket::connect(address, "/v1/responses", &[]).await.unwrap().socket
}

pub(crate) async fn event(socket: &mut Socket) -> Value {
    serde_json::from_str(&client::soon(socket.next_text()).await.unwrap().unwrap().unwrap())
        .unwrap()
}

async fn body(mut response: Response) -> Value {
    serde_json::from_slice(&response.collect().await.unwrap().0).unwrap()
}

#[tokio::test]
async fn step_3_nothing_new_starts_and_running_responses_continue() {
    let test_server = test_server(60 * SECONDS, 60 * SECONDS).await;
    let address = test_server.address;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().content("Once").wait_for(&gate).content(" more").finish("stop").done(),
    );
    let answer = client::send(address, &Request::post("/v1/responses", &ask("hi"))).await.unwrap();
    let id = answer.headers.get("weir-response-id").unwrap().to_owned();
    let mut stream = answer.events().unwrap();
    let mut socket = socket(address).await;
    let mut http2 = Http2Client::open(address).await;
    let connections: Vec<Connection> = join_all((0..5).map(|_| idle(address))).await;
    let mut connections = connections.into_iter();
    let closing = leave(test_server).await;

    for words in [TestApi::Responses, TestApi::Chat] {
        let refused = connections
            .next()
            .unwrap()
            .send(&question((words, TestFrame::Json), MODEL, &json!({})))
            .await
            .unwrap();
        assert_eq!(
            (refused.status, refused.headers.get("retry-after"), refused.headers.get("connection")),
            (503, Some("60"), Some("close"))
        );
        assert_eq!(body(refused).await["error"]["code"], "server_draining", "{words:?}");
    }
    let upgrade =
        websocket::shake_hands(connections.next().unwrap(), "/v1/responses", &[]).await.unwrap();
    assert!(matches!(upgrade, websocket::Handshake::Refused(refused) if refused.status == 503));
    assert_eq!(http2.post("/v1/responses", &ask("hi")).await.status(), 503);
    socket
        .send_text(&json!({ "type": "response.create", "model": MODEL, "input": "hi" }).to_string())
        .await
        .unwrap();
    assert_eq!(event(&mut socket).await["error"]["code"], "server_draining");

    let unready = connections.next().unwrap().send(&Request::get("/readyz")).await.unwrap();
    assert_eq!((unready.status, &body(unready).await["status"]), (503, &json!("draining")));
    let read = http2.send(Method::GET, &format!("/v1/responses/{id}"), None).await.unwrap();
    assert_eq!(read.status(), 200);
    socket
        .send_text(&json!({ "type": "response.resume", "response_id": id }).to_string())
        .await
        .unwrap();
    assert_eq!(event(&mut socket).await["sequence_number"], 0);
    let cancel = Request::post(&format!("/v1/responses/{id}/cancel"), &json!({}));
    let cancelled = connections.next().unwrap().send(&cancel).await.unwrap();
    assert_eq!((cancelled.status, &body(cancelled).await["status"]), (200, &json!("cancelled")));
    let (events, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!((events.last().unwrap().data.as_ref(), end), (&b"[DONE]"[..], BodyEnd::Clean));
    drop((stream, socket, http2, connections));
    client::soon(closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn step_4_idle_connections_close_one_by_one() {
    let test_server = test_server(600 * SECONDS / 1000, 60 * SECONDS).await;
    let address = test_server.address;
    let sockets = join_all((0..20).map(|_| socket(address))).await;
    let connections = join_all((0..20).map(|_| idle(address))).await;
    let http2 = join_all((0..5).map(|_| Http2Client::open(address))).await;
    let closing = tokio::spawn(test_server.close());
    let told = join_all(sockets.into_iter().map(async |mut socket| {
        let (_, end) = client::soon(socket.collect()).await.unwrap().unwrap();
        assert!(matches!(&end, End::Closed { code: Some(1012), .. }), "{end:?}");
        client::now()
    }));
    let closed = join_all(connections.into_iter().map(async |mut connection| {
        assert!(client::soon(connection.read_raw()).await.unwrap().unwrap().is_empty());
        client::now()
    }));
    let gone = join_all(http2.into_iter().map(async |client| client.ended().await.unwrap()));
    let (told, closed, _) = tokio::join!(told, closed, gone);
    let over =
        |moments: &[Instant]| *moments.iter().max().unwrap() - *moments.iter().min().unwrap();
    println!(
        "20 WebSockets were told over {:?}, 20 idle connections closed over {:?}",
        over(&told),
        over(&closed)
    );
    assert!(
        over(&told) > 200 * SECONDS / 1000 && over(&closed) > 200 * SECONDS / 1000,
        "all at once"
    );
    client::soon(closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn steps_4_and_5_readers_stay_to_the_end_and_browsers_get_a_retry_delay() {
    let test_server = test_server(200 * SECONDS / 1000, 60 * SECONDS).await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().content("Once").wait_for(&gate).content(" more").finish("stop").done(),
    );
    let mut socket = socket(test_server.address).await;
    let create = json!({ "type": "response.create", "model": MODEL, "input": "hi" });
    socket.send_text(&create.to_string()).await.unwrap();
    let id = event(&mut socket).await["response"]["id"].as_str().unwrap().to_owned();
    let mut browser = test_server.send(&Request::get(&format!("/v1/responses/{id}/events"))).await;
    let mut sdk =
        test_server.stream(&Request::get(&format!("/v1/responses/{id}?stream=true"))).await;
    let waiting = tokio::spawn(async move { sdk.collect().await.unwrap() });
    let closing = leave(test_server).await;

    let mut said = String::new();
    let advised = async {
        while said.matches("retry: ").count() < 2 {
            said += &String::from_utf8_lossy(&browser.chunk().await.unwrap().unwrap());
        }
    };
    client::soon(advised).await.unwrap();
    let retry: u64 =
        said.rsplit("retry: ").next().unwrap().split('\n').next().unwrap().parse().unwrap();
    assert!((1000..1200).contains(&retry), "{said}");
    gate.notify_one();
    let (rest, end) = browser.collect().await.unwrap();
    assert!(end == BodyEnd::Clean && String::from_utf8_lossy(&rest).contains("response.completed"));
    let (events, end) = client::soon(waiting).await.unwrap().unwrap();
    assert!(end == BodyEnd::Clean && events.len() > 2);
    let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(messages.last().unwrap().contains("response.completed"));
    assert!(matches!(end, End::Closed { code: Some(1012), .. }), "{end:?}");
    client::soon(closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn step_6_responses_that_exceed_the_grace_period_end_in_every_frame() {
    let test_server = test_server(Duration::ZERO, 300 * SECONDS / 1000).await;
    test_server.upstream.default_script(Script::new().role().content("Once").stall());
    let mut socket = socket(test_server.address).await;
    socket
        .send_text(&json!({ "type": "response.create", "model": MODEL, "input": "hi" }).to_string())
        .await
        .unwrap();
    let readers = WAYS.map(|way| {
        let address = test_server.address;
        tokio::spawn(async move {
            (
                way,
                client::send(address, &question(way, MODEL, &json!({})))
                    .await
                    .unwrap()
                    .collect_all()
                    .await,
            )
        })
    });
    client::soon(test_server.upstream.wait_requests(7)).await.unwrap();
    let closing = tokio::spawn(test_server.close());
    for reader in readers {
        let (way, (status, text, end)) = client::soon(reader).await.unwrap().unwrap();
        assert!(text.contains("server_shutdown"), "{way:?}: {text}");
        let expected = match way {
            (_, TestFrame::Json) => (503, BodyEnd::Clean),
            (TestApi::Responses, _) => (200, BodyEnd::Clean),
            (TestApi::Chat, _) => (200, BodyEnd::Truncated),
        };
        assert_eq!((status, end), expected, "{way:?}");
        assert!(
            way.0 == TestApi::Chat || way.1 == TestFrame::Json || text.contains("response.failed"),
            "{way:?}: {text}"
        );
    }
    let (messages, end) = client::soon(socket.collect()).await.unwrap().unwrap();
    assert!(messages.last().unwrap().contains("response.failed"), "{messages:?}");
    assert!(matches!(end, End::Closed { code: Some(1012), .. }), "{end:?}");
    client::soon(closing).await.unwrap().unwrap();
}

trait CollectAll {
    async fn collect_all(self) -> (u16, String, BodyEnd);
}

impl CollectAll for Response {
    async fn collect_all(mut self) -> (u16, String, BodyEnd) {
        let (body, end) = self.collect().await.unwrap();
        (self.status, String::from_utf8(body).unwrap(), end)
    }
}

/// A slow reader must not mistake a part for the whole: with chunked encoding the last chunk is missing, otherwise
/// the connection is reset.
#[tokio::test]
async fn step_7_open_streams_are_broken_off() {
    let test_server = test_server(Duration::ZERO, 300 * SECONDS / 1000).await;
    let piece = "x".repeat(64 << 10);
    let pieces: Vec<&str> = std::iter::repeat_n(piece.as_str(), 100).collect();
    test_server.upstream.script(Script::text(&pieces));
    let (status, answer) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "hi" })).await;
    assert_eq!(status, 200);
    let id = answer["id"].as_str().unwrap().to_owned();
    let read = Request::get(&format!("/v1/responses/{id}?stream=true"));
    let mut stalled = Vec::new();
    for request in [read.clone(), read.http_1_0()] {
        stalled.push(
            Connection::open_narrow(test_server.address, 4096)
                .await
                .unwrap()
                .send(&request)
                .await
                .unwrap(),
        );
    }
    let mut socket = socket(test_server.address).await;
    socket
        .send_text(&json!({ "type": "response.resume", "response_id": id }).to_string())
        .await
        .unwrap();
    assert_eq!(event(&mut socket).await["sequence_number"], 0);
    client::soon(test_server.close()).await.unwrap();
    let mut cuts = Vec::new();
    for mut response in stalled {
        assert_eq!(response.end().await.unwrap(), BodyEnd::Truncated);
        cuts.push(response.cut_by());
    }
    assert_eq!(cuts[1], Some(std::io::ErrorKind::ConnectionReset));
    let (messages, end) = socket.collect().await.unwrap();
    assert!(
        !messages.last().unwrap().contains("response.completed") && end == End::Cut(None),
        "{end:?}"
    );
}

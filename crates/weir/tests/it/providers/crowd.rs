//! A thousand responses, each cancelled at some point: nothing is left over, on HTTP/1.1 and HTTP/2, and other
//! responses are unaffected.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use client::soon;
use client::{Connection, Request, Stream};
use fakes::{RecordedRequest, Script, Upstream, Vendor};
use futures_util::stream::{StreamExt, iter};
use serde_json::json;
use tokio::sync::Notify;

use super::vendors::{VendorServers, WaitLimit, model};
use crate::crash::script::Dice;
use crate::leaving::{cancel, id_of, read_until};
use crate::test_server::{TestServer, TestServerPlan};

const ANSWERS: usize = 1000;

/// Concurrent responses: more than one HTTP/2 connection carries.
const AT_ONCE: usize = 120;

/// Responses next to them that are not cancelled.
const BYSTANDERS: usize = 10;

/// The deltas of a response; it has fewer than ten other events.
const PIECES: usize = 30;

/// The limits of streams and resets per HTTP/2 connection (`provider::http::http2`).
const STREAMS: usize = 100;
const RESETS: usize = 200;

/// How a response is cancelled.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// Its only reader leaves with FIN.
    Leave,
    /// With RST.
    Reset,
    /// By an explicit request.
    Cancel,
}

#[tokio::test]
async fn a_thousand_cancelled_responses_leave_nothing_over_http_1_1() {
    let (vendors, accepted) = crowd(false).await;
    let fake = vendors.fake(Vendor::OpenAi);
    // A cancelled response closes its connection; a completed one leaves it for the next.
    assert!(
        fake.open_connections() <= AT_ONCE + BYSTANDERS,
        "{} connections",
        fake.open_connections()
    );
    assert!(accepted > AT_ONCE, "{accepted} connections in all: nobody was stopped");
    vendors.close().await;
}

#[tokio::test]
async fn a_thousand_cancelled_responses_leave_nothing_over_http_2() {
    let (vendors, accepted) = crowd(true).await;
    let fake = vendors.fake(Vendor::OpenAi);
    assert!(fake.requests().iter().all(|request| request.is_http2));
    let resets = fake.resets();
    assert!(resets > ANSWERS / 3, "{resets} resets");
    // The bystanders kept the first connection open, and it got no more streams all the same.
    let requests = fake.requests();
    let is_first = |request: &&RecordedRequest| request.connection == requests[0].connection;
    assert!(
        requests.iter().filter(is_first).count() > RESETS,
        "nothing was reset beside the bystanders"
    );
    assert!(
        !requests.iter().rev().take(STREAMS).any(|request| is_first(&request)),
        "it was not retired"
    );
    // Each connection took this many resets, plus those of its streams at that time.
    assert!(accepted > resets / (RESETS + STREAMS), "{resets} resets on {accepted} connections");
    assert!(
        accepted <= resets / RESETS + 4,
        "{resets} resets on {accepted} connections: they are not shared"
    );
    // The first closes after its last stream, and at most one is kept for later.
    soon(fake.wait_closed(0)).await.unwrap();
    few(fake, 1).await;
    vendors.close().await;
}

/// Waits until at most `most` upstream connections are open.
async fn few(fake: &Upstream, most: usize) {
    let few = async {
        while fake.open_connections() > most {
            tokio::task::yield_now().await;
        }
    };
    soon(few)
        .await
        .unwrap_or_else(|_late| panic!("{} connections are open", fake.open_connections()));
}

/// Runs the crowd and checks what is left. Returns the vendors, and the number of upstream connections.
async fn crowd(is_http2: bool) -> (VendorServers, usize) {
    let began = client::now();
    let models = [("text", WaitLimit::Usual)];
    let vendors = VendorServers::open_with(TestServerPlan::default(), &models, |upstream| {
        upstream.connection.http2 = is_http2;
    })
    .await;
    let (test_server, fake) = (&vendors.test_server, vendors.fake(Vendor::OpenAi));
    let pieces: Vec<String> = (0..PIECES).map(|number| format!("{number} ")).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    fake.default_script(Script::text(&pieces).paced(Duration::from_millis(1)));
    // Initialises whatever is created once, such as a vocabulary.
    let (status, _) = test_server.json(&Request::post("/v1/responses", &question(false))).await;
    assert_eq!(status, 200);
    test_server.wait_connections(0).await;
    test_server.quiet().await;
    let before = test_server.engine.census();

    let bystanders = bystanders(test_server, fake).await;
    let mut dice = Dice::new(6);
    let moments: Vec<(usize, Stop)> = (0..ANSWERS)
        .map(|_| (dice.below(PIECES + 10), [Stop::Leave, Stop::Reset, Stop::Cancel][dice.below(3)]))
        .collect();
    iter(moments)
        .for_each_concurrent(AT_ONCE, |(events, stop)| one(test_server, events, stop))
        .await;

    soon(fake.wait_streams(BYSTANDERS)).await.unwrap();
    for (gate, mut stream) in bystanders {
        gate.notify_one();
        let done = read_until(&mut stream, "response.completed").await;
        assert_eq!(
            done["response"]["output"][0]["content"][0]["text"], "Once more",
            "a bystander was harmed"
        );
    }
    soon(fake.wait_streams(0)).await.unwrap();
    test_server.wait_connections(0).await;
    test_server.quiet().await;
    let same = async {
        while test_server.engine.census() != before {
            tokio::task::yield_now().await;
        }
    };
    soon(same).await.unwrap_or_else(|_late| {
        panic!("{before:?} before, {:?} after", test_server.engine.census())
    });
    let accepted = fake.accepted_connections();
    let line = format!(
        "{ANSWERS} answers stopped over {}: {accepted} upstream connections, {} resets, {:.1} s\n",
        if is_http2 { "HTTP/2" } else { "HTTP/1.1" },
        fake.resets(),
        began.elapsed().as_secs_f64(),
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    (vendors, accepted)
}

fn question(stream: bool) -> serde_json::Value {
    json!({ "model": model(Vendor::OpenAi, "text"), "input": "hi", "store": false, "stream": stream })
}

/// Sends a request, and cancels the response after this many events; it may have ended before.
async fn one(test_server: &TestServer, events: usize, stop: Stop) {
    let request = Request::post("/v1/responses", &question(true)).header("prefer", "wait=0");
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(&request).await.unwrap();
    if events == 0 {
        // Before anything is known about it, including its id.
        return match stop {
            Stop::Leave | Stop::Cancel => drop(connection),
            Stop::Reset => connection.reset().unwrap(),
        };
    }
    let mut stream =
        soon(connection.read_response(&request)).await.unwrap().unwrap().events().unwrap();
    for _ in 0..events {
        if soon(stream.next()).await.unwrap().unwrap().is_none() {
            break;
        }
    }
    match stop {
        Stop::Leave => drop(stream),
        Stop::Reset => stream.abandon().reset().unwrap(),
        Stop::Cancel => {
            let mut answer = test_server.send(&cancel(&id_of(&stream))).await;
            // An ended response is gone, because it was not stored.
            assert!([200, 404].contains(&answer.status), "{}", answer.status);
            soon(answer.end()).await.unwrap().unwrap();
            soon(stream.collect()).await.unwrap().unwrap();
        }
    }
}

/// Responses that start before the crowd, each with its gate, and their streams.
async fn bystanders(test_server: &TestServer, fake: &Upstream) -> Vec<(Arc<Notify>, Stream)> {
    let mut bystanders = Vec::new();
    for _ in 0..BYSTANDERS {
        let gate = Arc::new(Notify::new());
        fake.script(
            Script::new()
                .role()
                .content("Once")
                .wait_for(&gate)
                .content(" more")
                .finish("stop")
                .usage(9, 2, 0)
                .done(),
        );
        let asked = fake.requests().len();
        let stream = test_server
            .stream(&Request::post("/v1/responses", &question(true)).header("prefer", "wait=0"))
            .await;
        soon(fake.wait_requests(asked + 1)).await.unwrap();
        bystanders.push((gate, stream));
    }
    bystanders
}

//! What the server does to a connection on request, so that a page can try it: a reset, a relay that
//! buffers, and a capture file.

use std::sync::Arc;

use client::{BodyEnd, Request};
use fakes::Script;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::packets::{LIST, is_captured};
use super::{PIECES, connections, count, raw};
use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan};

fn asks(query: &str) -> Request {
    let body = json!({ "model": MODEL, "input": "hi", "stream": true });
    Request::post(&format!("/v1/responses?{query}"), &body)
}

fn resets(lane: &str) -> Request {
    Request::new("DELETE", &format!("{LIST}?lane={lane}"))
}

#[tokio::test]
async fn a_lane_is_cut_and_its_response_resumes_without_a_gap() {
    let test_server = TestServer::open().await;
    let gate = Arc::new(Notify::new());
    test_server.upstream.script(
        Script::new().role().content("Once").wait_for(&gate).content(" more").finish("stop").done(),
    );
    let mut stream = test_server.stream(&asks("lane=cut-sse")).await;
    let mut seen: Vec<Value> = Vec::new();
    while !seen.iter().any(|event| event["delta"] == "Once") {
        let event = client::soon(stream.next()).await.unwrap().unwrap().unwrap();
        seen.push(event.json().unwrap());
    }
    let (status, reset) = test_server.json(&resets("cut-sse")).await;
    assert_eq!((status, &reset["connections"]), (200, &json!(1)));
    let (rest, end) = client::soon(stream.collect()).await.unwrap().unwrap();
    assert_eq!((rest.len(), end), (0, BodyEnd::Truncated));
    assert!(stream.response().cut_by().is_some(), "by a reset, and not by a FIN");
    gate.notify_one();
    let id = seen[0]["response"]["id"].as_str().unwrap();
    let after = seen.last().unwrap()["sequence_number"].as_u64().unwrap();
    let path = format!("/v1/responses/{id}?stream=true&starting_after={after}");
    let mut resumed = test_server.stream(&Request::get(&path)).await;
    let (events, end) = client::soon(resumed.collect()).await.unwrap().unwrap();
    assert_eq!(end, BodyEnd::Clean);
    let numbers: Vec<u64> =
        events.iter().filter_map(|event| event.json().ok()?["sequence_number"].as_u64()).collect();
    assert_eq!(numbers.first(), Some(&(after + 1)), "no event is missing, and none comes twice");
    test_server.close().await;
}

#[tokio::test]
async fn a_caller_cuts_only_its_own_lanes() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let gate = Arc::new(Notify::new());
    test_server
        .upstream
        .script(Script::new().role().content("a").wait_for(&gate).finish("stop").done());
    let stream = test_server.stream(&asks("lane=own").bearer(ALICE)).await;
    let of = |key: &str| resets("own").bearer(key);
    assert_eq!(test_server.json(&of(BOB)).await.1["connections"], 0);
    assert_eq!(test_server.json(&of(ALICE)).await.1["connections"], 1);
    assert_eq!(test_server.json(&resets("own")).await.0, 401);
    let refused = test_server.json(&Request::new("DELETE", LIST).bearer(ALICE)).await;
    assert_eq!((refused.0, &refused.1["error"]["param"]), (400, &json!("lane")));
    gate.notify_one();
    drop(stream);
    test_server.close().await;
}

/// The chunks of a chunked body.
fn chunks(answer: &[u8]) -> Vec<Vec<u8>> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (mut rest, mut chunks) = (&answer[end..], Vec::new());
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return chunks;
        }
        chunks.push(rest[line + 2..line + 2 + size].to_vec());
        rest = &rest[line + 2 + size + 2..];
    }
}

#[tokio::test]
async fn a_relayed_stream_comes_in_full_buffers_with_the_same_events() {
    let test_server = TestServer::open().await;
    let send = async |query: &str| {
        test_server.upstream.script(Script::text(&PIECES));
        let body = json!({ "model": MODEL, "input": "hi", "stream": true, "store": false });
        let body = body.to_string();
        let request = format!(
            "POST /v1/responses?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        chunks(&raw(&test_server, &request).await.0)
    };
    let events = |chunks: &[Vec<u8>]| {
        String::from_utf8(chunks.concat()).unwrap().matches("\ndata: ").count()
    };
    let direct = send("lane=direct").await;
    let whole = send("lane=whole&relay_bytes=262144").await;
    assert_eq!(whole.len(), 1, "a buffer larger than the response holds it to its end");
    assert_eq!(events(&whole), events(&direct));
    let gathered = send("lane=gathered&relay_bytes=512").await;
    let (last, full) = gathered.split_last().unwrap();
    assert!(full.len() > 2 && full.iter().all(|chunk| chunk.len() == 512), "{full:?}");
    assert!(last.len() <= 512 && events(&gathered) == events(&direct));
    assert_eq!(test_server.json(&asks("relay_bytes=0")).await.0, 400);
    test_server.close().await;
}

#[tokio::test]
async fn relays_are_switched_off_with_the_calibrated_source() {
    let test_server =
        TestServer::open_with(TestServerPlan::server(|server| server.lens.source = false)).await;
    let (status, refused) = test_server.json(&asks("relay_ms=100")).await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("source_off")));
    test_server.close().await;
}

#[tokio::test]
async fn a_capture_file_has_the_headers_of_the_packets_and_no_contents() {
    let test_server = TestServer::open().await;
    let has_capture = is_captured(&test_server, None).await;
    test_server.upstream.script(Script::text(&["a-secret-answer"]));
    let (events, _) =
        test_server.stream(&asks("lane=file&close=true")).await.collect().await.unwrap();
    assert!(!events.is_empty());
    let find = async || {
        let all = connections(&test_server, None).await;
        let is_it = |one: &&Value| one["last_requests"][0]["lane"] == "file";
        all.iter().find(is_it).cloned().unwrap()
    };
    let seen = client::soon(async {
        loop {
            let seen = find().await;
            if !has_capture || seen["packets"]["ending"]["state"] == "closed" {
                return seen;
            }
        }
    })
    .await
    .unwrap();
    let path = format!("{LIST}.pcapng?ids={}", seen["id"]);
    let mut response = test_server.send(&Request::get(&path)).await;
    if !has_capture {
        assert_eq!(response.status, 404);
        return test_server.close().await;
    }
    assert_eq!((response.status, response.media_type()), (200, "application/x-pcapng"));
    let file = response.collect().await.unwrap().0;
    assert_eq!(file[..4], [0x0A, 0x0D, 0x0D, 0x0A]);
    // Enhanced packet blocks (draft-ietf-opsawg-pcapng, section 4.3).
    let (mut rest, mut packets) = (&*file, 0);
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        packets += usize::from(word(0) == 6);
        rest = &rest[usize::try_from(word(4)).unwrap()..];
    }
    assert_eq!(packets, count(&seen["packets"]["listed"]));
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains(&format!("connection {}: file", seen["id"])) && !text.contains("secret"));
    for (ids, status) in [("", 400), ("x", 404), ("999999", 404)] {
        let path = format!("{LIST}.pcapng?ids={ids}");
        assert_eq!(test_server.send(&Request::get(&path)).await.status, status, "{ids}");
    }
    test_server.close().await;
}

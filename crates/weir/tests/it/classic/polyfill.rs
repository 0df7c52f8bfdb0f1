//! The page `1.html` with the `EventSource` polyfill it ships, replayed: how they handle every byte, and what they
//! show.

use std::time::Duration;

use client::Request;
use codec::sse::{SseDecoder, SseEvent, SseFrame};
use fakes::Script;
use serde_json::Value;
use tokio::time::timeout;

use super::{UID, chat, open};
use crate::test_server::{TestServer, TestServerPlan};

/// The polyfill gives up a stream after this long without a byte.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(45);

/// What a visitor of `1.html` sees, and the polyfill's state.
#[derive(Debug, Default)]
struct Page {
    /// The box for the response, created when the POST succeeds.
    shown: Option<String>,
    text: String,
    last_event_id: String,
    alerts: usize,
    opened: usize,
    is_closed: bool,
    /// What would be an exception in a handler.
    wrongs: Vec<String>,
}

impl Page {
    /// The polyfill dispatches an event: known names have handlers, others are ignored.
    fn event(&mut self, event: &SseEvent) {
        if let Some(id) = &event.id {
            self.last_event_id = String::from_utf8_lossy(id).into_owned();
        }
        match event.name.as_deref() {
            None => self.message(&String::from_utf8_lossy(&event.data)),
            Some("error") => self.error(),
            Some("open") => self.opened += 1,
            Some(_) => {}
        }
    }

    /// The page's `onmessage`.
    fn message(&mut self, data: &str) {
        if self.last_event_id == "[TOKENS]" {
            self.text.push_str(data);
            self.set_text();
            self.text.clear();
        } else if data == "[DONE]" {
            self.is_closed = true;
        } else {
            match serde_json::from_str::<Value>(data) {
                Ok(json) => {
                    let content = json["content"].as_str().filter(|content| *content != "null");
                    if let Some(content) = content {
                        self.text.push_str(content);
                        self.set_text();
                    }
                }
                Err(error) => self.wrongs.push(format!("{error}: {data}")),
            }
        }
    }

    fn set_text(&mut self) {
        match &mut self.shown {
            Some(shown) => shown.clone_from(&self.text),
            None => self.wrongs.push("there is no box for the answer yet".to_owned()),
        }
    }

    /// The page's `onerror`: it alerts and closes.
    fn error(&mut self) {
        self.alerts += 1;
        self.is_closed = true;
    }
}

/// A question as the page asks it: the stream and the POST at once, over two connections.
async fn visit(test_server: &TestServer, question: &str) -> Page {
    let mut page = Page::default();
    let mut stream = open(test_server, UID).await;
    page.opened += 1;
    let request = chat(UID, question);
    let posted = test_server.send(&request);
    let mut posted = Box::pin(posted);
    let mut is_posted = false;
    let mut decoder = SseDecoder::new(1 << 20);
    while !page.is_closed {
        tokio::select! {
            biased;
            response = &mut posted, if !is_posted => {
                is_posted = true;
                if response.status == 200 {
                    page.shown = Some(String::new());
                }
            }
            chunk = timeout(HEARTBEAT_TIMEOUT, stream.chunk()) => match chunk {
                Ok(Ok(Some(chunk))) => {
                    decoder.push(&chunk);
                    while !page.is_closed && let Some(Ok(decoded)) = decoder.next_event() {
                        if let SseFrame::Event(event) = decoded {
                            page.event(&event);
                        }
                    }
                }
                // To the polyfill, the end of the body is an error, and so is silence.
                Ok(Ok(None) | Err(_)) | Err(_) => page.error(),
            },
        }
    }
    page
}

#[tokio::test]
async fn a_visitor_sees_the_response_and_its_tokens_and_no_alert() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["你", "好", "<br>"]));
    let page = visit(&test_server, "hello").await;
    assert_eq!(page.shown.as_deref(), Some("你好<br><br/><br/>tokens：3"));
    assert_eq!((page.alerts, page.opened, page.wrongs.len()), (0, 1, 0), "{page:?}");
    assert!(page.text.is_empty(), "nothing is carried into the next answer");
    assert_eq!(page.last_event_id, "[DONE]");
    test_server.close().await;
}

#[tokio::test]
async fn a_visitor_sees_an_error_as_the_response() {
    let test_server = TestServer::open().await;
    test_server
        .upstream
        .script(Script::error(429, &serde_json::json!({ "error": { "message": "slow down" } })));
    let page = visit(&test_server, "hello").await;
    assert_eq!(
        page.shown.as_deref(),
        Some("slow down (upstream 'lab-scripted', status 429)<br/><br/>tokens：0")
    );
    assert_eq!(
        (page.alerts, page.opened, page.wrongs.len()),
        (0, 1, 0),
        "an event's name must not fire a handler: {page:?}"
    );
    test_server.close().await;
}

#[tokio::test]
async fn a_visitor_is_alerted_at_once_if_the_question_was_rejected() {
    let mut plan = TestServerPlan::default();
    plan.engine.running = 0;
    let test_server = TestServer::open_with(plan).await;
    let page = visit(&test_server, "hello").await;
    assert_eq!((page.shown, page.alerts), (None, 1));
    test_server.close().await;
}

#[tokio::test]
async fn a_reconnect_with_a_last_event_id_never_asks_again() {
    let test_server = TestServer::open().await;
    let again = "/createSse?lastEventId=%5BDONE%5D&padding=true";
    let mut stream = test_server.send(&Request::get(again).header("uid", UID)).await;
    assert_eq!(stream.status, 200, "unknown parameters are left alone");
    assert_eq!(
        client::soon(stream.chunk()).await.unwrap().unwrap().as_deref(),
        Some(b"retry:5000\n\n".as_slice())
    );
    for request in [
        Request::get("/chat?message=hello&lastEventId=chatcmpl-1"),
        Request::get("/chat?lastEventId=chatcmpl-1&message=hello"),
        Request::get("/chat?message=hello").header("last-event-id", "chatcmpl-1"),
    ] {
        let mut response = test_server.send(&request).await;
        assert_eq!(response.status, 204, "{request:?}");
        assert_eq!(response.collect().await.unwrap().0, b"");
    }
    assert_eq!(test_server.upstream.requests().len(), 0);
    drop(stream);
    test_server.close().await;
}

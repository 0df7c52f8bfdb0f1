//! One table of scenarios, run in every frame and dialect: what the upstream sends, and what each client must
//! receive.

use crate::house::Frame;
use client::{BodyEnd, Request, StreamEvent};
use serde_json::{Value, json};

use self::said::Said;
use self::table::{Outcome, Scenario, table};
use crate::house::{House, MODEL};
use crate::resume::{accept, tail};

pub(crate) mod said;
pub(crate) mod table;

mod asked;
pub(crate) mod chat;
mod resource;
pub(crate) mod responses;

#[tokio::test]
async fn responses_as_json() {
    run(|house, scenario| async move {
        let (status, response) = house.post("/v1/responses", &responses_request(false)).await;
        if let Outcome::Fails { status: expected, code, .. } = scenario.outcome {
            return check_refusal(&scenario.name, status, &response, (expected, code));
        }
        assert_eq!(status, 200, "{}: {response}", scenario.name);
        responses::check_end(&scenario, &response);
    })
    .await;
}

#[tokio::test]
async fn responses_as_ndjson() {
    run(|house, scenario| responses_streamed(house, scenario, Frame::Ndjson, Frame::Sse)).await;
}

#[tokio::test]
async fn responses_as_sse() {
    run(|house, scenario| responses_streamed(house, scenario, Frame::Sse, Frame::Ndjson)).await;
}

#[tokio::test]
async fn chat_completions_as_json() {
    run(|house, scenario| async move {
        let (status, completion) = house.post("/v1/chat/completions", &chat_request(&json!({}))).await;
        if let Outcome::Fails { status: expected, code, .. } = scenario.outcome {
            return check_refusal(&scenario.name, status, &completion, (expected, code));
        }
        assert_eq!(status, 200, "{}: {completion}", scenario.name);
        chat::check_end(&scenario, &chat::read_completion(&scenario.name, &completion));
    })
    .await;
}

#[tokio::test]
async fn chat_completions_as_ndjson() {
    run(|house, scenario| chat_streamed(house, scenario, Frame::Ndjson)).await;
}

#[tokio::test]
async fn chat_completions_as_sse() {
    run(|house, scenario| chat_streamed(house, scenario, Frame::Sse)).await;
}

/// Runs every scenario once, one after another, on one server.
async fn run<F: Future<Output = ()>>(check: impl Fn(std::rc::Rc<House>, Scenario) -> F) {
    let house = std::rc::Rc::new(House::open().await);
    for scenario in table() {
        house.upstream.default_script(scenario.script.clone());
        check(std::rc::Rc::clone(&house), scenario).await;
    }
    house.quiet().await;
    std::rc::Rc::into_inner(house).unwrap().close().await;
}

/// A streamed response: the stream, the stored response, and a replay in another frame have the same content.
async fn responses_streamed(house: std::rc::Rc<House>, scenario: Scenario, frame: Frame, other: Frame) {
    // Errors in band in any case; other tests check early failures reported by the status.
    let request = accept(Request::post("/v1/responses", &responses_request(true)), frame).header("prefer", "wait=0");
    let (events, end) = house.stream(&request).await.collect().await.unwrap();
    assert_eq!(end, BodyEnd::Clean, "{}", scenario.name);
    let data: Vec<String> = data(&scenario.name, (frame, end), &events, |event| event["type"].as_str());
    let terminal = responses::check_stream(&scenario, &data);
    let id = terminal["id"].as_str().unwrap();
    let (status, stored) = house.get(&format!("/v1/responses/{id}")).await;
    assert_eq!(status, 200, "{}", scenario.name);
    assert!(stored == terminal, "{}: what is stored is not what was streamed", scenario.name);
    assert!(tail(&house, id, None, other).await == data, "{}: the replay differs", scenario.name);
}

/// A streamed chat completion, with and without the usage chunk.
async fn chat_streamed(house: std::rc::Rc<House>, scenario: Scenario, frame: Frame) {
    for include_usage in [true, false] {
        let options = json!({ "stream": true, "stream_options": { "include_usage": include_usage } });
        let request = accept(Request::post("/v1/chat/completions", &chat_request(&options)), frame);
        if let Outcome::Fails { status, code, after_output: false } = scenario.outcome {
            let (found, body) = house.json(&request).await;
            check_refusal(&scenario.name, found, &body, (status, code));
            continue;
        }
        let (events, end) = house.stream(&request).await.collect().await.unwrap();
        assert_eq!(end, chat::body_end(&scenario), "{}", scenario.name);
        let data = data(&scenario.name, (frame, end), &events, |_chunk| None);
        chat::check_end(&scenario, &chat::read_stream(&scenario, &data, include_usage));
    }
}

/// The data of a stream without the final `[DONE]`, which only SSE has and only with a clean end; checks the frame's
/// other contents.
pub(crate) fn data(
    scenario: &str,
    (frame, end): (Frame, BodyEnd),
    events: &[StreamEvent],
    name: impl Fn(&Value) -> Option<&str>,
) -> Vec<String> {
    let mut data: Vec<String> = events.iter().map(|event| String::from_utf8(event.data.to_vec()).unwrap()).collect();
    if (frame, end) == (Frame::Sse, BodyEnd::Clean) {
        assert_eq!(data.pop().as_deref(), Some("[DONE]"), "{scenario}");
    }
    assert!(!data.iter().any(|data| data == "[DONE]"), "{scenario}: [DONE] before the end");
    for (event, data) in events.iter().zip(&data) {
        assert_eq!((event.id.as_ref(), event.retry), (None, None), "{scenario}");
        let value: Value = serde_json::from_str(data).unwrap();
        let expected = if frame == Frame::Sse { name(&value) } else { None };
        assert_eq!(event.name.as_deref(), expected, "{scenario}");
    }
    data
}

pub(crate) fn check_refusal(scenario: &str, status: u16, body: &Value, expected: (u16, &str)) {
    assert_eq!((status, body["error"]["code"].as_str()), (expected.0, Some(expected.1)), "{scenario}: {body}");
    assert!(["message", "type", "code", "param"].iter().all(|key| body["error"].get(key).is_some()), "{scenario}: {body}");
}

pub(crate) fn responses_request(stream: bool) -> Value {
    let tool = |name: &str| json!({ "type": "function", "name": name, "parameters": { "type": "object", "properties": {} } });
    json!({ "model": MODEL, "input": "How is the weather?", "stream": stream, "tools": [tool("weather"), tool("time")] })
}

fn chat_request(more: &Value) -> Value {
    let tool =
        |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": { "type": "object", "properties": {} } } });
    let mut request = json!({
        "model": MODEL, "messages": [{ "role": "user", "content": "How is the weather?" }], "tools": [tool("weather"), tool("time")],
    });
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

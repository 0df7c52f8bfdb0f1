//! Runs cases in every dialect and frame, and over the WebSocket.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::test_server::TestFrame;
use client::soon;
use client::{BodyEnd, websocket};
use engine::provider::route::{Retries, Timeouts};
use fakes::{Upstream, Vendor};
use futures_util::stream::{StreamExt, iter};
use provider::config::{Preset, UpstreamConfig, WireKind};
use serde_json::{Map, Value, json};

use super::case::OddCase;
use crate::providers::cells::{CellTransport, WAYS, turn};
use crate::scenarios::table::ExpectedOutcome;
use crate::scenarios::{chat, check_refusal, data, responses};
use crate::test_server::{TestServer, TestServerPlan, upstream_of};

/// How many responses run at once.
const AT_ONCE: usize = 32;

/// The preset and wire for a vendor's API.
pub(super) fn speaks(vendor: Vendor) -> (Preset, WireKind) {
    match vendor {
        Vendor::OpenAi => (Preset::Compatible, WireKind::Chat),
        Vendor::Responses => (Preset::Compatible, WireKind::Responses),
        Vendor::Anthropic => (Preset::Anthropic, WireKind::Anthropic),
        Vendor::Gemini => (Preset::Gemini, WireKind::Gemini),
        Vendor::Ollama => (Preset::Ollama, WireKind::Ollama),
    }
}

/// Runs all cases in all ways.
pub(super) async fn run(cases: Vec<OddCase>) {
    run_with(cases, |_| {}).await;
}

/// Runs all cases in all ways, with changed upstream settings.
pub(super) async fn run_with(cases: Vec<OddCase>, change: impl Fn(&mut UpstreamConfig)) {
    let fake = Upstream::start().await.unwrap();
    let mut plan = TestServerPlan {
        retries: Retries { count: 1, ..Retries::default() },
        ..TestServerPlan::default()
    };
    let model = |number: usize| format!("odd-{number}");
    for vendor in Vendor::ALL {
        let models: Vec<String> =
            (0..cases.len()).filter(|number| cases[*number].wire == vendor).map(model).collect();
        if models.is_empty() {
            continue;
        }
        let (preset, wire) = speaks(vendor);
        let usual = upstream_of(vendor.name(), fake.base_url_of(vendor), Timeouts::default());
        let mut upstream = UpstreamConfig { models, preset, wire, ..usual };
        change(&mut upstream);
        plan.more_upstreams.push(upstream);
    }
    for (number, case) in cases.iter().enumerate() {
        fake.default_script_for_model(&model(number), case.scenario.script.clone());
    }
    let (test_server, cases) = (Arc::new(TestServer::open_with(plan).await), Arc::new(cases));
    let cells = (0..cases.len()).flat_map(|number| WAYS.map(|way| (number, way)));
    let failed: Vec<String> = iter(cells)
        .map(|(number, way)| {
            let (test_server, cases) = (Arc::clone(&test_server), Arc::clone(&cases));
            async move {
                let name = format!("{}, {way:?}", cases[number].scenario.name);
                // A failing cell does not stop the others.
                let cell = tokio::spawn(async move {
                    check(&test_server, &cases[number], &model(number), way).await;
                });
                cell.await.err().map(|_| name)
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failed| failed)
        .collect()
        .await;
    assert_eq!(failed, Vec::<String>::new());
    let requests = fake.requests();
    for (number, case) in cases.iter().enumerate() {
        let asked = requests
            .iter()
            .filter(|request| request.model.as_deref() == Some(&model(number)))
            .count();
        assert_eq!(asked, case.asked * WAYS.len(), "{}", case.scenario.name);
    }
    test_server.quiet().await;
    Arc::into_inner(test_server).unwrap().close().await;
}

/// Sends one request, and checks the complete response.
async fn check(test_server: &TestServer, case: &OddCase, model: &str, way: CellTransport) {
    let (scenario, name) = (&case.scenario, &case.scenario.name);
    let body = way.question(model, &tools(way));
    match (way, scenario.outcome) {
        (CellTransport::Socket, _) => {
            let mut socket =
                websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap().socket;
            check_response(
                case,
                &responses::check_stream(scenario, &turn(&mut socket, &body).await),
            );
        }
        (_, ExpectedOutcome::Fails { status, code, after_output: false })
        | (
            CellTransport::Responses(TestFrame::Json) | CellTransport::Chat(TestFrame::Json),
            ExpectedOutcome::Fails { status, code, .. },
        ) => {
            let (found, body) = soon(test_server.json(&way.request(&body))).await.unwrap();
            check_refusal(name, found, &body, (status, code));
            check_error(case, &body["error"]);
            check_part(case, way, &body);
        }
        (CellTransport::Responses(TestFrame::Json), _) => {
            let (status, response) = soon(test_server.json(&way.request(&body))).await.unwrap();
            assert_eq!(status, 200, "{name}: {response}");
            responses::check_end(scenario, &response);
            check_response(case, &response);
        }
        (CellTransport::Chat(TestFrame::Json), _) => {
            let (status, completion) = soon(test_server.json(&way.request(&body))).await.unwrap();
            assert_eq!(status, 200, "{name}: {completion}");
            chat::check_end(scenario, &chat::read_completion(name, &completion));
            let choice = &completion["choices"][0];
            let mut message = choice["message"].clone();
            message["native_finish_reason"] = choice["native_finish_reason"].clone();
            check_message(case, &message);
        }
        (CellTransport::Responses(frame), _) => {
            check_response(
                case,
                &responses::check_stream(
                    scenario,
                    &stream(test_server, case, way, frame, &body).await,
                ),
            );
        }
        (CellTransport::Chat(frame), _) => {
            let data = stream(test_server, case, way, frame, &body).await;
            let ended = chat::read_stream(scenario, &data, true);
            chat::check_end(scenario, &ended);
            match &ended.error {
                Some(error) => check_error(case, error),
                None => check_message(case, &message(&data)),
            }
        }
    }
}

/// The tools of every request: `f` and `weather`.
fn tools(way: CellTransport) -> Value {
    let function =
        |name: &str| json!({ "name": name, "parameters": { "type": "object", "properties": {} } });
    let tool = |name: &str| match way {
        CellTransport::Responses(_) | CellTransport::Socket => {
            let mut tool = function(name);
            tool["type"] = "function".into();
            tool
        }
        CellTransport::Chat(_) => json!({ "type": "function", "function": function(name) }),
    };
    json!({ "tools": [tool("f"), tool("weather")] })
}

/// The data of a complete stream. A failing chat stream is broken off.
async fn stream(
    test_server: &TestServer,
    case: &OddCase,
    way: CellTransport,
    frame: TestFrame,
    body: &Value,
) -> Vec<String> {
    let (events, end) =
        soon(test_server.stream(&way.request(body)).await.collect()).await.unwrap().unwrap();
    let is_named = matches!(way, CellTransport::Responses(_));
    let expected = if is_named { BodyEnd::Clean } else { chat::body_end(&case.scenario) };
    assert_eq!(end, expected, "{}", case.scenario.name);
    data(&case.scenario.name, (frame, end), &events, |event| {
        event["type"].as_str().filter(|_| is_named)
    })
}

/// The partial response of a failure is next to the error.
fn check_part(case: &OddCase, way: CellTransport, body: &Value) {
    let (scenario, name) = (&case.scenario, &case.scenario.name);
    let parts = (body.get("response"), body.get("completion"));
    match (way, scenario.outcome) {
        (_, ExpectedOutcome::Fails { after_output: false, .. }) => {
            assert_eq!(parts, (None, None), "{name}");
        }
        (CellTransport::Chat(_), _) => {
            chat::read_completion(name, parts.1.unwrap()).said.check(name, &scenario.said);
        }
        (CellTransport::Responses(_) | CellTransport::Socket, _) => {
            responses::check_end(scenario, parts.0.unwrap());
        }
    }
}

fn check_error(case: &OddCase, error: &Value) {
    let message = error["message"].as_str().unwrap();
    for word in &case.words {
        assert!(message.contains(word), "{}: no '{word}' in '{message}'", case.scenario.name);
    }
    assert!(!message.contains("sk-"), "{}: {message}", case.scenario.name);
}

fn check_response(case: &OddCase, response: &Value) {
    if !response["error"].is_null() {
        check_error(case, &response["error"]);
    }
    let calls =
        response["output"].as_array().unwrap().iter().filter_map(|item| item["call_id"].as_str());
    check_ids(case, calls);
    for (place, value) in &case.in_response {
        assert_eq!(
            response.pointer(place),
            Some(value),
            "{}, {place}: {response}",
            case.scenario.name
        );
    }
}

fn check_message(case: &OddCase, message: &Value) {
    check_ids(
        case,
        message["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|call| call["id"].as_str()),
    );
    for (place, value) in &case.in_message {
        assert_eq!(
            message.pointer(place),
            Some(value),
            "{}, {place}: {message}",
            case.scenario.name
        );
    }
}

/// Checks that each call has a unique id.
fn check_ids<'a>(case: &OddCase, ids: impl Iterator<Item = &'a str>) {
    let ids: Vec<&str> = ids.collect();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "{}: {ids:?}",
        case.scenario.name
    );
}

/// The message that a client assembles from a stream's chunks.
pub(super) fn message(data: &[String]) -> Value {
    let mut message = Map::new();
    for data in data {
        let chunk: Value = serde_json::from_str(data).unwrap();
        let choice = &chunk["choices"][0];
        for (name, value) in choice["delta"].as_object().into_iter().flatten() {
            match name.as_str() {
                "tool_calls" => merge_calls(&mut message, value),
                _ => merge(&mut message, name, value),
            }
        }
        if !choice["native_finish_reason"].is_null() {
            message.insert("native_finish_reason".into(), choice["native_finish_reason"].clone());
        }
    }
    message.into()
}

fn merge_calls(message: &mut Map<String, Value>, pieces: &Value) {
    let calls = message.entry("tool_calls").or_insert_with(|| json!([])).as_array_mut().unwrap();
    for piece in pieces.as_array().unwrap() {
        let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
        if index == calls.len() {
            calls.push(json!({}));
        }
        let call = calls[index].as_object_mut().unwrap();
        piece
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "index")
            .for_each(|(name, value)| merge(call, name, value));
    }
}

/// Merges a delta: strings and lists are appended, objects are merged by field.
fn merge(fields: &mut Map<String, Value>, name: &str, value: &Value) {
    match (fields.get_mut(name), value) {
        (Some(Value::String(text)), Value::String(more))
            if !["id", "type", "role"].contains(&name) =>
        {
            text.push_str(more);
        }
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.clone()),
        (Some(Value::Object(inner)), Value::Object(more)) => {
            more.iter().for_each(|(name, value)| merge(inner, name, value));
        }
        _ => _ = fields.insert(name.to_owned(), value.clone()),
    }
}

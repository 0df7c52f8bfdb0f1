//! What a provider does not support is rejected by name before any call, in every frame.

use crate::test_server::TestFrame;
use client::soon;
use client::websocket;
use fakes::Vendor;
use fakes::Vendor::{Anthropic, Gemini, Ollama, OpenAi, Responses};
use serde_json::{Value, json};

use super::cells::{CellTransport, WAYS, turn};
use super::vendors::{VendorServers, model};
use crate::test_server::TestServer;

const EVERY: [CellTransport; 7] = WAYS;
const ONLY_RESPONSES: [CellTransport; 4] = [
    CellTransport::Responses(TestFrame::Json),
    CellTransport::Responses(TestFrame::Ndjson),
    CellTransport::Responses(TestFrame::Sse),
    CellTransport::Socket,
];
const ONLY_CHAT: [CellTransport; 3] = [
    CellTransport::Chat(TestFrame::Json),
    CellTransport::Chat(TestFrame::Ndjson),
    CellTransport::Chat(TestFrame::Sse),
];

/// A vendor, an unsupported field, the name in the error, and the ways it can be sent.
type Lack = (Vendor, Value, &'static str, &'static [CellTransport]);

fn lacks() -> Vec<Lack> {
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    let tools = json!([tool]);
    let mut lacks: Vec<Lack> = vec![
        (OpenAi, json!({ "functions": [] }), "functions", &ONLY_RESPONSES),
        (Responses, json!({ "presence_penalty": 0.5 }), "presence_penalty", &EVERY),
        (Responses, json!({ "frequency_penalty": 0.5 }), "frequency_penalty", &EVERY),
        (Responses, json!({ "stop": ["END"] }), "stop", &EVERY),
        (Anthropic, json!({ "presence_penalty": 0.5 }), "presence_penalty", &EVERY),
        (Anthropic, json!({ "frequency_penalty": -0.5 }), "frequency_penalty", &EVERY),
        (Anthropic, json!({ "logit_bias": { "1": 1 } }), "logit_bias", &EVERY),
        (Anthropic, json!({ "service_tier": "flex" }), "service_tier", &EVERY),
        (
            Anthropic,
            json!({ "text": { "format": { "type": "json_object" } } }),
            "text.format",
            &ONLY_RESPONSES,
        ),
        (Anthropic, json!({ "top_logprobs": 2 }), "top_logprobs", &ONLY_RESPONSES),
        (Gemini, json!({ "logit_bias": { "1": 1 } }), "logit_bias", &EVERY),
        (Gemini, json!({ "seed": "seven" }), "seed", &EVERY),
        (Gemini, json!({ "service_tier": "scale" }), "service_tier", &EVERY),
        (Ollama, json!({ "logit_bias": { "1": 1 } }), "logit_bias", &EVERY),
        (
            Ollama,
            json!({ "tool_choice": "required", "tools": tools }),
            "tool_choice",
            &ONLY_RESPONSES,
        ),
    ];
    lacks.extend(other_apis());
    lacks
}

/// Fields that change a request's meaning and belong to another API.
fn other_apis() -> Vec<Lack> {
    let words = [
        (json!({ "conversation": "conv_1" }), "conversation"),
        (json!({ "prompt": { "id": "pmpt_1" } }), "prompt"),
        (json!({ "context_management": [{ "type": "compaction" }] }), "context_management"),
    ];
    let on_each = |(more, param): (Value, &'static str)| {
        Vendor::ALL.map(|vendor| (vendor, more.clone(), param, ONLY_CHAT.as_slice()))
    };
    words
        .into_iter()
        .flat_map(on_each)
        .filter(|(vendor, _, param, _)| *vendor != Responses || *param != "prompt")
        .collect()
}

/// A vendor, an unsupported preference, and its field there.
fn wishes() -> Vec<(Vendor, Value, &'static str)> {
    let verbosity = json!({ "text": { "verbosity": "low" } });
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    let one_at_a_time = json!({ "parallel_tool_calls": false, "tools": [tool] });
    let template = json!({ "chat_template_kwargs": { "enable_thinking": false } });
    vec![
        (Responses, json!({ "seed": 7 }), "seed"),
        (Responses, template.clone(), "chat_template_kwargs"),
        (Anthropic, json!({ "seed": 7 }), "seed"),
        (Anthropic, verbosity.clone(), "verbosity"),
        (Anthropic, template.clone(), "chat_template_kwargs"),
        (Gemini, one_at_a_time.clone(), "parallel_tool_calls"),
        (Gemini, verbosity.clone(), "verbosity"),
        (Gemini, template.clone(), "chat_template_kwargs"),
        (Ollama, one_at_a_time, "parallel_tool_calls"),
        (Ollama, verbosity, "verbosity"),
        (Ollama, template, "chat_template_kwargs"),
    ]
}

#[tokio::test]
async fn an_unsupported_preference_is_left_out() {
    let vendors = VendorServers::open().await;
    for (vendor, more, field) in wishes() {
        let way = CellTransport::Responses(TestFrame::Json);
        let (status, body) = vendors
            .test_server
            .json(&way.request(&way.question(&model(vendor, "text"), &more)))
            .await;
        assert_eq!(
            (status, &body["status"]),
            (200, &json!("completed")),
            "{vendor:?}, {more}: {body}"
        );
        assert!(
            !vendors.last(vendor).body.to_string().contains(field),
            "{vendor:?}: {}",
            vendors.last(vendor).body
        );
    }
    // Anthropic's highest effort replaces all higher ones.
    let way = CellTransport::Chat(TestFrame::Json);
    let (status, _) = vendors
        .test_server
        .json(
            &way.request(&way.question(&model(Anthropic, "text"), &json!({ "temperature": 1.5 }))),
        )
        .await;
    assert_eq!((status, &vendors.last(Anthropic).body["temperature"]), (200, &json!(1.0)));
    vendors.close().await;
}

#[tokio::test]
async fn unsupported_fields_are_rejected_by_name_without_a_call() {
    let vendors = VendorServers::open().await;
    for (vendor, more, param, ways) in lacks() {
        for way in ways {
            let what = format!("{vendor:?}, {more}, {way:?}");
            let body = way.question(&model(vendor, "text"), &more);
            let (status, error) = refusal(&vendors.test_server, *way, &body).await;
            assert_eq!((status, &error["param"]), (400, &json!(param)), "{what}: {error}");
            assert_eq!(error["type"], "invalid_request_error", "{what}: {error}");
            for field in ["code", "message"] {
                assert!(
                    error[field].as_str().is_some_and(|word| !word.is_empty()),
                    "{what}: {error}"
                );
            }
        }
        assert!(vendors.fake(vendor).requests().is_empty(), "{vendor:?}, {more}");
    }
    vendors.close().await;
}

/// The status and error of a rejected request, in any frame.
pub(super) async fn refusal(
    test_server: &TestServer,
    way: CellTransport,
    body: &Value,
) -> (u16, Value) {
    if way != CellTransport::Socket {
        let (status, answer) = test_server.json(&way.request(body)).await;
        return (status, answer["error"].clone());
    }
    let mut socket =
        websocket::connect(test_server.address, "/v1/responses", &[]).await.unwrap().socket;
    socket.send_text(&body.to_string()).await.unwrap();
    let text = soon(socket.next_text()).await.unwrap().unwrap().unwrap();
    let event: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(event["type"], "error", "{event}");
    (u16::try_from(event["status"].as_u64().unwrap_or_default()).unwrap(), event["error"].clone())
}

/// What depends on the conversation: it has a status over HTTP, is reported in band on a socket, and causes no call
/// either.
#[tokio::test]
async fn an_unsupported_part_is_rejected_by_its_path() {
    let vendors = VendorServers::open().await;
    let image = json!({ "type": "input_image", "image_url": "https://example.org/cat.png" });
    let file = json!({ "type": "input_file", "file_url": "https://example.org/cat.pdf" });
    let cases = [
        (Ollama, image, "input[0].content[0].image_url"),
        (OpenAi, file, "input[0].content[0].file_data"),
    ];
    for (vendor, part, param) in cases {
        let more = json!({ "input": [{ "role": "user", "content": [part] }] });
        for frame in [TestFrame::Json, TestFrame::Ndjson, TestFrame::Sse] {
            let way = CellTransport::Responses(frame);
            let (status, error) =
                refusal(&vendors.test_server, way, &way.question(&model(vendor, "text"), &more))
                    .await;
            assert_eq!(
                (status, &error["param"]),
                (400, &json!(param)),
                "{vendor:?}, {frame:?}: {error}"
            );
        }
        let mut socket = websocket::connect(vendors.test_server.address, "/v1/responses", &[])
            .await
            .unwrap()
            .socket;
        let data =
            turn(&mut socket, &CellTransport::Socket.question(&model(vendor, "text"), &more)).await;
        let events: Vec<Value> =
            data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
        let [.., error, terminal] = events.as_slice() else { panic!("{vendor:?}: {events:?}") };
        assert_eq!(
            (error["type"].as_str(), error["error"]["param"].as_str()),
            (Some("error"), Some(param)),
            "{vendor:?}: {error}"
        );
        assert_eq!(
            (error["error"]["status"].as_u64(), &terminal["type"]),
            (Some(400), &json!("response.failed")),
            "{vendor:?}"
        );
        assert!(vendors.fake(vendor).requests().is_empty(), "{vendor:?}");
    }
    vendors.close().await;
}

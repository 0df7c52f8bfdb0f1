//! Several turns with one vendor, and with one after another: tool outputs and encrypted reasoning are sent back as
//! each vendor requires, and to no other vendor.

use client::Request;
use fakes::Vendor::{Anthropic, Gemini, Ollama, OpenAi, Responses};
use fakes::{RecordedRequest, Script, Vendor};
use serde_json::{Value, json};

use super::vendors::{VendorServers, model};

/// The reasoning's signature: base64, as Gemini requires.
const SEAL: &str = "c2VhbC1vZi1vbmU=";

/// The tool's output.
const OUTPUT: &str = "{\"sun\":true}";

/// Sends a request to a vendor's model, after an earlier response if there is one. Returns the response and the
/// vendor's request.
async fn ask(
    vendors: &VendorServers,
    vendor: Vendor,
    script: Script,
    more: &Value,
) -> (Value, RecordedRequest) {
    vendors.fake(vendor).script(script);
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    let mut body = json!({ "model": model(vendor, "text"), "input": "Weather?", "tools": [tool], "reasoning": { "effort": "low" } });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, response) = vendors.test_server.json(&Request::post("/v1/responses", &body)).await;
    assert_eq!(
        (status, response["status"].as_str()),
        (200, Some("completed")),
        "{vendor:?}: {response}"
    );
    (response, vendors.last(vendor))
}

/// A call after signed reasoning.
fn calls() -> Script {
    let thought = Script::new().role().reason("Hm.").signature(SEAL);
    thought
        .call(0, "call_1", "weather", &["{\"city\":", "\"Wien\"}"])
        .finish("tool_calls")
        .usage(9, 3, 1)
        .done()
}

/// Text after signed reasoning.
fn answers() -> Script {
    Script::new()
        .role()
        .reason("Hm.")
        .signature(SEAL)
        .content("Sunny.")
        .finish("stop")
        .usage(9, 3, 1)
        .done()
}

/// The first two turns: a call, its output, and the response. Returns the last response and the vendor's last
/// request.
async fn round(vendors: &VendorServers, vendor: Vendor) -> (Value, RecordedRequest) {
    let (first, _) = ask(vendors, vendor, calls(), &json!({})).await;
    let call = first["output"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["type"] == "function_call")
        .unwrap();
    let output =
        json!([{ "type": "function_call_output", "call_id": call["call_id"], "output": OUTPUT }]);
    ask(
        vendors,
        vendor,
        answers(),
        &json!({ "input": output, "previous_response_id": first["id"] }),
    )
    .await
}

/// What a vendor's request must contain after a tool's output: path and value.
fn after_a_tool(vendor: Vendor) -> Vec<(&'static str, Value)> {
    match vendor {
        OpenAi => vec![
            ("/messages/1/tool_calls/0/id", json!("call_1")),
            ("/messages/1/tool_calls/0/function/arguments", json!("{\"city\":\"Wien\"}")),
            ("/messages/2", json!({ "role": "tool", "tool_call_id": "call_1", "content": OUTPUT })),
        ],
        Responses => vec![
            ("/store", json!(false)),
            ("/include/0", json!("reasoning.encrypted_content")),
            ("/input/1/encrypted_content", json!(SEAL)),
            ("/input/1/id", json!("rs_lab_0")),
            ("/input/1/summary/0/text", json!("Hm.")),
            ("/input/2/arguments", json!("{\"city\":\"Wien\"}")),
            (
                "/input/3",
                json!({ "type": "function_call_output", "call_id": "call_1", "output": OUTPUT }),
            ),
        ],
        Anthropic => vec![
            (
                "/messages/1/content/0",
                json!({ "type": "thinking", "thinking": "Hm.", "signature": SEAL }),
            ),
            (
                "/messages/1/content/1",
                json!({ "type": "tool_use", "id": "call_1", "name": "weather", "input": { "city": "Wien" } }),
            ),
            (
                "/messages/2/content/0",
                json!({ "type": "tool_result", "tool_use_id": "call_1", "content": OUTPUT }),
            ),
        ],
        Gemini => vec![
            ("/contents/1/parts/0/thoughtSignature", json!(SEAL)),
            ("/contents/1/parts/0/functionCall/args", json!({ "city": "Wien" })),
            ("/contents/2/parts/0/functionResponse/name", json!("weather")),
            ("/contents/2/parts/0/functionResponse/response", json!({ "sun": true })),
        ],
        Ollama => vec![
            ("/messages/1/thinking", json!("Hm.")),
            ("/messages/1/tool_calls/0/function/arguments", json!({ "city": "Wien" })),
            ("/messages/2/content", json!(OUTPUT)),
            ("/messages/2/tool_name", json!("weather")),
        ],
    }
}

/// What a vendor's request must contain after signed reasoning and text.
fn after_reasoning(vendor: Vendor) -> Vec<(&'static str, Value)> {
    match vendor {
        // Chat completions do not send reasoning back.
        OpenAi => vec![("/messages/1", json!({ "role": "assistant", "content": "Sunny." }))],
        Responses => vec![
            ("/input/1/encrypted_content", json!(SEAL)),
            ("/input/2/content/0/text", json!("Sunny.")),
        ],
        Anthropic => vec![
            (
                "/messages/1/content/0",
                json!({ "type": "thinking", "thinking": "Hm.", "signature": SEAL }),
            ),
            ("/messages/1/content/1/text", json!("Sunny.")),
        ],
        Gemini => {
            vec![("/contents/1/parts/0", json!({ "text": "Sunny.", "thoughtSignature": SEAL }))]
        }
        Ollama => {
            vec![("/messages/1/thinking", json!("Hm.")), ("/messages/1/content", json!("Sunny."))]
        }
    }
}

fn check(vendor: Vendor, asked: &RecordedRequest, held: Vec<(&'static str, Value)>) {
    for (place, value) in held {
        assert_eq!(asked.body.pointer(place), Some(&value), "{vendor:?} {place}: {}", asked.body);
    }
}

fn says_seal(asked: &RecordedRequest) -> bool {
    asked.body.to_string().contains(SEAL)
}

/// Whether a vendor requires its signature back.
fn seals(vendor: Vendor) -> bool {
    match vendor {
        Responses | Anthropic | Gemini => true,
        OpenAi | Ollama => false,
    }
}

#[tokio::test]
async fn a_tools_output_is_sent_back_with_the_call_and_its_reasoning() {
    let vendors = VendorServers::open().await;
    for vendor in Vendor::ALL {
        let (second, asked) = round(&vendors, vendor).await;
        check(vendor, &asked, after_a_tool(vendor));
        let text = second["output"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["type"] == "message")
            .unwrap();
        assert_eq!(text["content"][0]["text"], "Sunny.", "{vendor:?}");
    }
    vendors.close().await;
}

#[tokio::test]
async fn signed_reasoning_is_sent_back_to_its_vendor() {
    let vendors = VendorServers::open().await;
    for vendor in Vendor::ALL {
        let (first, _) = ask(&vendors, vendor, answers(), &json!({})).await;
        let (_, asked) = ask(
            &vendors,
            vendor,
            answers(),
            &json!({ "input": "Sure?", "previous_response_id": first["id"] }),
        )
        .await;
        check(vendor, &asked, after_reasoning(vendor));
        assert_eq!(says_seal(&asked), seals(vendor), "{vendor:?}: {}", asked.body);
    }
    vendors.close().await;
}

#[tokio::test]
async fn a_conversation_continues_with_any_other_vendor_and_back() {
    let vendors = VendorServers::open().await;
    for from in Vendor::ALL {
        for to in Vendor::ALL.into_iter().filter(|to| *to != from) {
            let (second, _) = round(&vendors, from).await;
            let (third, asked) = ask(
                &vendors,
                to,
                answers(),
                &json!({ "input": "Sure?", "previous_response_id": second["id"] }),
            )
            .await;
            let body = asked.body.to_string();
            assert!(!says_seal(&asked), "{from:?} to {to:?}: a foreign seal in {body}");
            for mark in ["anthropic.signature", "gemini.signature", "openai.8."] {
                assert!(!body.contains(mark), "{from:?} to {to:?}: {mark} in {body}");
            }
            // All content is there, including the call and its output.
            for said in ["Weather?", "Wien", "sun", "Sunny.", "Sure?"] {
                assert!(body.contains(said), "{from:?} to {to:?}: no {said} in {body}");
            }
            let (_, asked) = ask(
                &vendors,
                from,
                answers(),
                &json!({ "input": "Really?", "previous_response_id": third["id"] }),
            )
            .await;
            check(from, &asked, after_a_tool(from));
            // Two signatures of its own (of the call and of the response after it), and none of the other vendor's.
            let count = asked.body.to_string().matches(SEAL).count();
            assert_eq!(
                count,
                if seals(from) { 2 } else { 0 },
                "{to:?} back to {from:?}: {}",
                asked.body
            );
        }
    }
    vendors.close().await;
}

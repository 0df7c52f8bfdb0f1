//! Content next to the text, or instead of it (K7, K2): it reaches every caller, can be sent back, and errors name it
//! as the caller wrote it.

use std::io::Write;

use fakes::Script;
use flate2::Compression;
use flate2::write::GzEncoder;
use provider::config::Preset;
use serde_json::{Value, json};

use super::case::{OddCase, STOP, USAGE, c, chunks, f};
use super::rounds::{EVERY, GoesOn, OddServer, Tools, check, with};
use super::run::run;
use crate::scenarios::content::ResponseContent;
use crate::scenarios::table::ExpectedUsage;

/// A response with nothing but one unknown field.
fn only(name: &'static str, deltas: &[Value], place: &'static str, value: Value) -> OddCase {
    let script = chunks(
        deltas.iter().map(|delta| c(&delta.to_string())).chain([f("stop"), USAGE.to_owned()]),
    );
    let (response, message) = match place {
        "audio" => ("/output/0/audio", "/audio"),
        "foo" => ("/output/0/foo", "/foo"),
        _ => ("/output/0/thinking", "/thinking"),
    };
    OddCase::new(name, script, ResponseContent::default(), STOP, ExpectedUsage::Provider(9, 2, 0))
        .beside(response, message, value)
}

#[tokio::test]
async fn fields_without_a_text_reach_every_caller() {
    let audio = json!({ "id": "a", "data": "AUDX" });
    run(vec![
        only("audio", &[json!({ "audio": audio })], "audio", audio.clone()),
        only("an unknown field", &[json!({ "foo": "BAR1" })], "foo", json!("BAR1")),
        only(
            "thoughts in pieces",
            &[json!({ "thinking": "hmA" }), json!({ "thinking": "hmB" })],
            "thinking",
            json!("hmAhmB"),
        ),
        only(
            "audio in pieces",
            &[
                json!({ "audio": { "data": "AU" } }),
                json!({ "audio": { "data": "DX", "id": "a" } }),
            ],
            "audio",
            json!({ "data": "AUDX", "id": "a" }),
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_empty_response_can_be_sent_back() {
    let empty = chunks([f("stop"), USAGE.to_owned()]);
    let talk = OddServer::open(Preset::Compatible).await;
    let asked = talk.round(&empty, GoesOn::Messages, &Tools::default()).await;
    check(
        &asked,
        &[
            ("/messages/1", json!({ "role": "assistant", "content": "" })),
            ("/messages/2/content", json!("and?")),
        ],
        &"chat",
    );
    talk.close().await;
}

#[tokio::test]
async fn a_gemini_image_is_sent_back_to_gemini_only() {
    let image = r#"{"candidates":[{"content":{"role":"model","parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"finishReason":"STOP"}]}"#;
    let script = Script::new().raw(format!("data: {image}\n\n"));
    let talk = OddServer::open(Preset::Gemini).await;
    for goes_on in EVERY {
        let asked = talk.round(&script, goes_on, &Tools::default()).await;
        check(
            &asked,
            &[(
                "/contents/1/parts/0/inlineData",
                json!({ "mimeType": "image/png", "data": "AA==" }),
            )],
            &goes_on,
        );
    }
    talk.close().await;
    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" }, "index": 0 });
    let said = json!({ "model": "odd", "messages": [
        { "role": "user", "content": "Draw" },
        { "role": "assistant", "content": null, "images": [image] },
        { "role": "user", "content": "Nice" },
    ] });
    for (preset, is_told) in
        [(Preset::Anthropic, true), (Preset::Ollama, true), (Preset::OpenRouter, false)]
    {
        let talk = OddServer::open(preset).await;
        talk.fake.default_script(Script::text(&["Done."]));
        let mut response =
            talk.test_server.send(&client::Request::post("/v1/chat/completions", &said)).await;
        assert_eq!(response.status, 200, "{preset:?}");
        let is_there = response
            .headers
            .get("weir-warning")
            .is_some_and(|warning| warning.contains("messages[1].images[0]"));
        assert_eq!(is_there, is_told, "{preset:?}");
        response.end().await.unwrap();
        talk.close().await;
    }
}

#[tokio::test]
async fn errors_name_the_field_as_the_caller_wrote_it() {
    let audio =
        json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } });
    let said = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "a", "reasoning_content": "hm" },
        { "role": "user", "content": [{ "type": "text", "text": "b" }, audio] },
    ]);
    let hi = json!([{ "role": "user", "content": "hi" }]);
    let cases = [
        (Preset::Anthropic, json!({ "messages": said }), "messages[2].content[1].type"),
        (Preset::Ollama, json!({ "messages": said }), "messages[2].content[1].type"),
        (
            Preset::Anthropic,
            json!({ "messages": hi, "response_format": { "type": "json_object" } }),
            "response_format",
        ),
        (Preset::Anthropic, json!({ "messages": hi, "logprobs": true }), "logprobs"),
    ];
    for (preset, body, param) in cases {
        let talk = OddServer::open(preset).await;
        let (status, refused) = talk
            .test_server
            .post("/v1/chat/completions", &with(&json!({ "model": "odd" }), &body))
            .await;
        assert_eq!(
            (status, &refused["error"]["param"]),
            (400, &json!(param)),
            "{preset:?} {refused}"
        );
        assert!(!refused["error"]["message"].as_str().unwrap().contains("input["), "{refused}");
        talk.close().await;
    }
}

#[tokio::test]
async fn compressed_embeddings_are_read() {
    let list =
        json!({ "object": "list", "data": [{ "object": "embedding", "index": 0, "embedding": [1.0, 2.0] }], "model": "m" }).to_string();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(list.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let talk = OddServer::open(Preset::Compatible).await;
    for headers in [
        &[("content-type", "application/json"), ("content-encoding", "gzip")][..],
        &[("content-type", "application/json")],
    ] {
        talk.fake.script(Script::status(200, headers, body.clone()));
        let (status, response) =
            talk.test_server.post("/v1/embeddings", &json!({ "model": "odd", "input": "x" })).await;
        assert_eq!(
            (status, &response["data"][0]["embedding"]),
            (200, &json!([1.0, 2.0])),
            "{headers:?}: {response}"
        );
    }
    talk.close().await;
}

//! One test per recorded body, and a property test that splitting a body does not matter.

#![expect(clippy::unnecessary_wraps, reason = "words as the reader gives them")]

mod odd;

use engine::provider::event::Finish;
use engine::provider::failure::ProviderFailure;
use proptest::prelude::*;
use protocol::fault::FaultKind;
use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde_json::json;

use super::super::super::body::{BodyParser, MAX_EVENT_BYTES};
use super::super::super::sample::{self, ParsedEvents, STOP, call, split, spoken, text};
use super::*;
use crate::tools::Lifter;

fn read(pieces: &[&[u8]]) -> ParsedEvents {
    sample::read(
        BodyParser::new(ChatGrammar::default(), sample::north(), Lifter::default()),
        pieces,
    )
}

/// The parsed events of a body, without keep-alives.
fn said(body: &str) -> ParsedEvents {
    spoken(read(&[body.as_bytes()]))
}

fn events(chunks: &[Value]) -> String {
    chunks.iter().fold(String::new(), |body, chunk| body + &format!("data: {chunk}\n\n"))
}

fn delta(delta: &Value) -> Value {
    json!({ "id": "c", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }], "usage": null })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

fn usage(
    input: u64,
    output: u64,
    cached_tokens: u64,
    reasoning_tokens: u64,
) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Usage(Usage {
        input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens: 0 },
        output_tokens_details: OutputTokensDetails { reasoning_tokens },
        ..Usage::new(UsageSource::Provider, input, output)
    }))
}

fn check(chunks: &[Value], expected: &[Result<ModelEvent, ProviderFailure>]) {
    assert_eq!(said(&events(chunks)), expected, "{chunks:?}");
}

/// Checks the events before an error, and the error's status and code.
fn check_fault(body: &str, before: &[Result<ModelEvent, ProviderFailure>], expected: (u16, &str)) {
    let mut words = said(body);
    let fault = words.pop().unwrap().unwrap_err().fault;
    assert_eq!(words, before, "{body}");
    assert_eq!((fault.status, fault.code.as_str()), expected, "{body}");
}

#[test]
fn text_as_openai_sends_it() {
    let counts = json!({
        "prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21,
        "prompt_tokens_details": { "cached_tokens": 4 }, "completion_tokens_details": { "reasoning_tokens": 3 },
    });
    let body = events(&[
        delta(&json!({ "role": "assistant", "content": "" })),
        delta(&json!({ "content": "Hel" })),
        delta(&json!({ "content": "lo" })),
        finish("stop"),
        json!({ "choices": [], "usage": counts }),
    ]) + "data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"never\"}}]}\n\n";
    assert_eq!(said(&body), [text("Hel"), text("lo"), STOP, usage(9, 12, 4, 3)]);
}

#[test]
fn done_is_no_evidence_and_empty_chunks_are_keep_alives() {
    let body = ": keep-alive\n\ndata: : keepalive\n\ndata:\n\ndata: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\ndata: [DONE]\n\n";
    assert_eq!(read(&[body.as_bytes()]), vec![Ok(ModelEvent::KeepAlive); 4]);
}

#[test]
fn reasoning_in_either_field() {
    let deepseek =
        json!({ "prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 1 });
    check(
        &[
            delta(&json!({ "role": "assistant", "content": null, "reasoning_content": "hm" })),
            delta(&json!({ "reasoning": "so", "reasoning_content": null })),
            delta(&json!({ "reasoning": "x", "reasoning_content": "x" })),
            delta(
                &json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "deep" }] }, { "type": "text", "text": "said" }] }),
            ),
            json!({ "choices": [{ "delta": { "content": "Hi", "reasoning_content": null }, "finish_reason": "stop" }], "usage": deepseek }),
        ],
        &[
            Ok(ModelEvent::Reasoning("hm".into())),
            Ok(ModelEvent::Reasoning("so".into())),
            Ok(ModelEvent::Reasoning("x".into())),
            Ok(ModelEvent::Reasoning("deep".into())),
            text("said"),
            text("Hi"),
            usage(5, 2, 1, 0),
            STOP,
        ],
    );
}

#[test]
fn refusals_and_log_probabilities() {
    let logprobs = json!([{ "token": "a", "logprob": -0.5 }]);
    check(
        &[
            delta(&json!({ "refusal": "No." })),
            json!({ "choices": [{ "index": 0, "delta": { "content": "a" }, "logprobs": { "content": logprobs, "refusal": null } }] }),
            json!({ "choices": [{ "index": 1, "delta": { "content": "another choice" } }] }),
        ],
        &[
            Ok(ModelEvent::Refusal("No.".into())),
            Ok(ModelEvent::Text {
                text: "a".into(),
                logprobs: logprobs.as_array().cloned().unwrap(),
            }),
        ],
    );
}

fn calls(pieces: &Value) -> Value {
    delta(&json!({ "tool_calls": pieces }))
}

#[test]
fn calls_by_index() {
    check(
        &[
            calls(
                &json!([{ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "" } }]),
            ),
            calls(&json!([{ "index": 0, "function": { "arguments": "{\"x\":" } }])),
            calls(
                &json!([{ "index": 1, "id": "b", "function": { "name": "g", "arguments": "{}" } }]),
            ),
            calls(
                &json!([{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "1}" } }]),
            ),
            finish("tool_calls"),
        ],
        &[
            call(0, Some("a"), Some("f"), ""),
            call(0, None, None, "{\"x\":"),
            call(1, Some("b"), Some("g"), ""),
            call(0, None, None, "1}"),
            STOP,
        ],
    );
}

#[test]
fn calls_without_an_index_or_with_a_wrong_one() {
    check(
        &[
            calls(
                &json!([{ "id": "a", "function": { "name": "f", "arguments": "1" } }, { "id": "b", "function": { "name": "f" } }]),
            ),
            calls(
                &json!([{ "id": "a", "function": { "arguments": "2" } }, { "function": { "arguments": "3" } }]),
            ),
        ],
        &[
            call(0, Some("a"), Some("f"), "1"),
            call(1, Some("b"), Some("f"), ""),
            call(0, None, None, "2"),
            call(1, None, None, "3"),
        ],
    );
    check(
        &[
            calls(
                &json!([{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{}" } }]),
            ),
            calls(
                &json!([{ "index": 0, "id": "b", "function": { "name": "f", "arguments": { "x": 1 } } }]),
            ),
        ],
        &[call(0, Some("a"), Some("f"), ""), call(1, Some("b"), Some("f"), "{\"x\":1}")],
    );
}

#[test]
fn the_deprecated_function_call() {
    check(
        &[
            delta(&json!({ "function_call": { "name": "f", "arguments": "" } })),
            delta(&json!({ "function_call": { "arguments": "{\"x\":1}" } })),
            finish("function_call"),
        ],
        &[call(0, None, Some("f"), ""), call(0, None, None, "{\"x\":1}"), STOP],
    );
}

#[test]
fn every_finish_reason() {
    check(&[finish("length")], &[Ok(ModelEvent::Finish(Finish::Length))]);
    check(&[finish("content_filter")], &[Ok(ModelEvent::Finish(Finish::ContentFilter))]);
    check(&[finish("vibes")], &[Ok(ModelEvent::Finish(Finish::Unknown("vibes".into())))]);
    check(&[finish(""), finish("stop"), finish("stop")], &[STOP]);
    check_fault(
        &events(&[delta(&json!({ "content": "a" })), finish("insufficient_system_resource")]),
        &[text("a")],
        (502, "upstream_error"),
    );
}

#[test]
fn errors_in_the_stream_end_the_response() {
    let before = events(&[delta(&json!({ "content": "a" }))]);
    let after = "data: {\"choices\":[{\"delta\":{\"content\":\"never\"}}]}\n\ndata: [DONE]\n\n";
    let body = |error: &str| format!("{before}data: {error}\n\n{after}");
    check_fault(
        &body(r#"{"error":{"message":"boom","type":"server_error","code":null}}"#),
        &[text("a")],
        (502, "upstream_error"),
    );
    check_fault(&body(r#"{"error":"boom"}"#), &[text("a")], (502, "upstream_error"));
    check_fault(
        &body(r#"{"choices":[],"error":{"message":"slow","code":429}}"#),
        &[text("a")],
        (429, "rate_limit_exceeded"),
    );
    check_fault(
        &body(
            r#"{"choices":[{"delta":{},"finish_reason":"error"}],"error":{"message":"x","code":503}}"#,
        ),
        &[text("a")],
        (503, "upstream_overloaded"),
    );
    check_fault(
        &format!("{before}event: error\ndata: {{\"message\":\"boom\"}}\n\n"),
        &[text("a")],
        (502, "upstream_error"),
    );
    check_fault(&body("{\"choices\":"), &[text("a")], (502, "upstream_invalid_data"));
    check_fault(&body("{pong}"), &[text("a")], (502, "upstream_invalid_data"));
    check(
        &[
            json!({ "error": null, "choices": [] }),
            json!({ "error": "" }),
            json!({ "error": false }),
            json!({ "error": {} }),
        ],
        &[],
    );
}

#[test]
fn a_last_event_without_its_blank_line_counts_if_complete() {
    let whole = events(&[finish("stop")]);
    assert_eq!(said(whole.trim_end()), [STOP]);
    assert_eq!(said(&whole[..whole.len() - 5]), []);
}

#[test]
fn a_body_that_is_not_a_stream_is_read_as_a_document() {
    let message = json!({
        "role": "assistant", "content": "Hi", "reasoning_content": "hm",
        "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": "{}" } }, { "id": "b", "function": { "name": "g", "arguments": "{}" } }],
    });
    let counts = json!({ "prompt_tokens": 1, "completion_tokens": 2 });
    let body = json!({ "object": "chat.completion", "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }], "usage": counts });
    let expected = [
        Ok(ModelEvent::Reasoning("hm".into())),
        text("Hi"),
        call(0, Some("a"), Some("f"), ""),
        call(1, Some("b"), Some("g"), ""),
        usage(1, 2, 0, 0),
        STOP,
    ];
    assert_eq!(said(&format!("\n\n{body:#}\n")), expected);
    check_fault(
        r#"{"error":{"message":"no","code":"context_length_exceeded"}}"#,
        &[],
        (400, "context_length_exceeded"),
    );
    check_fault(r#"[{"error":{"message":"no","code":500}}]"#, &[], (502, "upstream_error"));
    check_fault("{\"choices\":[", &[], (502, "upstream_cut"));
    check_fault("<!doctype html>", &[], (502, "upstream_invalid_data"));
}

#[test]
fn a_huge_event_is_an_error() {
    let body = format!("data: {}", "x".repeat(MAX_EVENT_BYTES + 1));
    let fault = said(&body).pop().unwrap().unwrap_err().fault;
    assert_eq!(
        (fault.status, fault.kind, fault.code.as_str()),
        (502, FaultKind::Upstream, "upstream_event_too_large")
    );
    check_fault(
        &format!("{{{}", " ".repeat(MAX_EVENT_BYTES)),
        &[],
        (502, "upstream_event_too_large"),
    );
}

#[test]
fn a_byte_order_mark_may_arrive_in_pieces() {
    let document =
        r#"{"choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}]}"#;
    for body in [
        format!("\u{feff}{document}"),
        format!("\u{feff}\n{document}"),
        "\u{feff}data: [DONE]\n\n".to_owned(),
    ] {
        for cut in 0..6 {
            let (first, rest) = body.as_bytes().split_at(cut);
            assert_eq!(read(&[first, rest]), read(&[body.as_bytes()]), "{body:?} cut at {cut}");
        }
    }
}

fn chunk() -> impl Strategy<Value = Value> {
    prop_oneof![
        "\\PC{0,8}|你好é\n".prop_map(|text| delta(&json!({ "content": text }))),
        "\\PC{1,8}".prop_map(|text| delta(&json!({ "reasoning": text }))),
        (0..3_u64, "[a-c]").prop_map(|(index, id)| calls(
            &json!([{ "index": index, "id": id, "function": { "name": id, "arguments": "{" } }])
        )),
        Just(finish("stop")),
        Just(json!({ "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } })),
        Just(json!({ "error": { "message": "boom" } })),
    ]
}

proptest! {
    #[test]
    fn the_split_and_the_line_ends_do_not_matter(
        chunks in prop::collection::vec(chunk(), 0..8),
        sizes in prop::collection::vec(1_usize..20, 1..20),
        ending in prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
    ) {
        let whole = events(&chunks) + ": ping\n\ndata: [DONE]\n\n";
        let body = whole.replace('\n', ending);
        prop_assert_eq!(read(&split(&body, &sizes)), read(&[whole.as_bytes()]));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = read(&[b"data: ", &bytes, b"\n\n"]);
        prop_assert!(words.iter().filter(|word| word.is_err()).count() <= 1);
    }
}

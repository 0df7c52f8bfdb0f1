//! Finish reasons (K3), repetitions of streamed text (K5), odd characters and fields (K6), unknown fields (K7) and
//! implausible usage (K10), over chat completions.

use fakes::Script;
use serde_json::json;

use super::case::{
    FILTERED, LENGTH, OddCase, STOP, UNKNOWN, USAGE, c, call, called, chunks, f, failed,
    only_calls, whole,
};
use super::run::run;
use crate::scenarios::content::ResponseContent;
use crate::scenarios::table::{ExpectedOutcome, ExpectedUsage};

/// A text delta in its own chunk.
fn text(piece: &str) -> String {
    c(&format!(r#"{{"content":"{piece}"}}"#))
}

#[tokio::test]
async fn a_finish_reason_for_truncation_filter_or_failure_is_never_completed() {
    let half = |reason: &str| chunks([text("half"), f(reason), USAGE.to_owned()]);
    let ends = |outcome: ExpectedOutcome| {
        move |reason: &'static str| {
            OddCase::new(
                reason,
                half(reason),
                ResponseContent::text("half"),
                outcome,
                ExpectedUsage::Provider(9, 2, 0),
            )
        }
    };
    let stops = ["stop", "eos", "eos_token", "end_turn", "COMPLETE", "stop_sequence", "endoftext"];
    let lengths = [
        "length",
        "max_tokens",
        "MAX_TOKENS",
        "model_context_window_exceeded",
        "model_length",
        "maxPredictedTokensReached",
    ];
    let filters = [
        "content_filter",
        "sensitive",
        "SAFETY",
        "LANGUAGE",
        "guardrail_intervened",
        "datainspection_failed",
    ];
    let unknown = |reason: &'static str| {
        ends(UNKNOWN)(reason).beside(
            "/metadata/upstream_finish_reason",
            "/native_finish_reason",
            json!(reason),
        )
    };
    let fails = |reason: &'static str| {
        failed(reason, half(reason), "half", (502, "upstream_error"), &[reason, "lab-chat"])
    };
    let cases = stops
        .map(ends(STOP))
        .into_iter()
        .chain(lengths.map(ends(LENGTH)))
        .chain(filters.map(ends(FILTERED)));
    let others = ["OTHER", "vibes", "已停止"].map(unknown);
    let failures = [
        "abort",
        "error",
        "insufficient_system_resource",
        "network_error",
        "MALFORMED_FUNCTION_CALL",
    ]
    .map(fails);
    run(cases.chain(others).chain(failures).collect()).await;
}

#[tokio::test]
async fn streamed_content_is_not_repeated_by_a_summary() {
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#;
    let summary = |message: &str, reason: &str| {
        format!(
            r#"{{"object":"chat.completion","choices":[{{"index":0,"finish_reason":"{reason}","message":{message}}}],{usage}}}"#
        )
    };
    let thought = ResponseContent { reasoning: "hm".into(), ..ResponseContent::text("Hello") };
    let piece = r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\":\"A\"}"}}"#;
    let calls = only_calls(vec![called("call_a", "f", r#"{"city":"A"}"#)]);
    let message_with_call =
        format!(r#"{{"role":"assistant","content":null,"tool_calls":[{piece}]}}"#);
    run(vec![
        whole(
            "text after the finish reason",
            chunks([
                text("Hel"),
                text("lo"),
                f("stop"),
                summary(r#"{"role":"assistant","content":"Hello"}"#, "stop"),
            ]),
            ResponseContent::text("Hello"),
        ),
        whole(
            "text with the finish reason",
            chunks([
                text("Hel"),
                text("lo"),
                summary(r#"{"role":"assistant","content":"Hello"}"#, "stop"),
            ]),
            ResponseContent::text("Hello"),
        ),
        whole(
            "text and reasoning",
            chunks([
                c(r#"{"reasoning_content":"h"}"#),
                c(r#"{"reasoning_content":"m"}"#),
                text("Hel"),
                text("lo"),
                f("stop"),
                summary(
                    r#"{"role":"assistant","content":"Hello","reasoning_content":"hm"}"#,
                    "stop",
                ),
            ]),
            thought.clone(),
        ),
        whole(
            "a call",
            chunks([call(piece), f("tool_calls"), summary(&message_with_call, "tool_calls")]),
            calls,
        ),
        whole(
            "the last delta holds all of it",
            chunks([
                text("Hel"),
                text("lo"),
                r#"{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}"#
                    .to_owned(),
                USAGE.to_owned(),
            ]),
            ResponseContent::text("Hello"),
        ),
        whole(
            "a message where no delta came",
            chunks([summary(
                r#"{"role":"assistant","content":"Hello","reasoning_content":"hm"}"#,
                "stop",
            )]),
            thought,
        ),
    ])
    .await;
}

/// An odd chunk between two text deltas, which must both arrive.
fn between(name: &str, odd: &str) -> OddCase {
    let data = [text("a "), odd.to_owned(), text("b"), f("stop"), USAGE.to_owned()];
    whole(name, chunks(data), ResponseContent::text("a b"))
}

#[tokio::test]
async fn an_odd_field_does_not_break_a_response() {
    let choice = |fields: &str| format!(r#"{{"choices":[{{"index":0,{fields}}}]}}"#);
    let twice = r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":"","reasoning_content":"hm"}}]}"#;
    let thought = ResponseContent { reasoning: "hm".into(), ..ResponseContent::text("a") };
    run(vec![
        whole("a key that comes twice", chunks([twice, &text("a"), &f("stop"), USAGE]), thought),
        between("delta []", &choice(r#""delta":[]"#)),
        between("choice index \"0\"", r#"{"choices":[{"index":"0","delta":{"content":""}}]}"#),
        between("tool_calls {}", &choice(r#""delta":{"tool_calls":{}}"#)),
        between("function_call \"\"", &choice(r#""delta":{"function_call":""}"#)),
        between("finish_reason false", &choice(r#""delta":{},"finish_reason":false"#)),
        between("refusal {}", &choice(r#""delta":{"refusal":{}}"#)),
        between("error []", r#"{"error":[],"choices":[]}"#),
        between("error with a message of null", r#"{"error":{"message":null},"choices":[]}"#),
        between("null", "null"),
        between("logprob NaN", &choice(r#""delta":{},"logprobs":{"content":[{"token":"a","logprob":NaN}]}"#)),
        whole(
            "logprob NaN beside text",
            chunks([
                choice(r#""delta":{"content":"a b"},"logprobs":{"content":[{"token":"a","logprob":NaN,"bytes":null,"top_logprobs":[]}]}"#),
                f("stop"),
                USAGE.to_owned(),
            ]),
            ResponseContent::text("a b"),
        ),
        whole(
            "the index of the choice in a text",
            chunks([r#"{"choices":[{"index":"0","delta":{"content":"a b"}}]}"#, &f("stop"), USAGE]),
            ResponseContent::text("a b"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_character_split_between_chunks_is_joined() {
    let split = |field: &str| {
        let piece = |text: &str| c(&format!(r#"{{"{field}":"{text}"}}"#));
        chunks([piece(r"a \ud83d"), piece(r"\ude00 b"), text("."), f("stop"), USAGE.to_owned()])
    };
    let emoji = r#"{"city":"😀"}"#;
    run(vec![
        whole("in the text", split("content"), ResponseContent::text("a 😀 b.")),
        whole("in the reasoning", split("reasoning_content"), ResponseContent { reasoning: "a 😀 b".into(), ..ResponseContent::text(".") }),
        whole(
            "in the arguments",
            chunks([
                call(r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\":\"\ud83d"}}"#),
                call(r#"{"index":0,"function":{"arguments":"\ude00\"}"}}"#),
                f("tool_calls"),
                USAGE.to_owned(),
            ]),
            only_calls(vec![called("call_a", "f", emoji)]),
        ),
        whole("a lone half", chunks([text(r"a \ud83d"), text(" b"), f("stop"), USAGE.to_owned()]), ResponseContent::text("a \u{fffd} b")),
        whole("a lone half at the end", chunks([text(r"a \ud83d"), f("stop"), USAGE.to_owned()]), ResponseContent::text("a \u{fffd}")),
        whole("the second half alone", chunks([text(r"a \ude00"), f("stop"), USAGE.to_owned()]), ResponseContent::text("a \u{fffd}")),
    ])
    .await;
}

#[tokio::test]
async fn lines_that_are_not_chunks_are_ignored_and_truncated_ones_are_errors() {
    let rest = || {
        format!("data: {}\n\ndata: {}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n", text("b"), f("stop"))
    };
    let first = || format!("data: {}\n\n", text("a "));
    let alive = |name: &str, bytes: &str| {
        whole(
            name,
            Script::new().raw(first()).raw(bytes.to_owned()).raw(rest()),
            ResponseContent::text("a b"),
        )
    };
    let four = format!(
        "data: {}\ndata: {}\ndata: {}\ndata: {USAGE}\ndata: [DONE]\n\n",
        text("a "),
        text("b"),
        f("stop")
    );
    let spread = "data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"a b\"}}]}\n\n";
    let spread_rest = format!("data: {}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n", f("stop"));
    let cut = r#"{"choices":[{"index":0,"delta":{"content":"b"#;
    run(vec![
        alive("event: ping with a time", "event: ping\ndata: 2026-11-29T10:00:00Z\n\n"),
        alive("event: heartbeat with a word", "event: heartbeat\ndata: alive\n\n"),
        alive("a ping without a name", "data: ping\n\n"),
        alive("a comment", ": OPENROUTER PROCESSING\n\n"),
        alive("an event without data", "event: ping\n\n"),
        whole(
            "four chunks without a blank line",
            Script::new().raw(four),
            ResponseContent::text("a b"),
        ),
        whole(
            "a chunk in several data lines",
            Script::new().raw(spread).raw(spread_rest),
            ResponseContent::text("a b"),
        ),
        failed(
            "a chunk that is cut",
            chunks([text("a "), cut.to_owned(), f("stop")]),
            "a ",
            (502, "upstream_invalid_data"),
            &["lab-chat"],
        ),
        failed(
            "the body ends in a chunk",
            Script::new().raw(first()).raw(format!("data: {cut}")),
            "a ",
            (502, "upstream_truncated"),
            &[],
        ),
    ])
    .await;
}

#[tokio::test]
async fn unknown_fields_reach_the_caller() {
    let google = r#"{"google":{"thought_signature":"SIG=="}}"#;
    let piece = format!(
        r#"{{"index":0,"id":"call_a","type":"function","extra_content":{google},"function":{{"name":"f","arguments":"{{}}"}}}}"#
    );
    let image = "data:image/png;base64,iVBORw0KGgo=";
    let images = format!(
        r#"{{"content":"","images":[{{"type":"image_url","image_url":{{"url":"{image}"}}}}]}}"#
    );
    let details = r#"{"reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"SIG=="}]}"#;
    let citations =
        r#"{"citations":["https://a.example"],"choices":[{"index":0,"delta":{"content":"a"}}]}"#
            .to_owned();
    run(vec![
        whole(
            "a thought signature on a call",
            chunks([call(&piece), f("tool_calls"), USAGE.to_owned()]),
            only_calls(vec![called("call_a", "f", "{}")]),
        )
        .beside(
            "/output/0/extra_content/google/thought_signature",
            "/tool_calls/0/extra_content/google/thought_signature",
            json!("SIG=="),
        ),
        whole(
            "an image",
            chunks([c(&images), f("stop"), USAGE.to_owned()]),
            ResponseContent::default(),
        )
        .beside_each(
            ("/output/0/type", json!("image_generation_call")),
            ("/images/0/type", json!("image_url")),
        )
        .beside_each(
            ("/output/0/result", json!("iVBORw0KGgo=")),
            ("/images/0/image_url/url", json!(image)),
        ),
        whole(
            "an image and text",
            chunks([text("Here: "), c(&images), f("stop"), USAGE.to_owned()]),
            ResponseContent::text("Here: "),
        )
        .beside_each(
            ("/output/1/output_format", json!("png")),
            ("/images/0/image_url/url", json!(image)),
        ),
        whole(
            "the details of thoughts",
            chunks([c(details), text("a"), f("stop"), USAGE.to_owned()]),
            ResponseContent { reasoning: "hm".into(), ..ResponseContent::text("a") },
        )
        .beside(
            "/output/0/reasoning_details/0/signature",
            "/reasoning_details/0/signature",
            json!("SIG=="),
        ),
        whole(
            "citations",
            chunks([citations, f("stop"), USAGE.to_owned()]),
            ResponseContent::text("a"),
        )
        .beside("/output/0/citations/0", "/citations/0", json!("https://a.example")),
        whole(
            "an unknown field of the message",
            chunks([c(r#"{"content":"a","mood":"good"}"#), f("stop"), USAGE.to_owned()]),
            ResponseContent::text("a"),
        )
        .beside("/output/0/mood", "/mood", json!("good")),
    ])
    .await;
}

#[tokio::test]
async fn implausible_usage_is_replaced_by_a_count() {
    let zeros =
        r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#;
    let half =
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}}"#;
    let hello = || ResponseContent::text("Hello");
    run(vec![
        OddCase::new(
            "zeros",
            chunks([&text("Hello"), &f("stop"), zeros]),
            hello(),
            STOP,
            ExpectedUsage::Counted,
        ),
        OddCase::new(
            "no output",
            chunks([&text("Hello"), &f("stop"), half]),
            hello(),
            STOP,
            ExpectedUsage::Counted,
        ),
        OddCase::new(
            "before the output",
            chunks([USAGE, &text("Hello"), &f("stop")]),
            hello(),
            STOP,
            ExpectedUsage::Counted,
        ),
        OddCase::new(
            "zeros for nothing",
            chunks([&f("stop"), zeros]),
            ResponseContent::default(),
            STOP,
            ExpectedUsage::Provider(0, 0, 0),
        ),
        OddCase::new(
            "null",
            chunks([&text("Hello"), &f("stop"), r#"{"choices":[],"usage":null}"#]),
            hello(),
            STOP,
            ExpectedUsage::Counted,
        ),
    ])
    .await;
}

//! One test per recorded body, and a property test that splitting a body does not matter.

#![expect(clippy::unnecessary_wraps, reason = "words as the reader gives them")]

mod odd;

use proptest::prelude::*;
use serde_json::json;

use super::super::super::body::BodyParser;
use super::super::super::sample::{self, ParsedEvents, STOP, call, split, text, thought};
use super::*;
use crate::tools::Lifter;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../fixtures/ollama/", $name))
    };
}

fn read(pieces: &[&[u8]]) -> ParsedEvents {
    sample::read(
        BodyParser::new(OllamaGrammar::default(), sample::north(), Lifter::default()),
        pieces,
    )
}

fn check(body: &str, expected: &[Result<ModelEvent, ProviderFailure>]) {
    assert_eq!(read(&[body.as_bytes()]), expected, "{body}");
}

/// Checks the events before an error, and the error's status, code and scope.
#[track_caller]
fn check_fault(
    body: &str,
    before: &[Result<ModelEvent, ProviderFailure>],
    expected: (u16, &str, FailureScope),
) {
    sample::check_failure(read(&[body.as_bytes()]), before, expected);
}

fn usage(input: u64, output: u64, cached_tokens: u64) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Usage(Usage {
        input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens: 0 },
        ..Usage::new(UsageSource::Provider, input, output)
    }))
}

#[test]
fn a_text() {
    let logprobs =
        vec![json!({ "token": " sky", "logprob": -0.1, "bytes": [32, 115], "top_logprobs": [] })];
    let sky = Ok(ModelEvent::Text { text: " sky".into(), logprobs });
    check(fixture!("text.ndjson"), &[text("The"), sky, text(" 天é"), usage(26, 282, 20), STOP]);
}

#[test]
fn reasoning_comes_first() {
    check(
        fixture!("thinking.ndjson"),
        &[thought("Okay"), thought(", r…"), text("Three"), usage(15, 101, 0), STOP],
    );
}

#[test]
fn calls_are_complete_and_keep_the_order_of_their_arguments() {
    let expected = [
        call(0, None, Some("get_temperature"), "{\"city\":\"New York\",\"a\":1}"),
        call(1, Some("call_x1"), Some("get_conditions"), "{\"city\":\"London\"}"),
        call(2, None, Some("now"), "{}"),
        usage(169, 15, 0),
        STOP,
    ];
    check(fixture!("tools.ndjson"), &expected);
    check(
        r#"{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}},{"function":{"name":"g"}}]}}"#,
        &[call(0, None, Some("f"), "{\"a\":1}"), call(1, None, Some("g"), "")],
    );
}

#[test]
fn every_finish_reason() {
    check(
        fixture!("length.ndjson"),
        &[text("Once"), usage(5, 1, 0), Ok(ModelEvent::Finish(Finish::Length))],
    );
    // From a server without reasons, and with a cached prompt.
    check(fixture!("old.ndjson"), &[text("Hi"), STOP]);
    check(r#"{"message":{"content":"Hi"},"done":true,"done_reason":"load"}"#, &[text("Hi"), STOP]);
    check(
        r#"{"done":true,"done_reason":"bored"}"#,
        &[Ok(ModelEvent::Finish(Finish::Unknown("bored".into())))],
    );
    check(r#"{"done":false,"done_reason":"stop"}"#, &[Ok(ModelEvent::KeepAlive)]);
}

/// oh-my-pi#7465: without a user message Ollama only loads the model, which looked like an empty
/// response.
#[test]
fn only_loading_the_model_is_not_a_response() {
    check_fault(
        fixture!("load.ndjson"),
        &[],
        (502, "upstream_no_answer", FailureScope::Unsupported),
    );
}

#[test]
fn errors_in_the_stream_end_the_response() {
    let upstream = FailureScope::Upstream(None);
    check_fault(fixture!("error.ndjson"), &[text("I")], (502, "upstream_error", upstream));
    check_fault(
        fixture!("error_cloud.ndjson"),
        &[text("I")],
        (429, "rate_limit_exceeded", FailureScope::RateLimited(None)),
    );
    check_fault(
        &format!("{}{}", fixture!("error.ndjson"), fixture!("text.ndjson")),
        &[text("I")],
        (502, "upstream_error", upstream),
    );
    check_fault("{\"message\":\n", &[], (502, "upstream_invalid_data", upstream));
    check_fault("[1]", &[], (502, "upstream_invalid_data", upstream));
    check_fault("<html>", &[], (502, "upstream_invalid_data", upstream));
}

#[test]
fn without_the_last_line_there_is_no_finish() {
    check(fixture!("truncated.ndjson"), &[text("The"), text(" sky")]);
    // A last line without its line break is complete.
    check(fixture!("length.ndjson").trim_end(), &read(&[fixture!("length.ndjson").as_bytes()]));
}

#[test]
fn a_response_that_is_not_streamed_is_one_line() {
    check(fixture!("document.json"), &[thought("hm"), text("Hello!"), usage(26, 298, 0), STOP]);
}

const STREAMS: &[&str] = &[
    fixture!("text.ndjson"),
    fixture!("thinking.ndjson"),
    fixture!("tools.ndjson"),
    fixture!("load.ndjson"),
    fixture!("error.ndjson"),
    fixture!("truncated.ndjson"),
    fixture!("document.json"),
];

proptest! {
    #[test]
    fn the_split_and_the_line_ends_do_not_matter(
        whole in prop::sample::select(STREAMS),
        sizes in prop::collection::vec(1_usize..60, 1..20),
        ending in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        let body = whole.replace('\n', ending);
        prop_assert_eq!(read(&split(&body, &sizes)), read(&[whole.as_bytes()]));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = read(&[b"{", &bytes, b"\n\n"]);
        prop_assert!(words.iter().filter(|word| word.is_err()).count() <= 1);
    }
}

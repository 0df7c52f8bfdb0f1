//! One test per recorded body, and a property test that splitting a body does not matter.

#![expect(clippy::unnecessary_wraps, reason = "words as the reader gives them")]

mod odd;

use proptest::prelude::*;
use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde_json::json;

use super::super::super::body::BodyParser;
use super::super::super::sample::{self, ParsedEvents, STOP, call, split, spoken, text, thought};
use super::super::lines::LooseLines;
use super::*;
use crate::tools::Lifter;

/// A file in `fixtures/gemini`.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../fixtures/gemini/", $name))
    };
}

/// All recorded streams, for the property test.
const STREAMS: &[&str] = &[
    fixture!("text.sse"),
    fixture!("reasoning.sse"),
    fixture!("tools.sse"),
    fixture!("filtered.sse"),
    fixture!("malformed.sse"),
    fixture!("error.sse"),
    fixture!("error_between.sse"),
    fixture!("truncated.sse"),
    fixture!("unknown.sse"),
    fixture!("list_of_chunks.json"),
];

fn read(pieces: &[&[u8]]) -> ParsedEvents {
    sample::read(
        LooseLines::new(BodyParser::new(
            GeminiGrammar::default(),
            sample::north(),
            Lifter::default(),
        )),
        pieces,
    )
}

/// The parsed events of a body, without keep-alives.
fn said(body: &str) -> ParsedEvents {
    spoken(read(&[body.as_bytes()]))
}

fn signature(signature: &str) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::ReasoningEnd { encrypted: format!("gemini.signature.{signature}") })
}

fn usage(input: u64, spoken: u64, reasoning_tokens: u64) -> Result<ModelEvent, ProviderFailure> {
    let output_tokens_details = OutputTokensDetails { reasoning_tokens };
    Ok(ModelEvent::Usage(Usage {
        output_tokens_details,
        ..Usage::new(UsageSource::Provider, input, spoken + reasoning_tokens)
    }))
}

fn finish(finish: Finish) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Finish(finish))
}

/// Checks the events before an error, and the error's status, code and scope.
#[track_caller]
fn check_failure(
    body: &str,
    before: &[Result<ModelEvent, ProviderFailure>],
    expected: (u16, &str, FailureScope),
) -> String {
    sample::check_failure(said(body), before, expected).fault.message
}

fn finished(reason: &str) -> String {
    format!("data: {}\r\n\r\n", json!({ "candidates": [{ "finishReason": reason }] }))
}

#[test]
fn a_text_with_cumulative_usage() {
    assert_eq!(
        said(fixture!("text.sse")),
        [text("Hello"), usage(8, 1, 0), text(" there."), usage(8, 4, 0), STOP]
    );
}

#[test]
fn reasoning_and_a_signature_after_the_last_text() {
    let expected = [
        thought("**Considering**\n\nThe user asks."),
        usage(10, 0, 20),
        thought(" So."),
        usage(10, 0, 30),
        text("42"),
        usage(10, 2, 30),
        signature("EpwGCpkGAXLI2nw"),
        usage(10, 2, 30),
        STOP,
    ];
    assert_eq!(said(fixture!("reasoning.sse")), expected);
}

#[test]
fn calls_are_complete_and_preceded_by_their_signature() {
    let expected = [
        thought("Plan."),
        usage(60, 0, 12),
        signature("CiQB0e2Kb5"),
        sample::call_with(
            json!({ "extra_content": { "google": { "thought_signature": "CiQB0e2Kb5" } } }),
            call(0, None, Some("get_weather"), "{\"city\":\"Paris\"}"),
        ),
        call(1, Some("fc-7"), Some("get_time"), ""),
        usage(60, 20, 12),
        STOP,
    ];
    assert_eq!(said(fixture!("tools.sse")), expected);
}

#[test]
fn filters_end_a_response_or_block_the_prompt() {
    let expected = [text("To beg"), usage(5, 2, 0), usage(5, 2, 0), finish(Finish::ContentFilter)];
    assert_eq!(said(fixture!("filtered.sse")), expected);
    assert_eq!(said(fixture!("blocked.sse")), [usage(5, 0, 0), finish(Finish::ContentFilter)]);
    let said_why =
        json!({ "promptFeedback": { "blockReason": "SAFETY", "blockReasonMessage": "No." } });
    assert_eq!(
        said(&format!("data: {said_why}\n\n")),
        [Ok(ModelEvent::Refusal("No.".into())), finish(Finish::ContentFilter)]
    );
    let said_of_answer =
        json!({ "candidates": [{ "finishReason": "SAFETY", "finishMessage": "No." }] });
    assert_eq!(
        said(&format!("data: {said_of_answer}\n\n")),
        [Ok(ModelEvent::Refusal("No.".into())), finish(Finish::ContentFilter)]
    );
}

#[test]
fn every_finish_reason() {
    assert_eq!(
        said(fixture!("max_tokens.sse")),
        [text("And then"), usage(5, 3, 0), finish(Finish::Length)]
    );
    assert_eq!(
        said(fixture!("every_chunk_stops.sse")),
        [text("Hel"), STOP, text("lo"), usage(1, 2, 0)]
    );
    for reason in [
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_OTHER",
        "ESCALATION",
        "LANGUAGE",
    ] {
        assert_eq!(said(&finished(reason)), [finish(Finish::ContentFilter)], "{reason}");
    }
    assert_eq!(said(&finished("OTHER")), [finish(Finish::Unknown("OTHER".into()))]);
    assert_eq!(said(&finished("FINISH_REASON_UNSPECIFIED")), []);
    assert_eq!(said(&finished("CONTINUATION")), [finish(Finish::Length)]);
}

#[test]
fn an_unusable_response_is_a_failure() {
    let message = check_failure(
        fixture!("malformed.sse"),
        &[text("a"), usage(5, 0, 0)],
        (502, "upstream_error", FailureScope::Upstream(None)),
    );
    let expected = "The upstream 'north' generated an invalid function call: Malformed function call: f( [MALFORMED_FUNCTION_CALL]";
    assert_eq!(message, expected);
    for reason in [
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "NO_IMAGE",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    ] {
        check_failure(
            &finished(reason),
            &[],
            (502, "upstream_error", FailureScope::Upstream(None)),
        );
    }
    check_failure(
        &finished("PUP_LIMITED_DISABLED"),
        &[],
        (502, "upstream_account_limited", FailureScope::Credential),
    );
}

#[test]
fn cached_tokens_are_part_of_the_input() {
    let counted = Usage {
        input_tokens_details: InputTokensDetails { cached_tokens: 1000, cache_write_tokens: 0 },
        output_tokens_details: OutputTokensDetails { reasoning_tokens: 7 },
        ..Usage::new(UsageSource::Provider, 1210, 12)
    };
    assert_eq!(said(fixture!("cached.sse")), [text("Hi"), Ok(ModelEvent::Usage(counted)), STOP]);
}

#[test]
fn log_probabilities_in_openai_format() {
    let logprob = |token: &str, logprob: f64| json!({ "token": token, "logprob": logprob, "bytes": token.as_bytes() });
    let mut chosen = logprob("Hi", -0.25);
    chosen["top_logprobs"] = json!([logprob("Hi", -0.25), logprob("Ho", -2.5)]);
    let expected =
        [Ok(ModelEvent::Text { text: "Hi".into(), logprobs: vec![chosen] }), usage(1, 1, 0), STOP];
    assert_eq!(said(fixture!("logprobs.sse")), expected);
}

#[test]
fn errors_arrive_as_an_event_or_between_events() {
    let before = [text("Hel"), usage(5, 1, 0)];
    check_failure(
        fixture!("error.sse"),
        &before,
        (503, "upstream_overloaded", FailureScope::Upstream(None)),
    );
    let rate = FailureScope::RateLimited(Some(std::time::Duration::from_secs(17)));
    let message =
        check_failure(fixture!("error_between.sse"), &before, (429, "rate_limit_exceeded", rate));
    assert_eq!(message, "Slow {down} (upstream 'north', status 429)");
    check_failure(
        fixture!("error_in_list.json"),
        &[],
        (429, "rate_limit_exceeded", FailureScope::RateLimited(None)),
    );
    let listed = fixture!("text.sse").to_owned() + "[{\n\"error\": {\"code\": 500}\n}]\n";
    assert_eq!(said(&listed).pop().unwrap().unwrap_err().fault.code, "upstream_error");
    check_failure(
        "data: {\"candidates\":\r\n\r\n",
        &[],
        (502, "upstream_invalid_data", FailureScope::Upstream(None)),
    );
}

#[test]
fn a_truncated_response_has_no_finish() {
    assert_eq!(said(fixture!("truncated.sse")), [text("Hello"), usage(8, 1, 0)]);
    let (cut, _) = fixture!("error_between.sse").split_at(fixture!("error_between.sse").len() - 10);
    assert_eq!(said(cut), [text("Hel"), usage(5, 1, 0)]);
}

#[test]
fn unknown_events_are_keep_alives() {
    let kept_alive = || Ok(ModelEvent::KeepAlive);
    let code = sample::item(u64::MAX, json!({ "type": "executable_code", "code": "1" }));
    let expected = [
        kept_alive(),
        kept_alive(),
        code,
        text("Hi"),
        kept_alive(),
        kept_alive(),
        finish(Finish::Unknown("NEW_REASON".into())),
    ];
    assert_eq!(read(&[fixture!("unknown.sse").as_bytes()]), expected);
}

#[test]
fn a_body_that_is_not_a_stream_is_read_as_a_document() {
    let expected = [text("Hello"), text(" there."), usage(8, 4, 0), STOP];
    assert_eq!(said(fixture!("list_of_chunks.json")), expected);
    check_failure("[{\"candidates\":[", &[], (502, "upstream_cut", FailureScope::Upstream(None)));
    check_failure(
        "<!doctype html>",
        &[],
        (502, "upstream_invalid_data", FailureScope::Upstream(None)),
    );
}

#[test]
fn additions_by_relays_are_tolerated() {
    assert_eq!(
        read(&[b"data:\n\ndata: : keepalive\n\ndata: [DONE]\n\ndata: never\n\n"]),
        vec![Ok(ModelEvent::KeepAlive); 2]
    );
}

proptest! {
    #[test]
    fn the_split_does_not_matter(body in prop::sample::select(STREAMS), sizes in prop::collection::vec(1_usize..40, 1..20)) {
        prop_assert_eq!(read(&split(body, &sizes)), read(&[body.as_bytes()]));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = read(&[b"data: {}\n\n", &bytes, b"\n\n"]);
        prop_assert!(words.iter().filter(|word| word.is_err()).count() <= 1);
    }
}

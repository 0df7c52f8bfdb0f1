//! One test per recorded body, and a property test that splitting a body does not matter.

#![expect(clippy::unnecessary_wraps, reason = "words as the reader gives them")]

mod odd;

use std::time::Duration;

use engine::provider::failure::{FailureScope, ProviderFailure};
use proptest::prelude::*;
use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde_json::{Map, json};

use super::super::super::body::BodyParser;
use super::super::super::sample::{self, ParsedEvents, STOP, call, split, spoken, text, thought};
use super::*;
use crate::tools::Lifter;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../fixtures/responses/", $name))
    };
}

fn read(pieces: &[&[u8]]) -> ParsedEvents {
    sample::read(
        BodyParser::new(ResponsesGrammar::new("north".into()), sample::north(), Lifter::default()),
        pieces,
    )
}

/// The parsed events of a body, without keep-alives.
fn said(body: &str) -> ParsedEvents {
    spoken(read(&[body.as_bytes()]))
}

fn check(body: &str, expected: &[Result<ModelEvent, ProviderFailure>]) {
    assert_eq!(said(body), expected, "{body}");
}

/// Checks the events before an error, and the error's status, code and scope.
#[track_caller]
fn check_fault(
    body: &str,
    before: &[Result<ModelEvent, ProviderFailure>],
    expected: (u16, &str, FailureScope),
) {
    sample::check_failure(said(body), before, expected);
}

fn summary(text: &str) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::ReasoningSummary(text.into()))
}

fn sealed(encrypted: &str) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::ReasoningEnd { encrypted: encrypted.into() })
}

fn usage(input: u64, output: u64, reasoning_tokens: u64) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Usage(Usage {
        output_tokens_details: OutputTokensDetails { reasoning_tokens },
        ..Usage::new(UsageSource::Provider, input, output)
    }))
}

fn citation() -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Annotation(
        json!({ "type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://example.com/a", "title": "A" }),
    ))
}

const BREAK: Result<ModelEvent, ProviderFailure> = Ok(ModelEvent::ReasoningBreak);
const SEALED: &str =
    "responses.north:51.rs_6876cf02e0bc8192b74af0fb64b715ff06fa2fcced15a5acgAAAAABo.cipher==";

#[test]
fn text_as_openai_sends_it() {
    let logprobs =
        vec![json!({ "token": "Hi", "bytes": [72, 105], "logprob": -0.5, "top_logprobs": [] })];
    let first = Ok(ModelEvent::Text { text: "Hi".into(), logprobs });
    let cost = Ok(ModelEvent::Usage(Usage {
        input_tokens_details: InputTokensDetails { cached_tokens: 8, cache_write_tokens: 4 },
        ..Usage::new(UsageSource::Provider, 37, 11)
    }));
    check(fixture!("text.sse"), &[first, text(" there"), text("!"), cost, STOP]);
}

#[test]
fn reasoning_summaries_have_parts_and_encrypted_content() {
    let expected = [
        summary("**Counting**"),
        summary(" letters"),
        BREAK,
        summary("**Checking**"),
        sealed(SEALED),
        text("Three."),
        usage(75, 1186, 1024),
        STOP,
    ];
    check(fixture!("reasoning.sse"), &expected);
}

#[test]
fn hidden_reasoning_has_encrypted_content_too() {
    let expected = [
        sealed("responses.north:4.rs_1gA1"),
        sealed("responses.north:4.rs_2gA2"),
        text("Done."),
        usage(5, 70, 64),
        STOP,
    ];
    check(fixture!("silent_reasoning.sse"), &expected);
}

#[test]
fn reasoning_in_either_field() {
    let expected = [
        thought("The user"),
        thought(" asks."),
        BREAK,
        thought("So I answer."),
        BREAK,
        thought("Again."),
        text("Yes."),
        usage(3, 9, 0),
        STOP,
    ];
    check(fixture!("open_reasoning.sse"), &expected);
}

#[test]
fn calls_one_after_the_other() {
    let expected = [
        call(0, Some("call_sHlR7iaFwQ2YQOqm"), Some("get_weather"), ""),
        call(0, None, None, "{\"location\""),
        call(0, None, None, ":\"Paris, France\"}"),
        call(1, Some("call_9"), Some("get_time"), ""),
        call(1, None, None, "{}"),
        call(2, Some("call_10"), Some("now"), ""),
        usage(291, 23, 0),
        STOP,
    ];
    check(fixture!("tools.sse"), &expected);
}

#[test]
fn interleaved_calls() {
    let expected = [
        call(0, Some("a"), Some("f"), ""),
        call(1, Some("b"), Some("g"), ""),
        call(0, None, None, "{\"x\":"),
        call(1, None, None, "{"),
        call(0, None, None, "1}"),
        call(1, None, None, "}"),
        STOP,
    ];
    check(fixture!("tools_interleaved.sse"), &expected);
}

#[test]
fn a_search_is_passed_on_and_its_sources_are_annotations() {
    let item = json!({ "type": "web_search_call", "id": "ws_1", "status": "in_progress", "action": { "type": "search", "query": "q" } });
    let item = || item.as_object().cloned().unwrap();
    let event = |kind| Ok(ModelEvent::Item(OpaqueStep::Event { key: 0, kind, fields: Map::new() }));
    let expected = [
        Ok(ModelEvent::Item(OpaqueStep::Added { key: 0, item: item() })),
        event(EventKind::WebSearchCallInProgress),
        event(EventKind::WebSearchCallSearching),
        event(EventKind::WebSearchCallCompleted),
        Ok(ModelEvent::Item(OpaqueStep::Done { key: 0, item: item() })),
        text("Paris"),
        citation(),
        usage(328, 356, 0),
        STOP,
    ];
    check(fixture!("annotations.sse"), &expected);
}

#[test]
fn a_refusal() {
    let refusal = |text: &str| Ok(ModelEvent::Refusal(text.into()));
    check(fixture!("refusal.sse"), &[refusal("I can't"), refusal(" help."), usage(1, 2, 0), STOP]);
}

#[test]
fn every_finish_reason() {
    let length = Ok(ModelEvent::Finish(Finish::Length));
    check(fixture!("incomplete.sse"), &[text("Once"), text(" upon"), usage(10, 16, 0), length]);
    let incomplete = |details: Value| {
        format!(
            "data: {}\n\n",
            json!({ "type": "response.incomplete", "response": { "incomplete_details": details } })
        )
    };
    check(
        &incomplete(json!({ "reason": "max_tokens" })),
        &[Ok(ModelEvent::Finish(Finish::Length))],
    );
    check(
        &incomplete(json!({ "reason": "content_filter" })),
        &[Ok(ModelEvent::Finish(Finish::ContentFilter))],
    );
    check(
        &incomplete(json!({ "reason": "steered" })),
        &[Ok(ModelEvent::Finish(Finish::Unknown("steered".into())))],
    );
    check(
        &incomplete(Value::Null),
        &[Ok(ModelEvent::Finish(Finish::Unknown("incomplete".into())))],
    );
    check("event: response.completed\ndata: {}\n\n", &[STOP]);
    check(
        r#"data: {"type":"response.completed","response":{"status":"incomplete"}}"#,
        &[Ok(ModelEvent::Finish(Finish::Unknown("incomplete".into())))],
    );
    // A terminal event without a final status is no end.
    check(r#"data: {"type":"response.done","response":{"status":"in_progress"}}"#, &[]);
    check_fault(
        r#"data: {"type":"response.done","response":{"status":"cancelled"}}"#,
        &[],
        (502, "upstream_error", FailureScope::Upstream(None)),
    );
}

#[test]
fn a_failure_has_its_scope() {
    let upstream = FailureScope::Upstream(None);
    check_fault(
        fixture!("failed.sse"),
        &[text("Once"), usage(4, 1, 0)],
        (502, "upstream_error", upstream),
    );
    check_fault(
        fixture!("failed_request.sse"),
        &[],
        (400, "image_too_large", FailureScope::Request),
    );
    check_fault(
        fixture!("failed_rate.sse"),
        &[],
        (429, "rate_limit_exceeded", FailureScope::RateLimited(None)),
    );
    check_fault(
        fixture!("failed_quota.sse"),
        &[],
        (502, "upstream_quota_exhausted", FailureScope::Quota),
    );
    check_fault(r#"data: {"type":"response.failed"}"#, &[], (502, "upstream_error", upstream));
}

#[test]
fn errors_in_all_formats() {
    let upstream = FailureScope::Upstream(None);
    check_fault(fixture!("error_flat.sse"), &[text("Once")], (502, "upstream_error", upstream));
    let message = said(fixture!("error_flat.sse")).pop().unwrap().unwrap_err().fault.message;
    assert_eq!(
        message,
        "The upstream 'north' failed (500): The server had an error while processing your request. [server_error]"
    );
    let wait = Some(Duration::from_secs(7));
    check_fault(
        fixture!("error_nested.sse"),
        &[],
        (429, "rate_limit_exceeded", FailureScope::RateLimited(wait)),
    );
    let nested = said(fixture!("error_nested.sse")).pop().unwrap().unwrap_err().fault;
    assert_eq!(
        (nested.message.as_str(), nested.retry_after),
        ("Slow down. (upstream 'north', status 429)", Some(7))
    );
    check_fault(
        "data: {\"error\":{\"message\":\"boom\"}}\n\n",
        &[],
        (502, "upstream_error", upstream),
    );
    check_fault("event: error\ndata: boom\n\n", &[], (502, "upstream_error", upstream));
    check_fault(
        "event: error\ndata: {\"message\":\"x\",\"code\":\"invalid_encrypted_content\"}\n\n",
        &[],
        (400, "invalid_encrypted_content", FailureScope::Request),
    );
    check_fault(
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\n",
        &[],
        (502, "upstream_invalid_data", upstream),
    );
}

#[test]
fn without_a_terminal_event_there_is_no_finish() {
    check(fixture!("truncated.sse"), &[text("Once"), text(" upon")]);
    check("data: [DONE]\n\n", &[]);
    // An event that only lacks its blank line is complete.
    check(fixture!("refusal.sse").trim_end(), &said(fixture!("refusal.sse")));
}

#[test]
fn content_without_deltas_is_emitted_once() {
    let expected = [
        summary("**Counting** letters"),
        BREAK,
        summary("**Checking**"),
        sealed(SEALED),
        Ok(ModelEvent::Text {
            text: "Three.".into(),
            logprobs: vec![json!({ "token": "Three.", "logprob": -1.0 })],
        }),
        citation(),
        Ok(ModelEvent::Refusal("But no more.".into())),
        call(0, Some("a"), Some("f"), ""),
        call(0, None, None, "{}"),
        usage(1, 2, 0),
        STOP,
    ];
    check(fixture!("done_only.sse"), &expected);
}

fn whole() -> ParsedEvents {
    let mut words = vec![
        summary("**Counting** letters"),
        BREAK,
        summary("**Checking**"),
        sealed(SEALED),
        text("Three."),
        citation(),
    ];
    words.extend([
        call(0, Some("a"), Some("f"), ""),
        call(0, None, None, "{\"x\":1}"),
        usage(1, 2, 1),
        STOP,
    ]);
    words
}

#[test]
fn the_terminal_event_alone_is_a_response() {
    check(fixture!("completed_only.sse"), &whole());
}

#[test]
fn a_body_that_is_not_a_stream_is_read_as_a_document() {
    let document = fixture!("document.json");
    check(document, &whole());
    let upstream = FailureScope::Upstream(None);
    check_fault(document.split_at(200).0, &[], (502, "upstream_cut", upstream));
    check_fault(fixture!("error.json"), &[], (400, "unsupported_parameter", FailureScope::Request));
    check_fault(
        "[{\"error\":{\"message\":\"no\",\"code\":429}}]",
        &[],
        (429, "rate_limit_exceeded", FailureScope::RateLimited(None)),
    );
    check_fault("{\"choices\":[]}", &[], (502, "upstream_invalid_data", upstream));
    check_fault("<!doctype html>", &[], (502, "upstream_invalid_data", upstream));
    check(r#"{"object":"response","status":"in_progress","output":[]}"#, &[]);
}

#[test]
fn ids_and_indices_of_relays_are_tolerated() {
    let expected = [
        text("你"),
        text("好"),
        call(0, Some("a"), Some("f"), ""),
        call(0, None, None, "{}"),
        usage(1, 2, 0),
        STOP,
    ];
    check(fixture!("relay.sse"), &expected);
    let alive = read(&[fixture!("relay.sse").as_bytes()])
        .into_iter()
        .filter(|word| *word == Ok(ModelEvent::KeepAlive))
        .count();
    assert_eq!(alive, 10);
}

#[test]
fn deltas_without_an_item_belong_to_the_current_one() {
    let event = |event: Value| format!("data: {event}\n\n");
    let whole = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" });
    let body = event(json!({ "type": "response.output_text.delta", "delta": "a" }))
        + &event(json!({ "type": "response.output_text.delta", "delta": "b" }))
        + &event(json!({ "type": "response.function_call_arguments.delta", "delta": "{" }))
        + &event(json!({ "type": "response.function_call_arguments.delta", "delta": "}" }))
        + &event(json!({ "type": "response.output_item.done", "item": whole }));
    check(&body, &[text("a"), text("b"), call(0, Some("c"), Some("f"), "{}")]);
}

const STREAMS: &[&str] = &[
    fixture!("text.sse"),
    fixture!("reasoning.sse"),
    fixture!("open_reasoning.sse"),
    fixture!("tools_interleaved.sse"),
    fixture!("annotations.sse"),
    fixture!("refusal.sse"),
    fixture!("incomplete.sse"),
    fixture!("failed.sse"),
    fixture!("error_flat.sse"),
    fixture!("truncated.sse"),
    fixture!("done_only.sse"),
    fixture!("relay.sse"),
    fixture!("document.json"),
];

proptest! {
    #[test]
    fn the_split_and_the_line_ends_do_not_matter(
        whole in prop::sample::select(STREAMS),
        sizes in prop::collection::vec(1_usize..60, 1..20),
        ending in prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
    ) {
        let body = whole.replace('\n', ending);
        prop_assert_eq!(read(&split(&body, &sizes)), read(&[whole.as_bytes()]));
    }

    #[test]
    fn a_truncated_response_never_has_a_finish(whole in prop::sample::select(STREAMS), share in 0.0..1.0_f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short text")]
        let cut = (whole.len() as f64 * share) as usize;
        let end = whole.rfind("event: response").or_else(|| whole.rfind("data: {\"type\":\"response.done")).unwrap_or(whole.len());
        let words = read(&[&whole.as_bytes()[..cut.min(end)]]);
        prop_assert!(!words.iter().any(|word| matches!(word, Ok(ModelEvent::Finish(_)))));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = read(&[b"data: ", &bytes, b"\n\n"]);
        prop_assert!(words.iter().filter(|word| word.is_err()).count() <= 1);
    }
}

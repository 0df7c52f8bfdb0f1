//! One test per recorded body, and a property test that splitting a body does not matter.

#![expect(clippy::unnecessary_wraps, reason = "words as the reader gives them")]

mod odd;

use engine::provider::failure::{FailureScope, ProviderFailure};
use proptest::prelude::*;
use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde_json::json;

use super::super::super::body::BodyParser;
use super::super::super::sample::{self, ParsedEvents, STOP, call, split, spoken, text, thought};
use super::*;
use crate::tools::Lifter;

/// A file in `fixtures/anthropic`.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../fixtures/anthropic/", $name))
    };
}

/// All recorded streams, for the property test.
const STREAMS: &[&str] = &[
    fixture!("text.sse"),
    fixture!("reasoning.sse"),
    fixture!("redacted.sse"),
    fixture!("tools.sse"),
    fixture!("citations.sse"),
    fixture!("refusal.sse"),
    fixture!("cached.sse"),
    fixture!("error.sse"),
    fixture!("truncated.sse"),
    fixture!("unknown.sse"),
];

fn read(pieces: &[&[u8]]) -> ParsedEvents {
    sample::read(
        BodyParser::new(AnthropicGrammar::default(), sample::north(), Lifter::default()),
        pieces,
    )
}

/// The parsed events of a body, without keep-alives.
fn said(body: &str) -> ParsedEvents {
    spoken(read(&[body.as_bytes()]))
}

fn end_of_thought(encrypted: &str) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::ReasoningEnd { encrypted: encrypted.into() })
}

fn usage(input: u64, output: u64) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Usage(Usage::new(UsageSource::Provider, input, output)))
}

fn finish(finish: Finish) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Finish(finish))
}

/// Checks the events before an error, and the error's status and code.
#[track_caller]
fn check_failure(
    body: &str,
    before: &[Result<ModelEvent, ProviderFailure>],
    expected: (u16, &str, FailureScope),
) {
    sample::check_failure(said(body), before, expected);
}

fn event(event: &Value) -> String {
    format!("data: {event}\n\n")
}

#[test]
fn a_text() {
    assert_eq!(said(fixture!("text.sse")), [text("Hello"), text("!"), usage(25, 15), STOP]);
}

#[test]
fn reasoning_ends_with_its_signature() {
    let counted = Usage {
        output_tokens_details: OutputTokensDetails { reasoning_tokens: 60 },
        ..Usage::new(UsageSource::Provider, 25, 90)
    };
    let expected = [
        thought("I need to find the GCD of 1071 and 462"),
        thought(" using the Euclidean algorithm."),
        end_of_thought("anthropic.signature.EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"),
        text("The greatest common divisor is **21**."),
        Ok(ModelEvent::Usage(counted)),
        STOP,
    ];
    assert_eq!(said(fixture!("reasoning.sse")), expected);
}

#[test]
fn redacted_reasoning_is_kept() {
    let expected = [
        end_of_thought("anthropic.redacted.EmwKAhgBEgy3va3pzix/LafPsn4a"),
        end_of_thought("anthropic.signature.EosnCkYICxIMMb3LzNrMu"),
        text("Done."),
        usage(25, 7),
        STOP,
    ];
    assert_eq!(said(fixture!("redacted.sse")), expected);
}

#[test]
fn reasoning_blocks_without_a_signature_are_separated() {
    let block = json!({ "type": "thinking", "thinking": "hm" });
    let body = event(&json!({ "type": "content_block_start", "index": 0, "content_block": block }));
    let stop = event(&json!({ "type": "content_block_stop", "index": 0 }));
    assert_eq!(said(&(body + &stop + &stop)), [thought("hm"), Ok(ModelEvent::ReasoningBreak)]);
}

#[test]
fn calls_arrive_in_pieces_and_at_once() {
    let expected = [
        text("Okay, let me check."),
        call(0, Some("toolu_01T1x1fJ34qAmk2tNTrN7Up6"), Some("get_weather"), ""),
        call(0, None, None, "{\"location\":"),
        call(0, None, None, " \"San Francisco, CA\"}"),
        call(1, Some("toolu_01A09q90qw90lq917835lq9"), Some("get_time"), ""),
        call(1, None, None, ""),
        usage(472, 89),
        STOP,
    ];
    assert_eq!(said(fixture!("tools.sse")), expected);
}

#[test]
fn url_citations_are_annotations_of_their_block() {
    let annotation = |url: &str, title: &str| {
        Ok(ModelEvent::Annotation(
            json!({ "type": "url_citation", "url": url, "title": title, "start_index": 6, "end_index": 18 }),
        ))
    };
    let expected = [
        text("Café: "),
        text("it is sunny."),
        annotation("https://example.org/weather", "Weather"),
        annotation("https://example.org/b", "https://example.org/b"),
        usage(25, 30),
        STOP,
    ];
    let words = said(fixture!("citations.sse"));
    // Preceded by the search call and its result.
    let [Ok(ModelEvent::Item(_)), Ok(ModelEvent::Item(_)), rest @ ..] = &words[..] else {
        panic!("{words:?}")
    };
    assert_eq!(rest, expected);
}

#[test]
fn a_refusal_includes_its_explanation() {
    let refusal = Ok(ModelEvent::Refusal("This request could enable cyber harm.".into()));
    assert_eq!(
        said(fixture!("refusal.sse")),
        [text("To begin, "), usage(25, 9), refusal, finish(Finish::ContentFilter)]
    );
}

#[test]
fn every_stop_reason() {
    assert_eq!(
        said(fixture!("max_tokens.sse")),
        [text("And then"), usage(25, 3), finish(Finish::Length)]
    );
    let check = |reason: Value, expected: &[Result<ModelEvent, ProviderFailure>]| {
        let delta = event(&json!({ "type": "message_delta", "delta": { "stop_reason": reason } }));
        // A repeated stop reason counts once.
        assert_eq!(said(&delta.repeat(2)), expected, "{reason}");
    };
    check(json!("stop_sequence"), &[STOP]);
    check(json!("tool_use"), &[STOP]);
    check(json!("model_context_window_exceeded"), &[finish(Finish::Length)]);
    check(json!("refusal"), &[finish(Finish::ContentFilter)]);
    check(json!("pause_turn"), &[finish(Finish::Unknown("pause_turn".into()))]);
    check(json!("something_new"), &[finish(Finish::Unknown("something_new".into()))]);
    check(Value::Null, &[]);
}

#[test]
fn cached_tokens_are_part_of_the_input() {
    let counted = Usage {
        input_tokens_details: InputTokensDetails { cached_tokens: 1000, cache_write_tokens: 200 },
        ..Usage::new(UsageSource::Provider, 1204, 5)
    };
    assert_eq!(said(fixture!("cached.sse")), [text("Hi"), Ok(ModelEvent::Usage(counted)), STOP]);
}

#[test]
fn an_error_event_ends_the_response() {
    check_failure(
        fixture!("error.sse"),
        &[text("Hel")],
        (503, "upstream_overloaded", FailureScope::Upstream(None)),
    );
    let unnamed = event(&json!({ "error": { "type": "rate_limit_error", "message": "slow" } }));
    check_failure(&unnamed, &[], (429, "rate_limit_exceeded", FailureScope::RateLimited(None)));
    check_failure(
        "event: error\ndata: {}\n\n",
        &[],
        (502, "upstream_error", FailureScope::Upstream(None)),
    );
    check_failure(
        "data: {\"type\":\n\n",
        &[],
        (502, "upstream_invalid_data", FailureScope::Upstream(None)),
    );
}

#[test]
fn a_truncated_response_has_no_finish_and_no_usage() {
    assert_eq!(said(fixture!("truncated.sse")), [text("Hello")]);
}

#[test]
fn unknown_events_are_keep_alives() {
    let hologram = sample::item(0, json!({ "type": "hologram" }));
    let light = Ok(ModelEvent::Extra(Map::from_iter([(
        "hologram_delta".to_owned(),
        json!({ "light": 1 }),
    )])));
    assert_eq!(
        said(fixture!("unknown.sse")),
        [light, hologram, text("Hi"), usage(25, 2), finish(Finish::Unknown("pause_turn".into()))]
    );
    let kept_alive = read(&[fixture!("unknown.sse").as_bytes()])
        .iter()
        .filter(|word| **word == Ok(ModelEvent::KeepAlive))
        .count();
    // The comment, the ping, and events without content: `message_start`, two unknown events, and
    // the text block's start and stop.
    assert_eq!(kept_alive, 7);
}

#[test]
fn nothing_is_read_after_the_end() {
    let body = fixture!("text.sse").to_owned()
        + &event(
            &json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": "never" } }),
        );
    assert_eq!(said(&body), said(fixture!("text.sse")));
}

#[test]
fn a_body_that_is_not_a_stream_is_read_as_a_document() {
    let expected = [
        thought("Hm."),
        end_of_thought("anthropic.signature.EqQB"),
        text("Hi"),
        call(0, Some("toolu_1"), Some("f"), ""),
        call(0, None, None, "{\"x\":1}"),
        usage(10, 4),
        STOP,
    ];
    assert_eq!(said(fixture!("whole.json")), expected);
    check_failure(
        fixture!("spend_limit.json"),
        &[],
        (502, "upstream_quota_exhausted", FailureScope::Quota),
    );
    check_failure("{\"content\":[", &[], (502, "upstream_cut", FailureScope::Upstream(None)));
    check_failure("[]", &[], (502, "upstream_invalid_data", FailureScope::Upstream(None)));
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
    fn the_split_and_the_line_ends_do_not_matter(
        body in prop::sample::select(STREAMS),
        sizes in prop::collection::vec(1_usize..40, 1..20),
        ending in prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
    ) {
        let sent = body.replace('\n', ending);
        prop_assert_eq!(read(&split(&sent, &sizes)), read(&[body.as_bytes()]));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = read(&[b"event: content_block_delta\ndata: ", &bytes, b"\n\n"]);
        prop_assert!(words.iter().filter(|word| word.is_err()).count() <= 1);
    }
}

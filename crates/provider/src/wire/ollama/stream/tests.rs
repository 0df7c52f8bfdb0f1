//! One body per case, and the property that its split does not matter.

#![expect(clippy::unnecessary_wraps, reason = "words as the reader gives them")]

use proptest::prelude::*;
use serde_json::json;

use super::super::super::Reader;
use super::super::super::body::Reading;
use super::super::super::fault::Callee;
use super::*;

type Read = Vec<Result<Word, Failure>>;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../fixtures/ollama/", $name))
    };
}

fn read(pieces: &[&[u8]]) -> Read {
    let mut reader = Reading::new(Lines::default(), Callee { name: "north".into(), key: None });
    let mut words = Vec::new();
    for piece in pieces {
        reader.push(piece);
        words.extend(std::iter::from_fn(|| reader.next_word()));
    }
    reader.finish();
    words.extend(std::iter::from_fn(|| reader.next_word()));
    words
}

fn check(body: &str, expected: &[Result<Word, Failure>]) {
    assert_eq!(read(&[body.as_bytes()]), expected, "{body}");
}

/// Checks the words before an error, and the error's status, code and blame.
fn check_fault(body: &str, before: &[Result<Word, Failure>], expected: (u16, &str, Blame)) {
    let mut words = read(&[body.as_bytes()]);
    let failure = words.pop().unwrap().unwrap_err();
    assert_eq!(words, before, "{body}");
    assert_eq!((failure.fault.status, failure.fault.code.as_str(), failure.blame), expected, "{body}");
}

fn text(text: &str) -> Result<Word, Failure> {
    Ok(Word::Text { text: text.into(), logprobs: Vec::new() })
}

fn thought(text: &str) -> Result<Word, Failure> {
    Ok(Word::Reasoning(text.into()))
}

fn call(index: u64, id: Option<&str>, name: &str, arguments: &str) -> Result<Word, Failure> {
    Ok(Word::ToolCall { index, id: id.map(str::to_owned), name: Some(name.into()), arguments: arguments.into() })
}

fn usage(input: u64, output: u64, cached_tokens: u64) -> Result<Word, Failure> {
    Ok(Word::Usage(Usage {
        input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens: 0 },
        ..Usage::new(UsageSource::Provider, input, output)
    }))
}

const STOP: Result<Word, Failure> = Ok(Word::Finish(Finish::Stop));

#[test]
fn a_text() {
    let logprobs = vec![json!({ "token": " sky", "logprob": -0.1, "bytes": [32, 115], "top_logprobs": [] })];
    let sky = Ok(Word::Text { text: " sky".into(), logprobs });
    check(fixture!("text.ndjson"), &[text("The"), sky, text(" 天é"), usage(26, 282, 20), STOP]);
}

#[test]
fn thoughts_come_first() {
    check(fixture!("thinking.ndjson"), &[thought("Okay"), thought(", r…"), text("Three"), usage(15, 101, 0), STOP]);
}

#[test]
fn calls_come_whole_and_their_arguments_in_their_order() {
    let expected = [
        call(0, None, "get_temperature", "{\"city\":\"New York\",\"a\":1}"),
        call(1, Some("call_x1"), "get_conditions", "{\"city\":\"London\"}"),
        call(2, None, "now", "{}"),
        usage(169, 15, 0),
        STOP,
    ];
    check(fixture!("tools.ndjson"), &expected);
    check(
        r#"{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}},{"function":{"name":"g"}}]}}"#,
        &[call(0, None, "f", "{\"a\":1}"), call(1, None, "g", "{}")],
    );
}

#[test]
fn every_reason_to_finish() {
    check(fixture!("length.ndjson"), &[text("Once"), usage(5, 1, 0), Ok(Word::Finish(Finish::Length))]);
    // Of before there were reasons, and with a prompt that was cached.
    check(fixture!("old.ndjson"), &[text("Hi"), STOP]);
    check(r#"{"message":{"content":"Hi"},"done":true,"done_reason":"load"}"#, &[text("Hi"), STOP]);
    check(r#"{"done":true,"done_reason":"bored"}"#, &[Ok(Word::Finish(Finish::Other("bored".into())))]);
    check(r#"{"done":false,"done_reason":"stop"}"#, &[Ok(Word::KeepAlive)]);
}

/// oh-my-pi#7465: without a user's message it only loads the model, which looked like an empty answer.
#[test]
fn a_model_that_was_only_loaded_has_not_answered() {
    check_fault(fixture!("load.ndjson"), &[], (502, "upstream_no_answer", Blame::Match));
}

#[test]
fn errors_in_band_end_the_answer() {
    let upstream = Blame::Upstream(None);
    check_fault(fixture!("error.ndjson"), &[text("I")], (502, "upstream_error", upstream));
    check_fault(fixture!("error_cloud.ndjson"), &[text("I")], (429, "rate_limit_exceeded", Blame::Rate(None)));
    check_fault(&format!("{}{}", fixture!("error.ndjson"), fixture!("text.ndjson")), &[text("I")], (502, "upstream_error", upstream));
    check_fault("{\"message\":7}\n", &[], (502, "upstream_invalid_data", upstream));
    check_fault("[1]", &[], (502, "upstream_invalid_data", upstream));
    check_fault("<html>", &[], (502, "upstream_invalid_data", upstream));
}

#[test]
fn without_the_last_line_nothing_is_finished() {
    check(fixture!("truncated.ndjson"), &[text("The"), text(" sky")]);
    // One that lacks only its line end is whole.
    check(fixture!("length.ndjson").trim_end(), &read(&[fixture!("length.ndjson").as_bytes()]));
}

#[test]
fn an_answer_that_is_no_stream_is_one_line() {
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
        let mut pieces = Vec::new();
        let (mut rest, mut sizes) = (body.as_bytes(), sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(read(&pieces), read(&[whole.as_bytes()]));
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let words = read(&[b"{", &bytes, b"\n\n"]);
        prop_assert!(words.iter().filter(|word| word.is_err()).count() <= 1);
    }
}

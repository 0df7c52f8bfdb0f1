//! Streams with one mistake each.

use std::time::Duration;

use bytes::Bytes;

use client::http1::Headers;

use super::*;
use crate::decode::EventFields;

fn event(name: Option<&str>, data: &str) -> SeenEvent {
    let fields = EventFields {
        name: name.map(str::to_owned),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..EventFields::default()
    };
    SeenEvent { fields, at: Duration::ZERO }
}

/// The codes that are found in these events, notes left out.
fn codes(dialect: Dialect, events: &[SeenEvent]) -> Vec<&'static str> {
    let headers = Headers::new(vec![
        ("content-type".into(), "text/event-stream; charset=utf-8".into()),
        ("cache-control".into(), "no-transform".into()),
    ]);
    let scan = ByteScan::default();
    let stream = FramedStream {
        dialect,
        format: BodyFormat::Sse,
        headers: &headers,
        scan: Some(&scan),
        events,
        end: StreamEnd::Complete,
        ends_inside_event: false,
    };
    check(&stream).iter().map(|finding| finding.code).collect()
}

fn chat(events: &[&str]) -> Vec<&'static str> {
    codes(Dialect::Chat, &events.iter().map(|data| event(None, data)).collect::<Vec<_>>())
}

const DELTA: &str = r#"{"id":"c1","choices":[{"delta":{"content":"a"}}]}"#;
const FINISH: &str = r#"{"id":"c1","choices":[{"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn chat_completions_are_checked() {
    assert!(chat(&[DELTA, FINISH, "[DONE]"]).is_empty());
    assert_eq!(chat(&[DELTA, FINISH]), ["no_terminal_event"]);
    assert_eq!(chat(&[DELTA, "[DONE]"]), ["no_finish_reason"]);
    assert_eq!(chat(&[DELTA, FINISH, "[DONE]", DELTA]), ["after_the_end"]);
    assert_eq!(chat(&[DELTA, "{", FINISH, "[DONE]"]), ["not_json"]);
    assert_eq!(chat(&[DELTA, r#"{"id":"c1"}"#, FINISH, "[DONE]"]), ["no_choices"]);
    assert_eq!(chat(&[DELTA, r#"{"error":{"message":"x"}}"#, "[DONE]"]), ["error_event"]);
}

#[test]
fn events_of_openai_have_no_ids() {
    let mut numbered = event(None, DELTA);
    numbered.fields.id = Some(Bytes::from_static(b"1"));
    let events = [numbered, event(None, FINISH), event(None, "[DONE]")];
    assert_eq!(codes(Dialect::Chat, &events), ["id_or_retry"]);
}

fn responses(events: &[(&str, &str)]) -> Vec<&'static str> {
    let events: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(number, (kind, more))| {
            event(Some(kind), &format!(r#"{{"type":"{kind}","sequence_number":{number}{more}}}"#))
        })
        .collect();
    codes(Dialect::Responses, &events)
}

#[test]
fn responses_are_checked() {
    let (delta, done) = ("response.output_text.delta", "response.output_text.done");
    let a = (delta, r#","delta":"a""#);
    let end = ("response.completed", "");
    assert!(
        responses(&[("response.created", ""), a, a, (done, r#","text":"aa""#), end]).is_empty()
    );
    assert_eq!(responses(&[a, (done, r#","text":"ab""#), end]), ["text_differs"]);
    assert_eq!(responses(&[a]), ["no_terminal_event"]);
    let jump = [
        event(None, r#"{"type":"response.created","sequence_number":0}"#),
        event(None, r#"{"type":"response.completed","sequence_number":2}"#),
    ];
    assert_eq!(codes(Dialect::Responses, &jump), ["sequence_gap"]);
    let misnamed = [event(Some("x"), r#"{"type":"response.completed","sequence_number":0}"#)];
    assert_eq!(codes(Dialect::Responses, &misnamed), ["event_name"]);
}

#[test]
fn messages_are_checked() {
    let named = |data: &str| {
        let kind =
            serde_json::from_str::<Value>(data).unwrap()["type"].as_str().unwrap().to_owned();
        event(Some(&kind), data)
    };
    let start = r#"{"type":"message_start"}"#;
    let open = r#"{"type":"content_block_start","index":0}"#;
    let delta = r#"{"type":"content_block_delta","index":0,"delta":{"text":"a"}}"#;
    let close = r#"{"type":"content_block_stop","index":0}"#;
    let reason = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let stop = r#"{"type":"message_stop"}"#;
    let codes = |events: &[&str]| {
        codes(Dialect::Messages, &events.iter().map(|data| named(data)).collect::<Vec<_>>())
    };
    assert!(codes(&[start, open, delta, close, reason, stop]).is_empty());
    assert_eq!(codes(&[start, delta, reason, stop]), ["block_order"]);
    assert_eq!(codes(&[open, close, reason, stop]), ["no_start"]);
    assert_eq!(codes(&[start, open, delta, close, stop]), ["no_finish_reason"]);
    assert_eq!(codes(&[start, open, delta, close, reason]), ["no_terminal_event"]);
}

#[test]
fn heads_and_bytes_are_checked() {
    let headers = Headers::new(vec![
        ("content-type".into(), "text/plain".into()),
        ("content-length".into(), "9".into()),
    ]);
    let mut scan = ByteScan::default();
    scan.push(b"\xEF\xBB\xBFdata: \xFF\n");
    let stream = FramedStream {
        dialect: Dialect::Plain,
        format: BodyFormat::Sse,
        headers: &headers,
        scan: Some(&scan),
        events: &[],
        end: StreamEnd::Closed,
        ends_inside_event: true,
    };
    let found: Vec<_> = check(&stream).iter().map(|finding| finding.code).collect();
    let expected = [
        "content_type",
        "content_length",
        "no_transform",
        "not_utf8",
        "byte_order_mark",
        "unterminated_event",
    ];
    assert_eq!(found, expected);
    let broken = FramedStream { end: StreamEnd::Broken(None), ..stream };
    assert!(check(&broken).iter().any(|finding| finding.code == "broken_off"));
}

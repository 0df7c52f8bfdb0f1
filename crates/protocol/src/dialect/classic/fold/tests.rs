//! Logs in, messages out: what each door hears, and what it must never hear.

use super::*;
use crate::event::{Delta, Event, Snapshot, TextDelta};
use crate::fault::FaultKind;
use crate::id::{ItemId, ResponseId};
use crate::request::Create;
use crate::response::IncompleteDetails;

fn response() -> Response {
    Response::accepted(ResponseId::new("resp_abc"), 0, &Create::new("demo"))
}

fn snapshot(response: Response) -> Snapshot {
    Snapshot { response: Box::new(response) }
}

fn delta(delta: &str) -> Delta {
    Delta { item_id: ItemId::new("msg_1"), output_index: 0, content_index: 0, delta: delta.into() }
}

fn text(delta: &str) -> Event {
    let logprobs = Vec::new();
    Event::OutputTextDelta(TextDelta { item_id: ItemId::new("msg_1"), output_index: 0, content_index: 0, delta: delta.into(), logprobs })
}

fn ended(status: ResponseStatus, reason: Option<&str>, usage: Option<Usage>) -> Event {
    let incomplete_details = reason.map(|reason| IncompleteDetails { reason: reason.into() });
    Event::terminal(Response { status, incomplete_details, usage, ..response() })
}

fn completed(source: UsageSource, tokens: u64) -> Event {
    ended(ResponseStatus::Completed, None, Some(Usage::new(source, 9, tokens)))
}

/// What a door hears of a log that begins as every log does: `id|name|data`, without the parts that are not there.
fn hear(door: Door, events: Vec<Event>) -> Vec<String> {
    let begin = [Event::Created(snapshot(response())), Event::InProgress(snapshot(response()))];
    let mut fold = Fold::new(door);
    let mut said = Vec::new();
    for (position, event) in (0..).zip(begin.into_iter().chain(events)) {
        fold.entry(&Entry::new(position, &event), &mut said);
    }
    let line = |said: Said| {
        let data = String::from_utf8_lossy(&said.data).into_owned();
        [Some(said.id.as_str()), said.name, Some(&data)].into_iter().flatten().collect::<Vec<_>>().join("|")
    };
    said.into_iter().map(line).collect()
}

#[test]
fn c6_a_channel_hears_the_tokens_once_and_then_the_end_under_its_own_id() {
    let heard = hear(Door::Channel, vec![text("你"), text("\"\n"), completed(UsageSource::Provider, 12)]);
    let expected = [
        "chatcmpl-abc|{\"role\":\"assistant\"}",
        "chatcmpl-abc|{\"content\":\"你\"}",
        "chatcmpl-abc|{\"content\":\"\\\"\\n\"}",
        "chatcmpl-abc|{}",
        "[TOKENS]|<br/><br/>tokens：12",
        "[DONE]|[DONE]",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn c6_no_other_door_hears_tokens() {
    for door in [Door::Query, Door::Socket] {
        let heard = hear(door, vec![text("Hi"), completed(UsageSource::Provider, 12)]);
        assert_eq!(heard[1..], ["chatcmpl-abc|{\"content\":\"Hi\"}", "chatcmpl-abc|{}", "[DONE]|[DONE]"], "{door:?}");
    }
}

#[test]
fn b11_a_count_of_ours_says_that_it_is_one() {
    let heard = hear(Door::Channel, vec![text("Hi"), completed(UsageSource::Counted, 3)]);
    assert_eq!(heard[3], "[TOKENS]|<br/><br/>tokens：≈3");
}

#[test]
fn c5_thoughts_are_not_heard_between_the_words() {
    let thinking = vec![text("a"), Event::ReasoningDelta(delta("hm")), text("b"), completed(UsageSource::Provider, 2)];
    for door in [Door::Channel, Door::Query, Door::Socket] {
        let heard = hear(door, thinking.clone());
        assert_eq!(heard[1..4], ["chatcmpl-abc|{\"content\":\"a\"}", "chatcmpl-abc|{\"content\":\"b\"}", "chatcmpl-abc|{}"], "{door:?}");
    }
}

#[test]
fn c5_the_word_null_does_not_erase_what_stands_before_it() {
    let heard = hear(Door::Socket, vec![text("null"), text("nullable"), completed(UsageSource::Provider, 2)]);
    let contents = ["nu", "ll", "nullable"].map(|piece| format!("chatcmpl-abc|{{\"content\":\"{piece}\"}}"));
    assert_eq!(heard[1..4], contents);
}

fn failing(spoken: &[&str]) -> Vec<Event> {
    let fault = Fault::new(FaultKind::Upstream, "upstream_error", "<b>no & never</b>");
    let words = spoken.iter().map(|word| text(word));
    words.chain([Event::error(&fault), ended(ResponseStatus::Failed, None, None)]).collect()
}

#[test]
fn c7_a_failure_is_a_text_and_then_the_end() {
    let fault = r#"{"message":"<b>no & never</b>","type":"upstream_error","code":"upstream_error","param":null}"#;
    let expected = [
        r#"chatcmpl-abc|{"role":"assistant"}"#,
        &format!("chatcmpl-abc|fault|{fault}"),
        r#"chatcmpl-abc|{"content":"&lt;b&gt;no &amp; never&lt;/b&gt;"}"#,
        "[TOKENS]|<br/><br/>tokens：0",
        "[DONE]|[DONE]",
    ];
    assert_eq!(hear(Door::Channel, failing(&[])), expected);
}

#[test]
fn c7_on_a_socket_a_failure_is_a_text_too() {
    let notice = r#"chatcmpl-abc|{"content":"\n\n&lt;b&gt;no &amp; never&lt;/b&gt;"}"#;
    assert_eq!(hear(Door::Socket, failing(&["so"]))[1..], [r#"chatcmpl-abc|{"content":"so"}"#, notice, "[DONE]|[DONE]"]);
}

#[test]
fn c9_no_name_is_one_of_the_browsers_own() {
    for door in [Door::Channel, Door::Query, Door::Socket] {
        for line in hear(door, failing(&["so"])) {
            assert!(!line.contains("|error|") && !line.contains("|open|"), "{line}");
        }
    }
}

#[test]
fn an_early_end_has_its_reason_and_a_stop_has_none() {
    let usage = Some(Usage::new(UsageSource::Provider, 1, 1));
    for (reason, word) in [("max_output_tokens", "length"), ("content_filter", "filter"), ("server_restarted", "whole")] {
        let heard = hear(Door::Channel, vec![text("so"), ended(ResponseStatus::Incomplete, Some(reason), usage)]);
        assert!(heard[2].contains(word), "{reason}: {}", heard[2]);
        assert_eq!(heard[3..], ["chatcmpl-abc|{}", "[TOKENS]|<br/><br/>tokens：1", "[DONE]|[DONE]"], "{reason}");
    }
    let stopped = hear(Door::Channel, vec![text("so"), ended(ResponseStatus::Cancelled, Some("cancelled"), usage)]);
    assert_eq!(stopped[2], "chatcmpl-abc|{}");
}

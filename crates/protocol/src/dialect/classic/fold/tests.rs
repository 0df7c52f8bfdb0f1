//! Logs in, messages out: what each transport gets, and what it must never get.

use super::*;
use crate::event::{ContentDelta, Event, Snapshot, TextDelta};
use crate::fault::FaultKind;
use crate::id::{ItemId, ResponseId};
use crate::response::{IncompleteDetails, Response};

fn response() -> Response {
    Response::accepted(ResponseId::new("resp_abc"), 0, &Create::new("demo"))
}

/// A response that lives as long as the test.
fn lasting(response: Response) -> &'static Response {
    Box::leak(Box::new(response))
}

fn delta(delta: &str) -> ContentDelta<'_> {
    ContentDelta { item_id: ItemId::new("msg_1"), output_index: 0, content_index: 0, delta }
}

fn text(delta: &str) -> Event<'_> {
    Event::OutputTextDelta(TextDelta {
        item_id: ItemId::new("msg_1"),
        output_index: 0,
        content_index: 0,
        delta,
        logprobs: &[],
    })
}

fn ended(status: ResponseStatus, reason: Option<&str>, usage: Option<Usage>) -> Event<'static> {
    let incomplete_details = reason.map(|reason| IncompleteDetails { reason: reason.into() });
    Event::terminal(lasting(Response { status, incomplete_details, usage, ..response() }))
}

fn completed(source: UsageSource, tokens: u64) -> Event<'static> {
    ended(ResponseStatus::Completed, None, Some(Usage::new(source, 9, tokens)))
}

/// The messages of a log that starts as every log does: `id|name|data`, without the parts that are
/// not there.
fn render(transport: Transport, events: Vec<Event<'_>>) -> Vec<String> {
    let response = response();
    let snapshot = Snapshot { response: &response };
    let preamble = [Event::Created(snapshot.clone()), Event::InProgress(snapshot)];
    let mut dialect = Classic::new(transport);
    let mut messages = Vec::new();
    for (position, event) in (0..).zip(preamble.into_iter().chain(events)) {
        dialect.fold(&Entry::new(position, &event), &mut messages);
    }
    let line = |message: Message| {
        let data = String::from_utf8_lossy(&message.data).into_owned();
        [message.id.as_deref(), message.name, Some(&data)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("|")
    };
    messages.into_iter().map(line).collect()
}

#[test]
fn c6_a_channel_gets_the_tokens_once_and_then_the_end_under_its_own_id() {
    let rendered = render(
        Transport::Channel,
        vec![text("你"), text("\"\n"), completed(UsageSource::Provider, 12)],
    );
    let expected = [
        "chatcmpl-abc|{\"role\":\"assistant\"}",
        "chatcmpl-abc|{\"content\":\"你\"}",
        "chatcmpl-abc|{\"content\":\"\\\"\\n\"}",
        "chatcmpl-abc|{}",
        "[TOKENS]|<br/><br/>tokens：12",
        "[DONE]|[DONE]",
    ];
    assert_eq!(rendered, expected);
}

#[test]
fn c6_no_other_transport_gets_tokens() {
    for transport in [Transport::Query, Transport::Socket] {
        let rendered = render(transport, vec![text("Hi"), completed(UsageSource::Provider, 12)]);
        assert_eq!(
            rendered[1..],
            ["chatcmpl-abc|{\"content\":\"Hi\"}", "chatcmpl-abc|{}", "[DONE]|[DONE]"],
            "{transport:?}"
        );
    }
}

#[test]
fn b11_a_count_of_ours_says_that_it_is_one() {
    let rendered = render(Transport::Channel, vec![text("Hi"), completed(UsageSource::Counted, 3)]);
    assert_eq!(rendered[3], "[TOKENS]|<br/><br/>tokens：≈3");
}

#[test]
fn c5_reasoning_does_not_stand_between_the_texts() {
    let thinking = vec![
        text("a"),
        Event::ReasoningDelta(delta("hm")),
        text("b"),
        completed(UsageSource::Provider, 2),
    ];
    for transport in [Transport::Channel, Transport::Query, Transport::Socket] {
        let rendered = render(transport, thinking.clone());
        assert_eq!(
            rendered[1..4],
            [
                "chatcmpl-abc|{\"content\":\"a\"}",
                "chatcmpl-abc|{\"content\":\"b\"}",
                "chatcmpl-abc|{}"
            ],
            "{transport:?}"
        );
    }
}

#[test]
fn c5_the_word_null_does_not_erase_what_stands_before_it() {
    let rendered = render(
        Transport::Socket,
        vec![text("null"), text("nullable"), completed(UsageSource::Provider, 2)],
    );
    let contents =
        ["nu", "ll", "nullable"].map(|piece| format!("chatcmpl-abc|{{\"content\":\"{piece}\"}}"));
    assert_eq!(rendered[1..4], contents);
}

fn failing<'a>(texts: &[&'a str]) -> Vec<Event<'a>> {
    let fault = Fault::new(FaultKind::Upstream, "upstream_error", "<b>no & never</b>");
    let texts = texts.iter().map(|piece| text(piece));
    texts.chain([Event::error(&fault), ended(ResponseStatus::Failed, None, None)]).collect()
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
    assert_eq!(render(Transport::Channel, failing(&[])), expected);
}

#[test]
fn c7_on_a_socket_a_failure_is_a_text_too() {
    let notice = r#"chatcmpl-abc|{"content":"\n\n&lt;b&gt;no &amp; never&lt;/b&gt;"}"#;
    assert_eq!(
        render(Transport::Socket, failing(&["so"]))[1..],
        [r#"chatcmpl-abc|{"content":"so"}"#, notice, "[DONE]|[DONE]"]
    );
}

#[test]
fn c9_no_name_is_one_of_the_browsers_own() {
    for transport in [Transport::Channel, Transport::Query, Transport::Socket] {
        for line in render(transport, failing(&["so"])) {
            assert!(!line.contains("|error|") && !line.contains("|open|"), "{line}");
        }
    }
}

#[test]
fn an_early_end_has_its_reason_and_a_stop_has_none() {
    let usage = Some(Usage::new(UsageSource::Provider, 1, 1));
    for (reason, word) in [
        ("max_output_tokens", "length"),
        ("content_filter", "filter"),
        ("server_restarted", "complete"),
    ] {
        let rendered = render(
            Transport::Channel,
            vec![text("so"), ended(ResponseStatus::Incomplete, Some(reason), usage)],
        );
        assert!(rendered[2].contains(word), "{reason}: {}", rendered[2]);
        assert_eq!(
            rendered[3..],
            ["chatcmpl-abc|{}", "[TOKENS]|<br/><br/>tokens：1", "[DONE]|[DONE]"],
            "{reason}"
        );
    }
    let stopped = render(
        Transport::Channel,
        vec![text("so"), ended(ResponseStatus::Cancelled, Some("cancelled"), usage)],
    );
    assert_eq!(stopped[2], "chatcmpl-abc|{}");
}

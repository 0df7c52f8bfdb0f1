//! What upstreams send beyond the usual, and what becomes of it.

use std::time::Duration;

use protocol::entry::Entry;
use protocol::item::Item;
use protocol::request::{Create, ReasoningConfig};
use protocol::response::{Response, ResponseStatus};
use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde_json::{Map, Value, json};
use weir_engine::provider::event::{Finish, ModelEvent, OpaqueStep, ToolCallDelta};
use weir_engine::provider::failure::ProviderFailure;
use weir_engine::response::options::StartOptions;

use crate::stage::{alice, asking, call, kinds, last_response, read, run, say, stage, text, tool};

const STOP: Result<ModelEvent, ProviderFailure> = Ok(ModelEvent::Finish(Finish::Stop));

fn fields(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

fn usage(input: u64, output: u64) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Usage(Usage::new(UsageSource::Provider, input, output)))
}

async fn response(create: Create, words: Vec<Result<ModelEvent, ProviderFailure>>) -> Response {
    last_response(&run(&stage(), create, words).await)
}

fn data(entries: &[Entry], kind: &str) -> Vec<Value> {
    let values = entries.iter().map(|entry| serde_json::from_slice(&entry.data).unwrap());
    values.filter(|value: &Value| value["type"] == format!("response.{kind}")).collect()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_finish_reason_is_no_evidence_and_is_reported() {
    let response = response(
        asking("hi"),
        vec![text("half"), Ok(ModelEvent::Finish(Finish::Unknown("vibes".into())))],
    )
    .await;
    assert_eq!(response.status, ResponseStatus::Incomplete);
    assert_eq!(response.incomplete_details.unwrap().reason, "unknown_finish_reason");
    assert_eq!(response.metadata["upstream_finish_reason"], "vibes");
    let create = Create {
        metadata: (0..16).map(|number| (format!("k{number}"), Value::from("v"))).collect(),
        ..asking("hi")
    };
    let full = super::odd::response(
        create,
        vec![text("half"), Ok(ModelEvent::Finish(Finish::Unknown("vibes".into())))],
    )
    .await;
    assert_eq!(
        (full.metadata.len(), full.status),
        (16, ResponseStatus::Incomplete),
        "the caller's own notes have no room beside them"
    );
    // A reason that is known replaces it.
    let known = super::odd::response(
        asking("hi"),
        vec![text("a"), Ok(ModelEvent::Finish(Finish::Unknown("vibes".into()))), STOP],
    )
    .await;
    assert_eq!(known.status, ResponseStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn usage_that_cannot_be_true_is_counted() {
    let source = |words| async {
        response(asking("hi"), words).await.usage.map(|usage| (usage.source, usage.output_tokens))
    };
    let (provider, counted) = (UsageSource::Provider, UsageSource::Counted);
    assert_eq!(source(vec![text("Hello"), usage(3, 7), STOP]).await, Some((provider, 7)));
    assert_eq!(source(vec![text("Hello"), usage(0, 0), STOP]).await, Some((counted, 1)));
    assert_eq!(
        source(vec![text("Hello"), usage(0, 7), STOP]).await,
        Some((counted, 1)),
        "half of it"
    );
    assert_eq!(
        source(vec![usage(3, 1), text("Hello"), STOP]).await,
        Some((counted, 1)),
        "it was reported before the output"
    );
    assert_eq!(
        source(vec![usage(3, 1), text("Hello"), usage(3, 2), STOP]).await,
        Some((provider, 2))
    );
    assert_eq!(source(vec![usage(0, 0), STOP]).await, Some((provider, 0)), "nothing was written");
    assert_eq!(
        source(vec![text("Hello"), usage(u64::MAX, u64::MAX), STOP]).await,
        Some((counted, 1)),
        "nobody has so much to say"
    );
    let details = Usage {
        input_tokens_details: InputTokensDetails { cached_tokens: 700, cache_write_tokens: 0 },
        output_tokens_details: OutputTokensDetails { reasoning_tokens: 50 },
        ..Usage::new(UsageSource::Provider, 7, 3)
    };
    let usage = response(asking("hi"), vec![text("Hello"), Ok(ModelEvent::Usage(details)), STOP])
        .await
        .usage
        .unwrap();
    assert_eq!(
        (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens),
        (7, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn thoughts_are_told_in_one_form_the_one_that_was_asked_for() {
    let words = || {
        vec![
            Ok(ModelEvent::Reasoning("raw".into())),
            Ok(ModelEvent::ReasoningSummary("sum".into())),
            text("a"),
            STOP,
        ]
    };
    let told = |entries: &[Entry]| {
        (
            data(entries, "reasoning_text.delta").len(),
            data(entries, "reasoning_summary_text.delta").len(),
        )
    };
    let entries = run(&stage(), asking("hi"), words()).await;
    assert_eq!(told(&entries), (2, 0));
    let Item::Reasoning(item) = &last_response(&entries).output[0] else { panic!("no thoughts") };
    assert_eq!(
        (item.content.len(), item.summary.len()),
        (2, 0),
        "one part for each of the upstream's forms"
    );

    let summary = ReasoningConfig { summary: Some("auto".into()), ..ReasoningConfig::default() };
    let entries = run(&stage(), Create { reasoning: Some(summary), ..asking("hi") }, words()).await;
    assert_eq!(told(&entries), (0, 2));
    let Item::Reasoning(item) = &last_response(&entries).output[0] else { panic!("no thoughts") };
    assert_eq!((item.content.len(), item.summary.len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_arguments_has_an_empty_object() {
    let create = Create { tools: vec![tool("f")], ..asking("hi") };
    let entries = run(&stage(), create, vec![call(0, Some("c"), Some("f"), ""), STOP]).await;
    assert_eq!(data(&entries, "function_call_arguments.delta")[0]["delta"], "{}");
    assert_eq!(data(&entries, "function_call_arguments.done")[0]["arguments"], "{}");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_tool_that_was_not_offered_reaches_the_caller() {
    let create = Create { tools: vec![tool("f")], ..asking("hi") };
    let response =
        response(create, vec![text("Let me see. "), call(0, Some("c"), Some("g"), "{}"), STOP])
            .await;
    assert_eq!((response.status, response.output.len()), (ResponseStatus::Completed, 2));
}

#[tokio::test(start_paused = true)]
async fn a_custom_tool_has_its_own_item_and_events() {
    let delta = |name: Option<&str>, arguments: &str| {
        let name = name.map(str::to_owned);
        Ok(ModelEvent::ToolCall(ToolCallDelta {
            name,
            is_custom: true,
            arguments: arguments.into(),
            ..ToolCallDelta::default()
        }))
    };
    let entries =
        run(&stage(), asking("hi"), vec![delta(Some("patch"), "*** "), delta(None, "Begin"), STOP])
            .await;
    let expected = [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&entries)[2..], expected);
    let Item::CustomToolCall(call) = &last_response(&entries).output[0] else { panic!("no call") };
    assert_eq!(call.input, "*** Begin");
    assert_eq!(
        protocol::snapshot::response(&entries[..entries.len() - 1]).unwrap().output,
        last_response(&entries).output
    );
}

#[tokio::test(start_paused = true)]
async fn items_of_other_types_are_passed_on_under_an_id_of_their_own() {
    let item =
        |status: &str| fields(json!({ "type": "web_search_call", "id": "ws_1", "status": status }));
    let kind = protocol::event::EventKind::WebSearchCallSearching;
    let words = vec![
        Ok(ModelEvent::Item(OpaqueStep::Added { key: 0, item: item("in_progress") })),
        Ok(ModelEvent::Item(OpaqueStep::Event {
            key: 0,
            kind,
            fields: fields(json!({ "query": "weirs" })),
        })),
        Ok(ModelEvent::Item(OpaqueStep::Done { key: 0, item: item("completed") })),
        text("found"),
        STOP,
    ];
    let entries = run(&stage(), asking("hi"), words).await;
    assert_eq!(
        kinds(&entries)[2..6],
        ["output_item.added", "web_search_call.searching", "output_item.done", "output_item.added"]
    );
    let searching = &data(&entries, "web_search_call.searching")[0];
    let done = &data(&entries, "output_item.done")[0]["item"];
    assert_eq!((&searching["item_id"], &searching["query"]), (&done["id"], &json!("weirs")));
    assert_eq!((&done["upstream_id"], &done["status"]), (&json!("ws_1"), &json!("completed")));
    assert_ne!(done["id"], "ws_1");
}

#[tokio::test(start_paused = true)]
async fn fields_beyond_the_vocabulary_stay_with_their_item() {
    let details = || {
        Ok(ModelEvent::ReasoningExtra(fields(
            json!({ "reasoning_details": [{ "type": "x", "index": 0, "text": "a" }] }),
        )))
    };
    let beside = || Ok(ModelEvent::Extra(fields(json!({ "citations": ["u"] }))));
    let response = response(
        asking("hi"),
        vec![
            Ok(ModelEvent::Reasoning("hm".into())),
            details(),
            details(),
            text("a"),
            beside(),
            STOP,
        ],
    )
    .await;
    let extra = |index: usize| Value::Object(response.output[index].extra().unwrap().to_map());
    assert_eq!(
        extra(0),
        json!({ "reasoning_details": [{ "type": "x", "index": 0, "text": "aa" }] })
    );
    assert_eq!(extra(1), json!({ "citations": ["u"] }));
}

#[tokio::test(start_paused = true)]
async fn fields_without_a_text_reach_the_caller_and_those_in_pieces_are_put_together() {
    let beside = |value: Value| Ok(ModelEvent::Extra(fields(value)));
    let thinking = [
        json!({ "thinking": "hmA" }),
        json!({ "thinking": "hmB", "k": { "a": 1 } }),
        json!({ "k": { "b": 2 } }),
    ];
    let whole = json!({ "thinking": "hmAhmB", "k": { "a": 1, "b": 2 } });
    let alone =
        response(asking("hi"), thinking.clone().map(beside).into_iter().chain([STOP]).collect())
            .await;
    assert_eq!((alone.status, alone.output.len()), (ResponseStatus::Completed, 1));
    assert_eq!(Value::Object(alone.output[0].extra().unwrap().to_map()), whole);
    let with_text = response(
        asking("hi"),
        [text("a")].into_iter().chain(thinking.map(beside)).chain([STOP]).collect(),
    )
    .await;
    assert_eq!(Value::Object(with_text.output[0].extra().unwrap().to_map()), whole);
    let cut = response(asking("hi"), vec![beside(json!({ "x": 1 }))]).await;
    assert_eq!((cut.status, cut.output.len()), (ResponseStatus::Failed, 0));
}

#[tokio::test(start_paused = true)]
async fn fields_of_a_message_that_never_came_are_not_lost() {
    let beside = Ok(ModelEvent::Extra(fields(json!({ "x": 1 }))));
    let response =
        response(asking("hi"), vec![beside, call(0, Some("c"), Some("f"), "{}"), STOP]).await;
    let Some(Item::Message(message)) = response.output.last() else { panic!("no message") };
    assert!(message.content.is_empty() && message.extra.get("x").is_some());
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_are_ignored() {
    let create = Create { max_tool_calls: Some(1), ..asking("hi") };
    let words = vec![
        call(0, Some("a"), Some("f"), "{}"),
        call(1, Some("b"), Some("f"), "{"),
        call(1, None, None, "}"),
        STOP,
    ];
    let response = response(create, words).await;
    assert_eq!((response.status, response.output.len()), (ResponseStatus::Completed, 1));
}

#[tokio::test(start_paused = true)]
async fn keep_alives_hold_a_stream_longer_than_silence_does() {
    let stage = stage();
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    say(&script, [text("a")]).await;
    // Longer than the connection may be silent, and not as long as the model may be.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(100)).await;
        say(&script, [Ok(ModelEvent::KeepAlive)]).await;
    }
    let before = tokio::time::Instant::now();
    let keep_alives = async {
        loop {
            tokio::time::sleep(Duration::from_secs(20)).await;
            if script.send(Ok(ModelEvent::KeepAlive)).await.is_err() {
                return;
            }
        }
    };
    let (entries, ()) = tokio::join!(read(&mut started.feed), keep_alives);
    let error = last_response(&entries.unwrap()).error.unwrap();
    assert_eq!(error.code, "upstream_keep_alive_timeout");
    assert!(error.message.contains("nothing but keep-alives"), "{}", error.message);
    assert!(before.elapsed() < Duration::from_secs(150), "600 s after the last word");
}

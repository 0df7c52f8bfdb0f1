//! Whole turns over a provider that a test plays by hand, on paused time: what is appended, what
//! ends an answer, who is told.
#![expect(
    clippy::unwrap_used,
    clippy::unnecessary_wraps,
    reason = "a test that cannot go on should say where"
)]

mod ephemeral;
mod loads;
mod odd;
mod recover;
mod retry;
mod stage;
mod unread;

use std::time::Duration;

use protocol::event::EventKind;
use protocol::extra::Extra;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{ItemId, Owner};
use protocol::item::{FunctionCallOutput, FunctionOutput, Item, ItemStatus};
use protocol::request::{Create, InputItem, ToolChoice, ToolMode};
use protocol::response::ResponseStatus;
use weir_engine::Config;
use weir_engine::log::LogError;
use weir_engine::memory::log::MemoryLog;
use weir_engine::provider::event::{Finish, ModelEvent};
use weir_engine::provider::failure::ProviderFailure;
use weir_engine::response::options::{Idempotency, StartOptions};
use weir_engine::testing::failing::FailingLog;
use weir_engine::testing::late::LateLog;

use crate::stage::{
    alice, asking, call, kinds, last_response, read, run, say, stage, stage_on, text, tool,
};

#[tokio::test(start_paused = true)]
async fn a_text_response_has_every_event_in_order() {
    let stage = stage();
    let entries = run(
        &stage,
        asking("hi"),
        vec![text("Hel"), text("lo"), Ok(ModelEvent::Finish(Finish::Stop))],
    )
    .await;
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&entries), expected);
    assert!(entries.iter().map(|entry| entry.position).eq(0..expected.len() as u64));
    let response = last_response(&entries);
    assert_eq!(response.status, ResponseStatus::Completed);
    assert!(response.completed_at.is_some());
    let usage = response.usage.unwrap();
    assert_eq!(
        (usage.output_tokens, usage.source),
        (1, protocol::usage::UsageSource::Counted),
        "Hel|lo is one token, Hello"
    );
    assert_eq!(
        protocol::snapshot::response(&entries[entries.len() - 1..]),
        Some(response),
        "the terminal entry alone is the response"
    );
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_of_a_part_is_what_was_said_so_far() {
    let stage = stage();
    let script = stage.script();
    let started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    say(&script, [Ok(ModelEvent::Reasoning("hm".into())), text("Hel"), text("lo")]).await;
    let mut feed = stage.engine.feed(&alice(), &started.id, None).await.unwrap();
    feed.peek(9).await.unwrap();
    let response = stage.engine.response(&alice(), &started.id).await.unwrap();
    assert_eq!(response.status, ResponseStatus::InProgress);
    let texts: Vec<_> = response
        .output
        .iter()
        .map(|item| match item {
            Item::Message(message) => message.content[0].text().unwrap().to_owned(),
            Item::Reasoning(reasoning) => reasoning.content[0].text().unwrap().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts[0], "hm");
    assert!("Hello".starts_with(&texts[1]), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn reasoning_refusal_and_interleaved_calls_have_their_events() {
    let stage = stage();
    let create = Create { tools: vec![tool("one"), tool("two")], ..asking("hi") };
    let words = vec![
        Ok(ModelEvent::Reasoning("hm".into())),
        text("a"),
        Ok(ModelEvent::Refusal("no".into())),
        call(0, Some("call_1"), None, "{"),
        call(0, None, Some("one"), ""),
        call(1, Some("call_2"), Some("two"), "[1"),
        call(0, None, None, "}"),
        call(1, None, None, "]"),
        Ok(ModelEvent::Finish(Finish::Stop)),
    ];
    let entries = run(&stage, create, words).await;
    assert_eq!(
        kinds(&entries)[2..],
        [
            "output_item.added",
            "content_part.added",
            "reasoning_text.delta",
            "reasoning_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let response = last_response(&entries);
    let calls: Vec<_> = response
        .output
        .iter()
        .filter_map(|item| if let Item::FunctionCall(call) = item { Some(call) } else { None })
        .collect();
    assert_eq!((calls[0].call_id.as_str(), calls[0].arguments.as_str()), ("call_1", "{}"));
    assert_eq!((calls[1].call_id.as_str(), calls[1].arguments.as_str()), ("call_2", "[1]"));
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_finish_reason_is_a_failure() {
    let stage = stage();
    let entries = run(&stage, asking("hi"), vec![text("Hel")]).await;
    assert_eq!(kinds(&entries)[entries.len() - 2..], ["error", "failed"]);
    assert_eq!(last_response(&entries).error.unwrap().code, "upstream_truncated");
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_the_finish_reason_takes_nothing() {
    let stage = stage();
    let cut = ProviderFailure::upstream(Fault::new(FaultKind::Upstream, "upstream_cut", "cut"));
    let entries = run(
        &stage,
        asking("hi"),
        vec![text("Hel"), Ok(ModelEvent::Finish(Finish::Stop)), Err(cut)],
    )
    .await;
    assert_eq!(last_response(&entries).status, ResponseStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn early_ends_have_their_reasons() {
    let stage = stage();
    for (finish, reason) in
        [(Finish::Length, "max_output_tokens"), (Finish::ContentFilter, "content_filter")]
    {
        let entries =
            run(&stage, asking("hi"), vec![text("Hel"), Ok(ModelEvent::Finish(finish))]).await;
        let response = last_response(&entries);
        assert_eq!(response.status, ResponseStatus::Incomplete);
        assert_eq!(response.incomplete_details.unwrap().reason, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn each_timer_has_its_own_cause() {
    let stage = stage();
    let first = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(last_response(&entries).error.unwrap().code, "upstream_first_token_timeout");
    drop(first);

    let idle = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    say(&idle, [text("a")]).await;
    let entries = read(&mut started.feed).await;
    assert_eq!(last_response(&entries.unwrap()).error.unwrap().code, "upstream_idle_timeout");
    stage.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_closes_upstream_and_keeps_the_text() {
    let stage = stage();
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    say(&script, [text("Hello")]).await;
    started.feed.peek(4).await.unwrap();
    let first = stage.engine.cancel(&alice(), &started.id).await.unwrap();
    let second = stage.engine.cancel(&alice(), &started.id).await.unwrap();
    stage.closed().await;
    assert_eq!(first, second);
    assert_eq!(first.status, ResponseStatus::Cancelled);
    assert_eq!(first.usage.unwrap().output_tokens, 1);
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(entries.last().unwrap().kind, EventKind::Incomplete);
    assert!(String::from_utf8_lossy(&entries.last().unwrap().data).contains("Hello"));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_before_the_upstream_responds_counts() {
    let stage = stage();
    let started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    let response = stage.engine.cancel(&alice(), &started.id).await.unwrap();
    assert_eq!((response.status, response.usage), (ResponseStatus::Cancelled, None));
    stage.closed().await;
}

#[tokio::test(start_paused = true)]
async fn leaving_stops_only_a_stateless_response() {
    let stage = stage();
    let _stateless = stage.script();
    let started = stage
        .engine
        .start(&alice(), Create { store: false, ..asking("hi") }, StartOptions::default())
        .await
        .unwrap();
    let id = started.id.clone();
    drop(started);
    stage.closed().await;

    let stored = stage.script();
    let started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    let second = started.id.clone();
    drop(started);
    say(&stored, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(stored);
    let mut feed = stage.engine.feed(&alice(), &second, None).await.unwrap();
    assert_eq!(last_response(&read(&mut feed).await.unwrap()).status, ResponseStatus::Completed);
    while stage.engine.census().running > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        stage.engine.response(&alice(), &id).await.unwrap_err().status,
        404,
        "a stateless answer is gone after its end"
    );
}

#[tokio::test(start_paused = true)]
async fn no_reader_sees_an_event_before_it_is_committed() {
    let log = LateLog::new();
    let stage = stage_on(log.clone(), Config::default());
    let script = stage.script();
    let owner = alice();
    let mut start =
        std::pin::pin!(stage.engine.start(&owner, asking("hi"), StartOptions::default()));
    let early = tokio::time::timeout(Duration::from_secs(60), &mut start).await;
    assert!(early.is_err(), "an id was told that a crash would have forgotten");
    log.release();
    let mut started = start.await.unwrap();
    let first = started.feed.next(usize::MAX).await.unwrap().unwrap();
    assert_eq!(first[0].kind, EventKind::Created);
    say(&script, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    let unseen = tokio::time::timeout(Duration::from_secs(60), started.feed.next(usize::MAX)).await;
    assert!(unseen.is_err(), "an uncommitted event was delivered: {unseen:?}");
    assert!(log.waiting() > 5);
    log.open_gate();
    read(&mut started.feed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_ends_its_readers_and_gets_its_end_when_it_recovers() {
    let log = FailingLog::new();
    let stage = stage_on(log.clone(), Config::default());
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    started.feed.peek(1).await.unwrap();
    log.break_after(1);
    say(&script, [text("a")]).await;
    started.feed.peek(4).await.unwrap();
    say(&script, [text("b")]).await;
    assert_eq!(read(&mut started.feed).await, Err(LogError::Unavailable));
    stage.closed().await;
    assert!(log.is_broken());
    log.repair();
    let mut feed = loop {
        // Until the writer has tried again, readers are still told of the failure.
        let mut feed = stage.engine.feed(&alice(), &started.id, None).await.unwrap();
        match feed.ending().await {
            Ok(_) => break stage.engine.feed(&alice(), &started.id, None).await.unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let entries = read(&mut feed).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind.is_terminal()).count(), 1);
    assert_eq!(last_response(&entries).error.unwrap().code, "log_failed");
    assert!(entries.iter().map(|entry| entry.position).eq(0..entries.len() as u64));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_must_call_a_tool_and_does_not_has_failed() {
    let stage = stage();
    let create = Create {
        tools: vec![tool("one")],
        tool_choice: ToolChoice::Mode(ToolMode::Required),
        ..asking("hi")
    };
    let entries = run(&stage, create, vec![text("no"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    assert_eq!(last_response(&entries).error.unwrap().code, "tool_choice_unmet");
}

#[tokio::test(start_paused = true)]
async fn a_turn_sees_what_came_before_it() {
    let stage = stage();
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("I am Ada"), StartOptions::default()).await.unwrap();
    say(&script, [text("Hi Ada"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    read(&mut started.feed).await.unwrap();
    while stage.engine.census().running > 0 {
        tokio::task::yield_now().await;
    }
    let create = Create { previous_response_id: Some(started.id.clone()), ..asking("who am I?") };
    let stranger = stage
        .engine
        .start(&Owner::new("bob"), create.clone(), StartOptions::default())
        .await
        .err()
        .unwrap();
    assert_eq!(stranger.code, "previous_response_not_found");
    run(&stage, create, vec![text("Ada"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    let asked = stage.puppet.asked.lock().unwrap();
    let texts: Vec<_> = asked[1]
        .context
        .iter()
        .map(|item| {
            if let Item::Message(message) = item { message.content[0].text().unwrap() } else { "" }
        })
        .collect();
    assert_eq!(texts, ["I am Ada", "Hi Ada", "who am I?"]);
}

#[tokio::test(start_paused = true)]
async fn one_idempotency_key_is_one_answer() {
    let stage = stage();
    let script = stage.script();
    let key = |request: u8| StartOptions {
        idempotency: Some(Idempotency { key: "k".into(), request: [request; 32] }),
        ..StartOptions::default()
    };
    let first = stage.engine.start(&alice(), asking("hi"), key(1)).await.unwrap();
    let mut again = stage.engine.start(&alice(), asking("hi"), key(1)).await.unwrap();
    assert_eq!(first.id, again.id);
    assert_eq!(stage.engine.start(&alice(), asking("ho"), key(2)).await.err().unwrap().status, 409);
    say(&script, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    read(&mut again.feed).await.unwrap();
    let mut later = stage.engine.start(&alice(), asking("hi"), key(1)).await.unwrap();
    assert_eq!(
        last_response(&read(&mut later.feed).await.unwrap()).status,
        ResponseStatus::Completed
    );
    assert_eq!(stage.puppet.asked.lock().unwrap().len(), 1, "the model was asked once");
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_without_a_name_is_never_swallowed() {
    let stage = stage();
    let nameless = |arguments: &str| call(0, Some("c"), None, arguments);
    let entries =
        run(&stage, asking("hi"), vec![nameless("{}"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    assert_eq!(last_response(&entries).error.unwrap().code, "upstream_invalid_data");

    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    // A model that goes on like this for ever is closed before it fills the memory.
    let mut sent = 0;
    while script.send(nameless(&"x".repeat(1000))).await.is_ok() {
        sent += 1;
        assert!(sent < 1000, "a megabyte was held back");
    }
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(last_response(&entries).error.unwrap().code, "upstream_invalid_data");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_panics_has_an_end_too() {
    let stage = stage();
    let create = Create { safety_identifier: Some("panic".into()), ..asking("hi") };
    let mut started = stage.engine.start(&alice(), create, StartOptions::default()).await.unwrap();
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(kinds(&entries), ["created", "in_progress", "error", "failed"]);
    assert_eq!(last_response(&entries).error.unwrap().code, "server_error");
    assert_eq!(
        stage.engine.cancel(&alice(), &started.id).await.unwrap().status,
        ResponseStatus::Failed
    );
    while stage.engine.census().running > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_the_same_answer_whatever_has_become_of_what_it_continued() {
    let stage = stage();
    let mut first = None;
    for text_of in ["one", "two"] {
        let script = stage.script();
        let create = Create { previous_response_id: first.clone(), ..asking(text_of) };
        let mut started = stage
            .engine
            .start(&alice(), create, key_of(1 + u8::from(first.is_some())))
            .await
            .unwrap();
        say(&script, [text("yes"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
        drop(script);
        read(&mut started.feed).await.unwrap();
        first = first.or(Some(started.id));
    }
    stage.engine.delete(&alice(), first.as_ref().unwrap()).await.unwrap();
    let again = Create { previous_response_id: first.clone(), ..asking("two") };
    assert!(stage.engine.start(&alice(), again.clone(), key_of(2)).await.is_ok());
    let mut other = key_of(2);
    other.idempotency.as_mut().unwrap().request = [9; 32];
    assert_eq!(stage.engine.start(&alice(), again, other).await.err().unwrap().status, 409);
}

fn key_of(number: u8) -> StartOptions {
    StartOptions {
        idempotency: Some(Idempotency { key: number.to_string(), request: [number; 32] }),
        ..StartOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_answer_failed_before_any_output_may_be_tried_again() {
    let stage = stage();
    let key = || StartOptions {
        idempotency: Some(Idempotency { key: "k".into(), request: [1; 32] }),
        ..StartOptions::default()
    };
    for (words, is_released) in [(vec![], true), (vec![text("a")], false)] {
        let script = stage.script();
        let mut first = stage.engine.start(&alice(), asking("hi"), key()).await.unwrap();
        say(&script, words).await;
        drop(script);
        assert_eq!(
            last_response(&read(&mut first.feed).await.unwrap()).status,
            ResponseStatus::Failed
        );
        while stage.engine.census().running > 0 {
            tokio::task::yield_now().await;
        }
        let asked = stage.puppet.asked.lock().unwrap().len();
        let retry = stage.script();
        let again = stage.engine.start(&alice(), asking("hi"), key()).await.unwrap();
        drop(retry);
        assert_eq!(again.id != first.id, is_released, "asked {asked} times before");
        while stage.engine.census().running > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_by_bytes_and_by_age() {
    let config = Config { kept_bytes: 20_000, ..Config::default() };
    let stage = stage_on(MemoryLog::new(), config);
    let mut ids = Vec::new();
    for _ in 0..20 {
        let script = stage.script();
        let mut started =
            stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
        say(&script, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
        drop(script);
        read(&mut started.feed).await.unwrap();
        ids.push(started.id);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let census = stage.engine.census();
    assert!(census.log_bytes + census.item_bytes <= 20_000, "{census:?}");
    let expired = stage.engine.response(&alice(), &ids[0]).await.unwrap_err();
    assert_eq!((expired.status, expired.code.as_str()), (410, "response_expired"));
    assert_eq!(stage.engine.response(&Owner::new("bob"), &ids[0]).await.unwrap_err().status, 404);
    assert!(stage.engine.response(&alice(), &ids[19]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_grows_too_large_is_ended() {
    let stage = stage_on(MemoryLog::new(), Config { answer_bytes: 5_000, ..Config::default() });
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    // The model goes on until its connection is closed.
    while script.send(text("0123456789")).await.is_ok() {}
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(last_response(&entries).error.unwrap().code, "answer_too_large");
    stage.closed().await;
    // Fields beyond the vocabulary count as well, although they are in no entry before the end.
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    script.send(text("a")).await.unwrap();
    let beside =
        || ModelEvent::Extra(serde_json::from_str(r#"{"citations":["0123456789"]}"#).unwrap());
    while script.send(Ok(beside())).await.is_ok() {}
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(last_response(&entries).error.unwrap().code, "answer_too_large");
    stage.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_response_is_gone_and_its_upstream_closed() {
    let stage = stage();
    let _script = stage.script();
    let started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    assert_eq!(stage.engine.delete(&Owner::new("bob"), &started.id).await.unwrap_err().status, 404);
    stage.engine.delete(&alice(), &started.id).await.unwrap();
    stage.closed().await;
    assert_eq!(stage.engine.response(&alice(), &started.id).await.unwrap_err().status, 404);
    let id = started.id.clone();
    drop(started);
    while stage.engine.census().running > 0 {
        tokio::task::yield_now().await;
    }
    let census = stage.engine.census();
    assert_eq!((census.log_bytes, census.item_bytes), (0, 0), "{id} left something behind");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_a_failure_and_leaves_no_task() {
    let stage = stage();
    let _script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    stage.engine.shut_down();
    let entries = read(&mut started.feed).await.unwrap();
    assert_eq!(last_response(&entries).error.unwrap().code, "server_shutdown");
    drop(started);
    assert_eq!(stage.tasks.shutdown(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn unknown_models_parameters_and_calls_are_named() {
    let stage = stage();
    let start = |create| async {
        stage.engine.start(&alice(), create, StartOptions::default()).await.err().unwrap()
    };
    let model = start(Create { model: "nope".into(), ..asking("hi") }).await;
    assert_eq!((model.status, model.param.as_deref()), (404, Some("model")));
    let mut create = asking("hi");
    create.extra.insert("seed".into(), 1.into());
    create.extra.insert("logit_bias".into(), 1.into());
    assert_eq!(start(create).await.param.as_deref(), Some("logit_bias"));
    let mut create = asking("hi");
    create.input.push(InputItem::Item(Item::FunctionCallOutput(FunctionCallOutput {
        id: ItemId::new(""),
        call_id: "call_x".into(),
        output: FunctionOutput::Text("1".into()),
        status: ItemStatus::Completed,
        extra: Extra::default(),
    })));
    let call = start(create).await;
    assert_eq!(
        (call.code.as_str(), call.param.as_deref()),
        ("unknown_call_id", Some("input[1].call_id"))
    );
    let census = stage.engine.census();
    assert_eq!(
        (census.running, census.log_bytes, census.item_bytes),
        (0, 0, 0),
        "a refused request leaves nothing behind"
    );
}

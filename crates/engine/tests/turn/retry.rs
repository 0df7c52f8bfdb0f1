//! Calls that fail are made again until the model has made something (promise 8), and an answer
//! whose readers leave runs on as long as was asked for.

use std::time::Duration;

use protocol::fault::{Fault, FaultKind};
use protocol::item::{Item, Part};
use protocol::on_leave::OnLeave;
use protocol::request::{Create, ReasoningConfig};
use protocol::response::ResponseStatus;
use tokio::time::Instant;
use weir_engine::provider::event::{Finish, ModelEvent};
use weir_engine::provider::failure::{FailureScope, ProviderFailure};
use weir_engine::response::options::StartOptions;

use crate::stage::{
    ScriptedEvent, Stage, alice, asking, call, kinds, last_response, read, run, say, stage,
    stage_that_retries, text,
};

fn failure(scope: FailureScope) -> ScriptedEvent {
    Err(ProviderFailure::new(Fault::new(FaultKind::Upstream, "made_up", "said"), scope))
}

const STOP: ScriptedEvent = Ok(ModelEvent::Finish(Finish::Stop));

/// Plays one script for each call, in order, and gives what came of it.
async fn play(stage: &Stage, scripts: Vec<Vec<ScriptedEvent>>) -> protocol::response::Response {
    for words in scripts {
        let script = stage.script();
        say(&script, words).await;
    }
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    last_response(&read(&mut started.feed).await.unwrap())
}

fn words(response: &protocol::response::Response) -> String {
    let messages = response
        .output
        .iter()
        .filter_map(|item| if let Item::Message(message) = item { Some(message) } else { None });
    messages.flat_map(|message| &message.content).filter_map(Part::text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_without_output_is_retried_and_leaves_nothing() {
    let stage = stage_that_retries();
    let half_a_call = call(0, None, None, "{");
    let scripts = vec![
        vec![half_a_call, failure(FailureScope::Upstream(None))],
        vec![Ok(ModelEvent::KeepAlive)],
        vec![text("Hello"), STOP],
    ];
    let before = Instant::now();
    let response = play(&stage, scripts).await;
    assert_eq!((response.status, words(&response).as_str()), (ResponseStatus::Completed, "Hello"));
    assert_eq!(stage.puppet.asked.lock().unwrap().len(), 3);
    assert!(before.elapsed() > Duration::from_secs(1), "half a second and a second, more or less");
    stage.closed().await;
}

#[tokio::test(start_paused = true)]
async fn no_output_is_repeated() {
    let stage = stage_that_retries();
    let response = play(
        &stage,
        vec![vec![text("Hel"), failure(FailureScope::Upstream(None))], vec![text("Hello"), STOP]],
    )
    .await;
    assert_eq!((response.status, words(&response).as_str()), (ResponseStatus::Failed, "Hel"));
    assert_eq!(stage.puppet.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_is_not_retried_and_a_lasting_failure_is_reported() {
    let stage = stage_that_retries();
    let response = play(&stage, vec![vec![failure(FailureScope::Request)]]).await;
    assert_eq!(response.error.unwrap().code, "made_up");
    assert_eq!(stage.puppet.asked.lock().unwrap().len(), 1);
    let response = play(
        &stage,
        vec![
            vec![failure(FailureScope::Upstream(None))],
            vec![failure(FailureScope::Upstream(None))],
            vec![failure(FailureScope::Upstream(None))],
        ],
    )
    .await;
    assert_eq!(response.status, ResponseStatus::Failed);
    assert_eq!(stage.puppet.asked.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_two_calls_takes_effect() {
    let stage = stage_that_retries();
    let script = stage.script();
    say(&script, [failure(FailureScope::RateLimited(Some(Duration::from_secs(50))))]).await;
    let started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let response = stage.engine.cancel(&alice(), &started.id).await.unwrap();
    assert_eq!(response.status, ResponseStatus::Cancelled);
    assert_eq!(stage.puppet.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_is_longer_than_the_deadline_is_not_tried_again() {
    let stage = stage_that_retries();
    let silent = stage.script();
    let next = stage.script();
    say(&next, [text("Hello"), STOP]).await;
    drop(next);
    let create = asking("hi");
    let mut started = stage.engine.start(&alice(), create, StartOptions::default()).await.unwrap();
    // The first call is silent for its ten minutes, which is after the deadline for further ones.
    let response = last_response(&read(&mut started.feed).await.unwrap());
    assert_eq!(response.error.unwrap().code, "upstream_first_token_timeout");
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn thoughts_have_summaries_breaks_and_ends() {
    let stage = stage();
    let said = vec![
        Ok(ModelEvent::ReasoningSummary("One".into())),
        Ok(ModelEvent::ReasoningBreak),
        Ok(ModelEvent::ReasoningSummary("Two".into())),
        Ok(ModelEvent::ReasoningEnd { encrypted: "made.up".into() }),
        Ok(ModelEvent::ReasoningEnd { encrypted: "made.later".into() }),
        text("Hello"),
        Ok(ModelEvent::Annotation(serde_json::json!({"type": "url_citation"}))),
        STOP,
    ];
    let summary = ReasoningConfig { summary: Some("auto".into()), ..ReasoningConfig::default() };
    let entries = run(&stage, Create { reasoning: Some(summary), ..asking("hi") }, said).await;
    let expected = [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&entries)[2..], expected);
    let response = last_response(&entries);
    let thoughts: Vec<_> = response
        .output
        .iter()
        .filter_map(
            |item| if let Item::Reasoning(reasoning) = item { Some(reasoning) } else { None },
        )
        .collect();
    assert_eq!(thoughts.len(), 2);
    assert_eq!(
        thoughts[0].summary.iter().filter_map(Part::text).collect::<Vec<_>>(),
        ["One", "Two"]
    );
    assert_eq!(
        thoughts.iter().map(|one| one.encrypted_content.as_deref()).collect::<Vec<_>>(),
        [Some("made.up"), Some("made.later")]
    );
    // The fold of every prefix is what the terminal event says of it: nothing needs the end to be
    // understood.
    let folded = protocol::snapshot::response(&entries[..entries.len() - 1]).unwrap();
    assert_eq!(folded.output, response.output);
}

fn within(policy: &str) -> Create {
    Create { on_leave: Some(policy.parse().unwrap()), ..asking("hi") }
}

#[tokio::test(start_paused = true)]
async fn a_response_without_readers_ends_after_its_time() {
    let stage = stage();
    let script = stage.script();
    let started = stage
        .engine
        .start(&alice(), within("finish_within 30s"), StartOptions::default())
        .await
        .unwrap();
    say(&script, [text("Hello")]).await;
    drop(started.feed);
    tokio::time::sleep(Duration::from_secs(20)).await;
    // A reader that comes back stops the clock.
    let feed = stage.engine.feed(&alice(), &started.id, None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        stage.engine.response(&alice(), &started.id).await.unwrap().status,
        ResponseStatus::InProgress
    );
    drop(feed);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(
        stage.engine.response(&alice(), &started.id).await.unwrap().status,
        ResponseStatus::InProgress
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let response = stage.engine.response(&alice(), &started.id).await.unwrap();
    assert_eq!(
        (response.status, response.incomplete_details.unwrap().reason.as_str()),
        (ResponseStatus::Cancelled, "client_left")
    );
    stage.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_without_readers_ends_after_its_tokens() {
    let stage = stage();
    let script = stage.script();
    let started = stage
        .engine
        .start(&alice(), within("finish_within 3 tokens"), StartOptions::default())
        .await
        .unwrap();
    say(&script, [text("0")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(started.feed);
    for number in 1..=3 {
        say(&script, [text(&number.to_string())]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        stage.engine.response(&alice(), &started.id).await.unwrap().status,
        ResponseStatus::InProgress
    );
    say(&script, [text("4")]).await;
    stage.closed().await;
    let mut feed = stage.engine.feed(&alice(), &started.id, None).await.unwrap();
    let response = last_response(&read(&mut feed).await.unwrap());
    assert_eq!((response.status, words(&response).as_str()), (ResponseStatus::Cancelled, "01234"));
}

#[test]
fn a_policy_is_said_in_one_line() {
    assert_eq!("finish".parse(), Ok(OnLeave::Finish));
}

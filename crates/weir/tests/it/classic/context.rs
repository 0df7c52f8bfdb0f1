//! The model's context: the last turns that succeeded, until the conversation is idle for too long.

use std::time::Duration;

use client::{Request, websocket};
use fakes::Script;
use serde_json::json;

use super::sockets::answer;
use super::{UID, ask, converse, plan, roles_and_texts, sent, told};
use crate::test_server::TestServer;

#[tokio::test]
async fn b1_b2_the_model_sees_both_sides_of_the_last_turns() {
    let test_server = TestServer::open().await;
    for turn in 0..7 {
        test_server.upstream.script(Script::text(&[&format!("answer {turn}")]));
        converse(&test_server, UID, &format!("question {turn}")).await;
    }
    let expected = [
        ("user", "question 2"),
        ("assistant", "answer 2"),
        ("user", "question 3"),
        ("assistant", "answer 3"),
        ("user", "question 4"),
        ("assistant", "answer 4"),
        ("user", "question 5"),
        ("assistant", "answer 5"),
        ("user", "question 6"),
    ];
    assert_eq!(
        sent(&test_server),
        roles_and_texts(&expected),
        "ten messages at most, whole turns, the newest"
    );
    test_server.close().await;
}

#[tokio::test]
async fn question_tokens_count_everything_that_the_model_reads() {
    let test_server = TestServer::open().await;
    for (question, expected) in [("hello", 9), ("second", 21), ("third", 33)] {
        test_server.upstream.script(Script::text(&["Hi"]));
        let (tokens, stream) = ask(&test_server, UID, question).await;
        told(stream).await;
        assert_eq!(tokens, expected, "a message has 6 tokens here, and the response starts with 3");
    }
    test_server.close().await;
}

#[tokio::test]
async fn every_question_has_the_configured_system_prompt_and_temperature() {
    let test_server = TestServer::open_with(plan(|classic| {
        classic.instructions = Some("Be brief.".to_owned());
        classic.temperature = Some(0.2);
    }))
    .await;
    let mut socket = super::sockets::open(&test_server).await;
    for question in ["hello", "second"] {
        test_server.upstream.script(Script::text(&["Hi"]));
        if question == "hello" {
            converse(&test_server, UID, question).await;
        } else {
            answer(&mut socket, question).await;
        }
        let messages = sent(&test_server);
        assert_eq!(messages.first(), Some(&("system".to_owned(), "Be brief.".to_owned())));
        assert_eq!(messages.iter().filter(|(role, _)| role == "system").count(), 1, "{messages:?}");
        assert_eq!(test_server.upstream.requests().last().unwrap().body["temperature"], 0.2);
    }
    drop(socket);
    test_server.close().await;
}

#[tokio::test]
async fn b2_b18_the_context_drops_whole_turns_from_the_front() {
    // A message of fifty words has 54 tokens: 50, its role, and 3 around it. The response starts with another 3.
    let words = |word: &str| vec![word; 50].join(" ");
    let test_server =
        TestServer::open_with(plan(|classic| classic.context_tokens = 3 + 3 * 54)).await;
    for (question, answer) in [("one", "red"), ("two", "green"), ("three", "blue")] {
        test_server.upstream.script(Script::text(&[&words(answer)]));
        converse(&test_server, UID, &words(question)).await;
    }
    let (second, answer, third) = (words("two"), words("green"), words("three"));
    assert_eq!(
        sent(&test_server),
        roles_and_texts(&[("user", &second), ("assistant", &answer), ("user", &third)])
    );
    // With one more token, the turn before it does not fit.
    let question = format!("{third} more");
    converse(&test_server, UID, &question).await;
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", &question)]));
    test_server.close().await;
}

#[tokio::test]
async fn b18_a_question_that_is_too_long_is_sent_alone_and_the_error_is_shown() {
    let test_server = TestServer::open_with(plan(|classic| classic.context_tokens = 20)).await;
    converse(&test_server, UID, "hello").await;
    let refusal = json!({ "error": { "message": "the context is 20 tokens long", "code": "context_length_exceeded" } });
    test_server.upstream.script(Script::error(400, &refusal));
    let question = ["long"; 30].join(" ");
    let said = converse(&test_server, UID, &question).await;
    assert!(said.contains("the context is 20 tokens long"), "{said}");
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", &question)]));
    let request = &test_server.upstream.requests()[1].body;
    assert!(
        request["max_tokens"].is_null() && request["max_completion_tokens"].is_null(),
        "the answer may be as long as it can: {request}"
    );
    test_server.close().await;
}

#[tokio::test]
async fn b3_a_failed_or_unanswered_question_is_not_stored() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["Hi"]));
    converse(&test_server, UID, "hello").await;
    let before = test_server.engine.census();
    for bad in [
        Script::error(500, &json!({ "error": { "message": "no" } })),
        Script::new().role().content("half").rst(),
        Script::new().role().finish("stop").usage(1, 0, 0).done().end(),
    ] {
        test_server.upstream.script(bad);
        converse(&test_server, UID, "bad").await;
        test_server.quiet().await;
        let after = test_server.engine.census();
        assert_eq!(
            (after.item_bytes, after.log_bytes),
            (before.item_bytes, before.log_bytes),
            "it is gone"
        );
    }
    test_server.upstream.script(Script::text(&["Fine"]));
    converse(&test_server, UID, "how are you?").await;
    assert_eq!(
        sent(&test_server),
        roles_and_texts(&[("user", "hello"), ("assistant", "Hi"), ("user", "how are you?")])
    );
    test_server.close().await;
}

#[tokio::test]
async fn b4_streams_and_sockets_share_one_conversation() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["one"]));
    converse(&test_server, UID, "first").await;
    let mut socket = websocket::connect(test_server.address, &format!("/websocket/{UID}"), &[])
        .await
        .unwrap()
        .socket;
    test_server.upstream.script(Script::text(&["two"]));
    assert_eq!(answer(&mut socket, "second").await, "two");
    drop(socket);
    test_server.upstream.script(Script::text(&["three"]));
    let mut asked =
        test_server.stream(&Request::get(&format!("/chat?message=third&uid={UID}"))).await;
    client::soon(asked.collect()).await.unwrap().unwrap();
    let expected = [
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
        ("assistant", "two"),
        ("user", "third"),
    ];
    assert_eq!(sent(&test_server), roles_and_texts(&expected));
    test_server.upstream.script(Script::text(&["four"]));
    converse(&test_server, "another", "alone").await;
    assert_eq!(
        sent(&test_server),
        roles_and_texts(&[("user", "alone")]),
        "another uid knows nothing of it"
    );
    test_server.close().await;
}

#[tokio::test]
async fn an_idle_conversation_ends() {
    let test_server = TestServer::open_with(plan(|classic| classic.idle = Duration::ZERO)).await;
    converse(&test_server, UID, "first").await;
    converse(&test_server, UID, "second").await;
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", "second")]));
    test_server.close().await;
}

#[tokio::test]
async fn deleting_a_turn_ends_the_conversation() {
    let test_server = TestServer::open().await;
    let started = test_server.send(&Request::get(&format!("/chat?message=first&uid={UID}"))).await;
    let id = started.headers.get("weir-response-id").unwrap().to_owned();
    client::soon(started.events().unwrap().collect()).await.unwrap().unwrap();
    assert_eq!(
        test_server.json(&Request::new("DELETE", &format!("/v1/responses/{id}"))).await.0,
        200
    );
    converse(&test_server, UID, "second").await;
    assert_eq!(sent(&test_server), roles_and_texts(&[("user", "second")]));
    test_server.close().await;
}

#[tokio::test]
async fn b19_the_conversation_is_stored_like_any_other() {
    let test_server = TestServer::open().await;
    converse(&test_server, UID, "first").await;
    let second = test_server.send(&Request::get(&format!("/chat?message=second&uid={UID}"))).await;
    let id = second.headers.get("weir-response-id").unwrap().to_owned();
    client::soon(second.events().unwrap().collect()).await.unwrap().unwrap();
    let (_, items) = test_server.get(&format!("/v1/responses/{id}/input_items?order=asc")).await;
    let texts: Vec<_> = items["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["content"][0]["text"].clone())
        .collect();
    assert_eq!(texts, [json!("first"), json!("Hello, world!"), json!("second")]);
    test_server.close().await;
}

//! Settings for upstreams with unknown properties, and how an unknown finish reason is counted.

use fakes::Script;
use provider::config::{
    HostedTools, Preset, ReasoningHistory, SystemMessages, UnknownTools, UpstreamConfig,
};
use serde_json::{Value, json};

use super::case::{USAGE, c, call, chunks, f, failed, refused};
use super::rounds::{EVERY, GoesOn, OddServer, Tools, check, function, with};
use super::run::run_with;
use crate::metrics::scrape;

async fn open(change: impl FnOnce(&mut UpstreamConfig)) -> OddServer {
    OddServer::open_with(Preset::Compatible, Preset::Compatible.wire(), change).await
}

#[tokio::test]
async fn calls_of_unknown_tools_can_be_refused() {
    let launch = |script: Vec<String>| {
        let piece = r#"{"index":0,"id":"call_a","type":"function","function":{"name":"launch","arguments":"{}"}}"#;
        chunks(script.into_iter().chain([call(piece), f("tool_calls"), USAGE.to_owned()]))
    };
    let cases = vec![
        refused("at once", launch(Vec::new()), 502, "tool_not_allowed", &["launch"]),
        failed(
            "after text",
            launch(vec![c(r#"{"content":"Let me see. "}"#)]),
            "Let me see. ",
            (502, "tool_not_allowed"),
            &["launch"],
        ),
    ];
    run_with(cases, |upstream| upstream.compat.unknown_tools = UnknownTools::Refuse).await;
}

#[tokio::test]
async fn usage_is_not_requested_from_upstreams_that_reject_the_field() {
    for (is_sent, expected) in [(true, json!({ "include_usage": true })), (false, Value::Null)] {
        let talk = open(|upstream| upstream.compat.stream_options = is_sent).await;
        talk.respond(&json!({ "input": "hi" })).await;
        check(&talk.asked(), &[("/stream_options", expected), ("/stream", json!(true))], &is_sent);
        talk.close().await;
    }
}

#[tokio::test]
async fn system_messages_are_placed_as_configured() {
    let body = json!({ "instructions": "A", "input": [{ "role": "user", "content": "hi" }, { "role": "system", "content": "B" }, { "role": "user", "content": "and?" }] });
    let system = |text: &str| json!({ "role": "system", "content": text });
    let in_place =
        open(|upstream| upstream.compat.system_messages = Some(SystemMessages::InPlace)).await;
    in_place.respond(&body).await;
    check(
        &in_place.asked(),
        &[("/messages/0", system("A")), ("/messages/2", system("B"))],
        &"in_place",
    );
    in_place.close().await;
    let first = OddServer::open_with(Preset::OpenAi, Preset::OpenAi.wire(), |upstream| {
        upstream.compat.system_messages = Some(SystemMessages::First);
    })
    .await;
    first.respond(&body).await;
    check(
        &first.asked(),
        &[("/messages/0", system("A\n\nB")), ("/messages/2/role", json!("user"))],
        &"first",
    );
    first.close().await;
}

#[tokio::test]
async fn configured_body_fields_are_in_every_request() {
    let talk = open(|upstream| {
        upstream
            .compat
            .body
            .insert("chat_template_kwargs".into(), json!({ "enable_thinking": false }));
        upstream.compat.body.insert("temperature".into(), json!(0.5));
    })
    .await;
    talk.respond(&json!({ "input": "hi", "temperature": 1.0 })).await;
    let held = [
        ("/chat_template_kwargs", json!({ "enable_thinking": false })),
        ("/temperature", json!(0.5)),
        ("/model", json!("odd")),
    ];
    check(&talk.asked(), &held, &"body");
    talk.close().await;
}

#[tokio::test]
async fn hosted_tools_are_passed_on_rejected_or_left_out() {
    let search = json!({ "type": "web_search", "search_context_size": "low" });
    let body = with(
        &json!({ "input": "hi" }),
        &json!({ "tools": [search, function().responses["tools"][0]] }),
    );
    let pass = open(|upstream| upstream.compat.hosted_tools = HostedTools::Pass).await;
    pass.respond(&body).await;
    let asked = pass.asked();
    assert!(asked["tools"].as_array().unwrap().contains(&search), "{asked}");
    pass.close().await;
    let omit = open(|_| {}).await;
    omit.respond(&body).await;
    assert_eq!(omit.asked()["tools"].as_array().unwrap().len(), 1);
    omit.close().await;
    let refuse = open(|upstream| upstream.compat.hosted_tools = HostedTools::Refuse).await;
    for is_streamed in [false, true] {
        let body = with(&body, &json!({ "model": "odd", "stream": is_streamed }));
        let (status, answer) = refuse.test_server.post("/v1/responses", &body).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!("tools[0].type")), "{answer}");
    }
    assert!(refuse.fake.requests().is_empty());
    refuse.close().await;
}

#[tokio::test]
async fn earlier_reasoning_is_sent_back_as_configured() {
    let piece =
        r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{}"}}"#;
    let thought = c(r#"{"reasoning_content":"hm"}"#);
    let calls = chunks([thought.clone(), call(piece), f("tool_calls"), USAGE.to_owned()]);
    let text = chunks([thought, c(r#"{"content":"a"}"#), f("stop"), USAGE.to_owned()]);
    for (history, with_calls, with_text) in [
        (None, json!("hm"), Value::Null),
        (Some(ReasoningHistory::Never), Value::Null, Value::Null),
        (Some(ReasoningHistory::WithCalls), json!("hm"), Value::Null),
        (Some(ReasoningHistory::Always), json!("hm"), json!("hm")),
    ] {
        let talk = open(|upstream| upstream.compat.reasoning_history = history).await;
        for goes_on in EVERY {
            let asked = talk.round(&calls, goes_on, &function()).await;
            check(
                &asked,
                &[
                    ("/messages/1/reasoning_content", with_calls.clone()),
                    ("/messages/2/role", json!("tool")),
                ],
                &(history, goes_on),
            );
            let asked = talk.round(&text, goes_on, &Tools::default()).await;
            check(
                &asked,
                &[
                    ("/messages/1/reasoning_content", with_text.clone()),
                    ("/messages/1/content", json!("a")),
                ],
                &(history, goes_on),
            );
        }
        talk.close().await;
    }
}

#[tokio::test]
async fn an_unknown_finish_reason_is_counted() {
    let talk = open(|_| {}).await;
    talk.fake.default_script(chunks([c(r#"{"content":"half"}"#), f("vibes"), USAGE.to_owned()]));
    let (status, response) = talk
        .test_server
        .post(
            "/v1/responses",
            &json!({ "model": "odd", "input": "hi", "metadata": { "mine": "kept" } }),
        )
        .await;
    assert_eq!(
        (status, &response["incomplete_details"]["reason"]),
        (200, &json!("unknown_finish_reason")),
        "{response}"
    );
    assert_eq!(response["metadata"], json!({ "mine": "kept", "upstream_finish_reason": "vibes" }));
    let seen = scrape(&talk.test_server).await;
    let counted = seen.sum(
        "weir_answers_total",
        &[("status", "incomplete"), ("reason", "unknown_finish_reason")],
    );
    assert!((counted - 1.0).abs() < f64::EPSILON, "{counted}");
    // The next response does not keep the value.
    talk.fake.default_script(Script::text(&["whole"]));
    let next =
        talk.respond(&json!({ "input": "on", "previous_response_id": response["id"] })).await;
    assert_eq!(next["metadata"], json!({}));
    let asked = talk.round(&Script::text(&["x"]), GoesOn::Id, &Tools::default()).await;
    assert_eq!(asked.get("metadata"), None);
    talk.close().await;
}

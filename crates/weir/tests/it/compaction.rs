//! Compaction: a conversation that the model summarises, and the conversation that continues from the summary.

use client::soon;
use client::{Connection, Request};
use engine::provider::request::SUMMARISE;
use fakes::Script;
use protocol::compaction::{decode, encode};
use serde_json::{Value, json};

use crate::test_server::{ALICE, BOB, MODEL, TestServer, TestServerPlan};

const PATH: &str = "/v1/responses/compact";

/// The summary in a compaction item.
fn summary(item: &Value) -> String {
    assert_eq!(item["type"], "compaction");
    assert!(item["id"].as_str().unwrap().starts_with("cmp_"), "{item}");
    decode(item["encrypted_content"].as_str().unwrap()).unwrap()
}

fn said(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

/// A request that continues from a compaction.
fn going_on(compacted: &Value, more: &[Value]) -> Value {
    compacted["output"].as_array().unwrap().iter().chain(more).cloned().collect::<Vec<_>>().into()
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

#[tokio::test]
async fn the_model_is_asked_once_and_nothing_is_stored() {
    let test_server = TestServer::open().await;
    let (_, first) = test_server
        .post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": "I am Ada.", "instructions": "Be brief." }),
        )
        .await;
    let before = test_server.engine.census();
    test_server.upstream.script(Script::text(&["Ada said ", "hello."]));
    let ask = json!({ "model": MODEL, "previous_response_id": first["id"], "input": "And now?", "instructions": "Be exact." });
    let mut response = test_server.send(&Request::post(PATH, &ask)).await;
    let compacted: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
    assert_eq!(response.status, 200, "{compacted}");
    assert_eq!(response.headers.get("weir-response-id"), compacted["id"].as_str());

    assert_eq!(
        (test_server.upstream.requests().len(), test_server.upstream.scripts_left()),
        (2, 0),
        "one turn upstream"
    );
    let expected = json!([
        { "role": "system", "content": "Be exact." },
        { "role": "user", "content": "I am Ada." },
        { "role": "assistant", "content": "Hello, world!" },
        { "role": "user", "content": "And now?" },
        { "role": "user", "content": SUMMARISE },
    ]);
    assert_eq!(test_server.upstream.requests()[1].body["messages"], expected);

    let keys: Vec<&str> = compacted.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "object", "created_at", "output", "usage"]);
    assert_eq!(compacted["object"], "response.compaction");
    assert!(
        compacted["id"].as_str().unwrap().starts_with("resp_") && compacted["created_at"].is_u64()
    );
    let [kept, item] = compacted["output"].as_array().unwrap().as_slice() else {
        panic!("{compacted}")
    };
    assert_eq!(
        (&kept["role"], &kept["content"][0]["text"]),
        (&json!("user"), &json!("And now?")),
        "it is kept as it was"
    );
    assert_eq!(summary(item), "Ada said hello.");
    let usage = &compacted["usage"];
    assert_eq!(
        (&usage["source"], &usage["input_tokens"], &usage["output_tokens"]),
        (&json!("provider"), &json!(9), &json!(2))
    );

    test_server.quiet().await;
    assert_eq!(test_server.engine.census(), before, "the tree and the logs are as they were");
    assert_eq!(
        test_server.get(&format!("/v1/responses/{}", compacted["id"].as_str().unwrap())).await.0,
        404
    );
    test_server.close().await;
}

#[tokio::test]
async fn a_new_conversation_continues_from_the_summary() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::text(&["They greeted."]));
    let (_, compacted) = test_server.post(PATH, &json!({ "model": MODEL, "input": "hi" })).await;
    let input = going_on(&compacted, &[user("Go on.")]);
    let count = async |summary: &str| {
        let item = json!({ "type": "compaction", "encrypted_content": encode(summary) });
        let (_, counted) = test_server
            .post("/v1/responses/input_tokens", &json!({ "model": MODEL, "input": [item] }))
            .await;
        counted["input_tokens"].as_u64().unwrap()
    };
    assert_eq!(
        count("hello hello hello hello").await,
        count("hello").await + 3,
        "the summary is counted, not its encoding"
    );

    let (status, response) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": input })).await;
    assert_eq!(status, 200, "{response}");
    let told = json!([
        { "role": "system", "content": "Summary of the conversation so far:\n\nThey greeted." },
        { "role": "user", "content": "hi" },
        { "role": "user", "content": "Go on." },
    ]);
    assert_eq!(test_server.upstream.requests()[1].body["messages"], told);

    // It is stored like any other item: listed, continued and referred to.
    let (_, listed) = test_server
        .get(&format!("/v1/responses/{}/input_items?order=asc", response["id"].as_str().unwrap()))
        .await;
    let item = &listed["data"][1];
    assert_eq!(
        (summary(item).as_str(), &item["encrypted_content"]),
        ("They greeted.", &input[1]["encrypted_content"])
    );
    let next = json!({ "model": MODEL, "input": "More.", "previous_response_id": response["id"] });
    assert_eq!(test_server.post("/v1/responses", &next).await.0, 200);
    assert_eq!(test_server.upstream.requests()[2].body["messages"][0], told[0]);
    let reference = json!({ "model": MODEL, "input": [{ "type": "item_reference", "id": item["id"] }, user("And?")] });
    assert_eq!(test_server.post("/v1/responses", &reference).await.0, 200);
    assert_eq!(test_server.upstream.requests()[3].body["messages"][0], told[0]);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn the_demo_remembers_across_a_summary() {
    let test_server = TestServer::open().await;
    let mut previous = Value::Null;
    for text in
        ["Hello, my name is Ada.", "Please remember that the door code is 4711", "Thank you"]
    {
        let (status, response) = test_server
            .post(
                "/v1/responses",
                &json!({ "model": "demo", "input": text, "previous_response_id": previous }),
            )
            .await;
        assert_eq!(status, 200, "{response}");
        previous = response["id"].clone();
    }
    let (status, once) =
        test_server.post(PATH, &json!({ "model": "demo", "previous_response_id": previous })).await;
    assert_eq!(
        (status, &once["output"][0]["content"][0]["text"]),
        (200, &json!("Thank you")),
        "{once}"
    );
    assert_eq!(once["usage"]["source"], "counted");
    // A summary of a summary contains the same.
    let (_, twice) =
        test_server.post(PATH, &json!({ "model": "demo", "input": once["output"] })).await;
    for compacted in [once, twice] {
        let ask = async |text: &str| {
            let input = going_on(&compacted, &[user(text)]);
            test_server.post("/v1/responses", &json!({ "model": "demo", "input": input })).await.1
        };
        assert_eq!(
            said(&ask("What is my name?").await),
            "Your name is Ada. You told me so earlier."
        );
        let all = ask("What do you remember?").await;
        assert!(said(&all).contains("- the door code is 4711"), "{all}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_call_that_waits_for_its_output_can_still_be_answered() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::tool_call("look", "call_7", &["{}"]));
    let tools = json!([{ "type": "function", "name": "look", "parameters": { "type": "object" } }]);
    let (_, first) = test_server
        .post("/v1/responses", &json!({ "model": MODEL, "input": "Look!", "tools": tools }))
        .await;
    test_server.upstream.script(Script::text(&["A look was asked for."]));
    let body = json!({ "model": MODEL, "previous_response_id": first["id"], "tools": tools });
    let (status, compacted) = test_server.post(PATH, &body).await;
    assert_eq!((status, &compacted["output"][2]), (200, &first["output"][0]), "{compacted}");
    let asked = test_server.upstream.requests()[1].body.clone();
    assert_eq!(
        asked["messages"],
        json!([user("Look!"), user(SUMMARISE)]),
        "no upstream takes a call without its output"
    );
    assert_eq!(asked.get("tools"), None, "a summary calls nothing");

    let output =
        json!({ "type": "function_call_output", "call_id": "call_7", "output": "nothing there" });
    let (status, next) = test_server
        .post("/v1/responses", &json!({ "model": MODEL, "input": going_on(&compacted, &[output]) }))
        .await;
    assert_eq!(status, 200, "{next}");
    let messages = &test_server.upstream.requests()[2].body["messages"];
    assert_eq!(
        (&messages[2]["tool_calls"][0]["id"], &messages[3]["role"]),
        (&json!("call_7"), &json!("tool"))
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn errors_name_their_field() {
    let test_server = TestServer::open().await;
    for (body, code, param) in [
        (json!({ "input": "hi" }), "missing_required_parameter", "model"),
        (json!({ "model": null, "input": "hi" }), "missing_required_parameter", "model"),
        (json!({ "model": MODEL }), "missing_required_parameter", "input"),
        (json!({ "model": MODEL, "input": [] }), "empty_input", "input"),
        (json!({ "model": MODEL, "input": 5 }), "invalid_type", "input"),
        (json!({ "model": MODEL, "input": "hi", "stream": true }), "unsupported_value", "stream"),
        (
            json!({ "model": MODEL, "input": "hi", "background": true }),
            "unsupported_value",
            "background",
        ),
        (
            json!({ "model": MODEL, "previous_response_id": "resp_x" }),
            "previous_response_not_found",
            "previous_response_id",
        ),
        (json!({ "model": "demo", "input": "hi", "nonsense": 1 }), "unknown_parameter", "nonsense"),
    ] {
        let (status, answer) = test_server.post(PATH, &body).await;
        assert_eq!(
            (status, &answer["error"]["code"], &answer["error"]["param"]),
            (400, &json!(code), &json!(param)),
            "{body}"
        );
    }
    let item = |content: Value| json!({ "model": MODEL, "input": [user("hi"), { "type": "compaction", "encrypted_content": content }] });
    let param = json!("input[1].encrypted_content");
    let cut = &encode("a summary")[1..];
    for (content, code) in [
        (json!("gAAAAABpM0Yj-"), "invalid_encrypted_content"),
        (json!(""), "invalid_encrypted_content"),
        (json!(cut), "invalid_encrypted_content"),
        (json!(5), "invalid_type"),
        (Value::Null, "missing_required_parameter"),
    ] {
        for path in [PATH, "/v1/responses", "/v1/responses/input_tokens"] {
            let (status, answer) = test_server.post(path, &item(content.clone())).await;
            assert_eq!(
                (status, &answer["error"]["code"], &answer["error"]["param"]),
                (400, &json!(code), &param),
                "{path}: {content}"
            );
        }
    }
    assert_eq!(test_server.get(PATH).await.0, 405);
    assert!(test_server.upstream.requests().is_empty(), "nobody was asked");
    test_server.close().await;
}

#[tokio::test]
async fn an_incomplete_summary_is_an_error_with_its_cause() {
    let test_server = TestServer::open().await;
    let overloaded = json!({ "error": { "message": "slow down", "type": "rate_limit_error" } });
    let cases = [
        (Script::error(429, &overloaded), 429, None),
        (Script::new().role().content("Half").fin(), 502, None),
        (
            Script::new().role().content("Half").finish("length").usage(9, 1, 0).done(),
            502,
            Some("summary_incomplete"),
        ),
        (Script::refusal(&["I would rather not."]), 502, Some("summary_missing")),
        (Script::text(&[" ", "\n"]), 502, Some("summary_missing")),
    ];
    for (script, status, code) in cases {
        test_server.upstream.script(script);
        let (found, answer) =
            test_server.post(PATH, &json!({ "model": MODEL, "input": "hi" })).await;
        assert_eq!(found, status, "{answer}");
        assert!(code.is_none_or(|code| answer["error"]["code"] == code), "{answer}");
    }
    let (status, answer) =
        test_server.post(PATH, &json!({ "model": "nobody's", "input": "hi" })).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn leaving_and_a_shutdown_stop_a_compaction() {
    let test_server = TestServer::open().await;
    let before = test_server.engine.census().log_bytes;
    let request = Request::post(PATH, &json!({ "model": MODEL, "input": "hi" }));
    test_server.upstream.script(Script::new().role().content("So far").stall());
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(&request).await.unwrap();
    soon(test_server.upstream.wait_requests(1)).await.unwrap();
    drop(connection);
    soon(test_server.upstream.wait_closed(0)).await.unwrap();
    test_server.quiet().await;
    assert_eq!(test_server.engine.census().log_bytes, before);

    // A shutdown cancels it too, and it reports that.
    test_server.upstream.script(Script::new().role().stall());
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(&request).await.unwrap();
    soon(test_server.upstream.wait_requests(2)).await.unwrap();
    test_server.engine.shut_down();
    let mut response = connection.read_response(&request).await.unwrap();
    let answer: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
    assert_eq!((response.status, &answer["error"]["code"]), (503, &json!("server_shutdown")));
    soon(test_server.upstream.wait_closed(1)).await.unwrap();
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_caller_cannot_compact_anothers_conversation() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let (_, first) = test_server
        .json(
            &Request::post("/v1/responses", &json!({ "model": MODEL, "input": "mine" }))
                .bearer(ALICE),
        )
        .await;
    let compact =
        |id: &Value| Request::post(PATH, &json!({ "model": MODEL, "previous_response_id": id }));
    assert_eq!(test_server.json(&compact(&first["id"])).await.0, 401, "a key is wanted");
    let (status, foreign) = test_server.json(&compact(&first["id"]).bearer(BOB)).await;
    assert_eq!((status, &foreign["error"]["code"]), (400, &json!("previous_response_not_found")));
    let reference = json!({ "model": MODEL, "input": [{ "type": "item_reference", "id": first["output"][0]["id"] }] });
    assert_eq!(test_server.json(&Request::post(PATH, &reference).bearer(BOB)).await.0, 404);
    assert_eq!(test_server.upstream.requests().len(), 1, "nothing of it went upstream");
    test_server.quiet().await;
    test_server.close().await;
}

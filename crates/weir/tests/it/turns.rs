//! Turns that build on each other: what is passed on, items, token counts, and deletion.

use crate::test_server::TestFrame;
use client::soon;
use client::{BodyEnd, Request};
use fakes::Script;
use serde_json::{Value, json};

use crate::resume::{id_of, rest, take};
use crate::test_server::{MODEL, TestServer, ask};

#[tokio::test]
async fn request_fields_are_passed_on_and_echoed() {
    let test_server = TestServer::open().await;
    let schema =
        json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] });
    let format = json!({ "type": "json_schema", "name": "thing", "description": null, "schema": schema, "strict": true });
    let image = json!({ "type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high" });
    let (status, response) = test_server
        .post(
            "/v1/responses",
            &json!({
                "model": MODEL, "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "What?" }, image] }],
                "text": { "format": format }, "max_output_tokens": 7, "metadata": { "order": "17", "空": "值" },
                "temperature": 0.25, "instructions": "Say a.", "safety_identifier": "user-1", "prompt_cache_key": "cache-1",
            }),
        )
        .await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["metadata"], json!({ "order": "17", "空": "值" }));
    assert_eq!((&response["text"]["format"], &response["max_output_tokens"]), (&format, &json!(7)));
    assert_eq!(
        (&response["temperature"], &response["instructions"]),
        (&json!(0.25), &json!("Say a."))
    );
    assert_eq!(
        (&response["safety_identifier"], &response["prompt_cache_key"]),
        (&json!("user-1"), &json!("cache-1"))
    );
    let asked = test_server.upstream.requests().remove(0).body;
    assert_eq!(asked["max_tokens"], 7);
    assert_eq!(
        asked["response_format"],
        json!({ "type": "json_schema", "json_schema": { "name": "thing", "schema": schema, "strict": true } })
    );
    let picture = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high" } });
    assert_eq!(asked["messages"][1]["content"][1], picture);

    // Instructions apply to one turn only.
    let next =
        json!({ "model": MODEL, "input": "And now?", "previous_response_id": response["id"] });
    let (_, next) = test_server.post("/v1/responses", &next).await;
    assert_eq!((&next["instructions"], &next["metadata"]), (&Value::Null, &json!({})));
    let asked = test_server.upstream.requests().remove(1).body;
    let roles: Vec<&str> = asked["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    assert_eq!(
        asked["messages"][0]["content"][1], picture,
        "the picture stays in the conversation"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn the_input_of_a_response_can_be_listed() {
    let test_server = TestServer::open().await;
    let (_, first) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "one" })).await;
    let input =
        json!([{ "role": "user", "content": "two" }, { "role": "user", "content": "three" }]);
    let (_, second) = test_server
        .post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": input, "previous_response_id": first["id"] }),
        )
        .await;
    let path = format!("/v1/responses/{}/input_items", second["id"].as_str().unwrap());
    let said = |list: &Value| -> Vec<String> {
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["content"][0]["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let whole = ["one", "Hello, world!", "two", "three"];
    let (_, ascending) = test_server.get(&format!("{path}?order=asc")).await;
    assert_eq!(
        (said(&ascending), &ascending["object"], &ascending["has_more"]),
        (whole.map(str::to_owned).to_vec(), &json!("list"), &json!(false))
    );
    assert_eq!(
        (&ascending["first_id"], &ascending["last_id"]),
        (&ascending["data"][0]["id"], &ascending["data"][3]["id"])
    );
    assert_eq!(ascending["data"][1]["id"], first["output"][0]["id"], "an item keeps its id");
    let (_, descending) = test_server.get(&path).await;
    assert!(
        said(&descending).iter().rev().eq(whole.iter()),
        "the newest first, unless asked otherwise"
    );

    // Page by page.
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let (status, page) = test_server.get(&format!("{path}?order=asc&limit=3{after}")).await;
        assert_eq!(status, 200);
        pages.push(said(&page));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(pages, [whole[..3].to_vec(), whole[3..].to_vec()]);
    let (_, end) = test_server
        .get(&format!("{path}?order=asc&after={}", ascending["last_id"].as_str().unwrap()))
        .await;
    assert_eq!(
        (&end["data"], &end["first_id"], &end["has_more"]),
        (&json!([]), &Value::Null, &json!(false))
    );
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=msg_x", "after"),
    ] {
        let (status, body) = test_server.get(&format!("{path}?{query}")).await;
        assert_eq!((status, &body["error"]["param"]), (400, &json!(param)), "{query}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn input_tokens_are_counted_without_calling_a_model() {
    let test_server = TestServer::open().await;
    let count = async |body: Value| {
        let (status, counted) = test_server.post("/v1/responses/input_tokens", &body).await;
        assert_eq!(
            (status, &counted["object"]),
            (200, &json!("response.input_tokens")),
            "{counted}"
        );
        counted["input_tokens"].as_u64().unwrap()
    };
    let short = count(json!({ "model": MODEL, "input": "hello" })).await;
    let long = count(json!({ "model": MODEL, "input": "hello hello hello hello" })).await;
    let instructed =
        count(json!({ "model": MODEL, "input": "hello", "instructions": "Be brief." })).await;
    assert!(short > 0 && long == short + 3 && instructed > short, "{short} {long} {instructed}");
    assert!(test_server.upstream.requests().is_empty(), "nothing was run");

    // Weir counts a response's input the same way, and a conversation completely.
    test_server.upstream.script(Script::new().role().content("Hi.").finish("stop").done());
    let (_, first) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "hello" })).await;
    assert_eq!(
        (first["usage"]["input_tokens"].as_u64(), &first["usage"]["source"]),
        (Some(short), &json!("counted"))
    );
    let continued =
        count(json!({ "model": MODEL, "input": "hello", "previous_response_id": first["id"] }))
            .await;
    assert!(continued > 2 * short - 4, "{continued}");
    let (status, body) = test_server
        .post("/v1/responses/input_tokens", &json!({ "model": "nobody", "input": "x" }))
        .await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("model_not_found")));
    test_server.close().await;
}

#[tokio::test]
async fn an_item_can_be_sent_by_reference() {
    let test_server = TestServer::open().await;
    let (_, first) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "one" })).await;
    let reference = json!([{ "type": "item_reference", "id": first["output"][0]["id"] }, { "role": "user", "content": "Again?" }]);
    let (status, second) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": reference })).await;
    assert_eq!(status, 200, "{second}");
    let expected = json!([{ "role": "assistant", "content": "Hello, world!" }, { "role": "user", "content": "Again?" }]);
    assert_eq!(test_server.upstream.requests()[1].body["messages"], expected);
    let (status, body) = test_server
        .post(
            "/v1/responses",
            &json!({ "model": MODEL, "input": [{ "type": "item_reference", "id": "msg_x" }] }),
        )
        .await;
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["param"]),
        (404, &json!("item_not_found"), &json!("input[0].id"))
    );
    test_server.close().await;
}

#[tokio::test]
async fn a_deleted_response_is_gone() {
    let test_server = TestServer::open().await;
    let (_, response) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "one" })).await;
    let id = response["id"].as_str().unwrap();
    let delete = Request::new("DELETE", &format!("/v1/responses/{id}"));
    assert_eq!(
        test_server.json(&delete).await,
        (200, json!({ "id": id, "object": "response", "deleted": true }))
    );
    for path in ["", "?stream=true", "/events", "/input_items"] {
        let (status, body) = test_server.get(&format!("/v1/responses/{id}{path}")).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("response_not_found")), "{path}");
    }
    assert_eq!(test_server.json(&delete).await.0, 404);
    assert_eq!(test_server.post(&format!("/v1/responses/{id}/cancel"), &json!({})).await.0, 404);
    let (_, body) = test_server
        .post("/v1/responses", &json!({ "model": MODEL, "input": "x", "previous_response_id": id }))
        .await;
    assert_eq!(body["error"]["code"], "previous_response_not_found");
    let reference = json!([{ "type": "item_reference", "id": response["output"][0]["id"] }]);
    assert_eq!(
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": reference })).await.0,
        404,
        "its text is gone too"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_deleted_running_response_ends_and_is_gone() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::new().role().content("Never").stall());
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    let id = id_of(&take(&mut stream, 5).await[0]);
    assert_eq!(
        test_server.json(&Request::new("DELETE", &format!("/v1/responses/{id}"))).await.0,
        200
    );
    soon(test_server.upstream.wait_closed(0)).await.unwrap();
    // Its reader gets the end, or is cut off if the log was removed first; never a complete response.
    let (events, end) = soon(stream.collect_data()).await.unwrap().unwrap();
    assert!(
        end == BodyEnd::Truncated
            || events.iter().any(|data| data.windows(9).any(|window| window == b"cancelled"))
    );
    assert_eq!(test_server.get(&format!("/v1/responses/{id}")).await.0, 404);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn cancelling_is_idempotent() {
    let test_server = TestServer::open().await;
    test_server.upstream.script(Script::new().role().content("So far").stall());
    let mut stream = test_server.stream(&Request::post("/v1/responses", &ask("hi"))).await;
    let id = id_of(&take(&mut stream, 5).await[0]);
    let cancel = Request::new("POST", &format!("/v1/responses/{id}/cancel"));
    let (status, first) = test_server.json(&cancel).await;
    assert_eq!(
        (status, &first["status"], &first["output"][0]["content"][0]["text"]),
        (200, &json!("cancelled"), &json!("So far"))
    );
    assert_eq!(
        (&first["incomplete_details"]["reason"], &first["usage"]["source"]),
        (&json!("cancelled"), &json!("counted"))
    );
    soon(test_server.upstream.wait_closed(0)).await.unwrap();
    assert_eq!(test_server.json(&cancel).await, (200, first.clone()));
    assert_eq!(test_server.get(&format!("/v1/responses/{id}")).await, (200, first.clone()));
    let last = rest(&mut stream, TestFrame::Sse).await.pop().unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["type"], &last["response"]), (&json!("response.incomplete"), &first));

    // An ended response is unchanged.
    let (_, whole) =
        test_server.post("/v1/responses", &json!({ "model": MODEL, "input": "one" })).await;
    let cancel =
        Request::new("POST", &format!("/v1/responses/{}/cancel", whole["id"].as_str().unwrap()));
    assert_eq!(test_server.json(&cancel).await, (200, whole));
    test_server.quiet().await;
    test_server.close().await;
}

/// A client may continue as soon as it gets the end: the terminal event must not be visible before the record is
/// stored.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_turn_can_follow_the_end_at_once() {
    let test_server = TestServer::open().await;
    let mut previous = Value::Null;
    for turn in 0..200 {
        let response = ended(
            &test_server,
            turn,
            &json!({ "input": "next", "previous_response_id": previous }),
        )
        .await;
        // They start over now and then, to keep conversations short.
        previous = if turn % 10 == 9 { Value::Null } else { response["id"].clone() };
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_can_be_referred_to_once_its_response_has_ended() {
    let test_server = TestServer::open().await;
    let mut input = json!("hi");
    for turn in 0..200 {
        let response = ended(&test_server, turn, &json!({ "input": input })).await;
        input = json!([{ "type": "item_reference", "id": response["output"][0]["id"] }]);
    }
    test_server.quiet().await;
    test_server.close().await;
}

/// Streams a response exactly up to its terminal event.
async fn ended(test_server: &TestServer, turn: usize, request: &Value) -> Value {
    let mut body = ask("");
    for (name, value) in request.as_object().unwrap() {
        body[name] = value.clone();
    }
    let response = test_server.send(&Request::post("/v1/responses", &body)).await;
    assert_eq!(response.status, 200, "turn {turn}");
    let mut stream = response.events().unwrap();
    loop {
        let mut event = soon(stream.next()).await.unwrap().unwrap().unwrap().json().unwrap();
        if event["type"] == "response.completed" {
            return event["response"].take();
        }
    }
}

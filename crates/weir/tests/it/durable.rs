//! What an orderly restart preserves: responses in every frame, conversations, keys, owners, and deletions.

use std::sync::Arc;

use client::Request;
use fakes::Script;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::program::reader::{ProgramReader, ReadMethod, WAYS, read};
use crate::program::{RunningServer, ServerHome, ask, question, run, walk, with};
use crate::resume::id_of;

fn get(id: &str) -> Request {
    Request::get(&format!("/v1/responses/{id}"))
}

/// Sends a request and reads to the end; returns the id and the log.
async fn answer(server: &RunningServer, question: &Value) -> (String, Vec<String>) {
    let log =
        ProgramReader::start(server.address, ReadMethod::Sse, question).await.unwrap().rest().await;
    (id_of(&log[0]), log)
}

/// Sends a request and reads until a piece of the response arrived; it continues.
async fn start(
    server: &RunningServer,
    question: &Value,
    piece: &str,
) -> (ProgramReader, String, Vec<String>) {
    let mut reader = ProgramReader::start(server.address, ReadMethod::Sse, question).await.unwrap();
    let mut log = Vec::new();
    while !log.last().is_some_and(|last: &String| last.contains(piece)) {
        log.push(reader.next().await.unwrap());
    }
    let id = id_of(&log[0]);
    (reader, id, log)
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("{body}"))
}

#[tokio::test]
async fn finished_answers_read_back_byte_for_byte_over_every_frame() {
    let place = ServerHome::new().await;
    let server = place.start().await;
    let scripts = [
        Script::text(&["Hel", "lo \"there\"\n", "你好 👋"]),
        Script::reasoning(&["Let me ", "think…"], &["Yes."]),
        Script::tool_call("weather", "call_1", &["{\"city\":", "\"Wien\"}"]),
        Script::refusal(&["I will ", "not."]),
        Script::new().role().content("Too long").finish("length").usage(9, 2, 0).done(),
        // These two fail: the connection breaks, and an end without a reason.
        Script::new().role().content("Half").rst(),
        Script::new().role().content("Half").done().end(),
        // Blocks of every size: more than a chunk of the store, and a piece larger than one.
        Script::text(&["abcdefgh".repeat(9_000).as_str(), "i", "j".repeat(70_000).as_str()]),
    ];
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    let more = json!({ "tools": [tool], "instructions": "Be kind.", "metadata": { "a": "b" } });
    let mut answers = Vec::new();
    for script in scripts {
        place.upstream.script(script);
        let (id, log) = answer(&server, &with(question("How is it?"), &more)).await;
        let items = Request::get(&format!("/v1/responses/{id}/input_items"));
        answers.push((
            id.clone(),
            log,
            server.body(&get(&id)).await,
            items.clone(),
            server.body(&items).await,
        ));
    }
    server.stop().await;

    // Twice: after the second restart, the recovered logs are recovered again.
    for _ in 0..2 {
        let server = place.start().await;
        for (id, log, response, items, input) in &answers {
            for way in WAYS {
                assert!(read(server.address, way, id, None).await == *log, "{way:?}: {id}");
            }
            for after in 0..log.len() - 1 {
                let way = WAYS[after % WAYS.len()];
                let rest = read(server.address, way, id, Some(after as u64)).await;
                assert!(rest == log[after + 1..], "{way:?} after {after}: {id}");
            }
            let at_end = Request::get(&format!("/v1/responses/{id}/events"))
                .header("last-event-id", &(log.len() - 1).to_string());
            assert_eq!(server.send(&at_end).await.status, 204);
            assert_eq!(&server.body(&get(id)).await, response);
            assert_eq!(&server.body(items).await, input);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_conversation_continues_after_a_restart() {
    let place = ServerHome::new().await;
    let server = place.start().await;
    place.upstream.script(Script::text(&["Hello, ", "Ada."]));
    let (first, _) =
        answer(&server, &with(question("I am Ada."), &json!({ "instructions": "Be kind." }))).await;
    place.upstream.script(Script::tool_call("weather", "call_1", &["{}"]));
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } });
    let more = json!({ "previous_response_id": first, "tools": [tool] });
    let (second, _) = answer(&server, &with(question("And the weather?"), &more)).await;
    let output = json!([{ "type": "function_call_output", "call_id": "call_1", "output": "sunny" }, { "role": "user", "content": "So?" }]);
    let follow_ups = [
        json!({ "previous_response_id": second, "input": output, "store": false }),
        json!({ "previous_response_id": first, "input": "Who am I?", "store": false }),
    ];
    let mut server = server;
    let mut seen: Option<Vec<Value>> = None;
    for start in 0..3 {
        let mut messages = Vec::new();
        for follow_up in &follow_ups {
            place.upstream.script(Script::text(&["Well."]));
            assert_eq!(server.json(&ask(&with(question(""), follow_up))).await.0, 200);
            messages.push(place.upstream.requests().last().unwrap().body["messages"].clone());
        }
        assert!(
            messages[0].to_string().contains("I am Ada.")
                && messages[0].to_string().contains("sunny"),
            "{messages:?}"
        );
        let expected = seen.get_or_insert_with(|| messages.clone());
        assert_eq!(&messages, expected, "start {start}: the model is shown something else");
        server.stop().await;
        server = place.start().await;
    }
    // A turn made after the restart is like any other.
    place.upstream.script(Script::text(&["Ada."]));
    let (third, log) =
        answer(&server, &with(question("Who?"), &json!({ "previous_response_id": first }))).await;
    server.stop().await;
    let server = place.start().await;
    assert_eq!(read(server.address, ReadMethod::Ndjson, &third, None).await, log);
    let (status, items) =
        server.json(&Request::get(&format!("/v1/responses/{third}/input_items"))).await;
    assert!(status == 200 && items.to_string().contains("I am Ada."), "{items}");
    server.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_has_the_same_response_as_before() {
    let place = ServerHome::new().await;
    let server = place.start().await;
    let chat = |stream: bool| {
        let messages = json!([{ "role": "user", "content": "hi" }]);
        Request::post(
            "/v1/chat/completions",
            &json!({ "model": "m", "messages": messages, "stream": stream }),
        )
    };
    let responses = |more: Value| ask(&with(question("hi"), &more));
    let requests = [
        responses(json!({ "stream": true })),
        responses(json!({})),
        responses(json!({ "stream": true, "store": false }))
            .header("accept", "application/x-ndjson"),
        responses(json!({ "store": false })),
        chat(true),
        chat(false),
    ];
    let keyed = |number: usize| {
        requests[number].clone().header("idempotency-key", &format!("key {number}"))
    };
    let mut bodies = Vec::new();
    for number in 0..requests.len() {
        place.upstream.script(Script::text(&["Paid ", "once: ", &number.to_string()]));
        bodies.push(server.body(&keyed(number)).await);
    }
    // Rejected before anything was stored: the key can be used again, now and after the restart.
    let again = responses(json!({})).header("idempotency-key", "again");
    place.upstream.script(Script::error(500, &json!({ "error": { "message": "not now" } })));
    assert_eq!(server.body(&again).await.0, 502);
    let unstored: Value = serde_json::from_slice(&bodies[3].1).unwrap();
    server.stop().await;

    let server = place.start().await;
    let asked = place.upstream.requests().len();
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(body.0, 200);
        assert!(server.body(&keyed(number)).await == *body, "key {number}");
    }
    let other = ask(&question("bye")).header("idempotency-key", "key 1");
    let (status, refused) = server.json(&other).await;
    assert_eq!((status, code(&refused)), (409, "idempotency_key_reused"));
    assert_eq!(place.upstream.requests().len(), asked, "nobody pays twice");
    assert_eq!(
        server.json(&get(unstored["id"].as_str().unwrap())).await.0,
        404,
        "it was not stored: only its key finds it"
    );
    place.upstream.script(Script::text(&["now"]));
    assert_eq!(server.body(&again).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn deleted_cancelled_and_unstored_responses_stay_so() {
    let place = ServerHome::new().await;
    let server = place.start().await;
    place.upstream.script(Script::text(&["Gone."]));
    let (deleted, _) = answer(&server, &question("hi")).await;
    place.upstream.script(Script::new().role().content("Cut").stall());
    let (_reader, deleted_running, _) = start(&server, &question("hi"), "Cut").await;
    for id in [&deleted, &deleted_running] {
        assert_eq!(
            server.json(&Request::new("DELETE", &format!("/v1/responses/{id}"))).await.0,
            200
        );
    }
    place.upstream.script(Script::new().role().content("Stopped").stall());
    let (reader, cancelled, before) = start(&server, &question("hi"), "Stopped").await;
    let (status, cancelled_response) =
        server.json(&Request::new("POST", &format!("/v1/responses/{cancelled}/cancel"))).await;
    assert_eq!((status, &cancelled_response["status"]), (200, &json!("cancelled")));
    let cancelled_log = [before, reader.rest().await].concat();
    place.upstream.script(Script::text(&["Fleeting."]));
    let (unstored, _) = answer(&server, &with(question("hi"), &json!({ "store": false }))).await;
    server.stop().await;

    let server = place.start().await;
    for id in [&deleted, &deleted_running, &unstored] {
        let (status, body) = server.json(&get(id)).await;
        assert_eq!((status, code(&body)), (404, "response_not_found"), "{id}");
        let (status, body) = server
            .json(&ask(&with(question("go on"), &json!({ "previous_response_id": id }))))
            .await;
        assert_eq!((status, code(&body)), (400, "previous_response_not_found"), "{id}");
    }
    assert_eq!(server.json(&get(&cancelled)).await, (200, cancelled_response.clone()));
    assert_eq!(read(server.address, ReadMethod::Socket, &cancelled, None).await, cancelled_log);
    let again =
        server.json(&Request::new("POST", &format!("/v1/responses/{cancelled}/cancel"))).await;
    assert_eq!(again, (200, cancelled_response));
    server.stop().await;
}

#[tokio::test]
async fn a_response_cut_off_by_the_shutdown_has_one_end() {
    let mut place = ServerHome::new().await;
    place.set("WEIR_SHUTDOWN_GRACE", "1s");
    let server = place.start().await;
    // It has reported its usage, so nothing needs to be counted at the shutdown.
    place.upstream.script(Script::new().role().usage(9, 1, 0).content("Never").stall());
    let (reader, id, before) = start(&server, &question("hi"), "Never").await;
    server.terminate();
    let log = [before, reader.rest().await].concat();
    assert!(log.last().unwrap().contains("server_shutdown"), "{log:?}");
    let mut server = server;
    assert!(server.ended().await.0.success());
    let server = place.start().await;
    assert_eq!(read(server.address, ReadMethod::Ndjson, &id, None).await, log);
    server.stop().await;
}

#[tokio::test]
async fn callers_stay_separate() {
    let place = ServerHome::new().await;
    let mut keys = Vec::new();
    for name in ["laptop", "phone"] {
        let mut command = place.command();
        command.args(["key", "create", "--name", name]);
        keys.push(String::from_utf8(run(command).await.stdout).unwrap().trim().to_owned());
    }
    let server = place.start().await;
    let mut bodies = Vec::new();
    for key in &keys {
        place.upstream.script(Script::text(&["For ", "me."]));
        bodies.push(
            server.json(&ask(&question("hi")).header("idempotency-key", "same").bearer(key)).await,
        );
    }
    server.stop().await;
    let server = place.start().await;
    for (mine, key) in bodies.iter().zip(&keys) {
        let theirs = bodies.iter().find(|other| other.1["id"] != mine.1["id"]).unwrap();
        assert_eq!(
            &server.json(&ask(&question("hi")).header("idempotency-key", "same").bearer(key)).await,
            mine
        );
        assert_eq!(&server.json(&get(mine.1["id"].as_str().unwrap()).bearer(key)).await, mine);
        assert_eq!(server.json(&get(theirs.1["id"].as_str().unwrap()).bearer(key)).await.0, 404);
        let theirs = with(question("go on"), &json!({ "previous_response_id": theirs.1["id"] }));
        let (status, body) = server.json(&ask(&theirs).bearer(key)).await;
        assert_eq!((status, code(&body)), (400, "previous_response_not_found"));
    }
    server.stop().await;
}

#[tokio::test]
async fn an_expired_response_reports_what_is_left_of_it() {
    let mut place = ServerHome::new().await;
    let server = place.start().await;
    let (old, _) = answer(&server, &question("hi")).await;
    let (alone, _) = answer(&server, &question("hi")).await;
    server.stop().await;

    // The running response exceeds the limit: everything that has ended expires when the next response ends, except
    // what the running one continues.
    place.set("WEIR_STORE_BYTES", "2000");
    place.set("WEIR_ENGINE_ANSWER_BYTES", "2000");
    let mut server = place.start().await;
    place.upstream.script(Script::new().role().content("On").stall());
    let (_reader, heir, _) =
        start(&server, &with(question("go on"), &json!({ "previous_response_id": old })), "On")
            .await;
    answer(&server, &question("the next")).await;
    for (id, left) in [(&old, "2 of its items are kept"), (&alone, "None of its items are kept")] {
        expect_expired(&server, id, left).await;
    }
    server.kill().await;

    place.set("WEIR_STORE_BYTES", "1GiB");
    let server = place.start().await;
    for (id, left) in [(&old, "2 of its items are kept"), (&alone, "None of its items are kept")] {
        expect_expired(&server, id, left).await;
        let more = json!({ "previous_response_id": id });
        let (status, body) = server.json(&ask(&with(question("go on"), &more))).await;
        assert_eq!((status, code(&body)), (400, "previous_response_not_found"));
    }
    let (status, items) =
        server.json(&Request::get(&format!("/v1/responses/{heir}/input_items"))).await;
    assert_eq!((status, items["data"].as_array().map(Vec::len)), (200, Some(3)), "{items}");
    server.stop().await;

    // By age: older responses expire by themselves.
    place.set("WEIR_STORE_RETENTION", "1s");
    let server = place.start().await;
    expect_expired(&server, &heir, "None of its items are kept").await;
    server.stop().await;
}

/// Waits until a response has expired, and checks what is reported about it.
async fn expect_expired(server: &RunningServer, id: &str, left: &str) {
    let expired = async {
        loop {
            match server.json(&get(id)).await {
                (410, body) => return body,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let body = client::soon(expired).await.unwrap();
    assert_eq!(code(&body), "response_expired");
    assert!(body["error"]["message"].as_str().unwrap().contains(left), "{left}: {body}");
}

#[tokio::test]
async fn a_response_is_either_kept_or_expired() {
    let mut place = ServerHome::new().await;
    let server = place.start().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(answer(&server, &question("hi")).await.0);
    }
    server.stop().await;
    place.set("WEIR_STORE_BYTES", "2000");
    place.set("WEIR_ENGINE_ANSWER_BYTES", "2000");
    let server = place.start().await;
    // Each is polled while it expires, because its log and its record are not removed in one step.
    let looks = join_all(ids.iter().map(async |id| {
        loop {
            match server.json(&get(id)).await {
                (200, _) => {}
                other => return other,
            }
        }
    }));
    place.upstream.script(Script::text(&["abcdefgh".repeat(300).as_str()]));
    let next = ask(&question("hi"));
    let (_, seen) = tokio::join!(server.json(&next), client::soon(looks));
    let seen = seen.unwrap();
    assert!(
        seen.iter().all(|(status, body)| (*status, code(body)) == (410, "response_expired")),
        "{seen:?}"
    );
    server.stop().await;
}

#[tokio::test]
async fn without_a_data_directory_nothing_is_kept() {
    let place = ServerHome::new().await.on(":memory:");
    let server = place.start().await;
    let (id, log) = answer(&server, &question("hi")).await;
    assert_eq!(read(server.address, ReadMethod::Ndjson, &id, None).await, log);
    server.stop().await;
    let server = place.start().await;
    assert_eq!(server.json(&get(&id)).await.0, 404);
    server.stop().await;
    assert_eq!(walk(place.home.path()), Vec::<std::path::PathBuf>::new(), "and nothing is written");
}

#[tokio::test]
async fn each_durability_keeps_what_it_promises() {
    for (durability, survives_a_crash) in [("memory", false), ("process", true), ("disk", true)] {
        let mut place = ServerHome::new().await;
        place.set("WEIR_STORE_DURABILITY", durability);
        let server = place.start().await;
        let (finished, log) = answer(&server, &question("hi")).await;
        server.stop().await;
        let mut server = place.start().await;
        assert_eq!(
            read(server.address, ReadMethod::Sse, &finished, None).await,
            log,
            "{durability}"
        );

        let gate = Arc::new(Notify::new());
        place.upstream.script(
            Script::new()
                .role()
                .content("Once")
                .wait_for(&gate)
                .content(" more")
                .finish("stop")
                .done()
                .end(),
        );
        let (_reader, running, before) = start(&server, &question("hi"), "Once").await;
        server.kill().await;
        let server = place.start().await;
        assert_eq!(
            read(server.address, ReadMethod::Sse, &finished, None).await,
            log,
            "{durability}, after a crash"
        );
        let (status, response) = server.json(&get(&running)).await;
        if survives_a_crash {
            let after = read(server.address, ReadMethod::Ndjson, &running, None).await;
            assert!(after.starts_with(&before), "{durability}: {after:?}");
            assert_eq!(
                response["incomplete_details"]["reason"], "server_restarted",
                "{durability}"
            );
        } else {
            assert_eq!((status, code(&response)), (404, "response_not_found"), "{durability}");
        }
        server.stop().await;
    }
}

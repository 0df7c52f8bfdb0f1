//! The cost of reading a request is linear in its size, whatever the request contains.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_protocol::dialect::{chat_completions, classic, responses};

/// The limit on the ratio of times when the size is four times as large. Twice that of linear work leaves room for caches
/// and noise.
const MAX_RATIO: f64 = 6.0;

/// How often it is tried: other work on the machine only makes it slower, never faster.
const TRIES: usize = 5;

#[expect(clippy::disallowed_methods, reason = "the time of the machine is what is measured")]
fn fastest(work: &dyn Fn()) -> Duration {
    // Long enough to be measured, and short enough that it is not interrupted each time.
    let mut times = 0_u32;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1) {
        work();
        times += 1;
    }
    let run = || {
        let start = Instant::now();
        (0..times).for_each(|_| work());
        start.elapsed() / times
    };
    (0..TRIES).map(|_| run()).min().unwrap_or_default().max(Duration::from_nanos(1))
}

/// Reads what `make` gives for `n` and for four times that.
fn check<B, T>(what: &str, n: usize, make: impl Fn(usize) -> B, read: impl Fn(&B) -> T) {
    let (small, large) = (make(n), make(4 * n));
    let ratio = || {
        fastest(&|| drop(read(&large))).as_secs_f64()
            / fastest(&|| drop(read(&small))).as_secs_f64()
    };
    // Repeated, as the machine may be noisy; quadratic work fails every time.
    let ratio = (0..20).map(|_| ratio()).find(|ratio| *ratio < MAX_RATIO).unwrap_or(MAX_RATIO);
    assert!(ratio < MAX_RATIO, "{what}: 4 times as much takes {ratio:.1} times as long, or more");
}

fn repeat(n: usize, make: impl Fn(usize) -> Value) -> Value {
    (0..n).map(make).collect()
}

fn call(index: usize) -> Value {
    json!({ "type": "function_call", "call_id": format!("c{index}"), "name": format!("f{index}"), "arguments": "{}" })
}

/// A name, the size, and a request of that size.
type Large = (&'static str, usize, Box<dyn Fn(usize) -> Value>);

/// Requests that are large in one way each.
fn requests() -> Vec<Large> {
    let with = |name: &'static str, make: fn(usize) -> Value| -> Box<dyn Fn(usize) -> Value> {
        Box::new(move |n| {
            let mut body = json!({ "model": "m", "input": "hi" });
            body[name] = make(n);
            body
        })
    };
    let parts = |n| repeat(n, |_| json!({ "type": "input_text", "text": "a" }));
    let tool = |index| json!({ "type": "function", "name": format!("f{index}"), "parameters": { "type": "object" } });
    vec![
        ("text", 100_000, with("input", |n| "a".repeat(n).into())),
        (
            "messages",
            2_000,
            with("input", |n| repeat(n, |_| json!({ "role": "user", "content": "hi" }))),
        ),
        ("calls", 2_000, with("input", |n| repeat(n, call))),
        (
            "outputs of the last call",
            1_200,
            with("input", |n| {
                let output = json!({ "type": "function_call_output", "call_id": format!("c{}", n - 1), "output": "x" });
                repeat(2 * n, |index| if index < n { call(index) } else { output.clone() })
            }),
        ),
        (
            "parts",
            5_000,
            Box::new(
                move |n| json!({ "model": "m", "input": repeat(20, |_| json!({ "role": "user", "content": parts(n / 20) })) }),
            ),
        ),
        (
            "references",
            2_000,
            with("input", |n| {
                repeat(n, |index| json!({ "type": "item_reference", "id": format!("i{index}") }))
            }),
        ),
        (
            "opaque items",
            2_000,
            with("input", |n| {
                repeat(n, |index| json!({ "type": "x", "a": index, "b": { "c": [index] } }))
            }),
        ),
        (
            "tools and choices",
            80,
            Box::new(move |n| {
                let names = repeat(
                    n,
                    |index| json!({ "type": "function", "name": format!("f{}", n - 1 - index) }),
                );
                let choice = json!({ "type": "allowed_tools", "mode": "auto", "tools": names });
                json!({ "model": "m", "input": "hi", "tools": repeat(n, tool), "tool_choice": choice })
            }),
        ),
        (
            "tools in a namespace",
            80,
            Box::new(move |n| {
                let namespace =
                    json!({ "type": "namespace", "name": "n", "tools": repeat(n - 1, tool) });
                json!({ "model": "m", "input": "hi", "tools": [namespace] })
            }),
        ),
        (
            "a schema",
            2_000,
            Box::new(|n| {
                let schema = json!({ "type": "object", "properties": { "a": { "enum": repeat(n, Into::into) } } });
                json!({ "model": "m", "input": "hi", "text": { "format": { "type": "json_schema", "name": "s", "schema": schema } } })
            }),
        ),
        (
            "unknown fields",
            5_000,
            Box::new(|n| {
                let mut body = json!({ "model": "m", "input": "hi" });
                (0..n).for_each(|index| body[format!("x{index}")] = json!([index]));
                body
            }),
        ),
        (
            "annotations",
            2_000,
            Box::new(|n| {
                let part = json!({ "type": "output_text", "text": "a", "annotations": repeat(n, |index| json!({ "index": index })) });
                json!({ "model": "m", "input": [{ "role": "assistant", "content": [part] }] })
            }),
        ),
    ]
}

fn chats() -> Vec<Large> {
    let chat = |make: fn(usize) -> Value| -> Box<dyn Fn(usize) -> Value> {
        Box::new(move |n| json!({ "model": "m", "messages": make(n) }))
    };
    vec![
        ("messages", 2_000, chat(|n| repeat(n, |_| json!({ "role": "user", "content": "hi" })))),
        (
            "calls and outputs of the last one",
            200,
            chat(|n| {
                let call = |index| json!({ "id": format!("c{index}"), "type": "custom", "custom": { "name": "f", "input": "" } });
                let output = json!({ "role": "tool", "tool_call_id": format!("c{}", n - 1), "content": "x" });
                let calls = json!({ "role": "assistant", "tool_calls": repeat(n, call) });
                repeat(n, |index| if index == 0 { calls.clone() } else { output.clone() })
            }),
        ),
        (
            "functions and their results",
            600,
            chat(|n| {
                let call = json!({ "role": "assistant", "content": "", "function_call": { "name": "f", "arguments": "{}" } });
                let result = json!({ "role": "function", "name": "f", "content": "x" });
                repeat(2 * n, |index| if index < n { call.clone() } else { result.clone() })
            }),
        ),
        (
            "parts",
            5_000,
            chat(|n| {
                let parts = repeat(n / 20, |_| json!({ "type": "text", "text": "a" }));
                repeat(20, |_| json!({ "role": "user", "content": parts }))
            }),
        ),
        (
            "tools and choices",
            80,
            Box::new(|n| {
                let tool = |index| json!({ "type": "function", "function": { "name": format!("f{index}") } });
                let allowed =
                    json!({ "mode": "auto", "tools": repeat(n, |index| tool(n - 1 - index)) });
                let choice = json!({ "type": "allowed_tools", "allowed_tools": allowed });
                let message = json!([{ "role": "user", "content": "hi" }]);
                json!({ "model": "m", "messages": message, "tools": repeat(n, tool), "tool_choice": choice })
            }),
        ),
    ]
}

#[test]
fn reading_a_response_request_is_linear() {
    for (what, n, make) in requests() {
        assert!(
            responses::read_create(&make(4 * n)).is_ok(),
            "{what}: {:?}",
            responses::read_create(&make(4 * n))
        );
        check(what, n, &make, responses::read_create);
    }
}

#[test]
fn reading_a_client_event_is_linear() {
    for (what, n, make) in requests() {
        let event = |n| {
            let mut event = make(n);
            event["type"] = "response.create".into();
            event
        };
        assert!(
            responses::read_client_event(event(4 * n).to_string().as_bytes()).is_ok(),
            "{what}"
        );
        check(
            what,
            n,
            |n| event(n).to_string(),
            |event| responses::read_client_event(event.as_bytes()).map(drop),
        );
    }
}

#[test]
fn reading_a_chat_is_linear() {
    for (what, n, make) in chats() {
        assert!(
            chat_completions::read_create(&make(4 * n)).is_ok(),
            "{what}: {:?}",
            chat_completions::read_create(&make(4 * n))
        );
        check(what, n, &make, chat_completions::read_create);
    }
}

#[test]
fn requests_over_a_limit_are_refused_by_path() {
    let path = |body: &Value| {
        let fault = responses::read_create(body).unwrap_err();
        (fault.code, fault.param.unwrap_or_default())
    };
    let of = |name: &str, value: Value| {
        let mut body = json!({ "model": "m", "input": "hi" });
        body[name] = value;
        path(&body)
    };
    let many = |n, value: &Value| repeat(n, |_| value.clone());
    let long = |path: &str| ("array_above_max_length".to_owned(), path.to_owned());
    let user_message = |parts| json!({ "role": "user", "content": many(parts, &json!({ "type": "input_text", "text": "" })) });
    assert_eq!(of("input", many(10_001, &json!({ "role": "user", "content": "" }))), long("input"));
    assert_eq!(of("input", json!([user_message(1_001)])), long("input[0].content"));
    assert_eq!(of("input", many(21, &user_message(1_000))), long("input"));
    assert_eq!(of("tools", many(1_025, &json!({ "type": "x" }))), long("tools"));
    let namespace = json!({ "type": "namespace", "name": "n", "tools": many(600, &json!({ "type": "function", "name": "f" })) });
    assert_eq!(of("tools", many(2, &namespace)), long("tools"));
    assert_eq!(of("include", many(65, &json!("x"))), long("include"));
    let large = ("schema_too_large".to_owned(), "tools[0].parameters".to_owned());
    let tool =
        |parameters: Value| json!([{ "type": "function", "name": "f", "parameters": parameters }]);
    assert_eq!(of("tools", tool(json!({ "enum": vec![0; 20_000] }))), large);
    let deep = (0..70).fold(json!({}), |inner, _| json!({ "items": inner }));
    assert_eq!(of("tools", tool(deep)), large);
    let chat = chat_completions::read_create(
        &json!({ "model": "m", "messages": many(10_001, &json!({ "role": "user", "content": "" })) }),
    );
    assert_eq!(chat.unwrap_err().param.as_deref(), Some("messages"));
}

#[test]
fn a_classic_question_is_linear() {
    check("a question", 100_000, |n| json!({ "msg": "a".repeat(n) }), classic::read_question);
}

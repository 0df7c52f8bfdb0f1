//! Which piece belongs to which tool call (K1), calls of tools that were not offered (K8), and calls without
//! arguments (K12).

use fakes::Script;
use fakes::Vendor::Ollama;

use super::case::{OddCase, USAGE, c, call, called, chunks, f, only_calls, whole};
use super::run::run;
use crate::scenarios::content::{ContentToolCall, ResponseContent};

/// Pieces of calls, the finish reason and usage, and the resulting calls.
fn pieces(name: &str, pieces: &[&str], calls: Vec<ContentToolCall>) -> OddCase {
    let data = pieces.iter().map(|piece| call(piece)).chain([f("tool_calls"), USAGE.to_owned()]);
    whole(name, chunks(data), only_calls(calls))
}

#[tokio::test]
async fn pieces_are_assigned_to_calls_by_content() {
    let (a, b) = (r#"{"city":"A"}"#, r#"{"city":"B"}"#);
    run(vec![
        pieces(
            "whole calls with the index 0 and an empty id",
            &[
                r#"{"index":0,"id":"","type":"function","function":{"name":"f","arguments":"{\"city\":\"A\"}"}}"#,
                r#"{"index":0,"id":"","type":"function","function":{"name":"f","arguments":"{\"city\":\"B\"}"}}"#,
            ],
            vec![called("", "f", a), called("", "f", b)],
        ),
        pieces(
            "whole calls without index and id",
            &[
                r#"{"function":{"name":"f","arguments":"{\"city\":\"A\"}"}}"#,
                r#"{"function":{"name":"weather","arguments":"{\"city\":\"B\"}"}}"#,
            ],
            vec![called("", "f", a), called("", "weather", b)],
        ),
        pieces(
            "a new id and the same name with every piece",
            &[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\":"}}"#,
                r#"{"index":0,"id":"call_b","type":"function","function":{"name":"f","arguments":"\"A\"}"}}"#,
            ],
            vec![called("call_a", "f", a)],
        ),
        pieces(
            "the same id and name with every piece",
            &[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":""}}"#,
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\":"}}"#,
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"\"A\"}"}}"#,
            ],
            vec![called("call_a", "f", a)],
        ),
        pieces(
            "an empty object before the arguments",
            &[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"function":{"arguments":"{\"city\":"}}"#,
                r#"{"index":0,"function":{"arguments":"\"A\"}"}}"#,
            ],
            vec![called("call_a", "f", a)],
        ),
        pieces(
            "an empty object before the whole arguments",
            &[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{}"}}"#,
                r#"{"index":0,"function":{"arguments":"{\"city\":\"A\"}"}}"#,
            ],
            vec![called("call_a", "f", a)],
        ),
        pieces(
            "a name in pieces",
            &[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"wea"}}"#,
                r#"{"index":0,"function":{"name":"ther"}}"#,
                r#"{"index":0,"function":{"arguments":"{\"city\":\"A\"}"}}"#,
            ],
            vec![called("call_a", "weather", a)],
        ),
        pieces(
            "calls that come in turns",
            &[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\""}}"#,
                r#"{"index":1,"id":"call_b","type":"function","function":{"name":"f","arguments":"{\"city\""}}"#,
                r#"{"index":0,"function":{"arguments":":\"A\"}"}}"#,
                r#"{"index":1,"function":{"arguments":":\"B\"}"}}"#,
            ],
            vec![called("call_a", "f", a), called("call_b", "f", b)],
        ),
        pieces(
            "two calls in one chunk, both with the index 0",
            &[&[
                r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":"{\"city\":\"A\"}"}}"#,
                r#"{"index":0,"id":"call_b","type":"function","function":{"name":"f","arguments":"{\"city\":\"B\"}"}}"#,
            ]
            .join(",")],
            vec![called("call_a", "f", a), called("call_b", "f", b)],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_call_of_a_tool_that_was_not_offered_is_passed_on_unchanged() {
    let see = |name: &str| {
        let data = [
            c(r#"{"content":"Let me see. "}"#),
            call(&format!(
                r#"{{"index":0,"id":"call_a","type":"function","function":{{"name":"{name}","arguments":"{{}}"}}}}"#
            )),
            f("tool_calls"),
            USAGE.to_owned(),
        ];
        chunks(data)
    };
    let said = |name: &str| ResponseContent {
        calls: vec![called("call_a", name, "{}")],
        ..ResponseContent::text("Let me see. ")
    };
    let known = ["functions.f", "functions.f:0", "default_api.f", "tools.f", "f"];
    let unknown = ["g", "functions.g", "launch_rockets", "other.f"];
    let known = known.iter().map(|name| whole(format!("{name} is f"), see(name), said("f")));
    let unknown =
        unknown.iter().map(|name| whole(format!("{name} was not offered"), see(name), said(name)));
    run(known.chain(unknown).collect()).await;
}

#[tokio::test]
async fn a_call_without_arguments_has_an_empty_object() {
    let line = r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f"}}]},"done":false}"#;
    let last = r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":2}"#;
    let ollama = Script::new().raw(format!("{line}\n{last}\n"));
    run(vec![
        pieces(
            "no arguments",
            &[r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f"}}"#],
            vec![called("call_a", "f", "{}")],
        ),
        pieces(
            "empty arguments",
            &[r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":""}}"#],
            vec![called("call_a", "f", "{}")],
        ),
        pieces(
            "null for arguments",
            &[r#"{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":null}}"#],
            vec![called("call_a", "f", "{}")],
        ),
        whole("no arguments, Ollama", ollama, only_calls(vec![called("", "f", "{}")])).on(Ollama),
    ])
    .await;
}

#[tokio::test]
async fn a_deprecated_function_call_is_a_call() {
    let data = [
        c(r#"{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}"#),
        c(r#"{"function_call":{"arguments":"{\"city\":"}}"#),
        c(r#"{"function_call":{"arguments":"\"A\"}"}}"#),
        f("function_call"),
        USAGE.to_owned(),
    ];
    run(vec![whole(
        "function_call",
        chunks(data),
        only_calls(vec![called("", "f", r#"{"city":"A"}"#)]),
    )])
    .await;
}

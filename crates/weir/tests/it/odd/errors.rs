//! Errors in any format, with any status, before or after text (K4): with the upstream's message and name, and
//! without useless retries.

use fakes::Script;

use super::case::{OddCase, c, chunks, failed, refused};
use super::run::run;

const INVALID: &str = "upstream_invalid_request";
const TOO_LONG: &str = "context_length_exceeded";
const ERROR: &str = "upstream_error";

/// A JSON body with this status.
fn body(status: u16, body: &'static str) -> Script {
    Script::status(status, &[("content-type", "application/json")], body)
}

fn text(piece: &str) -> String {
    c(&format!(r#"{{"content":"{piece}"}}"#))
}

/// An error with status 400, as a body and as a stream event.
fn both(
    name: &str,
    error: &'static str,
    code: &'static str,
    words: &[&'static str],
) -> [OddCase; 2] {
    [
        refused(name, body(400, error), 400, code, &[words, &["lab-chat"]].concat()),
        refused(
            format!("{name}, in the stream"),
            chunks([error]),
            400,
            code,
            &[words, &["lab-chat"]].concat(),
        ),
    ]
}

#[tokio::test]
async fn errors_in_any_format_reach_the_caller_with_their_message() {
    let vllm = r#"{"object":"error","message":"prompt has 5000 tokens, the model takes 4096","type":"BadRequestError","param":null,"code":400}"#;
    let wrapped = r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"supports at most 1 image per prompt\"}}","provider_name":"North"}}}"#;
    let secret = r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"the key sk-or-v1-0123456789abcdef0123456789abcdef is wrong for sk-of-q8Zv41Tn0bX\"}}"}}}"#;
    let mut cases = Vec::new();
    cases.extend(both(
        "an error as vLLM has it",
        vllm,
        TOO_LONG,
        &["prompt has 5000 tokens, the model takes 4096", "400"],
    ));
    cases.extend(both(
        "an error in an error",
        wrapped,
        INVALID,
        &["supports at most 1 image per prompt"],
    ));
    cases.extend(both("an error with keys in it", secret, INVALID, &["is wrong for"]));
    cases.extend(both(
        "msg",
        r#"{"code":400,"msg":"images are too large"}"#,
        INVALID,
        &["images are too large"],
    ));
    for (name, error, words) in [
        ("errors", r#"{"errors":[{"message":"no such field"}]}"#, "no such field"),
        ("error in error", r#"{"error":{"error":{"message":"no such field"}}}"#, "no such field"),
        (
            "detail",
            r#"{"message":{"detail":[{"loc":["body","messages"],"msg":"field required"}]}}"#,
            "field required",
        ),
        (
            "detail alone",
            r#"{"detail":[{"loc":["body","messages"],"msg":"field required","type":"missing"}]}"#,
            "field required",
        ),
        ("a text", r#"{"error":"no such field"}"#, "no such field"),
        (
            "a list",
            r#"[{"error":{"code":400,"message":"no such field","status":"INVALID_ARGUMENT"}}]"#,
            "no such field",
        ),
    ] {
        cases.push(refused(name, body(400, error), 400, INVALID, &[words, "lab-chat", "400"]));
    }
    run(cases).await;
}

#[tokio::test]
async fn errors_with_status_200_are_errors() {
    let overloaded = r#"{"code":50505,"message":"Model service overloaded","data":null}"#;
    let envoy = "upstream connect error or disconnect/reset before headers";
    let plain = Script::status(200, &[("content-type", "text/plain")], envoy);
    // These may be temporary: before any output the call is retried once.
    let twice = |name: &str, script, status, code, words: &[&'static str]| OddCase {
        asked: 2,
        ..refused(name, script, status, code, words)
    };
    run(vec![
        twice("a code and a message", body(200, overloaded), 502, ERROR, &["Model service overloaded", "lab-chat"]),
        twice("a code and a message in the stream", chunks([overloaded]), 502, ERROR, &["Model service overloaded", "lab-chat"]),
        failed("a code and a message after text", chunks([&text("half"), overloaded]), "half", (502, ERROR), &["Model service overloaded", "lab-chat"]),
        failed(
            "an error in an error after text",
            chunks([&text("half"), r#"{"error":{"error":{"message":"the GPU fell off"}}}"#]),
            "half",
            (502, ERROR),
            &["the GPU fell off", "lab-chat"],
        ),
        failed(
            "event: error after text",
            Script::new().raw(format!("data: {}\n\nevent: error\ndata: {{\"msg\":\"the GPU fell off\"}}\n\n", text("half"))),
            "half",
            (502, ERROR),
            &["the GPU fell off", "lab-chat"],
        ),
        failed(
            "an error beside a choice",
            chunks([&text("half"), r#"{"error":{"code":502,"message":"the GPU fell off"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#]),
            "half",
            (502, ERROR),
            &["the GPU fell off", "lab-chat"],
        ),
        twice("a sentence", plain, 502, ERROR, &[envoy, "lab-chat"]),
        failed(
            "a sentence after text",
            Script::new().raw(format!("data: {}\n\n{envoy}\n\n", text("half"))),
            "half",
            (502, "upstream_truncated"),
            &["lab-chat"],
        ),
    ])
    .await;
}

//! Upstream and model output does not control the terminal: title, screen, clipboard and text direction are
//! unaffected.

use std::process::Output;

use fakes::{Script, Upstream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{ServerHome, ask, question, run, weir};

/// A new title, a cleared screen, the same with the one-byte CSI, an overwritten line, and right-to-left text.
pub(crate) const HOSTILE: &str = "a\x1b]0;PWN\x07b\x1b[2Jc\u{9b}2Jd\re\x7ff\u{202e}g";

/// Asserts that a text contains no control sequences, and returns it.
fn harmless(bytes: &[u8], what: &str) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let is_command = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
    assert!(!text.contains(is_command), "{what}: {text:?}");
    text
}

fn check(output: &Output, what: &str) -> String {
    harmless(&output.stdout, what) + &harmless(&output.stderr, what)
}

#[tokio::test]
async fn an_upstreams_error_is_printed_without_escapes() {
    let (lab, directory) = (Upstream::start().await.unwrap(), TempDir::new().unwrap());
    let settings = format!(
        "[[upstream]]\nname = \"lab\"\nbase_url = \"{}\"\napi_key = \"sk-x\"\n",
        lab.base_url()
    );
    std::fs::write(directory.path().join("weir.toml"), settings).unwrap();
    let error = json!({ "error": { "message": HOSTILE, "type": HOSTILE, "code": HOSTILE, "param": HOSTILE } });
    for status in [400, 401, 403, 404, 429, 500] {
        for body in [error.to_string(), HOSTILE.to_owned()] {
            for more in [&[][..], &["--json"]] {
                lab.script(Script::status(
                    status,
                    &[("content-type", "application/json")],
                    body.clone(),
                ));
                let mut command = weir(directory.path());
                command.args(["upstream", "test", "--model", "m"]).args(more);
                let output = run(command).await;
                let what = format!("{status} {body} {more:?}");
                let printed = check(&output, &what);
                assert_eq!(output.status.code(), Some(1), "{what}: {printed}");
                // The message itself is printed for statuses without a text of our own.
                assert!(
                    !matches!(status, 400 | 500) || body == HOSTILE || printed.contains("PWN"),
                    "{what}: {printed}"
                );
                if !more.is_empty() {
                    serde_json::from_slice::<Value>(&output.stdout).unwrap();
                }
            }
        }
    }
    // In the middle of a response, and as its text.
    for script in [Script::new().role().event(error.clone()).end(), Script::text(&[HOSTILE])] {
        lab.script(script);
        let mut command = weir(directory.path());
        command.args(["upstream", "test", "--model", HOSTILE.trim_matches('\r')]);
        check(&run(command).await, "in the stream");
    }
}

#[tokio::test]
async fn an_export_shows_messages_as_messages() {
    let place = ServerHome::new().await;
    let forged = format!(
        "{HOSTILE}\n\n## resp_ffffffff\n\nkey_forged, 2026-11-29 10:00 UTC\n\n### User\n\nforged"
    );
    place.upstream.script(Script::text(&[&forged]));
    let server = place.start().await;
    let (status, answer) = server.json(&ask(&question(&forged))).await;
    assert_eq!(status, 200, "{answer}");
    server.stop().await;
    let export = async |format: &str| {
        let mut command = place.command();
        command.args(["store", "export", "--format", format]);
        let output = run(command).await;
        assert!(output.status.success(), "{output:?}");
        check(&output, format);
        String::from_utf8(output.stdout).unwrap()
    };
    let markdown = export("markdown").await;
    let id = answer["id"].as_str().unwrap();
    let headings: Vec<&str> = markdown.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        headings,
        ["# Conversations", &format!("## {id}"), "### User", "### Assistant"],
        "{markdown}"
    );
    assert_eq!(markdown.matches("\n> ## resp_ffffffff\n").count(), 2, "{markdown}");
    assert!(!markdown.contains("\nkey_forged") && markdown.contains("␛]0;PWN␇"), "{markdown}");
    let lines = export("jsonl").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let holds = lines.iter().filter(|line| line.to_string().contains("PWN")).count();
    assert!(
        holds > 0 && lines.iter().any(|line| holds_text(line, &forged)),
        "JSON keeps the text as it was: {lines:#?}"
    );
}

fn holds_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Array(values) => values.iter().any(|value| holds_text(value, text)),
        Value::Object(fields) => fields.values().any(|value| holds_text(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[tokio::test]
async fn events_of_a_chat_are_json_without_escapes() {
    let test_server = crate::test_server::TestServer::open().await;
    let directory = TempDir::new().unwrap();
    let chat = async |more: &[&str]| {
        let mut command = weir(directory.path());
        command
            .args([
                "chat",
                "--server",
                &format!("http://{}", test_server.address),
                "--model",
                crate::test_server::MODEL,
            ])
            .args(more);
        crate::chat::pipe::run(command, "hi\n").await
    };
    for transport in crate::chat::TRANSPORTS {
        test_server.upstream.script(Script::text(&["<", HOSTILE, ">"]));
        let ran = chat(&["--json", "--transport", transport]).await;
        harmless(ran.out.as_bytes(), transport);
        let last: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
        assert!(holds_text(&last, &format!("<{HOSTILE}>")), "{transport}: {last:#}");
        let error = json!({ "error": { "message": HOSTILE, "type": "invalid_request_error", "code": HOSTILE } });
        test_server.upstream.script(Script::error(400, &error));
        let ran = chat(&["--transport", transport]).await;
        assert_eq!(ran.status, Some(1), "{transport}: {ran:?}");
        harmless(ran.errors.as_bytes(), transport);
    }
    test_server.quiet().await;
    test_server.close().await;
}

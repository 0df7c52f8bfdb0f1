//! In a pipe: only the response on standard output, and an exit status for the outcome.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use fakes::Script;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{TRANSPORTS, chat};
use crate::program::weir;
use crate::test_server::{ALICE, MODEL, TestServer, TestServerPlan};
use crate::tls::CertificatePair;

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: String,
}

/// Runs a command with `question` on standard input until it exits.
pub(crate) async fn run(mut command: Command, question: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.as_bytes()).unwrap();
    let output = client::soon(spawn_blocking(move || child.wait_with_output()))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
}

fn ran(status: i32, out: &str, errors: &str) -> Ran {
    Ran { status: Some(status), out: out.to_owned(), errors: errors.to_owned() }
}

#[tokio::test]
async fn standard_output_is_only_the_response_on_every_transport() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for transport in TRANSPORTS {
        test_server.upstream.script(Script::text(&["# 你", "好\n\n**bo", "ld**"]));
        let command = chat(
            &directory,
            test_server.address,
            &["--transport", transport, "--system", "Be brief."],
        );
        assert_eq!(run(command, "hi\n").await, ran(0, "# 你好\n\n**bold**\n", ""), "{transport}");
    }
    for request in test_server.upstream.requests() {
        let messages = &request.body["messages"];
        assert_eq!(
            (&messages[0]["content"], &messages[1]["content"]),
            (&json!("Be brief."), &json!("hi")),
            "{messages}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn errors_go_to_standard_error() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for transport in TRANSPORTS {
        test_server.upstream.script(Script::new().content("Half").rst());
        let failed =
            run(chat(&directory, test_server.address, &["--transport", transport]), "hi").await;
        assert_eq!(
            (failed.status, failed.out.as_str()),
            (Some(1), "Half\n"),
            "{transport}: {failed:?}"
        );
        assert!(failed.errors.starts_with("weir chat: "), "{transport}: {failed:?}");
    }
    let missing =
        run(chat(&directory, test_server.address, &["--resume", "resp_guessed"]), "").await;
    assert!(
        missing.status == Some(1)
            && missing.out.is_empty()
            && missing.errors.contains("resp_guessed"),
        "{missing:?}"
    );
    let empty = run(chat(&directory, test_server.address, &[]), " \n").await;
    assert_eq!(empty, ran(2, "", "weir chat: standard input has no question\n"));
    let wrong = run(chat(&directory, test_server.address, &["--transport", "smoke"]), "hi").await;
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
    let nobody = run(chat(&directory, "127.0.0.1:1", &[]), "hi").await;
    assert!(
        nobody.status == Some(1) && nobody.errors.contains("cannot reach http://127.0.0.1:1"),
        "{nobody:?}"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn events_are_json_lines() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for transport in TRANSPORTS {
        test_server.upstream.script(Script::text(&["On", "ce."]));
        let events =
            run(chat(&directory, test_server.address, &["--json", "--transport", transport]), "hi")
                .await;
        let lines: Vec<Value> =
            events.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let numbers: Vec<u64> =
            lines.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..lines.len() as u64).collect::<Vec<_>>(), "{transport}");
        assert_eq!(
            (events.status, &lines[lines.len() - 1]["type"]),
            (Some(0), &json!("response.completed")),
            "{transport}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_cancels_the_response_on_every_transport() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for (index, transport) in TRANSPORTS.into_iter().enumerate() {
        test_server.upstream.script(Script::new().role().content("Once").stall());
        let mut command = chat(&directory, test_server.address, &["--transport", transport]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"hi").unwrap();
        let mut out = child.stdout.take().unwrap();
        let (mut out, begun) = client::soon(spawn_blocking(move || {
            let mut begun = [0; 4];
            out.read_exact(&mut begun).unwrap();
            (out, begun)
        }))
        .await
        .unwrap()
        .unwrap();
        assert_eq!(&begun, b"Once");
        assert!(
            Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let status =
            client::soon(spawn_blocking(move || child.wait())).await.unwrap().unwrap().unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!((status.code(), rest.as_str()), (Some(130), "\n"), "{transport}");
        client::soon(test_server.upstream.wait_closed(index)).await.unwrap();
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_key_is_sent_to_the_server_only() {
    let test_server =
        TestServer::open_with(TestServerPlan { with_keys: true, ..TestServerPlan::default() })
            .await;
    let directory = TempDir::new().unwrap();
    let refused = run(chat(&directory, test_server.address, &[]), "hi").await;
    assert!(refused.status == Some(1) && refused.errors.contains("WEIR_API_KEY"), "{refused:?}");
    let guessed = run(chat(&directory, test_server.address, &["--key", "wk_guessed"]), "hi").await;
    assert!(guessed.status == Some(1) && !guessed.errors.contains("wk_"), "{guessed:?}");
    for transport in TRANSPORTS {
        test_server.upstream.script(Script::text(&["Yes."]));
        let mut command = chat(&directory, test_server.address, &["--transport", transport]);
        command.env("WEIR_API_KEY", ALICE);
        assert_eq!(run(command, "hi").await, ran(0, "Yes.\n", ""), "{transport}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_response_is_resumed_and_continued() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    test_server.upstream.script(
        Script::new()
            .role()
            .content("On")
            .wait_for(&gate)
            .content("ce.")
            .finish("stop")
            .usage(9, 2, 0)
            .done()
            .end(),
    );
    let (_, response) = test_server
        .post("/v1/responses", &json!({ "model": MODEL, "input": "first", "background": true }))
        .await;
    let id = response["id"].as_str().unwrap().to_owned();
    let watching = tokio::spawn(run(chat(&directory, test_server.address, &["--resume", &id]), ""));
    client::soon(test_server.upstream.wait_requests(1)).await.unwrap();
    gate.notify_one();
    assert_eq!(watching.await.unwrap(), ran(0, "Once.\n", ""));
    for transport in TRANSPORTS {
        let again = run(
            chat(&directory, test_server.address, &["--resume", &id, "--transport", transport]),
            "",
        )
        .await;
        assert_eq!(again, ran(0, "Once.\n", ""), "{transport}");
    }
    test_server.upstream.script(Script::text(&["More."]));
    assert_eq!(
        run(chat(&directory, test_server.address, &["--resume", &id]), "second").await,
        ran(0, "More.\n", "")
    );
    let requests = test_server.upstream.requests();
    let said: Vec<Value> = requests[1].body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].clone())
        .collect();
    assert_eq!(
        json!(said).to_string().matches("first").count()
            + json!(said).to_string().matches("Once.").count(),
        2,
        "{said:?}"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn without_a_server_it_starts_its_own_and_says_so() {
    let directory = TempDir::new().unwrap();
    let mut command = weir(directory.path());
    command.args(["chat", "--listen", "127.0.0.1:0"]);
    let answered = run(command, "/echo **hi**").await;
    assert_eq!((answered.status, answered.out.as_str()), (Some(0), "**hi**\n"), "{answered:?}");
    assert!(
        answered.errors.starts_with("No server is listening on http://127.0.0.1:0"),
        "{answered:?}"
    );
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_fingerprint_only() {
    let pair = CertificatePair::new();
    let (test_server, directory) =
        (TestServer::open_with(pair.plan()).await, TempDir::new().unwrap());
    let url = format!("https://{}", test_server.address);
    let ask = |more: &[&str]| {
        let mut command = weir(directory.path());
        command.args(["chat", "--model", MODEL, "--server", &url]).args(more);
        run(command, "hi")
    };
    let refused = ask(&[]).await;
    let hint = refused.errors.split("--fingerprint ").nth(1).map(|rest| rest.trim().to_owned());
    let fingerprint = hint.unwrap_or_else(|| panic!("{refused:?}"));
    assert_eq!((refused.status, refused.out.as_str()), (Some(1), ""));
    assert_eq!(
        ask(&["--fingerprint", &fingerprint.replace(|_: char| true, "0")]).await.status,
        Some(1)
    );
    for transport in TRANSPORTS {
        test_server.upstream.script(Script::text(&["Safe."]));
        assert_eq!(
            ask(&["--transport", transport, "--fingerprint", &fingerprint.to_lowercase()]).await,
            ran(0, "Safe.\n", ""),
            "{transport}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

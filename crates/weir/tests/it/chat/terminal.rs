//! In a terminal: typing, cancelling, resizing, exiting.

use std::sync::Arc;

use fakes::FaultProxy;
use fakes::Script;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::pseudo_terminal::PseudoTerminal;
use super::{TRANSPORTS, chat};
use crate::escapes::HOSTILE;
use crate::test_server::TestServer;

const CTRL_C: &str = "\x03";
pub(super) const CTRL_D: &str = "\x04";
pub(super) const ENTER: &str = "\r";
const BACKSPACE: &str = "\x7f";
const UP: &str = "\x1b[A";

/// The texts that the model was sent.
fn said(test_server: &TestServer, request: usize) -> Vec<String> {
    let requests = test_server.upstream.requests();
    let messages = requests[request].body["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| {
            message["content"]
                .as_str()
                .map_or_else(|| message["content"].to_string(), str::to_owned)
        })
        .collect()
}

#[tokio::test]
async fn a_conversation_is_typed_edited_and_drawn() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    test_server.upstream.script(Script::text(&[
        "# Tit",
        "le\n\nSome **bo",
        "ld** and `co",
        "de`.\n\n|A|B|\n|-|-|\n|一二|x|\n",
    ]));
    test_server.upstream.script(Script::text(&["Second."]));
    test_server.upstream.script(Script::text(&["Third."]));
    let mut terminal = PseudoTerminal::start(&chat(&directory, test_server.address, &[]), 60, 30);
    terminal.prompt().await;
    terminal.press("你好x");
    terminal.press(BACKSPACE);
    terminal.press(ENTER);
    let shown = terminal.until(|shown| shown.contains("一二 │ x") && shown.ends_with('>')).await;
    assert!(
        shown.contains(
            "> 你好\n\nTitle\n\nSome bold and code.\n\nA    │ B\n─────┼──\n一二 │ x\n\n>"
        ),
        "{shown}"
    );
    assert!(terminal.painted().contains("\x1b[1mbold"), "{:?}", terminal.painted());
    terminal.press("again");
    terminal.press(ENTER);
    terminal.wait_for("Second.").await;
    // The first line is recalled from the history and edited.
    terminal.prompt().await;
    terminal.press(UP);
    terminal.press(UP);
    terminal.wait_for("> 你好\n").await;
    terminal.press("!");
    terminal.press(ENTER);
    terminal.wait_for("Third.").await;
    terminal.prompt().await;
    terminal.press("/cost");
    terminal.press(ENTER);
    terminal.wait_for("3 responses").await;
    // A key typed before the prompt is back is kept for the next line.
    terminal.press(CTRL_D);
    assert_eq!(terminal.ended().await, Some(0));
    assert_eq!(said(&test_server, 0), ["你好"]);
    assert_eq!(said(&test_server, 2).last().map(String::as_str), Some("你好!"));
    assert_eq!(said(&test_server, 2).len(), 5, "the conversation goes on");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn ctrl_c_cancels_the_response_but_not_the_program() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for (index, transport) in TRANSPORTS.into_iter().enumerate() {
        test_server.upstream.script(Script::new().role().content("Begun").stall());
        test_server.upstream.script(Script::new().role().content("Again").stall());
        let mut terminal = PseudoTerminal::start(
            &chat(&directory, test_server.address, &["--transport", transport]),
            60,
            30,
        );
        terminal.prompt().await;
        terminal.press("one");
        terminal.press(ENTER);
        terminal.wait_for("Begun").await;
        terminal.press(CTRL_C);
        terminal.until(|shown| shown.contains("(stopped)") && shown.ends_with('>')).await;
        client::soon(test_server.upstream.wait_closed(2 * index)).await.unwrap();
        terminal.press("two");
        terminal.press(ENTER);
        terminal.wait_for("Again").await;
        // Typed without echo: a command cancels the response, and the rest starts the next line.
        terminal.press("/stop\nnext");
        terminal
            .until(|shown| shown.matches("(stopped)").count() == 2 && shown.ends_with("> next"))
            .await;
        client::soon(test_server.upstream.wait_closed(2 * index + 1)).await.unwrap();
        terminal.press(CTRL_C);
        terminal.wait_for("to exit").await;
        terminal.press(CTRL_C);
        assert_eq!(terminal.ended().await, Some(0), "{transport}");
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn resizing_during_a_response_loses_nothing() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let gates: Vec<Arc<Notify>> = (0..2).map(|_| Arc::new(Notify::new())).collect();
    let script = Script::new()
        .role()
        .content("A row that is final.\n\nwords and words and words and words")
        .wait_for(&gates[0]);
    let script =
        script.content(" and narrow words and narrow words and narrow words").wait_for(&gates[1]);
    test_server
        .upstream
        .script(script.content(" and the end.").finish("stop").usage(9, 3, 0).done().end());
    let mut terminal = PseudoTerminal::start(&chat(&directory, test_server.address, &[]), 80, 24);
    terminal.prompt().await;
    terminal.press("hi");
    terminal.press(ENTER);
    terminal.wait_for("words and words and words and words").await;
    terminal.resize(40, 24);
    gates[0].notify_one();
    terminal.wait_for("words and words and words and words and\nnarrow words and narrow words and\nnarrow words").await;
    terminal.resize(80, 24);
    gates[1].notify_one();
    let shown = terminal.until(|shown| shown.contains("the end.") && shown.ends_with('>')).await;
    assert!(
        shown.contains("A row that is final.\n\nwords and words and words and words and narrow"),
        "{shown}"
    );
    assert_eq!(shown.matches("the end.").count(), 1, "{shown}");
    terminal.press(CTRL_D);
    assert_eq!(terminal.ended().await, Some(0));
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_response_longer_than_the_window_scrolls_and_is_complete() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    let rows: Vec<String> = (1..=40).map(|number| format!("- row {number}\n")).collect();
    let table: Vec<String> = (1..=30).map(|number| format!("|cell {number}|\n")).collect();
    let text = rows.concat() + "\n|head|\n|-|\n" + &table.concat() + "\nlast words";
    let pieces: Vec<&str> = text.split_inclusive(' ').collect();
    test_server.upstream.script(Script::text(&pieces));
    let mut terminal = PseudoTerminal::start(&chat(&directory, test_server.address, &[]), 40, 12);
    terminal.prompt().await;
    terminal.press("hi");
    terminal.press(ENTER);
    let shown = terminal.until(|shown| shown.contains("last words") && shown.ends_with('>')).await;
    let expected: Vec<String> = (23..=30).map(|number| format!("cell {number}")).collect();
    assert!(shown.starts_with(&expected.join("\n")), "{shown}");
    terminal.press(CTRL_D);
    assert_eq!(terminal.ended().await, Some(0));
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_broken_connection_is_restored_and_the_text_is_complete() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for transport in TRANSPORTS {
        let proxy = FaultProxy::start(test_server.address).await.unwrap();
        let gate = Arc::new(Notify::new());
        let script = Script::new().role().content("One **two ").wait_for(&gate);
        test_server
            .upstream
            .script(script.content("three** four.").finish("stop").usage(9, 2, 0).done().end());
        let mut terminal = PseudoTerminal::start(
            &chat(&directory, proxy.address(), &["--transport", transport]),
            100,
            30,
        );
        terminal.prompt().await;
        terminal.press("hi");
        terminal.press(ENTER);
        terminal.wait_for("One two").await;
        proxy.cut_now_rst();
        terminal.wait_for("Connection lost").await;
        gate.notify_one();
        let shown = terminal.until(|shown| shown.contains("four.") && shown.ends_with('>')).await;
        assert!(shown.contains("Reconnected.\nOne two three four.\n"), "{transport}: {shown}");
        terminal.press(CTRL_D);
        assert_eq!(terminal.ended().await, Some(0));
    }
    assert_eq!(
        test_server.upstream.requests().len(),
        TRANSPORTS.len(),
        "each question was asked once"
    );
    test_server.quiet().await;
    test_server.close().await;
}

/// A model's text must not control the terminal, whether it is rendered or its events are shown.
#[tokio::test]
async fn model_output_does_not_control_the_terminal() {
    let (test_server, directory) = (TestServer::open().await, TempDir::new().unwrap());
    for arguments in [&[][..], &["--json"]] {
        test_server.upstream.script(Script::reasoning(&[HOSTILE], &["Begun ", HOSTILE, " ended"]));
        let mut terminal =
            PseudoTerminal::start(&chat(&directory, test_server.address, arguments), 400, 60);
        if arguments.is_empty() {
            terminal.prompt().await;
            terminal.press("hi");
            terminal.press(ENTER);
            terminal.until(|shown| shown.contains("ended") && shown.ends_with('>')).await;
        } else {
            terminal.wait_for("Type the question").await;
            terminal.press("hi\n");
            terminal.press(CTRL_D);
            terminal.wait_for("response.completed").await;
        }
        let written = terminal.written();
        assert!(written.contains("PWN"), "{written:?}");
        for command in ["\x1b]0;", "\x07", "\x1b[2J", "\u{9b}", "\u{202e}", "\x7f"] {
            assert!(!written.contains(command), "{arguments:?}: {command:?} in {written:?}");
        }
        if arguments.is_empty() {
            terminal.press(CTRL_D);
        }
        assert_eq!(terminal.ended().await, Some(0));
    }
    test_server.quiet().await;
    test_server.close().await;
}

//! `kill -9` of the server while a terminal shows a response, and a restart on the same data: what the log contained
//! is shown, and the conversation continues.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use client::Request;
use tempfile::TempDir;

use super::pseudo_terminal::PseudoTerminal;
use super::terminal::{CTRL_D, ENTER};
use super::{TRANSPORTS, chat_with};
use crate::program::ServerHome;

/// A loopback address that no other test uses, so that its port is free after the kill.
fn address(number: usize) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = 2 + u8::try_from(number).unwrap();
    SocketAddr::from((IpAddr::V4(Ipv4Addr::new(127, 1 + high % 250, low, last)), 0))
}

/// The numbers of a sequence counting from 1, as shown.
fn counted(shown: &str) -> Vec<u64> {
    let rows = shown.lines().skip_while(|row| !row.starts_with("1 2 3"));
    rows.flat_map(str::split_whitespace).map_while(|word| word.parse().ok()).collect()
}

/// The screen without notes about the connection.
fn without_notes(shown: &str) -> String {
    let is_note = |row: &&str| {
        row.starts_with("Connection lost")
            || row.starts_with("Reconnected")
            || row.contains("reconnecting…")
    };
    shown.lines().filter(|row| !is_note(row)).collect::<Vec<_>>().join("\n")
}

/// Whether the question has a response that refers to earlier ones, and the prompt is back.
fn is_answered(shown: &str, question: &str) -> bool {
    shown
        .rsplit_once(question)
        .is_some_and(|(_, answer)| answer.contains("Your name is Ada.") && answer.ends_with("\n>"))
}

#[tokio::test]
async fn a_conversation_continues_after_kill_9_on_every_transport() {
    for (number, transport) in TRANSPORTS.into_iter().enumerate() {
        let mut place = ServerHome::new().await;
        // Slow enough to be running at the kill, and fast enough not to delay the test.
        place.set("WEIR_DEMO_TOKENS_PER_SECOND", "100");
        let mut server = place.start_at(address(number)).await;
        let at = server.address;
        let directory = TempDir::new().unwrap();
        let talk = |arguments: &[&str]| {
            PseudoTerminal::start(&chat_with(&directory, at, "demo", arguments), 120, 60)
        };

        let mut terminal = talk(&["--transport", transport]);
        terminal.prompt().await;
        terminal.press("My name is Ada.");
        terminal.press(ENTER);
        terminal.until(|shown| shown.contains("Ada.\n") && shown.ends_with("\n>")).await;
        terminal.press("/count 100000");
        terminal.press(ENTER);
        terminal.wait_for("1 2 3 4 5 6 7 8 9 10 11 12").await;
        server.kill().await;
        terminal.wait_for("Connection lost").await;
        let server = place.start_at(at).await;
        let shown = terminal
            .until(|shown| shown.contains("the response is incomplete") && shown.ends_with("\n>"))
            .await;
        assert!(shown.contains("Reconnected."), "{transport}: {shown}");
        assert!(
            shown.contains("(the response is incomplete: the server was restarted)"),
            "{transport}: {shown}"
        );

        terminal.press("What is my name?");
        terminal.press(ENTER);
        terminal.until(|shown| is_answered(shown, "What is my name?")).await;
        terminal.press(CTRL_D);
        let shown = terminal.wait_for("weir chat --resume resp_").await;
        let id =
            shown.rsplit("--resume ").next().unwrap().split_whitespace().next().unwrap().to_owned();
        assert_eq!(terminal.ended().await, Some(0), "{transport}");

        // The log and the screen have the same content.
        let (status, items) =
            server.json(&Request::get(&format!("/v1/responses/{id}/input_items?order=asc"))).await;
        let text = items["data"][3]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{status}: {items}"));
        let held: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert!(
            held.len() >= 12 && held.iter().copied().eq(1..=held.len() as u64),
            "{transport}: {text}"
        );
        assert_eq!(counted(&without_notes(&shown)), held, "{transport}: {shown}");

        // Another terminal continues from there, after showing all of it.
        let mut terminal = talk(&["--transport", transport, "--resume", &id]);
        terminal.prompt().await;
        let shown = terminal.shown();
        let places: Vec<_> =
            ["> My name is Ada.", "> /count 100000", "1 2 3 4", "> What is my name?"]
                .map(|text| shown.find(text))
                .into();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{transport}: {shown}");
        assert_eq!(counted(&shown), held, "{transport}: {shown}");
        assert_eq!(
            shown.matches("(the response is incomplete)").count(),
            1,
            "{transport}: {shown}"
        );
        terminal.press("Who am I?");
        terminal.press(ENTER);
        terminal.until(|shown| is_answered(shown, "Who am I?")).await;
        terminal.press(CTRL_D);
        assert_eq!(terminal.ended().await, Some(0), "{transport}");
        server.stop().await;
    }
}

//! Silence and keep-alives, each with its own timeout (K11), and unrequested compression (K6).

use std::time::Duration;

use engine::provider::route::Timeouts;
use fakes::Script;
use fakes::Vendor::{Anthropic, Ollama};

use super::case::{OddCase, STOP, c, chunks, f, failed, refused};
use super::run::{run, run_with};
use crate::scenarios::content::ResponseContent;
use crate::scenarios::table::ExpectedUsage;

const IDLE: Duration = Duration::from_millis(400);
const KEEP_ALIVE: Duration = Duration::from_millis(1500);

/// Text, then keep-alives for this many times a quarter of [`IDLE`].
fn kept_alive(times: u32, keep_alive: &'static str) -> Script {
    let start = Script::new().raw(format!("data: {}\n\n", c(r#"{"content":"half"}"#)));
    (0..times).fold(start, |script, _| script.sleep(IDLE / 4).raw(keep_alive))
}

#[tokio::test]
async fn keep_alives_extend_the_timeout_but_not_for_ever() {
    let rest = format!(
        "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        c(r#"{"content":" and whole"}"#),
        f("stop")
    );
    let comment = ": keep-alive\n\n";
    let empty = "data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\n";
    let counted = |name: &str, script| {
        OddCase::new(
            name,
            script,
            ResponseContent::text("half and whole"),
            STOP,
            ExpectedUsage::Counted,
        )
    };
    let only = &["nothing but keep-alives", "1.5"];
    let cases = vec![
        failed(
            "silence",
            kept_alive(1, comment).stall(),
            "half",
            (504, "upstream_idle_timeout"),
            &[],
        ),
        counted("comments, and then the rest", kept_alive(8, comment).raw(rest.clone())),
        counted("empty chunks, and then the rest", kept_alive(8, empty).raw(rest.clone())),
        counted("pings, and then the rest", kept_alive(8, "event: ping\ndata: now\n\n").raw(rest)),
        failed(
            "comments only",
            kept_alive(40, comment).stall(),
            "half",
            (504, "upstream_keep_alive_timeout"),
            only,
        ),
        failed(
            "empty chunks only",
            kept_alive(40, empty).stall(),
            "half",
            (504, "upstream_keep_alive_timeout"),
            only,
        ),
    ];
    run_with(cases, |upstream| {
        upstream.timeouts = Timeouts { idle: IDLE, keep_alive: KEEP_ALIVE, ..Timeouts::default() }
    })
    .await;
}

#[tokio::test]
async fn keep_alives_before_the_first_token_are_distinguished_from_silence() {
    let comments = |script: Script| {
        (0..8).fold(script, |script, _| script.sleep(IDLE / 4).raw(": queued\n\n")).stall()
    };
    let ping = (0..8)
        .fold(Script::new(), |script, _| {
            script.sleep(IDLE / 4).raw("event: ping\ndata: {\"type\": \"ping\"}\n\n")
        })
        .stall();
    let twice = |case: OddCase| OddCase { asked: 2, ..case };
    let code = "upstream_first_token_timeout";
    let cases = vec![
        twice(refused("silence", Script::new().head().stall(), 504, code, &[])),
        twice(refused(
            "comments",
            comments(Script::new()),
            504,
            code,
            &["nothing but keep-alives"],
        )),
        twice(
            refused("pings of Anthropic", ping, 504, code, &["nothing but keep-alives"])
                .on(Anthropic),
        ),
        twice(
            refused("silence of Ollama", Script::new().head().stall(), 504, code, &[]).on(Ollama),
        ),
    ];
    run_with(cases, |upstream| {
        upstream.timeouts = Timeouts { first_token: IDLE, ..Timeouts::default() }
    })
    .await;
}

/// `Hello`, `stop` and `[DONE]` as a stream of chat completions, compressed with gzip.
const COMPRESSED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x8d\xcc\x31\x0a\x80\x30\x0c\x46\xe1\xbd\xa7\x90\x7f\x76\x70\xce\
\xac\xe0\xa4\x07\x10\x91\x62\x23\x16\x4a\x22\x36\x83\x20\xbd\xbb\x8e\x8e\xce\x8f\xf7\x05\x6f\x9e\xaa\x1b\xeb\xae\x71\xe5\x0c\x9a\x6e\x44\
\x09\x7c\x81\x9a\x1a\x81\x93\x79\xd0\x9b\x55\x8c\xc5\x40\xe8\x39\x25\x45\x29\x73\x71\x2e\xfc\x9a\x4b\x8d\x2d\x4a\xcc\xfb\x72\xb2\xcf\x2a\
\x2f\x92\x4d\x0f\x7c\x88\xa9\x1d\x87\x6e\x76\xee\x01\x7b\x31\x58\x55\x8e\x00\x00\x00";

#[tokio::test]
async fn an_unrequested_compressed_stream_is_read() {
    let sent = |headers: &[(&str, &str)]| Script::status(200, headers, COMPRESSED);
    let (kind, encoding) = (("content-type", "text/event-stream"), ("content-encoding", "gzip"));
    let hello = |name: &str, script| {
        OddCase::new(name, script, ResponseContent::text("Hello"), STOP, ExpectedUsage::Counted)
    };
    let brotli = Script::status(200, &[kind, ("content-encoding", "br")], COMPRESSED);
    let plain = Script::status(200, &[kind, encoding], "data: {\"choices\":[]}\n\n");
    let twice = |case: OddCase| OddCase { asked: 2, ..case };
    run(vec![
        hello("gzip", sent(&[kind, encoding])),
        hello("gzip without a word", sent(&[kind])),
        hello("gzip in pieces", COMPRESSED.chunks(7).fold(Script::new(), Script::raw)),
        twice(refused(
            "an unknown encoding",
            brotli,
            502,
            "upstream_invalid_data",
            &["'br'", "lab-chat"],
        )),
        twice(refused(
            "no gzip at all",
            plain,
            502,
            "upstream_invalid_data",
            &["compressed", "lab-chat"],
        )),
    ])
    .await;
}

#[tokio::test]
async fn an_upstream_that_sends_nothing_is_named() {
    run(vec![OddCase {
        asked: 2,
        ..refused("nothing", chunks::<&str>([]), 502, "upstream_truncated", &["lab-chat"])
    }])
    .await;
}

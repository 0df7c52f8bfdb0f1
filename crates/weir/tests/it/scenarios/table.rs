//! The table: what the upstream sends, and the expected outcome.

use fakes::Script;
use serde_json::json;

use super::content::{ContentToolCall, ResponseContent};

pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) script: Script,
    pub(crate) said: ResponseContent,
    pub(crate) outcome: ExpectedOutcome,
    pub(crate) cost: ExpectedUsage,
}

/// How the response ends.
#[derive(Clone, Copy)]
pub(crate) enum ExpectedOutcome {
    /// Complete, with this `finish_reason`.
    Completed(&'static str),
    /// Incomplete, with this reason in `incomplete_details` and this `finish_reason`.
    Incomplete(&'static str, &'static str),
    /// With an error: its status before any output, and its code.
    Fails { status: u16, code: &'static str, after_output: bool },
}

/// The expected `usage`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ExpectedUsage {
    /// The upstream's counts: input, output, and reasoning included in the output.
    Provider(u64, u64, u64),
    /// Weir's own count.
    Counted,
    /// Null.
    Unknown,
}

const STOP: ExpectedOutcome = ExpectedOutcome::Completed("stop");

/// A delta as large as an image.
const LARGE: usize = 2 << 20;

const TRUNCATED: ExpectedOutcome =
    ExpectedOutcome::Fails { status: 502, code: "upstream_truncated", after_output: true };

pub(crate) fn table() -> Vec<Scenario> {
    let large = "0123456789abcdef".repeat(LARGE / 16);
    vec![
        scenario("text", Script::text(&["Hel", "lo", "!"]), ResponseContent::text("Hello!"), STOP, ExpectedUsage::Provider(9, 3, 0)),
        scenario(
            "reasoning_content",
            Script::reasoning(&["Let me ", "think."], &["4", "2"]),
            ResponseContent { reasoning: "Let me think.".into(), ..ResponseContent::text("42") },
            STOP,
            ExpectedUsage::Provider(9, 4, 2),
        ),
        scenario(
            "reasoning",
            Script::new()
                .role()
                .delta(&json!({ "reasoning": "Let me " }))
                .delta(&json!({ "reasoning": "think." }))
                .contents(&["4", "2"])
                .finish("stop")
                .usage(5, 4, 2)
                .done(),
            ResponseContent { reasoning: "Let me think.".into(), ..ResponseContent::text("42") },
            STOP,
            ExpectedUsage::Provider(5, 4, 2),
        ),
        scenario(
            "refusal",
            Script::refusal(&["I ", "cannot."]),
            ResponseContent { refusal: "I cannot.".into(), ..ResponseContent::default() },
            STOP,
            ExpectedUsage::Provider(9, 2, 0),
        ),
        scenario(
            "tool call in fragments",
            Script::tool_call("weather", "call_1", &["{\"ci", "ty\":\"Wi", "en\"}"]),
            ResponseContent { calls: vec![call("call_1", "weather", "{\"city\":\"Wien\"}")], ..ResponseContent::default() },
            ExpectedOutcome::Completed("tool_calls"),
            ExpectedUsage::Provider(9, 3, 0),
        ),
        scenario(
            "text and two interleaved tool calls",
            Script::new()
                .role()
                .content("I look.")
                .delta(&tool_call(0, Some(("call_a", "weather")), ""))
                .delta(&tool_call(0, None, "{\"a\""))
                .delta(&tool_call(1, Some(("call_b", "time")), "{"))
                .delta(&tool_call(0, None, ":1}"))
                .delta(&tool_call(1, None, "}"))
                .finish("tool_calls")
                .usage(9, 9, 0)
                .done(),
            ResponseContent {
                calls: vec![call("call_a", "weather", "{\"a\":1}"), call("call_b", "time", "{}")],
                ..ResponseContent::text("I look.")
            },
            ExpectedOutcome::Completed("tool_calls"),
            ExpectedUsage::Provider(9, 9, 0),
        ),
        scenario(
            "length",
            Script::new().role().content("And then").finish("length").usage(9, 2, 0).done(),
            ResponseContent::text("And then"),
            ExpectedOutcome::Incomplete("max_output_tokens", "length"),
            ExpectedUsage::Provider(9, 2, 0),
        ),
        scenario(
            "content filter",
            Script::new().role().content("One sh").finish("content_filter").usage(9, 2, 0).done(),
            ResponseContent::text("One sh"),
            ExpectedOutcome::Incomplete("content_filter", "content_filter"),
            ExpectedUsage::Provider(9, 2, 0),
        ),
        scenario(
            "no usage from upstream",
            Script::new().role().contents(&["Count ", "me."]).finish("stop").done(),
            ResponseContent::text("Count me."),
            STOP,
            ExpectedUsage::Counted,
        ),
        scenario(
            "a finish reason and no [DONE]",
            Script::new().role().content("Whole.").finish("stop").usage(9, 1, 0),
            ResponseContent::text("Whole."),
            STOP,
            ExpectedUsage::Provider(9, 1, 0),
        ),
        scenario(
            "a chunk without choices, and one with an empty choice",
            Script::new()
                .event(json!({ "id": "x", "choices": [], "prompt_filter_results": [] }))
                .role()
                .event(json!({ "choices": [{ "index": 0, "delta": null }] }))
                .event(json!({ "choices": [{}], "usage": null }))
                .comment()
                .content("Still here.")
                .finish("stop")
                .usage(9, 1, 0)
                .done(),
            ResponseContent::text("Still here."),
            STOP,
            ExpectedUsage::Provider(9, 1, 0),
        ),
        scenario(
            "unknown fields",
            Script::new()
                .event(json!({
                    "object": 7, "provider": "x", "x_groq": { "id": 1 },
                    "choices": [{
                        "index": 0, "native_finish_reason": null, "finish_reason": null, "token_ids": [1],
                        "delta": { "role": "assistant", "content": "Never ", "reasoning_details": [{ "type": "x" }], "audio": null },
                    }],
                }))
                .event(json!({ "choices": [{ "delta": { "content": "mind.", "new": {} }, "finish_reason": "" }] }))
                .finish("stop")
                .usage(9, 2, 0)
                .done(),
            ResponseContent::text("Never mind."),
            STOP,
            ExpectedUsage::Provider(9, 2, 0),
        ),
        scenario(
            "UTF-8 split at every byte",
            Script::text(&["你好，", "世界 ", "👩‍👩‍👧‍👦 é\u{301}", "\u{2028}"]).byte_by_byte(),
            ResponseContent::text("你好，世界 👩‍👩‍👧‍👦 é\u{301}\u{2028}"),
            STOP,
            ExpectedUsage::Provider(9, 4, 0),
        ),
        scenario(
            "escaped surrogates, line ends and control characters",
            Script::new()
                .role()
                .raw("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ud83d\\ude00\\r\\n\\u0000\\\"\\\\\"}}]}\n\n")
                .finish("stop")
                .usage(9, 1, 0)
                .done(),
            ResponseContent::text("😀\r\n\0\"\\"),
            STOP,
            ExpectedUsage::Provider(9, 1, 0),
        ),
        scenario(
            "text that is no JSON among the chunks",
            Script::new()
                .role()
                .content("Still ")
                .raw("data: 17 bananas\n\nevent: ping\ndata: 2026-11-29T10:00:00Z\n\n")
                .content("here.")
                .finish("stop")
                .usage(9, 2, 0)
                .done(),
            ResponseContent::text("Still here."),
            STOP,
            ExpectedUsage::Provider(9, 2, 0),
        ),
        scenario("CRLF", raw("\r\n", "data: "), ResponseContent::text("Hello"), STOP, ExpectedUsage::Provider(9, 2, 0)),
        scenario(
            "CRLF, byte by byte",
            raw("\r\n", "data: ").byte_by_byte(),
            ResponseContent::text("Hello"),
            STOP,
            ExpectedUsage::Provider(9, 2, 0),
        ),
        scenario("CR, and no space", raw("\r", "data:"), ResponseContent::text("Hello"), STOP, ExpectedUsage::Provider(9, 2, 0)),
        scenario("a delta of 2 MiB", Script::text(&[&large]), ResponseContent::text(&large), STOP, ExpectedUsage::Provider(9, 1, 0)),
        scenario(
            "[DONE] without a finish reason",
            Script::new().role().content("Hal").done(),
            ResponseContent::text("Hal"),
            TRUNCATED,
            ExpectedUsage::Counted,
        ),
        scenario(
            "an end without either",
            Script::new().role().content("Hal"),
            ResponseContent::text("Hal"),
            TRUNCATED,
            ExpectedUsage::Counted,
        ),
        scenario(
            "[DONE] and nothing else",
            Script::new().done(),
            ResponseContent::default(),
            ExpectedOutcome::Fails { status: 502, code: "upstream_truncated", after_output: false },
            ExpectedUsage::Unknown,
        ),
        scenario(
            "an error in the middle",
            Script::new().role().content("Hal").event(json!({ "error": { "message": "boom", "type": "server_error" } })),
            ResponseContent::text("Hal"),
            ExpectedOutcome::Fails { status: 502, code: "upstream_error", after_output: true },
            ExpectedUsage::Counted,
        ),
        scenario(
            "an error in a tool call",
            Script::new()
                .role()
                .delta(&tool_call(0, Some(("call_1", "weather")), "{\"ci"))
                .event(json!({ "error": { "message": "slow down", "code": 429 } })),
            ResponseContent { calls: vec![call("call_1", "weather", "{\"ci")], ..ResponseContent::default() },
            ExpectedOutcome::Fails { status: 429, code: "rate_limit_exceeded", after_output: true },
            ExpectedUsage::Counted,
        ),
        scenario(
            "an error in band at once",
            Script::new().event(json!({ "error": { "message": "slow down", "code": 429 } })),
            ResponseContent::default(),
            ExpectedOutcome::Fails { status: 429, code: "rate_limit_exceeded", after_output: false },
            ExpectedUsage::Unknown,
        ),
        scenario(
            "a tool that nobody offered",
            Script::tool_call("launch", "call_1", &["{}"]),
            ResponseContent { calls: vec![call("call_1", "launch", "{}")], ..ResponseContent::default() },
            ExpectedOutcome::Completed("tool_calls"),
            ExpectedUsage::Provider(9, 1, 0),
        ),
    ]
}

fn scenario(
    name: &str,
    script: Script,
    said: ResponseContent,
    outcome: ExpectedOutcome,
    cost: ExpectedUsage,
) -> Scenario {
    Scenario { name: name.to_owned(), script, said, outcome, cost }
}

fn call(id: &str, name: &str, arguments: &str) -> ContentToolCall {
    ContentToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
}

/// A delta with a piece of a tool call; the first one names it.
fn tool_call(index: u64, first: Option<(&str, &str)>, arguments: &str) -> serde_json::Value {
    let call = match first {
        Some((id, name)) => {
            json!({ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
        }
        None => json!({ "index": index, "function": { "arguments": arguments } }),
    };
    json!({ "tool_calls": [call] })
}

/// "Hello" with these line endings and this prefix of data lines, with comments and other fields in between.
fn raw(line_end: &str, field: &str) -> Script {
    let chunk = |delta: serde_json::Value, reason: Option<&str>| {
        let chunk = json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] });
        format!("{field}{chunk}{line_end}{line_end}")
    };
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11 } });
    Script::new()
        .raw(format!(": queued{line_end}{line_end}id: 1{line_end}retry: 5{line_end}{line_end}"))
        .raw(chunk(json!({ "role": "assistant" }), None))
        .raw(chunk(json!({ "content": "Hel" }), None) + &chunk(json!({ "content": "lo" }), None))
        .raw(chunk(json!({}), Some("stop")))
        .raw(format!("{field}{usage}{line_end}{line_end}{field}[DONE]{line_end}{line_end}"))
}

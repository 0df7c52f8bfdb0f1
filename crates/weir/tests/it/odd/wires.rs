//! The same deviations on other vendors' APIs: finish reasons (K3), repeated text (K5), split characters (K6), images
//! (K7) and usage (K10).

use fakes::Script;
use fakes::Vendor::{Anthropic, Gemini, Ollama, Responses};
use serde_json::json;

use super::case::{FILTERED, LENGTH, OddCase, STOP, UNKNOWN, called, failed, only_calls, whole};
use super::run::run;
use crate::scenarios::content::ResponseContent;
use crate::scenarios::table::{ExpectedOutcome, ExpectedUsage};

/// Events as these APIs write them: `type` is the first field of each, and also the event's name.
fn named(events: &[&str]) -> Script {
    events.iter().fold(Script::new(), |script, event| {
        let name = event.split('"').nth(3).unwrap();
        script.raw(format!("event: {name}\ndata: {event}\n\n"))
    })
}

/// An Anthropic message with these text deltas.
fn anthropic(pieces: &[&str], reason: &str) -> Script {
    let pieces = pieces
        .iter()
        .map(|piece| format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{piece}"}}}}"#));
    let head = [
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    ];
    let last = [
        r#"{"type":"content_block_stop","index":0}"#.to_owned(),
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":2}}}}"#
        ),
        r#"{"type":"message_stop"}"#.to_owned(),
    ];
    let events: Vec<String> =
        head.map(str::to_owned).into_iter().chain(pieces).chain(last).collect();
    named(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Gemini chunks with one part each; the last has the finish reason.
fn gemini(parts: &[&str], reason: &str) -> Script {
    let last = parts.len() - 1;
    parts.iter().enumerate().fold(Script::new(), |script, (index, part)| {
        let end = if index == last {
            format!(
                r#","finishReason":"{reason}"}}],"usageMetadata":{{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11}}}}"#
            )
        } else {
            "}]}".to_owned()
        };
        script.raw(format!("data: {{\"candidates\":[{{\"index\":0,\"content\":{{\"role\":\"model\",\"parts\":[{part}]}}{end}\n\n"))
    })
}

/// Ollama lines with these messages; the last line has the reason and these counts.
fn ollama(messages: &[&str], reason: &str, counts: &str) -> Script {
    let last = messages.len() - 1;
    messages.iter().enumerate().fold(Script::new(), |script, (index, message)| {
        let end = if index == last {
            format!(r#""done":true,"done_reason":"{reason}",{counts}"#)
        } else {
            r#""done":false"#.to_owned()
        };
        script.raw(format!(
            "{{\"model\":\"m\",\"message\":{{\"role\":\"assistant\",{message}}},{end}}}\n"
        ))
    })
}

const COUNTS: &str = r#""prompt_eval_count":9,"eval_count":2"#;

/// A Responses API stream with these text deltas and this end.
fn responses(pieces: &[&str], end: &str) -> Script {
    let pieces = pieces.iter().map(|piece| {
        format!(r#"{{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"{piece}"}}"#)
    });
    let head = [
        r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress","output":[]}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","status":"in_progress","content":[]}}"#,
        r#"{"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}"#,
    ];
    let events: Vec<String> =
        head.map(str::to_owned).into_iter().chain(pieces).chain([end.to_owned()]).collect();
    named(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The terminal event of a Responses API stream, which repeats the text.
fn completed(text: &str) -> String {
    let part = format!(r#"{{"type":"output_text","text":"{text}","annotations":[]}}"#);
    let message = format!(
        r#"{{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{part}]}}"#
    );
    let usage = r#"{"input_tokens":9,"output_tokens":2,"total_tokens":11}"#;
    format!(
        r#"{{"type":"response.completed","response":{{"id":"resp_1","status":"completed","output":[{message}],"usage":{usage}}}}}"#
    )
}

fn text(piece: &str) -> String {
    format!(r#"{{"text":"{piece}"}}"#)
}

fn ends(name: &str, script: Script, outcome: ExpectedOutcome) -> OddCase {
    OddCase::new(
        name,
        script,
        ResponseContent::text("half"),
        outcome,
        ExpectedUsage::Provider(9, 2, 0),
    )
}

#[tokio::test]
async fn finish_reasons_mean_the_same_on_every_api() {
    let gemini = |reason| gemini(&[&text("half")], reason);
    let unknown = |case: OddCase, reason| {
        case.beside("/metadata/upstream_finish_reason", "/native_finish_reason", json!(reason))
    };
    let ollama = |reason| ollama(&[r#""content":"half""#, r#""content":"""#], reason, COUNTS);
    let anthropic = |reason| anthropic(&["half"], reason);
    let usage = r#""usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}"#;
    let incomplete = |reason: &str| {
        let details = format!(r#""incomplete_details":{{"reason":"{reason}"}}"#);
        let end = format!(
            r#"{{"type":"response.incomplete","response":{{"id":"resp_1","status":"incomplete",{details},"output":[],{usage}}}}}"#
        );
        responses(&["half"], &end)
    };
    run(vec![
        ends("Gemini, LANGUAGE", gemini("LANGUAGE"), FILTERED).on(Gemini),
        ends("Gemini, SAFETY", gemini("SAFETY"), FILTERED).on(Gemini),
        ends("Gemini, MAX_TOKENS", gemini("MAX_TOKENS"), LENGTH).on(Gemini),
        unknown(ends("Gemini, OTHER", gemini("OTHER"), UNKNOWN), "OTHER").on(Gemini),
        failed(
            "Gemini, MALFORMED_FUNCTION_CALL",
            gemini("MALFORMED_FUNCTION_CALL"),
            "half",
            (502, "upstream_error"),
            &["lab-gemini"],
        )
        .costs(ExpectedUsage::Provider(9, 2, 0))
        .on(Gemini),
        ends(
            "Anthropic, model_context_window_exceeded",
            anthropic("model_context_window_exceeded"),
            LENGTH,
        )
        .on(Anthropic),
        ends("Anthropic, refusal", anthropic("refusal"), FILTERED).on(Anthropic),
        unknown(ends("Anthropic, pause_turn", anthropic("pause_turn"), UNKNOWN), "pause_turn")
            .on(Anthropic),
        ends("Ollama, length", ollama("length"), LENGTH).on(Ollama),
        unknown(ends("Ollama, vibes", ollama("vibes"), UNKNOWN), "vibes").on(Ollama),
        failed(
            "Ollama, abort",
            ollama("abort"),
            "half",
            (502, "upstream_error"),
            &["abort", "lab-ollama"],
        )
        .costs(ExpectedUsage::Provider(9, 2, 0))
        .on(Ollama),
        ends("Responses, max_output_tokens", incomplete("max_output_tokens"), LENGTH).on(Responses),
        ends("Responses, content_filter", incomplete("content_filter"), FILTERED).on(Responses),
        unknown(ends("Responses, vibes", incomplete("vibes"), UNKNOWN), "vibes").on(Responses),
    ])
    .await;
}

#[tokio::test]
async fn a_character_split_between_events_is_joined() {
    let said = || ResponseContent::text("a 😀 b");
    let halves = [r"a \ud83d", r"\ude00 b"];
    let thinking = [
        r#""content":"","thinking":"a \ud83d""#,
        r#""content":"","thinking":"\ude00 b""#,
        r#""content":"x""#,
    ];
    run(vec![
        whole("Gemini", gemini(&halves.map(text).each_ref().map(String::as_str), "STOP"), said())
            .on(Gemini),
        whole("Anthropic", anthropic(&halves, "end_turn"), said()).on(Anthropic),
        whole(
            "Ollama",
            ollama(
                &[r#""content":"a \ud83d""#, r#""content":"\ude00 b""#, r#""content":"""#],
                "stop",
                COUNTS,
            ),
            said(),
        )
        .on(Ollama),
        whole(
            "Ollama, thoughts",
            ollama(&thinking, "stop", COUNTS),
            ResponseContent { reasoning: "a 😀 b".into(), ..ResponseContent::text("x") },
        )
        .on(Ollama),
        whole("Responses", responses(&halves, &completed("a 😀 b")), said()).on(Responses),
    ])
    .await;
}

/// Anthropic's reasoning and a call's arguments, both split inside a character.
fn anthropic_in_pieces() -> Script {
    named(&[
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":9}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a \ud83d"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"\ude00 b"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_a","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"city\":\"\ud83d"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\ude00\"}"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":2}}"#,
        r#"{"type":"message_stop"}"#,
    ])
}

/// The same for the Responses API; the terminal event contains `output`.
fn responses_in_pieces(output: &str) -> Script {
    let usage = r#"{"input_tokens":9,"output_tokens":2,"total_tokens":11}"#;
    named(&[
        r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress","output":[]}}"#,
        r#"{"type":"response.reasoning_text.delta","item_id":"rs_1","output_index":0,"content_index":0,"delta":"a \ud83d"}"#,
        r#"{"type":"response.reasoning_text.delta","item_id":"rs_1","output_index":0,"content_index":0,"delta":"\ude00 b"}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc_1","call_id":"call_a","name":"f","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"{\"city\":\"\ud83d"}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"\ude00\"}"}"#,
        &format!(
            r#"{{"type":"response.completed","response":{{"id":"resp_1","status":"completed","output":[{output}],"usage":{usage}}}}}"#
        ),
    ])
}

#[tokio::test]
async fn characters_are_joined_in_reasoning_and_arguments_too() {
    let said = || ResponseContent {
        reasoning: "a 😀 b".into(),
        calls: vec![called("call_a", "f", r#"{"city":"😀"}"#)],
        ..ResponseContent::default()
    };
    let repeated = r#"{"type":"function_call","id":"fc_1","call_id":"call_a","name":"f","arguments":"{\"city\":\"😀\"}"}"#;
    let thoughts = [
        r#"{"text":"a \ud83d","thought":true}"#,
        r#"{"text":"\ude00 b","thought":true}"#,
        r#"{"text":"x"}"#,
    ];
    run(vec![
        whole("Anthropic", anthropic_in_pieces(), said()).on(Anthropic),
        whole("Responses", responses_in_pieces(""), said()).on(Responses),
        whole("Responses, and all of it at the end", responses_in_pieces(repeated), said())
            .on(Responses),
        whole(
            "Gemini",
            gemini(&thoughts, "STOP"),
            ResponseContent { reasoning: "a 😀 b".into(), ..ResponseContent::text("x") },
        )
        .on(Gemini),
    ])
    .await;
}

#[tokio::test]
async fn a_partially_streamed_call_is_completed() {
    let usage = r#"{"input_tokens":9,"output_tokens":2,"total_tokens":11}"#;
    let call = |arguments: &str| {
        format!(
            r#"{{"type":"function_call","id":"fc_1","call_id":"call_a","name":"f","arguments":"{arguments}"}}"#
        )
    };
    let added =
        format!(r#"{{"type":"response.output_item.added","output_index":0,"item":{}}}"#, call(""));
    let done = call(r#"{\"city\":\"A\"}"#);
    let end = format!(
        r#"{{"type":"response.completed","response":{{"id":"resp_1","status":"completed","output":[{done}],"usage":{usage}}}}}"#
    );
    let said = only_calls(vec![called("call_a", "f", r#"{"city":"A"}"#)]);
    run(vec![
        whole("arguments in the last event alone", named(&[&added, &end]), said).on(Responses),
    ])
    .await;
}

#[tokio::test]
async fn a_summary_at_the_end_is_not_repeated_on_any_api() {
    let said = || ResponseContent::text("Hello");
    run(vec![
        whole("Responses", responses(&["Hel", "lo"], &completed("Hello")), said()).on(Responses),
        whole("Responses, nothing before", responses(&[], &completed("Hello")), said())
            .on(Responses),
        whole(
            "Ollama",
            ollama(
                &[r#""content":"Hel""#, r#""content":"lo""#, r#""content":"Hello""#],
                "stop",
                COUNTS,
            ),
            said(),
        )
        .on(Ollama),
        whole("Gemini", gemini(&[&text("Hel"), &text("lo"), &text("Hello")], "STOP"), said())
            .on(Gemini),
    ])
    .await;
}

#[tokio::test]
async fn generated_images_reach_the_caller() {
    let inline = r#"{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}"#;
    let url = json!("data:image/png;base64,iVBORw0KGgo=");
    let is_image = |case: OddCase| {
        case.beside_each(
            ("/output/0/type", json!("image_generation_call")),
            ("/images/0/type", json!("image_url")),
        )
        .beside_each(
            ("/output/0/result", json!("iVBORw0KGgo=")),
            ("/images/0/image_url/url", url.clone()),
        )
    };
    run(vec![
        is_image(whole("Gemini", gemini(&[inline], "STOP"), ResponseContent::default())).on(Gemini),
        is_image(whole(
            "Ollama",
            ollama(&[r#""content":"","images":["iVBORw0KGgo="]"#], "stop", COUNTS),
            ResponseContent::default(),
        ))
        .on(Ollama),
    ])
    .await;
}

#[tokio::test]
async fn incomplete_usage_is_replaced_by_a_count() {
    let line = |counts: &str| ollama(&[r#""content":"Hello""#, r#""content":"""#], "stop", counts);
    run(vec![
        OddCase::new(
            "no prompt",
            line(r#""prompt_eval_count":0,"eval_count":2"#),
            ResponseContent::text("Hello"),
            STOP,
            ExpectedUsage::Counted,
        )
        .on(Ollama),
        OddCase::new(
            "a prompt that is missing",
            line(r#""eval_count":2"#),
            ResponseContent::text("Hello"),
            STOP,
            ExpectedUsage::Counted,
        )
        .on(Ollama),
    ])
    .await;
}

//! Observed deviations of servers with this API, and what other vendors send in its place.

use super::*;

#[track_caller]
fn said(body: &str, expected: &[Result<ModelEvent, ProviderFailure>]) {
    sample::check_words(read, body, expected);
}

#[track_caller]
fn fails(body: &str, before: &[Result<ModelEvent, ProviderFailure>], expected: (u16, &str, &str)) {
    sample::check_fails(read, body, before, expected);
}

fn line(message: &str) -> String {
    format!("{{\"message\":{message},\"done\":false}}\n")
}

const DONE: &str = "{\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n";

#[test]
fn lines_in_other_formats_and_unknown_fields() {
    let last = "{\"response\":\"lo\",\"done\":true,\"done_reason\":\"stop\"}\n";
    said(
        &format!("{{\"response\":\"Hel\",\"done\":false}}\n{last}"),
        &[text("Hel"), text("lo"), STOP],
    );
    let extra = Ok(ModelEvent::Extra(Map::from_iter([("mood".to_owned(), "good".into())])));
    said(
        &format!("{}{DONE}", line(r#"{"role":"assistant","content":"a","mood":"good"}"#)),
        &[text("a"), extra, STOP],
    );
}

#[test]
fn finish_reasons_of_other_vendors() {
    let last = |reason: &str| {
        format!("{}{{\"done\":true,\"done_reason\":\"{reason}\"}}\n", line(r#"{"content":"half"}"#))
    };
    for reason in ["stop", "eos", "end_turn", "COMPLETE", ""] {
        said(&last(reason), &[text("half"), STOP]);
    }
    for reason in ["length", "MAX_TOKENS", "model_context_window_exceeded"] {
        said(&last(reason), &[text("half"), Ok(ModelEvent::Finish(Finish::Length))]);
    }
    said(&last("sensitive"), &[text("half"), Ok(ModelEvent::Finish(Finish::ContentFilter))]);
    said(&last("vibes"), &[text("half"), Ok(ModelEvent::Finish(Finish::Unknown("vibes".into())))]);
    for reason in ["abort", "network_error"] {
        fails(&last(reason), &[text("half")], (502, "upstream_error", reason));
    }
}

#[test]
fn errors_in_other_formats_keep_their_message() {
    let before = line(r#"{"content":"a"}"#);
    for (error, status, code) in [
        (r#"{"code":50505,"message":"no such luck","data":null}"#, 502, "upstream_error"),
        (r#"{"errors":[{"message":"no such luck"}]}"#, 502, "upstream_error"),
        (r#"{"code":400,"msg":"no such luck"}"#, 400, "upstream_invalid_request"),
        (r#"{"error":{"error":{"message":"no such luck"}}}"#, 502, "upstream_error"),
        (
            r#"{"message":{"detail":[{"loc":["body"],"msg":"no such luck"}]}}"#,
            502,
            "upstream_error",
        ),
        (
            r#"{"object":"error","message":"no such luck","type":"BadRequestError","code":400}"#,
            400,
            "upstream_invalid_request",
        ),
    ] {
        fails(error, &[], (status, code, "no such luck"));
        fails(&format!("{before}{error}\n"), &[text("a")], (status, code, "no such luck"));
    }
    fails(
        "upstream connect error or disconnect/reset before headers",
        &[],
        (502, "upstream_error", "upstream connect error"),
    );
}

#[test]
fn a_summary_at_the_end_is_not_emitted_again() {
    let pieces =
        line(r#"{"content":"Hel","thinking":"h"}"#) + &line(r#"{"content":"lo","thinking":"m"}"#);
    let last = "{\"message\":{\"content\":\"Hello\",\"thinking\":\"hm\"},\"done\":true,\"done_reason\":\"stop\"}\n";
    said(&(pieces + last), &[thought("h"), text("Hel"), thought("m"), text("lo"), STOP]);
    said(last, &[thought("hm"), text("Hello"), STOP]);
}

#[test]
fn odd_characters_and_fields_are_tolerated() {
    let halves = line(r#"{"content":"a \ud83d"}"#) + &line(r#"{"content":"\ude00 b"}"#) + DONE;
    said(&halves, &[text("a "), text("😀 b"), STOP]);
    let halves = line(r#"{"thinking":"\ud83d"}"#)
        + &line(r#"{"thinking":"\ude00"}"#)
        + &line(r#"{"content":"\ud83d"}"#)
        + DONE;
    said(&halves, &[thought("😀"), text("\u{fffd}"), STOP]);
    let arguments = line(
        r#"{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\ud83d\ude00","b":"\ud83d"}}}]}"#,
    ) + DONE;
    said(&arguments, &[call(0, None, Some("f"), "{\"a\":\"😀\",\"b\":\"\u{fffd}\"}"), STOP]);
    for odd in [
        r#"{"content":"b","content":"a"}"#,
        r#"{"content":"a","tool_calls":{},"thinking":false,"images":null}"#,
        r#"{"content":"a","score":NaN}"#,
    ] {
        said(&format!("null\n{}{DONE}", line(odd)), &[text("a"), STOP]);
    }
    said(
        &format!(
            "{}{DONE}",
            r#"{"message":{"content":"a"},"done":"false","error":[],"error":""}"#.to_owned() + "\n"
        ),
        &[text("a"), STOP],
    );
    fails(
        &format!("{}{{\"message\":{{\"content\":\"b\n", line(r#"{"content":"a"}"#)),
        &[text("a")],
        (502, "upstream_invalid_data", "not part of a chat response"),
    );
}

#[test]
fn images_become_items() {
    let image = |key, data: &str| {
        sample::item(
            key,
            json!({ "type": "image_generation_call", "status": "completed", "output_format": "png", "result": data }),
        )
    };
    said(
        &(line(r#"{"content":"","images":["AA==","AB=="]}"#) + DONE),
        &[image(u64::MAX, "AA=="), image(u64::MAX - 1, "AB=="), STOP],
    );
}

#[test]
fn a_tool_that_was_not_offered_is_passed_on_and_a_prefix_is_removed() {
    let read = |pieces: &[&[u8]]| {
        sample::read(
            BodyParser::new(OllamaGrammar::default(), sample::north(), sample::lifter(&["f"])),
            pieces,
        )
    };
    for (name, expected) in [("functions.f", "f"), ("g", "g")] {
        let body = line(r#"{"content":"Let me see. "}"#)
            + &line(&format!(
                r#"{{"tool_calls":[{{"function":{{"name":"{name}","arguments":{{"a":1}}}}}}]}}"#
            ))
            + DONE;
        sample::check_words(
            read,
            body,
            &[text("Let me see. "), call(0, None, Some(expected), "{\"a\":1}"), STOP],
        );
    }
}

const ODD: &[&str] = &[
    "{\"message\":{\"content\":\"a \\ud83d\"}}\n{\"message\":{\"content\":\"\\ude00 b\"}}\n{\"done\":true}\n",
    "{\"message\":{\"content\":\"a\",\"content\":\"b\"},\"x\":NaN}\n\n{\"message\":[]}\nnull\n{\"code\":500,\"message\":\"no such luck\"}\n",
];

proptest! {
    #[test]
    fn odd_streams_may_be_split_anywhere(whole in prop::sample::select(ODD), sizes in prop::collection::vec(1_usize..60, 1..20)) {
        prop_assert_eq!(read(&split(whole, &sizes)), read(&[whole.as_bytes()]));
    }

    #[test]
    fn unknown_fields_are_ignored(
        body in prop::sample::select(&STREAMS[..STREAMS.len() - 1]),
        place in 0_usize..100,
        value in sample::any_value(),
    ) {
        let changed = sample::with_unknown_field(body, place, &value);
        prop_assert_eq!(sample::essential(read(&[changed.as_bytes()])), sample::essential(read(&[body.as_bytes()])));
    }
}

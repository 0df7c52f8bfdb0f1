//! Observed deviations of servers with this API, and what other vendors send in its place.

use super::*;

/// A stream of these events.
fn stream(events: &[String]) -> String {
    events.iter().fold(String::new(), |body, event| body + "data: " + event + "\n\n")
}

#[track_caller]
fn check(events: &[String], expected: &[Result<ModelEvent, ProviderFailure>]) {
    sample::check_words(read, stream(events), expected);
}

#[track_caller]
fn fails(body: &str, before: &[Result<ModelEvent, ProviderFailure>], expected: (u16, &str, &str)) {
    sample::check_fails(read, body, before, expected);
}

/// A text delta.
fn said_more(text: &str) -> String {
    delta("output_text", text)
}

fn delta(kind: &str, text: &str) -> String {
    format!(r#"{{"type":"response.{kind}.delta","delta":"{text}"}}"#)
}

fn added(item: &str) -> String {
    format!(r#"{{"type":"response.output_item.added","output_index":0,"item":{item}}}"#)
}

fn done(item: &str) -> String {
    format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#)
}

fn completed() -> String {
    r#"{"type":"response.completed","response":{"status":"completed"}}"#.to_owned()
}

#[test]
fn parts_and_deltas_in_other_formats() {
    let object = r#"{"type":"response.output_text.delta","delta":{"text":"a"}}"#.to_owned();
    check(&[object, completed()], &[text("a"), STOP]);
    let part_added =
        r#"{"type":"response.content_part.added","part":{"type":"output_text","text":"Hello"}}"#
            .to_owned();
    check(&[part_added.clone(), completed()], &[text("Hello"), STOP]);
    check(
        &[part_added, said_more("Hel"), said_more("lo"), completed()],
        &[text("Hel"), text("lo"), STOP],
    );
    let item = r#"{"type":"message","id":"m1","content":[{"type":"output_text","text":"a"},{"type":"poem","verse":"x"}]}"#;
    let extra = Ok(ModelEvent::Extra(Map::from_iter([(
        "content_parts".to_owned(),
        json!([{ "type": "poem", "verse": "x" }]),
    )])));
    check(&[said_more("a"), done(item), completed()], &[text("a"), extra, STOP]);
}

#[test]
fn an_incomplete_response_is_never_complete() {
    let incomplete = |reason: &str| {
        format!(
            r#"{{"type":"response.incomplete","response":{{"incomplete_details":{{"reason":"{reason}"}}}}}}"#
        )
    };
    for reason in
        ["max_output_tokens", "max_tokens", "MAX_TOKENS", "length", "model_context_window_exceeded"]
    {
        check(
            &[said_more("half"), incomplete(reason)],
            &[text("half"), Ok(ModelEvent::Finish(Finish::Length))],
        );
    }
    for reason in ["content_filter", "sensitive", "SAFETY"] {
        check(
            &[said_more("half"), incomplete(reason)],
            &[text("half"), Ok(ModelEvent::Finish(Finish::ContentFilter))],
        );
    }
    for reason in ["stop", "eos", "vibes"] {
        check(
            &[said_more("half"), incomplete(reason)],
            &[text("half"), Ok(ModelEvent::Finish(Finish::Unknown(reason.into())))],
        );
    }
    for reason in ["abort", "network_error"] {
        fails(
            &stream(&[said_more("half"), incomplete(reason)]),
            &[text("half")],
            (502, "upstream_error", reason),
        );
    }
}

#[test]
fn a_complete_text_that_starts_with_the_deltas_adds_its_rest() {
    let item = r#"{"type":"message","id":"m1","content":[{"type":"output_text","text":"Hello"}]}"#;
    let text_done = r#"{"type":"response.output_text.done","text":"Hello"}"#.to_owned();
    let part_done =
        r#"{"type":"response.content_part.done","part":{"type":"output_text","text":"Hello"}}"#
            .to_owned();
    let ended = format!(
        r#"{{"type":"response.completed","response":{{"status":"completed","output":[{item}]}}}}"#
    );
    let expected = [text("Hel"), text("lo"), STOP];
    for whole in [text_done.clone(), part_done, done(item)] {
        check(&[said_more("Hel"), whole, completed()], &expected);
    }
    check(&[said_more("Hel"), ended.clone()], &expected);
    // All of them, and after deltas that name their item, but with other ids.
    check(&[said_more("Hel"), text_done, done(item), ended.clone()], &expected);
    let piece = r#"{"type":"response.output_text.delta","item_id":"x","output_index":0,"content_index":0,"delta":"Hel"}"#.to_owned();
    check(&[piece, ended.clone()], &expected);
    // A text that differs from the deltas adds nothing.
    check(&[said_more("Hal"), ended], &[text("Hal"), STOP]);

    let thought = |text: &str| Ok(ModelEvent::Reasoning(text.into()));
    let whole = r#"{"type":"response.reasoning_text.done","text":"hmm"}"#.to_owned();
    check(
        &[delta("reasoning_text", "h"), whole, completed()],
        &[thought("h"), thought("mm"), STOP],
    );
}

#[test]
fn complete_arguments_that_start_with_the_deltas_add_their_rest() {
    let named = r#""type":"function_call","id":"fc_1","call_id":"c1","name":"f""#;
    let begun = [
        added(&format!(r#"{{{named},"arguments":""}}"#)),
        delta("function_call_arguments", r#"{\"city\":"#),
    ];
    let item = format!(r#"{{{named},"arguments":"{{\"city\":\"A\"}}"}}"#);
    let whole =
        r#"{"type":"response.function_call_arguments.done","arguments":"{\"city\":\"A\"}"}"#
            .to_owned();
    let ended = format!(
        r#"{{"type":"response.completed","response":{{"status":"completed","output":[{item}]}}}}"#
    );
    let expected = [
        call(0, Some("c1"), Some("f"), ""),
        call(0, None, None, "{\"city\":"),
        call(0, None, None, "\"A\"}"),
        STOP,
    ];
    for end in [
        vec![whole.clone(), completed()],
        vec![done(&item), completed()],
        vec![ended.clone()],
        vec![whole, done(&item), ended],
    ] {
        check(&[&begun[..], &end].concat(), &expected);
    }
}

#[test]
fn errors_in_other_formats_keep_their_message() {
    let before = stream(&[said_more("a")]);
    for (error, status, code) in [
        (
            r#"{"object":"error","message":"no such luck","type":"BadRequestError","param":null,"code":400}"#,
            400,
            "upstream_invalid_request",
        ),
        (r#"{"code":50505,"message":"no such luck","data":null}"#, 502, "upstream_error"),
        (r#"{"errors":[{"message":"no such luck"}]}"#, 502, "upstream_error"),
        (r#"{"code":400,"msg":"no such luck"}"#, 400, "upstream_invalid_request"),
        (r#"{"error":{"error":{"message":"no such luck"}}}"#, 502, "upstream_error"),
        (r#"{"error":"no such luck"}"#, 502, "upstream_error"),
        (
            r#"{"message":{"detail":[{"loc":["body"],"msg":"no such luck"}]}}"#,
            502,
            "upstream_error",
        ),
        (r#"{"type":"error","message":"no such luck"}"#, 502, "upstream_error"),
    ] {
        fails(error, &[], (status, code, "no such luck"));
        fails(&format!("{before}data: {error}\n\n"), &[text("a")], (status, code, "no such luck"));
        fails(
            &format!("{before}event: error\ndata: {error}\n\n"),
            &[text("a")],
            (status, code, "no such luck"),
        );
    }
    fails(
        "upstream connect error or disconnect/reset before headers",
        &[],
        (502, "upstream_error", "upstream connect error"),
    );
}

#[test]
fn content_of_deltas_is_not_repeated() {
    let message = r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}"#;
    let whole = format!(
        r#"{{"type":"response.completed","response":{{"status":"completed","output":[{message}]}}}}"#
    );
    let text_done = r#"{"type":"response.output_text.done","text":"Hello"}"#.to_owned();
    check(
        &[said_more("Hel"), said_more("lo"), text_done, done(message), whole.clone()],
        &[text("Hel"), text("lo"), STOP],
    );
    check(&[whole], &[text("Hello"), STOP]);
}

#[test]
fn split_surrogate_pairs_are_joined() {
    check(
        &[said_more(r"a \ud83d"), said_more(r"\ude00 b"), completed()],
        &[text("a "), text("😀 b"), STOP],
    );
    check(&[said_more(r"a\ud83d"), completed()], &[text("a"), text("\u{fffd}"), STOP]);
    let thinks = |text: &str| delta("reasoning_text", text);
    check(&[thinks(r"\ud83d"), thinks(r"\ude00"), completed()], &[thought("😀"), STOP]);
    let sums = |text: &str| delta("reasoning_summary_text", text);
    check(&[sums(r"\ud83d"), sums(r"\ude00"), completed()], &[summary("😀"), STOP]);
    let called =
        added(r#"{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":""}"#);
    let arguments = |text: &str| delta("function_call_arguments", text);
    let expected = [
        call(0, Some("c1"), Some("f"), ""),
        call(0, None, None, "{\"a\":\""),
        call(0, None, None, "😀\"}"),
        STOP,
    ];
    check(
        &[called, arguments(r#"{\"a\":\"\ud83d"#), arguments(r#"\ude00\"}"#), completed()],
        &expected,
    );
}

#[test]
fn odd_fields_and_keep_alives_are_tolerated() {
    for odd in [
        r#"{"type":"response.output_text.delta","delta":"b","delta":"a"}"#,
        r#"{"type":"response.output_text.delta","output_index":"0","content_index":[],"item_id":7,"delta":"a","score":NaN}"#,
        r#"{"type":"response.output_text.delta","delta":"a","logprobs":{},"error":[],"choices":{}}"#,
    ] {
        let empty = r#"{"type":"response.output_text.delta","delta":[]}"#.to_owned();
        let no_item = r#"{"type":"response.output_item.added","item":[]}"#.to_owned();
        check(
            &["null".to_owned(), empty, no_item, odd.to_owned(), completed()],
            &[text("a"), STOP],
        );
    }
    let (a, over) = (said_more("a"), completed());
    for alive in [
        "event: ping\ndata: 2026-11-29 10:11:12",
        "event: heartbeat\ndata: beat",
        "data: pong",
        ": still here",
    ] {
        sample::check_words(
            read,
            format!("data: {a}\n\n{alive}\n\ndata: {over}\n\n{alive}\n\n"),
            &[text("a"), STOP],
        );
        sample::check_words(read, format!("data: {a}\n\n{alive}\n\n"), &[text("a")]);
    }
    sample::check_words(
        read,
        format!("data: {a}\ndata: {a}\ndata: {over}\n"),
        &[text("a"), text("a"), STOP],
    );
    let (start, rest) = a.split_at(a.find("\"delta\"").unwrap());
    sample::check_words(
        read,
        format!("data: {start}\ndata: {rest}\n\ndata: {over}\n\n"),
        &[text("a"), STOP],
    );
    fails(
        &format!("data: {a}\n\ndata: {start}\n\n"),
        &[text("a")],
        (502, "upstream_invalid_data", "truncated JSON"),
    );
}

#[test]
fn unknown_items_and_fields_are_passed_on() {
    let image =
        r#"{"type":"image_generation_call","id":"ig_1","status":"completed","result":"AA=="}"#;
    check(
        &[done(image), completed()],
        &[sample::item(0, serde_json::from_str(image).unwrap()), STOP],
    );
    let called =
        r#""type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"a\":1}""#;
    let called =
        format!(r#"{{{called},"extra_content":{{"google":{{"thought_signature":"SIG=="}}}}}}"#);
    let extra = json!({ "extra_content": { "google": { "thought_signature": "SIG==" } } });
    let expected = [
        sample::call_with(extra, call(0, Some("c1"), Some("f"), "")),
        call(0, None, None, "{\"a\":1}"),
        STOP,
    ];
    check(&[done(&called), completed()], &expected);
    let message = r#"{"type":"message","role":"assistant","phase":"final_answer","content":[]}"#;
    let phase =
        Ok(ModelEvent::Extra(Map::from_iter([("phase".to_owned(), json!("final_answer"))])));
    check(&[added(message), said_more("a"), done(message), completed()], &[phase, text("a"), STOP]);
}

#[test]
fn a_tool_that_was_not_offered_is_passed_on_and_a_prefix_is_removed() {
    let read = |pieces: &[&[u8]]| {
        sample::read(
            BodyParser::new(
                ResponsesGrammar::new("north".into()),
                sample::north(),
                sample::lifter(&["f"]),
            ),
            pieces,
        )
    };
    for (name, expected) in [("f", "f"), ("functions.f", "f"), ("g", "g")] {
        let called = done(&format!(
            r#"{{"type":"function_call","id":"fc_1","call_id":"c1","name":"{name}","arguments":"{{\"a\":1}}"}}"#
        ));
        let words = [
            text("Let me see. "),
            call(0, Some("c1"), Some(expected), ""),
            call(0, None, None, "{\"a\":1}"),
            STOP,
        ];
        sample::check_words(
            read,
            stream(&[said_more("Let me see. "), called, completed()]),
            &words,
        );
    }
}

const ODD: &[&str] = &[
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a \\ud83d\"}\n\
     data: {\"type\":\"response.output_text.delta\",\"delta\":\"\\ude00 b\"}\n\n",
    "event: response.output_text.delta\n\
     data: {\"delta\":\"a\",\"delta\":\"b\",\"x\":NaN}\n\n\
     event: ping\n\
     data: 17\n\n\
     data: {\"code\":500,\"message\":\"no such luck\"}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\ndata: \"delta\":\"a\"}\n\nevent: error\ndata: no such luck\n\n",
];

proptest! {
    #[test]
    fn odd_streams_may_be_split_anywhere(
        whole in prop::sample::select(ODD),
        sizes in prop::collection::vec(1_usize..60, 1..20),
        ending in prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
    ) {
        let body = whole.replace('\n', ending);
        prop_assert_eq!(read(&split(&body, &sizes)), read(&[whole.as_bytes()]));
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

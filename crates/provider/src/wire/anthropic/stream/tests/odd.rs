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

/// A `content_block_start` event.
fn block_start(index: u64, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

/// A `content_block_delta` event.
fn more(index: u64, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

/// A `content_block_stop` event.
fn end(index: u64) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

fn said_more(text: &str) -> String {
    more(0, &format!(r#"{{"type":"text_delta","text":"{text}"}}"#))
}

fn stop(reason: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#)
}

fn tool_use(id: &str, name: &str, input: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{input}}}"#)
}

fn input(index: u64, json: &str) -> String {
    more(index, &format!(r#"{{"type":"input_json_delta","partial_json":"{json}"}}"#))
}

#[test]
fn deltas_in_other_forms() {
    let start = block_start(0, &tool_use("t", "f", "{}"));
    let object = more(0, r#"{"type":"input_json_delta","partial_json":{"a":1}}"#);
    check(
        &[start, object, end(0), stop("tool_use")],
        &[call(0, Some("t"), Some("f"), ""), call(0, None, None, "{\"a\":1}"), STOP],
    );
    check(
        &[more(0, r#"{"text":"a"}"#), more(1, r#"{"thinking":"b"}"#), stop("end_turn")],
        &[text("a"), thought("b"), STOP],
    );
    let extra =
        Ok(ModelEvent::Extra(Map::from_iter([("poem_delta".to_owned(), json!({ "verse": "x" }))])));
    check(
        &[said_more("a"), more(0, r#"{"type":"poem_delta","verse":"x"}"#), stop("end_turn")],
        &[text("a"), extra, STOP],
    );
    let called = r#"{"type":"tool_use","id":"t","name":"f","input":{},"caller":{"type":"direct"}}"#;
    let caller = sample::call_with(
        json!({ "caller": { "type": "direct" } }),
        call(0, Some("t"), Some("f"), ""),
    );
    check(
        &[block_start(0, called), end(0), stop("tool_use")],
        &[caller, call(0, None, None, ""), STOP],
    );
}

#[test]
fn a_call_without_an_id_of_its_own_has_none() {
    let two = |first: &str, second: &str| {
        [
            block_start(0, &tool_use(first, "f", "{}")),
            input(0, r#"{\"a\":1}"#),
            end(0),
            block_start(1, &tool_use(second, "f", "{}")),
            input(1, r#"{\"a\":2}"#),
            end(1),
            stop("tool_use"),
        ]
    };
    let words = |first: Option<&str>| {
        let (one, two) = ("{\"a\":1}", "{\"a\":2}");
        [
            call(0, first, Some("f"), ""),
            call(0, None, None, one),
            call(1, None, Some("f"), ""),
            call(1, None, None, two),
            STOP,
        ]
    };
    check(&two("", ""), &words(None));
    check(&two("t", "t"), &words(Some("t")));
}

#[test]
fn arguments_belong_to_their_call_whatever_their_index() {
    let (a, b) = ("{\"city\":\"A\"}", "{\"city\":\"B\"}");
    // Every block has the index 0.
    let events = [
        block_start(0, &tool_use("t1", "f", "{}")),
        input(0, r#"{\"city\":\"A\"}"#),
        end(0),
        block_start(0, &tool_use("t2", "f", "{}")),
        input(0, r#"{\"city\":\"B\"}"#),
        end(0),
        stop("tool_use"),
    ];
    let expected = [
        call(0, Some("t1"), Some("f"), ""),
        call(0, None, None, a),
        call(1, Some("t2"), Some("f"), ""),
        call(1, None, None, b),
        STOP,
    ];
    check(&events, &expected);
    // The deltas have another index than their block.
    let events = [
        block_start(1, &tool_use("t1", "f", "{}")),
        input(0, r#"{\"city\":"#),
        input(7, r#"\"A\"}"#),
        end(1),
        stop("tool_use"),
    ];
    let expected = [
        call(0, Some("t1"), Some("f"), ""),
        call(0, None, None, "{\"city\":"),
        call(0, None, None, "\"A\"}"),
        STOP,
    ];
    check(&events, &expected);
    // All arguments in `content_block_start`, as an object and as a string.
    for whole in [r#"{"city":"A"}"#, r#""{\"city\":\"A\"}""#] {
        let events = [block_start(0, &tool_use("t1", "f", whole)), end(0), stop("tool_use")];
        check(&events, &[call(0, Some("t1"), Some("f"), ""), call(0, None, None, a), STOP]);
    }
}

#[test]
fn stop_reasons_of_other_vendors() {
    for reason in ["end_turn", "stop", "tool_calls", "eos_token", "COMPLETE"] {
        check(&[said_more("half"), stop(reason)], &[text("half"), STOP]);
    }
    for reason in ["max_tokens", "MAX_TOKENS", "length", "model_context_window_exceeded"] {
        check(&[said_more("half"), stop(reason)], &[text("half"), finish(Finish::Length)]);
    }
    for reason in ["refusal", "sensitive", "SAFETY", "guardrail_intervened"] {
        check(&[said_more("half"), stop(reason)], &[text("half"), finish(Finish::ContentFilter)]);
    }
    for reason in ["pause_turn", "OTHER"] {
        check(
            &[said_more("half"), stop(reason)],
            &[text("half"), finish(Finish::Unknown(reason.into()))],
        );
    }
    for reason in ["abort", "network_error"] {
        fails(
            &stream(&[said_more("half"), stop(reason)]),
            &[text("half")],
            (502, "upstream_error", reason),
        );
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
    fails("event: error\ndata: no such luck\n\n", &[], (502, "upstream_error", "no such luck"));
    fails(
        "upstream connect error or disconnect/reset before headers",
        &[],
        (502, "upstream_error", "upstream connect error"),
    );
}

#[test]
fn a_message_is_not_repeated_after_its_deltas() {
    let message = r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn"}"#.to_owned();
    check(&[said_more("Hel"), said_more("lo"), message.clone()], &[text("Hel"), text("lo"), STOP]);
    check(
        &[said_more("Hel"), said_more("lo"), stop("end_turn"), message.clone()],
        &[text("Hel"), text("lo"), STOP],
    );
    check(std::slice::from_ref(&message), &[text("Hello"), STOP]);
    // The complete message in `message_start`, with and without deltas.
    let start = format!(r#"{{"type":"message_start","message":{message}}}"#);
    let over = r#"{"type":"message_stop"}"#.to_owned();
    check(
        &[start.clone(), said_more("Hel"), said_more("lo"), stop("end_turn"), over.clone()],
        &[text("Hel"), text("lo"), STOP],
    );
    check(&[start, over], &[text("Hello"), STOP]);
}

#[test]
fn split_surrogate_pairs_are_joined() {
    check(
        &[said_more(r"a \ud83d"), said_more(r"\ude00 b"), stop("end_turn")],
        &[text("a "), text("😀 b"), STOP],
    );
    check(&[said_more(r"a\ud83d"), stop("end_turn")], &[text("a"), text("\u{fffd}"), STOP]);
    let thinks =
        |text: &str| more(0, &format!(r#"{{"type":"thinking_delta","thinking":"{text}"}}"#));
    check(&[thinks(r"\ud83d"), thinks(r"\ude00"), stop("end_turn")], &[thought("😀"), STOP]);
    let events = [
        block_start(0, &tool_use("t1", "f", "{}")),
        input(0, r#"{\"a\":\"\ud83d"#),
        input(0, r#"\ude00\"}"#),
        end(0),
        stop("tool_use"),
    ];
    let expected = [
        call(0, Some("t1"), Some("f"), ""),
        call(0, None, None, "{\"a\":\""),
        call(0, None, None, "😀\"}"),
        STOP,
    ];
    check(&events, &expected);
}

#[test]
fn odd_fields_and_keep_alives_are_tolerated() {
    for odd in [
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b","text":"a"}}"#,
        r#"{"type":"content_block_delta","index":"0","delta":{"type":"text_delta","text":"a"},"usage":[],"score":NaN}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a","citation":7},"error":[]}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"},"error":{"message":null}}"#,
    ] {
        let empty = r#"{"type":"content_block_delta","index":0,"delta":[]}"#.to_owned();
        check(&["null".to_owned(), empty, odd.to_owned(), stop("end_turn")], &[text("a"), STOP]);
    }
    let (a, stop) = (said_more("a"), stop("end_turn"));
    for alive in [
        "event: ping\ndata: 2026-11-29 10:11:12",
        "event: heartbeat\ndata: beat",
        "data: pong",
        ": still here",
    ] {
        sample::check_words(
            read,
            format!("data: {a}\n\n{alive}\n\ndata: {stop}\n\n{alive}\n\n"),
            &[text("a"), STOP],
        );
        sample::check_words(read, format!("data: {a}\n\n{alive}\n\n"), &[text("a")]);
    }
    sample::check_words(
        read,
        format!("data: {a}\ndata: {a}\ndata: {stop}\n"),
        &[text("a"), text("a"), STOP],
    );
    let (start, rest) = a.split_at(a.find("\"delta\"").unwrap());
    sample::check_words(
        read,
        format!("data: {start}\ndata: {rest}\n\ndata: {stop}\n\n"),
        &[text("a"), STOP],
    );
    fails(
        &format!("data: {a}\n\ndata: {start}\n\n"),
        &[text("a")],
        (502, "upstream_invalid_data", "truncated JSON"),
    );
}

#[test]
fn a_tool_that_was_not_offered_is_passed_on_and_a_prefix_is_removed() {
    let read = |pieces: &[&[u8]]| {
        sample::read(
            BodyParser::new(AnthropicGrammar::default(), sample::north(), sample::lifter(&["f"])),
            pieces,
        )
    };
    for (name, expected) in [("f", "f"), ("functions.f", "f"), ("g", "g")] {
        let events = [
            said_more("Let me see. "),
            block_start(1, &tool_use("t1", name, r#"{"a":1}"#)),
            end(1),
            stop("tool_use"),
        ];
        let words = [
            text("Let me see. "),
            call(0, Some("t1"), Some(expected), ""),
            call(0, None, None, "{\"a\":1}"),
            STOP,
        ];
        sample::check_words(read, stream(&events), &words);
    }
}

const ODD: &[&str] = &[
    "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a \\ud83d\"}}\n\
     data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"\\ude00 b\"}}\n\n",
    "event: content_block_delta\n\
     data: {\"delta\":{\"type\":\"text_delta\",\"text\":\"a\",\"text\":\"b\"},\"x\":NaN}\n\n\
     event: ping\n\
     data: 17\n\n\
     data: {\"code\":500,\"message\":\"no such luck\"}\n\n",
    "data: {\"type\":\"content_block_delta\",\n\
     data: \"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n\
     event: error\n\
     data: no such luck\n\n",
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
        body in prop::sample::select(STREAMS),
        place in 0_usize..100,
        value in sample::any_value(),
    ) {
        let changed = sample::with_unknown_field(body, place, &value);
        prop_assert_eq!(sample::essential(read(&[changed.as_bytes()])), sample::essential(read(&[body.as_bytes()])));
    }
}

#[test]
fn an_empty_object_may_be_a_placeholder_for_arguments() {
    let begun = block_start(0, &tool_use("t1", "f", "{}"));
    let events = [
        begun.clone(),
        input(0, "{}"),
        input(0, r#"{\"city\":"#),
        input(0, r#"\"A\"}"#),
        end(0),
        stop("tool_use"),
    ];
    let expected = [
        call(0, Some("t1"), Some("f"), ""),
        call(0, None, None, "{\"city\":"),
        call(0, None, None, "\"A\"}"),
        STOP,
    ];
    check(&events, &expected);
    // Without further deltas, the arguments are an empty object.
    check(
        &[begun, input(0, "{}"), end(0), stop("tool_use")],
        &[call(0, Some("t1"), Some("f"), ""), call(0, None, None, ""), STOP],
    );
}

#[test]
fn blocks_of_hosted_tools_become_items() {
    let used = r#"{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}"#;
    let found = r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://x/y"}]}"#;
    let events = [
        said_more("Let me see. "),
        block_start(1, used),
        input(1, r#"{\"query\":"#),
        input(1, r#"\"x\"}"#),
        end(1),
        block_start(2, found),
        end(2),
        more(3, r#"{"type":"text_delta","text":"It is y."}"#),
        stop("end_turn"),
    ];
    let words = [
        text("Let me see. "),
        sample::item(
            0,
            json!({ "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "x" } }),
        ),
        sample::item(1, serde_json::from_str(found).unwrap()),
        text("It is y."),
        STOP,
    ];
    check(&events, &words);
}

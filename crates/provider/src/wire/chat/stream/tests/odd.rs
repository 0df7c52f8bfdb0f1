//! Observed deviations of servers with this API, each with its bytes.

use super::*;

/// A chunk with this delta.
fn c(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)
}

/// A chunk with this finish reason.
fn f(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

/// A chunk with one piece of a call.
fn piece(fields: &str) -> String {
    c(&format!(r#"{{"tool_calls":[{{{fields}}}]}}"#))
}

/// A stream of these chunks.
fn stream<T: AsRef<str>>(chunks: &[T]) -> String {
    chunks.iter().fold(String::new(), |body, chunk| body + "data: " + chunk.as_ref() + "\n\n")
        + "data: [DONE]\n\n"
}

#[track_caller]
fn check<T: AsRef<str>>(chunks: &[T], expected: &[Result<ModelEvent, ProviderFailure>]) {
    sample::check_words(read, stream(chunks), expected);
}

#[track_caller]
fn check_body(body: &str, expected: &[Result<ModelEvent, ProviderFailure>]) {
    sample::check_words(read, body, expected);
}

#[track_caller]
fn fails(body: &str, before: &[Result<ModelEvent, ProviderFailure>], expected: (u16, &str, &str)) {
    sample::check_fails(read, body, before, expected);
}

/// The same, if functions with these names were offered.
fn read_with(names: &'static [&'static str]) -> impl Fn(&[&[u8]]) -> ParsedEvents {
    |pieces| {
        sample::read(
            BodyParser::new(ChatGrammar::default(), sample::north(), sample::lifter(names)),
            pieces,
        )
    }
}

const OVERLOADED: &str = r#"{"code":50505,"message":"Model service overloaded","data":null}"#;

#[test]
fn fields_next_to_the_message_reach_the_caller() {
    let extra =
        |value: Value| Ok(ModelEvent::Extra(value.as_object().cloned().unwrap_or_default()));
    let first = r#"{"id":"x","provider":"North","choices":[{"index":0,"delta":{"content":"a"},"content_filter_results":{"hate":{"filtered":false}}}]}"#;
    let last = r#"{"provider":"North","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":0.5},"search_info":{"results":[1]}}"#;
    let words = [
        text("a"),
        extra(
            json!({ "upstream_fields": { "provider": "North", "content_filter_results": { "hate": { "filtered": false } } } }),
        ),
        STOP,
        usage(1, 1, 0, 0),
        extra(
            json!({ "upstream_fields": { "provider": "North", "search_info": { "results": [1] }, "usage": { "cost": 0.5 } } }),
        ),
    ];
    check(&[first, &f("stop"), last], &words);
    // A call ends the message; later fields do not start another.
    let named = r#"{"provider":"North","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\":1}"}}]}}]}"#;
    let called = || call(0, Some("c1"), Some("f"), "{\"a\":1}");
    check(&[named, &f("tool_calls"), last], &[called(), STOP, usage(1, 1, 0, 0)]);
    let provider = extra(json!({ "upstream_fields": { "provider": "North" } }));
    check(
        &[&c(r#"{"content":"a"}"#), named, &f("tool_calls"), last],
        &[text("a"), provider, called(), STOP, usage(1, 1, 0, 0)],
    );
    let cited = r#"{"choices":[{"index":0,"delta":{"content":"a"},"citations":["u"],"finish_reason":"stop"}]}"#;
    check(&[cited], &[text("a"), extra(json!({ "citations": ["u"] })), STOP]);
}

#[test]
fn calls_are_told_apart_by_their_arguments() {
    let whole = |city: &str| {
        piece(&format!(
            r#""index":0,"id":"","type":"function","function":{{"name":"f","arguments":"{{\"city\":\"{city}\"}}"}}"#
        ))
    };
    let (a, b) = ("{\"city\":\"A\"}", "{\"city\":\"B\"}");
    check(
        &[whole("A"), whole("B"), f("tool_calls")],
        &[call(0, None, Some("f"), a), call(1, None, Some("f"), b), STOP],
    );
    // Both in one chunk, without an index.
    let entry = |city: &str| {
        format!(r#"{{"id":"","function":{{"name":"f","arguments":"{{\"city\":\"{city}\"}}"}}}}"#)
    };
    let two = format!(r#"{{"tool_calls":[{},{}]}}"#, entry("A"), entry("B"));
    check(
        &[c(&two), f("tool_calls")],
        &[call(0, None, Some("f"), a), call(1, None, Some("f"), b), STOP],
    );

    // A new id and the same name in every piece.
    let fragment = |id: &str, arguments: &str| {
        piece(&format!(
            r#""index":0,"id":"{id}","function":{{"name":"f","arguments":"{arguments}"}}"#
        ))
    };
    let one = [
        call(0, Some("c1"), Some("f"), "{\"ci"),
        call(0, None, None, "ty\":"),
        call(0, None, None, "\"A\"}"),
        STOP,
    ];
    check(
        &[
            fragment("c1", r#"{\"ci"#),
            fragment("c2", r#"ty\":"#),
            fragment("c3", r#"\"A\"}"#),
            f("tool_calls"),
        ],
        &one,
    );

    // `{}` before the real arguments, and alone.
    let placeholder =
        piece(r#""index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}"#);
    let more = piece(r#""index":0,"function":{"arguments":"{\"city\":\"A\"}"}"#);
    check(
        &[placeholder.as_str(), &more, &f("tool_calls")],
        &[call(0, Some("c1"), Some("f"), ""), call(0, None, None, a), STOP],
    );
    check(&[placeholder, f("tool_calls")], &[call(0, Some("c1"), Some("f"), ""), STOP]);
}

#[test]
fn names_arrive_in_pieces_or_repeatedly() {
    let read = read_with(&["get_weather", "f"]);
    let named = |name: &str, arguments: &str| {
        piece(&format!(
            r#""index":0,"id":"c1","function":{{"name":"{name}","arguments":"{arguments}"}}"#
        ))
    };
    let body = stream(&[
        named("get_", ""),
        named("weather", ""),
        named("get_weather", r#"{\"a\":"#),
        named("get_weather", "1}"),
        f("tool_calls"),
    ]);
    let expected = [
        call(0, Some("c1"), None, ""),
        call(0, None, Some("get_weather"), ""),
        call(0, None, None, "{\"a\":"),
        call(0, None, None, "1}"),
        STOP,
    ];
    sample::check_words(read, body, &expected);
}

#[test]
fn finish_reasons_of_other_vendors() {
    let finish = |finish| Ok(ModelEvent::Finish(finish));
    for reason in ["eos", "eos_token", "end_turn", "COMPLETE", "stop_sequence"] {
        check(&[c(r#"{"content":"half"}"#), f(reason)], &[text("half"), STOP]);
    }
    for reason in ["max_tokens", "MAX_TOKENS", "model_context_window_exceeded", "model_length"] {
        check(&[c(r#"{"content":"half"}"#), f(reason)], &[text("half"), finish(Finish::Length)]);
    }
    for reason in ["sensitive", "SAFETY", "content_filtered"] {
        check(
            &[c(r#"{"content":"half"}"#), f(reason)],
            &[text("half"), finish(Finish::ContentFilter)],
        );
    }
    for reason in ["OTHER", "vibes"] {
        check(
            &[c(r#"{"content":"half"}"#), f(reason)],
            &[text("half"), finish(Finish::Unknown(reason.into()))],
        );
    }
    for reason in ["abort", "network_error", "cancelled"] {
        fails(
            &stream(&[c(r#"{"content":"half"}"#), f(reason)]),
            &[text("half")],
            (502, "upstream_error", reason),
        );
    }
    check(
        &[c(r#"{"content":"half"}"#), f("zork"), f("stop")],
        &[text("half"), finish(Finish::Unknown("zork".into())), STOP],
    );
    check(&[c(r#"{"content":"half"}"#), f("stop"), f("zork")], &[text("half"), STOP]);
    check(
        &[c(r#"{"content":"half"}"#), f("zork"), f("vibes")],
        &[text("half"), finish(Finish::Unknown("zork".into()))],
    );
    // Before there is one.
    check(
        &[r#"{"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":"not_finished"}]}"#],
        &[text("half")],
    );
}

#[test]
fn errors_in_other_formats_keep_their_message() {
    let too_long = r#"{"object":"error","message":"prompt has 5000 tokens, the model takes 4096","type":"BadRequestError","param":null,"code":400}"#;
    fails(
        &stream(&[too_long]),
        &[],
        (400, "context_length_exceeded", "prompt has 5000 tokens, the model takes 4096"),
    );
    let before = c(r#"{"content":"a"}"#);
    fails(OVERLOADED, &[], (502, "upstream_error", "Model service overloaded"));
    fails(
        &stream(&[before.as_str(), OVERLOADED]),
        &[text("a")],
        (502, "upstream_error", "Model service overloaded"),
    );
    fails(
        "upstream connect error or disconnect/reset before headers",
        &[],
        (502, "upstream_error", "upstream connect error or disconnect/reset before headers"),
    );
    for (error, status, code) in [
        (r#"{"errors":[{"message":"no such luck"}]}"#, 502, "upstream_error"),
        (r#"{"code":400,"msg":"no such luck"}"#, 400, "upstream_invalid_request"),
        (r#"{"error":{"error":{"message":"no such luck"}}}"#, 502, "upstream_error"),
        (
            r#"{"message":{"detail":[{"loc":["body"],"msg":"no such luck"}]}}"#,
            502,
            "upstream_error",
        ),
        (r#"{"detail":"no such luck"}"#, 502, "upstream_error"),
    ] {
        fails(error, &[], (status, code, "no such luck"));
        fails(&stream(&[before.as_str(), error]), &[text("a")], (status, code, "no such luck"));
        fails(&format!("event: error\ndata: {error}\n\n"), &[], (status, code, "no such luck"));
    }
    fails("event: error\ndata: out of memory\n\n", &[], (502, "upstream_error", "out of memory"));
}

#[test]
fn errors_in_odd_places_keep_their_message() {
    let before = c(r#"{"content":"a"}"#);
    let inner = r#"{"choices":[{"index":0,"delta":{},"error":{"code":502,"message":"Inner boom"},"finish_reason":"error"}]}"#;
    for chunk in
        [inner, &inner.replace("\"error\"}]", "null}]"), &inner.replace("delta", "message")]
    {
        fails(
            &stream(&[before.as_str(), chunk]),
            &[text("a")],
            (502, "upstream_error", "Inner boom"),
        );
    }
    fails(&inner.replace("delta", "message"), &[], (502, "upstream_error", "Inner boom"));
    for (error, status) in [
        (r#"{"error":"Bad Request","message":"no such luck","statusCode":400}"#, 400),
        (r#"{"error":"invalid_request","error_description":"no such luck"}"#, 502),
        (r#"{"error":true,"message":"no such luck"}"#, 502),
        (r#"{"choices":[],"error":"Bad Request","message":"no such luck"}"#, 502),
        (r#"{"text":"no such luck","error_code":50001}"#, 502),
        (r#"{"choices":[],"base_resp":{"status_code":1002,"status_msg":"no such luck"}}"#, 429),
        (r#"{"modelStreamErrorException":{"message":"no such luck"}}"#, 502),
    ] {
        for (body, said) in
            [(error.to_owned(), vec![]), (stream(&[before.as_str(), error]), vec![text("a")])]
        {
            let fault = sample::read(
                BodyParser::new(ChatGrammar::default(), sample::north(), Lifter::default()),
                &[body.as_bytes()],
            );
            let fault = sample::check_words_before_failure(fault, &said);
            assert!(
                fault.status == status && fault.message.contains("no such luck"),
                "{body}: {fault:?}"
            );
        }
    }
    for words in [
        "data: [ERROR] no such luck",
        "data: error: no such luck",
        "error: no such luck",
        "error: {\"message\":\"no such luck\"}",
        "{\"error\":{\"message\":\"no such luck\"}}",
    ] {
        fails(
            &format!("data: {before}\n\n{words}\n\ndata: [DONE]\n\n"),
            &[text("a")],
            (502, "upstream_error", "no such luck"),
        );
        fails(
            &format!("data: {before}\n{words}\n"),
            &[text("a")],
            (502, "upstream_error", "no such luck"),
        );
    }
    fails(
        "data: Internal Server Error\n\ndata: [DONE]\n\n",
        &[],
        (502, "upstream_error", "Internal Server Error"),
    );
}

#[test]
fn failures_after_the_finish_reason_do_not_affect_the_response() {
    let body = |end: &str| {
        format!("data: {}\n\ndata: {}\n\n{end}\n\n", c(r#"{"content":"a"}"#), f("stop"))
    };
    for end in [
        "data: [done]",
        "data: [Done]",
        "data: \"[DONE]\"",
        "data: [END]",
        "data: {\"a",
        "data: some words",
        "data: {not json}",
    ] {
        check_body(&body(end), &[text("a"), STOP]);
    }
    let a = c(r#"{"content":"a"}"#);
    check_body(
        &format!("data: data: {a}\n\ndata:data:{}\n\ndata: [DONE]\n\n", f("stop")),
        &[text("a"), STOP],
    );
    fails(
        &format!("data: {a}\n\ndata: what {a}\n\n"),
        &[text("a")],
        (502, "upstream_invalid_data", "cannot be parsed"),
    );
}

#[test]
fn a_summary_at_the_end_is_not_emitted_again() {
    let counts = r#""usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#;
    let summary = |message: &str| {
        format!(
            r#"{{"object":"chat.completion","choices":[{{"index":0,"finish_reason":"stop","message":{message}}}],{counts}}}"#
        )
    };
    let spoken = [
        c(r#"{"content":"Hel"}"#),
        c(r#"{"content":"lo"}"#),
        f("stop"),
        summary(r#"{"role":"assistant","content":"Hello"}"#),
    ];
    check(&spoken, &[text("Hel"), text("lo"), STOP, usage(3, 2, 0, 0)]);
    // In the last chunk as a delta, or next to one.
    check(
        &[&spoken[0], &spoken[1], &spoken[3]],
        &[text("Hel"), text("lo"), usage(3, 2, 0, 0), STOP],
    );
    let last_delta =
        r#"{"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}"#;
    check(&[&spoken[0], &spoken[1], last_delta], &[text("Hel"), text("lo"), STOP]);
    let both = r#"{"choices":[{"index":0,"delta":{"content":"lo"},"message":{"content":"Hello"},"finish_reason":"stop"}]}"#;
    check(&[&spoken[0], both], &[text("Hel"), text("lo"), STOP]);
    // Without deltas the message counts.
    check(
        &[summary(r#"{"role":"assistant","content":"Hello"}"#)],
        &[text("Hello"), usage(3, 2, 0, 0), STOP],
    );

    let thought = |text: &str| Ok(ModelEvent::Reasoning(text.into()));
    let told = [
        c(r#"{"reasoning_content":"h"}"#),
        c(r#"{"reasoning_content":"m"}"#),
        piece(r#""index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\":1}"}"#),
        summary(
            r#"{"content":"","reasoning_content":"hm","tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        ),
    ];
    check(
        &told,
        &[
            thought("h"),
            thought("m"),
            call(0, Some("c1"), Some("f"), "{\"a\":1}"),
            usage(3, 2, 0, 0),
            STOP,
        ],
    );
}

/// A chunk with a complete message, and the end.
fn message(fields: &str) -> String {
    format!(
        r#"{{"object":"chat.completion","choices":[{{"index":0,"finish_reason":"stop","message":{fields}}}]}}"#
    )
}

#[test]
fn a_message_adds_what_the_deltas_lacked() {
    let hel = c(r#"{"content":"Hel"}"#);
    check(&[hel.as_str(), &message(r#"{"content":"Hello"}"#)], &[text("Hel"), text("lo"), STOP]);
    check(&[hel.as_str(), &message(r#"{"content":"Other"}"#)], &[text("Hel"), STOP]);
    let thought = |text: &str| Ok(ModelEvent::Reasoning(text.into()));
    let told =
        [c(r#"{"reasoning_content":"h"}"#), message(r#"{"content":"a","reasoning_content":"hm"}"#)];
    check(&told, &[thought("h"), thought("m"), text("a"), STOP]);
    // Each chunk has a message: all text so far, or a piece of it.
    let piece_of = |content: &str| {
        format!(r#"{{"choices":[{{"index":0,"message":{{"content":"{content}"}}}}]}}"#)
    };
    check(
        &[piece_of("Hel"), piece_of("Hello"), message(r#"{"content":"Hello"}"#)],
        &[text("Hel"), text("lo"), STOP],
    );
    check(&[piece_of("Hel"), piece_of("lo"), f("stop")], &[text("Hel"), text("lo"), STOP]);
    // Fields that arrived with no delta.
    let noted = message(r#"{"content":"Hel","annotations":[{"type":"url_citation","url":"u"}]}"#);
    let annotation = || Ok(ModelEvent::Annotation(json!({ "type": "url_citation", "url": "u" })));
    check(&[hel.as_str(), &noted], &[text("Hel"), annotation(), STOP]);
    let with_note = c(r#"{"content":"Hel","annotations":[{"type":"url_citation","url":"u"}]}"#);
    check(&[with_note.as_str(), &noted], &[text("Hel"), annotation(), STOP]);
    let extra =
        |value: Value| Ok(ModelEvent::Extra(value.as_object().cloned().unwrap_or_default()));
    let audio =
        [c(r#"{"audio":{"data":"AU"}}"#), message(r#"{"audio":{"data":"AUDX","id":"a"},"foo":1}"#)];
    check(
        &audio,
        &[
            extra(json!({ "audio": { "data": "AU" } })),
            extra(json!({ "audio": { "id": "a" }, "foo": 1 })),
            STOP,
        ],
    );
}

#[test]
fn calls_of_a_message_are_repetitions_or_new() {
    let arguments = |city: &str| format!(r#"{{\"city\":\"{city}\"}}"#);
    let entry = |id: &str, arguments: &str| {
        format!(
            r#"{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}"#
        )
    };
    let begun = piece(
        r#""index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"city\":"}"#,
    );
    let calls = |entries: &[String]| {
        message(&format!(r#"{{"content":null,"tool_calls":[{}]}}"#, entries.join(",")))
    };
    let (a, b) = ("{\"city\":\"A\"}", "{\"city\":\"B\"}");
    let half = || call(0, Some("a"), Some("f"), "{\"city\":");
    for id in ["a", "", "zz"] {
        check(
            &[begun.as_str(), &calls(&[entry(id, &arguments("A"))])],
            &[half(), call(0, None, None, "\"A\"}"), STOP],
        );
    }
    let whole = piece(&format!(
        r#""index":0,"id":"a","function":{{"name":"f","arguments":"{}"}}"#,
        arguments("A")
    ));
    let first = || call(0, Some("a"), Some("f"), a);
    check(
        &[whole.as_str(), &calls(&[entry("a", &arguments("A")), entry("b", &arguments("B"))])],
        &[first(), call(1, Some("b"), Some("f"), b), STOP],
    );
    check(
        &[whole.as_str(), &calls(&[entry("b", &arguments("B"))])],
        &[first(), call(1, Some("b"), Some("f"), b), STOP],
    );
    // The same call with another id, or formatted differently.
    check(&[whole.as_str(), &calls(&[entry("zz", r#"{ \"city\" : \"A\" }"#)])], &[first(), STOP]);
    check(
        &[calls(&[entry("a", &arguments("A")), entry("", &arguments("B"))])],
        &[first(), call(1, None, Some("f"), b), STOP],
    );
    // One call instead of a list.
    let one = c(&format!(r#"{{"tool_calls":{}}}"#, entry("a", &arguments("A"))));
    check(&[one, f("tool_calls")], &[first(), STOP]);
}

#[test]
fn unknown_content_parts_are_passed_on() {
    let extra =
        |value: Value| Ok(ModelEvent::Extra(value.as_object().cloned().unwrap_or_default()));
    for part in [
        json!({ "type": "reference", "reference_ids": [1] }),
        json!({ "type": "audio_url", "audio_url": { "url": "https://x/y" } }),
        json!({ "type": "file", "file": { "file_id": "f" } }),
        json!({ "type": "new", "text": "t" }),
    ] {
        let chunk = c(&json!({ "content": [{ "type": "text", "text": "a" }, part] }).to_string());
        check(&[chunk, f("stop")], &[text("a"), extra(json!({ "content_parts": [part] })), STOP]);
    }
    check(
        &[c(r#"{"content":[{"type":"refusal","refusal":"no"}]}"#), f("stop")],
        &[Ok(ModelEvent::Refusal("no".into())), STOP],
    );
    check(&[c(r#"{"content":{"type":"text","text":"a"}}"#), f("stop")], &[text("a"), STOP]);
}

#[test]
fn calls_and_texts_in_other_forms() {
    let flat = piece(r#""index":0,"id":"a","name":"f","arguments":"{\"a\":1}""#);
    check(&[flat, f("tool_calls")], &[call(0, Some("a"), Some("f"), "{\"a\":1}"), STOP]);
    let hosted = json!({ "id": "r", "type": "retrieval", "retrieval": { "query": "q" } });
    let extra =
        Ok(ModelEvent::Extra(Map::from_iter([("hosted_tool_calls".to_owned(), json!([hosted]))])));
    check(
        &[c(r#"{"content":"a"}"#), c(&json!({ "tool_calls": [hosted] }).to_string()), f("stop")],
        &[text("a"), extra, STOP],
    );
    check(
        &[
            r#"{"choices":[{"index":0,"text":"Hel"}]}"#,
            r#"{"choices":[{"index":0,"text":"lo","finish_reason":"stop"}]}"#,
        ],
        &[text("Hel"), text("lo"), STOP],
    );
}

#[test]
fn images_in_every_format() {
    for form in [
        r#"{"b64_json":"AA=="}"#,
        r#""data:image/png;base64,AA==""#,
        r#"{"url":"data:image/png;base64,AA=="}"#,
        r#"{"image_url":"data:image/png;base64,AA=="}"#,
        r#"{"data":"AA==","mime_type":"image/png"}"#,
    ] {
        check(
            &[c(&format!(r#"{{"images":[{form}]}}"#)), f("stop")],
            &[sample::image("png", "AA=="), STOP],
        );
    }
    let other =
        Ok(ModelEvent::Extra(Map::from_iter([("images".to_owned(), json!([{ "ref": 7 }]))])));
    check(&[c(r#"{"images":[{"ref":7}]}"#), f("stop")], &[other, STOP]);
}

#[test]
fn split_surrogate_pairs_are_joined() {
    check(
        &[c(r#"{"content":"a \ud83d"}"#), c(r#"{"content":"\ude00 b"}"#), f("stop")],
        &[text("a "), text("😀 b"), STOP],
    );
    check(
        &[c(r#"{"content":"a\ud83d"}"#), c(r#"{"content":"b"}"#), f("stop")],
        &[text("a"), text("\u{fffd}b"), STOP],
    );
    check(&[c(r#"{"content":"a\ud83d"}"#), f("stop")], &[text("a"), text("\u{fffd}"), STOP]);
    let thought = |text: &str| Ok(ModelEvent::Reasoning(text.into()));
    check(
        &[
            c(r#"{"reasoning_content":"\ud83d"}"#),
            c(r#"{"reasoning_content":"\ude00"}"#),
            f("stop"),
        ],
        &[thought("😀"), STOP],
    );
    let arguments = |arguments: &str| {
        piece(&format!(r#""index":0,"function":{{"name":"f","arguments":"{arguments}"}}"#))
    };
    let expected = [call(0, None, Some("f"), "{\"a\":\""), call(0, None, None, "😀\"}"), STOP];
    check(&[arguments(r#"{\"a\":\"\ud83d"#), arguments(r#"\ude00\"}"#), f("stop")], &expected);
    // UTF-8 bytes split between two chunks.
    let body = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xf0\x9f\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"\x98\x80\"}}]}\n\n";
    sample::check_words(read, body, &[text("😀")]);
    // Complete content does not wait for more.
    let body =
        r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"\ud83d"}]}}]}"#;
    check(
        &[body],
        &[Ok(ModelEvent::Text {
            text: "a".into(),
            logprobs: vec![json!({ "token": "\u{fffd}" })],
        })],
    );
}

#[test]
fn a_field_of_another_type_is_ignored() {
    let odd_delta = |delta: &str| vec![c(delta), c(r#"{"content":"a"}"#), f("stop")];
    let duplicate = r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":"","reasoning_content":"hm"}}]}"#;
    check(&[duplicate, &f("stop")], &[Ok(ModelEvent::Reasoning("hm".into())), STOP]);
    for delta in [
        "[]",
        "null",
        "7",
        r#"{"tool_calls":{}}"#,
        r#"{"function_call":""}"#,
        r#"{"refusal":{}}"#,
        r#"{"content":{}}"#,
        r#"{"role":7}"#,
    ] {
        check(&odd_delta(delta), &[text("a"), STOP]);
    }
    for chunk in [
        r#"{"choices":[{"index":"0","delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":false}]}"#,
        r#"{"error":[],"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"error":{"message":null},"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]},"score":NaN}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":[],"id":{},"created":"now"}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"b"}}],"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        "[{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}]",
    ] {
        check(&["null", chunk, r#"{"choices":{}}"#, &f("stop")], &[text("a"), STOP]);
    }
    let logprob = r#"{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":NaN}]}}]}"#;
    let logprobs = vec![json!({ "token": "a", "logprob": null })];
    check(&[logprob, &f("stop")], &[Ok(ModelEvent::Text { text: "a".into(), logprobs }), STOP]);
}

#[test]
fn keep_alives_and_events_without_blank_lines() {
    let (a, b) = (c(r#"{"content":"a"}"#), c(r#"{"content":"b"}"#));
    for alive in [
        "event: ping\ndata: 2026-11-29 10:11:12",
        "event: heartbeat\ndata: beat",
        "data: ping",
        "data: : keepalive",
        ": still here",
    ] {
        check_body(
            &format!("data: {a}\n\n{alive}\n\ndata: {}\n\n{alive}\n\n", f("stop")),
            &[text("a"), STOP],
        );
        // Nor is it evidence of a complete response.
        check_body(&format!("data: {a}\n\n{alive}\n\n"), &[text("a")]);
        check_body(&format!("{alive}\n\n"), &[]);
    }
    check_body(
        &format!("data: {a}\ndata: {b}\ndata: {a}\ndata: {}\ndata: [DONE]\n", f("stop")),
        &[text("a"), text("b"), text("a"), STOP],
    );
    let (start, end) = a.split_at(a.find("\"delta\"").unwrap());
    check_body(
        &format!("data: {start}\ndata: {end}\n\ndata: {}\n\n", f("stop")),
        &[text("a"), STOP],
    );
}

#[test]
fn truncated_events_are_an_error() {
    let a = c(r#"{"content":"a"}"#);
    for cut in [
        r#"{"choices":[{"index":0,"delta":{"content":"b"#,
        r#"{"choices":[{"index":0,"delta":{"content":"\ud83d"#,
        "{",
    ] {
        fails(
            &stream(&[a.as_str(), cut]),
            &[text("a")],
            (502, "upstream_invalid_data", "truncated JSON"),
        );
        // At the end of the body, the missing finish reason reports it.
        check_body(&format!("data: {a}\n\ndata: {cut}"), &[text("a")]);
    }
    fails(
        r#"{"choices":[{"index":0,"message":{"content":"b"#,
        &[],
        (502, "upstream_cut", "closed the connection"),
    );
    for other in [r#"{"hello":"world"}"#, "[]", "{}"] {
        fails(other, &[], (502, "upstream_invalid_data", "not a chat completion"));
    }
}

#[test]
fn fields_of_calls_and_messages_are_passed_on() {
    let called =
        r#""index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}"#;
    let signed =
        format!(r#"{called},"extra_content":{{"google":{{"thought_signature":"SIG=="}}}}"#);
    let extra = json!({ "extra_content": { "google": { "thought_signature": "SIG==" } } });
    check(
        &[piece(&signed), f("tool_calls")],
        &[sample::call_with(extra, call(0, Some("c1"), Some("f"), "{\"a\":1}")), STOP],
    );

    let picture = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}"#;
    let images = |field: &str| vec![c(&format!(r#"{{"{field}":[{picture}]}}"#)), f("stop")];
    check(&images("images"), &[sample::image("png", "AA=="), STOP]);
    check(&images("content"), &[sample::image("png", "AA=="), STOP]);

    let details = r#"[{"type":"reasoning.encrypted","data":"E","index":0}]"#;
    let fields = |name: &str, value: Value| Map::from_iter([(name.to_owned(), value)]);
    let extra = ModelEvent::ReasoningExtra(fields(
        "reasoning_details",
        json!([{ "type": "reasoning.encrypted", "data": "E", "index": 0 }]),
    ));
    check(&[c(&format!(r#"{{"reasoning_details":{details}}}"#)), f("stop")], &[Ok(extra), STOP]);
    let audio = Ok(ModelEvent::Extra(fields("audio", json!({ "id": "audio_1" }))));
    check(&[c(r#"{"audio":{"id":"audio_1"}}"#), f("stop")], &[audio, STOP]);
    let annotation = json!({ "type": "url_citation", "url": "https://x/y", "title": "Y" });
    let nested = r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"https://x/y","title":"Y"}}]}"#;
    check(&[c(nested), f("stop")], &[Ok(ModelEvent::Annotation(annotation)), STOP]);
    let cited = r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"citations":["https://x/y"]}"#;
    let citations = Ok(ModelEvent::Extra(fields("citations", json!(["https://x/y"]))));
    check(&[cited, cited, &f("stop")], &[text("a"), text("a"), citations, STOP]);
}

#[test]
fn a_tool_that_was_not_offered_is_passed_on_and_a_prefix_is_removed() {
    let called = |name: &str| {
        let called = piece(&format!(
            r#""index":0,"id":"c1","function":{{"name":"{name}","arguments":"{{\"a\":1}}"}}"#
        ));
        stream(&[c(r#"{"content":"Let me see. "}"#), called, f("tool_calls")])
    };
    for (name, expected) in [
        ("f", "f"),
        ("functions.f", "f"),
        ("functions.f:0", "f"),
        ("g", "g"),
        ("functions.g", "functions.g"),
    ] {
        let words = [text("Let me see. "), call(0, Some("c1"), Some(expected), "{\"a\":1}"), STOP];
        sample::check_words(read_with(&["f"]), called(name), &words);
    }
}

proptest! {
    #[test]
    fn unknown_fields_are_ignored(
        chunks in prop::collection::vec(chunk(), 1..6),
        place in 0_usize..100,
        value in sample::any_value(),
    ) {
        let body = events(&chunks);
        let changed = sample::with_unknown_field(&body, place, &value);
        prop_assert_eq!(sample::essential(read(&[changed.as_bytes()])), sample::essential(read(&[body.as_bytes()])));
    }

    #[test]
    fn odd_streams_may_be_split_anywhere(
        picks in prop::collection::vec(prop::sample::select(ODD), 0..8),
        sizes in prop::collection::vec(1_usize..20, 1..20),
        ending in prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
    ) {
        let whole = picks.concat();
        let body = whole.replace('\n', ending);
        prop_assert_eq!(read(&split(&body, &sizes)), read(&[whole.as_bytes()]));
    }
}

/// Pieces of odd streams, in any order.
const ODD: &[&str] = &[
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a \\ud83d\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ude00 b\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\",\"content\":\"y\"}}]}\n\
     data: {\"choices\":[{\"delta\":{\"content\":\"z\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"é\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":[],\"logprobs\":NaN}]}\n\n",
    "event: ping\ndata: 1712345678\n\n",
    "data: null\n\n: comment\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"content\":\"Hello\"}}]}\n\n",
    "data: {\"code\":50505,\"message\":\"Model service overloaded\",\"data\":null}\n\n",
];

//! Observed deviations of servers with this API, and what other vendors send in its place.

use super::*;

#[track_caller]
fn check(chunks: &[String], expected: &[Result<ModelEvent, ProviderFailure>]) {
    let body =
        chunks.iter().fold(String::new(), |body, chunk| body + "data: " + chunk + "\r\n\r\n");
    sample::check_words(read, body, expected);
}

#[track_caller]
fn fails(body: &str, before: &[Result<ModelEvent, ProviderFailure>], expected: (u16, &str, &str)) {
    sample::check_fails(read, body, before, expected);
}

/// A chunk with these parts.
fn c(parts: &str) -> String {
    format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}},"index":0}}]}}"#)
}

/// A chunk with this finish reason.
fn f(reason: &str) -> String {
    format!(r#"{{"candidates":[{{"finishReason":"{reason}","index":0}}]}}"#)
}

#[test]
fn chunks_in_other_formats() {
    let one = r#"{"candidates":[{"content":{"parts":{"text":"a"}}}]}"#;
    check(&[one.to_owned(), f("STOP")], &[text("a"), STOP]);
    let wrapped = |chunk: &str| format!(r#"{{"response":{chunk}}}"#);
    check(&[wrapped(one), wrapped(&f("STOP"))], &[text("a"), STOP]);
}

#[test]
fn a_signature_is_on_its_call_too() {
    let signed =
        r#"{"functionCall":{"id":"x","name":"f","args":{"a":1}},"thoughtSignature":"SIG=="}"#;
    let extra = json!({ "extra_content": { "google": { "thought_signature": "SIG==" } } });
    let sealed = Ok(ModelEvent::ReasoningEnd { encrypted: "gemini.signature.SIG==".into() });
    check(
        &[c(signed), f("STOP")],
        &[sealed, sample::call_with(extra, call(0, Some("x"), Some("f"), r#"{"a":1}"#)), STOP],
    );
}

#[test]
fn a_known_reason_has_precedence_over_an_unknown_one() {
    let with = |reason: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"{reason}"}}]}}"#
        )
    };
    check(&[with("FINISH_REASON_UNSPECIFIED"), with("STOP")], &[text("a"), text("a"), STOP]);
    check(
        &[with("VIBES"), with("STOP")],
        &[text("a"), finish(Finish::Unknown("VIBES".into())), text("a"), STOP],
    );
    check(&[with("STOP"), f("VIBES")], &[text("a"), STOP]);
}

#[test]
fn an_id_belongs_to_one_call() {
    let called = |city: &str| {
        format!(r#"{{"functionCall":{{"id":"x","name":"f","args":{{"city":"{city}"}}}}}}"#)
    };
    let (a, b) = (r#"{"city":"A"}"#, r#"{"city":"B"}"#);
    let expected = [call(0, Some("x"), Some("f"), a), call(1, None, Some("f"), b), STOP];
    check(&[c(&called("A")), c(&called("B")), f("STOP")], &expected);
    check(&[c(&format!("{},{}", called("A"), called("B"))), f("STOP")], &expected);
}

#[test]
fn finish_reasons_of_other_vendors() {
    let half = || c(r#"{"text":"half"}"#);
    for reason in ["STOP", "stop", "end_turn", "eos"] {
        check(&[half(), f(reason)], &[text("half"), STOP]);
    }
    for reason in ["MAX_TOKENS", "length", "model_context_window_exceeded"] {
        check(&[half(), f(reason)], &[text("half"), finish(Finish::Length)]);
    }
    for reason in ["SAFETY", "LANGUAGE", "sensitive", "IMAGE_RECITATION"] {
        check(&[half(), f(reason)], &[text("half"), finish(Finish::ContentFilter)]);
    }
    for reason in ["OTHER", "VIBES"] {
        check(&[half(), f(reason)], &[text("half"), finish(Finish::Unknown(reason.into()))]);
    }
    for reason in ["abort", "network_error"] {
        fails(
            &format!("data: {}\n\ndata: {}\n\n", half(), f(reason)),
            &[text("half")],
            (502, "upstream_error", reason),
        );
    }
}

#[test]
fn errors_in_other_formats_keep_their_message() {
    let before = format!("data: {}\n\n", c(r#"{"text":"a"}"#));
    for (error, status, code) in [
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
        (
            r#"{"object":"error","message":"no such luck","type":"BadRequestError","code":400}"#,
            400,
            "upstream_invalid_request",
        ),
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
fn a_summary_at_the_end_is_not_emitted_again() {
    let last = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"Hello"}]},"finishReason":"STOP"}]}"#.to_owned();
    let pieces = [
        c(r#"{"text":"h","thought":true}"#),
        c(r#"{"text":"m","thought":true}"#),
        c(r#"{"text":"Hel"}"#),
        c(r#"{"text":"lo"}"#),
    ];
    let said = [thought("h"), thought("m"), text("Hel"), text("lo"), STOP];
    check(&[&pieces[..], std::slice::from_ref(&last)].concat(), &said);
    check(&[last], &[thought("hm"), text("Hello"), STOP]);
}

#[test]
fn odd_characters_and_fields_are_tolerated() {
    check(
        &[c(r#"{"text":"a \ud83d"}"#), c(r#"{"text":"\ude00 b"}"#), f("STOP")],
        &[text("a "), text("😀 b"), STOP],
    );
    check(&[c(r#"{"text":"a\ud83d"}"#), f("STOP")], &[text("a"), text("\u{fffd}"), STOP]);
    check(
        &[
            c(r#"{"text":"\ud83d","thought":true}"#),
            c(r#"{"text":"\ude00","thought":true}"#),
            f("STOP"),
        ],
        &[thought("😀"), STOP],
    );
    let arguments = c(r#"{"functionCall":{"name":"f","args":{"a":"\ud83d\ude00","b":"\ud83d"}}}"#);
    check(
        &[arguments, f("STOP")],
        &[call(0, None, Some("f"), "{\"a\":\"😀\",\"b\":\"\u{fffd}\"}"), STOP],
    );
    for odd in [
        r#"{"text":"b","text":"a"}"#,
        r#"{"text":"a","functionCall":[],"thought":"no","inlineData":""}"#,
        r#"{"text":"a","score":NaN},null,7"#,
    ] {
        check(
            &["null".to_owned(), c(odd), r#"{"candidates":{}}"#.to_owned(), f("STOP")],
            &[text("a"), STOP],
        );
    }
    let odd = r#"{"candidates":[{"index":"0","content":{"parts":[{"text":"a"}]},"finishReason":false}],"error":[],"promptFeedback":[]}"#;
    check(&[odd.to_owned(), f("STOP")], &[text("a"), STOP]);
    let (a, stop) = (c(r#"{"text":"a"}"#), f("STOP"));
    for alive in [
        "event: ping\ndata: 2026-11-29 10:11:12",
        "event: heartbeat\ndata: beat",
        "data: : keepalive",
    ] {
        sample::check_words(
            read,
            format!("data: {a}\n\n{alive}\n\ndata: {stop}\n\n"),
            &[text("a"), STOP],
        );
        sample::check_words(read, format!("data: {a}\n\n{alive}\n\n"), &[text("a")]);
    }
    sample::check_words(
        read,
        format!("data: {a}\ndata: {a}\ndata: {stop}\n"),
        &[text("a"), text("a"), STOP],
    );
    let (start, end) = a.split_at(a.find("\"parts\"").unwrap());
    sample::check_words(
        read,
        format!("data: {start}\ndata: {end}\n\ndata: {stop}\n\n"),
        &[text("a"), STOP],
    );
    fails(
        &format!("data: {a}\n\ndata: {start}\n\n"),
        &[text("a")],
        (502, "upstream_invalid_data", "truncated JSON"),
    );
}

#[test]
fn images_are_items_and_signatures_are_kept() {
    let image = c(r#"{"inlineData":{"mimeType":"image/png","data":"AA=="}}"#);
    check(&[image, f("STOP")], &[sample::image("png", "AA=="), STOP]);
    let snake = c(r#"{"inline_data":{"mime_type":"image/webp","data":"AA=="}}"#);
    check(&[snake, f("STOP")], &[sample::image("webp", "AA=="), STOP]);
    let signed = c(r#"{"text":"a","thoughtSignature":"SIG=="}"#);
    check(&[signed, f("STOP")], &[signature("SIG=="), text("a"), STOP]);
}

#[test]
fn a_tool_that_was_not_offered_is_passed_on_and_a_prefix_is_removed() {
    let read = |pieces: &[&[u8]]| {
        sample::read(
            BodyParser::new(GeminiGrammar::default(), sample::north(), sample::lifter(&["f"])),
            pieces,
        )
    };
    for (name, expected) in
        [("default_api.f", "f"), ("default_api:f", "f"), ("functions.f", "f"), ("g", "g")]
    {
        let called = c(&format!(
            r#"{{"text":"Let me see. "}},{{"functionCall":{{"name":"{name}","args":{{"a":1}}}}}}"#
        ));
        let body = format!("data: {called}\n\ndata: {}\n\n", f("STOP"));
        sample::check_words(
            read,
            body,
            &[text("Let me see. "), call(0, None, Some(expected), "{\"a\":1}"), STOP],
        );
    }
}

const ODD: &[&str] = &[
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a \\ud83d\"}]}}]}\n\
     data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\\ude00 b\"}]}}]}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\",\"text\":\"b\",\"x\":NaN}]}}]}\n\n\
     event: ping\n\
     data: 17\n\n\
     {\"code\":500,\n\
     \"message\":\"no such luck\"}\n",
    "data: {\"candidates\":[{\"content\":\ndata: {\"parts\":[{\"text\":\"a\"}]}}]}\n\nevent: error\ndata: no such luck\n\n",
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

#[test]
fn code_that_gemini_runs_and_its_sources_are_passed_on() {
    let ran = c(
        r#"{"executableCode":{"language":"PYTHON","code":"print(1)"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1\n"}}"#,
    );
    let sources = |title: &str| {
        let grounding = format!(
            r#"{{"groundingChunks":[{{"web":{{"uri":"https://x/y","title":"{title}"}}}}]}}"#
        );
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"1"}}]}},"groundingMetadata":{grounding}}}]}}"#
        )
    };
    let grounding =
        json!({ "groundingChunks": [{ "web": { "uri": "https://x/y", "title": "b" } }] });
    let words = [
        sample::item(
            u64::MAX,
            json!({ "type": "executable_code", "language": "PYTHON", "code": "print(1)" }),
        ),
        sample::item(
            u64::MAX - 1,
            json!({ "type": "code_execution_result", "outcome": "OUTCOME_OK", "output": "1\n" }),
        ),
        text("1"),
        text("1"),
        Ok(ModelEvent::Extra(Map::from_iter([("groundingMetadata".to_owned(), grounding)]))),
        STOP,
    ];
    check(&[ran, sources("a"), sources("b"), f("STOP")], &words);
}

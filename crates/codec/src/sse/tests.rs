//! The golden bytes, the standard's examples and the properties of the SSE codec.

use proptest::prelude::*;

use super::*;
use crate::buffer::{KEPT_CAPACITY, split_at};

type Found = Vec<Result<SseFrame, EventTooLarge>>;

/// Decodes pieces pushed one after the other; an error is the last thing.
fn decode(pieces: &[&[u8]], limit: usize) -> Found {
    let mut decoder = SseDecoder::new(limit);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(decoded) = decoder.next_event() {
            found.push(decoded);
        }
    }
    found.extend(decoder.finish().map(|event| Ok(SseFrame::Event(event))));
    found
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what the decoder returns")]
fn event(name: Option<&str>, data: &str, id: Option<&str>) -> Result<SseFrame, EventTooLarge> {
    Ok(SseFrame::Event(SseEvent {
        name: name.map(str::to_owned),
        data: Bytes::copy_from_slice(data.as_bytes()),
        id: id.map(|id| Bytes::copy_from_slice(id.as_bytes())),
        retry: None,
    }))
}

fn data(data: &str) -> Result<SseFrame, EventTooLarge> {
    event(None, data, None)
}

/// The body gives the events, whole and in pieces of one byte.
fn check(body: &str, expected: &[Result<SseFrame, EventTooLarge>]) {
    assert_eq!(decode(&[body.as_bytes()], usize::MAX), expected, "{body:?}");
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(decode(&bytes, usize::MAX), expected, "{body:?}, byte by byte");
}

fn check_encoded(name: Option<&str>, id: Option<u64>, data: &str, expected: &str) {
    let mut out = BytesMut::new();
    encode(&mut out, name, id, data.as_bytes());
    assert_eq!(std::str::from_utf8(&out), Ok(expected));
}

#[test]
fn golden_bytes() {
    check_encoded(None, None, "[DONE]", "data: [DONE]\n\n");
    check_encoded(Some("a.b"), None, "{}", "event: a.b\ndata: {}\n\n");
    check_encoded(Some("a.b"), Some(0), "{}", "event: a.b\nid: 0\ndata: {}\n\n");
    check_encoded(None, Some(u64::MAX), "", "id: 18446744073709551615\ndata: \n\n");
    check_encoded(None, None, "a\nb\r\nc\rd\n", "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
    let mut out = BytesMut::new();
    retry(&mut out, 1500);
    assert_eq!(&out[..], b"retry: 1500\n\n");
}

#[test]
fn the_examples_of_the_standard() {
    check("data: YHOO\ndata: +2\ndata: 10\n\n", &[data("YHOO\n+2\n10")]);
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[
            Ok(SseFrame::Comment),
            event(None, "first event", Some("1")),
            event(None, "second event", Some("")),
            data(" third event"),
        ],
    );
    check("data\n\ndata\ndata\n\n", &[data(""), data("\n")]);
    check("data:test\n\ndata: test\n\n", &[data("test"), data("test")]);
}

#[test]
fn any_line_end_ends_a_line() {
    check("data: a\r\ndata: b\rdata: c\n\r\n", &[data("a\nb\nc")]);
    check("data: a\r\r\rdata: b\r\n\r\n", &[data("a"), data("b")]);
}

#[test]
fn a_byte_order_mark_is_skipped_once_and_only_at_the_start() {
    check("\u{feff}data: a\n\n", &[data("a")]);
    check("\u{feff}\u{feff}data: a\n\n", &[]);
    check("\n\u{feff}data: a\n\n", &[]);
}

#[test]
fn fields_follow_their_rules() {
    check("event: a\nevent: b\ndata: x\n\ndata: y\n\n", &[event(Some("b"), "x", None), data("y")]);
    check("event:\ndata: x\n\n", &[data("x")]);
    check("id: 1\nid: a\0b\ndata: x\n\n", &[event(None, "x", Some("1"))]);
    check("Data: x\ndata : x\nunknown: x\n\n", &[]);
    let with_retry = |milliseconds| {
        Ok(SseFrame::Event(SseEvent {
            data: Bytes::from_static(b"x"),
            retry: milliseconds,
            ..SseEvent::default()
        }))
    };
    check("retry: 20\ndata: x\n\n", &[with_retry(Some(20))]);
    check("retry: +20\nretry: -1\nretry: 1.5\nretry\ndata: x\n\n", &[with_retry(None)]);
}

#[test]
fn without_data_no_event_is_dispatched_but_id_and_retry_stay() {
    check("event: lost\nid: 7\nretry: 5\n\n", &[]);
    let expected = SseEvent {
        name: None,
        data: Bytes::from_static(b"x"),
        id: Some(Bytes::from_static(b"7")),
        retry: Some(5),
    };
    check("event: lost\nid: 7\nretry: 5\n\ndata: x\n\n", &[Ok(SseFrame::Event(expected))]);
}

#[test]
fn the_end_dispatches_an_event_that_has_data() {
    check("data: [DONE]\n", &[data("[DONE]")]);
    check("data: [DONE]", &[data("[DONE]")]);
    check("data: [DONE]\r", &[data("[DONE]")]);
    check("event: a\n", &[]);
    check(": comment", &[]);
    check("", &[]);
}

#[test]
fn an_invalid_name_is_replaced_and_invalid_data_is_kept() {
    let found = decode(&[b"event: \xff\ndata: \xff\n\n"], usize::MAX);
    let expected = SseEvent {
        name: Some("\u{fffd}".into()),
        data: Bytes::from_static(b"\xff"),
        id: None,
        retry: None,
    };
    assert_eq!(found, [Ok(SseFrame::Event(expected))]);
}

#[test]
fn an_event_over_the_limit_is_an_error_and_the_end() {
    assert_eq!(decode(&[b"data: abcd\n\n"], 10), [data("abcd")]);
    assert_eq!(
        decode(&[b"data:a\ndata:b\n\n: 3456789\n\n"], 12),
        [data("a\nb"), Ok(SseFrame::Comment)]
    );
    for pieces in [
        [b"data: abcde\n\n".as_slice(), b"data: x\n\n"],
        [b"data: ab", b"cde"],
        [b"data:\ndata:", b"\ndata:\n"],
    ] {
        assert_eq!(decode(&pieces, 10), [Err(EventTooLarge { limit: 10 })]);
    }
}

#[test]
fn comments_do_not_fill_an_event() {
    let body = format!("data: a\n{}\n", ": ping\n".repeat(1000));
    let found = decode(&[body.as_bytes()], 20);
    assert_eq!(found.len(), 1001);
    assert_eq!(found.last(), Some(&data("a")));
}

/// openai-go before 3.43 reads like this: each blank line dispatches an event, even an empty one.
fn dispatched_without_data(body: &[u8]) -> bool {
    let mut has_data = false;
    body.split(|byte| *byte == b'\n').any(|line| match line {
        b"" => !std::mem::take(&mut has_data),
        line => {
            has_data |= line.starts_with(b"data:");
            false
        }
    })
}

#[test]
fn a_heartbeat_between_events_is_not_an_event() {
    assert!(dispatched_without_data(b": ping\n\n"), "the form that breaks it");
    for beats in [1, 3] {
        let mut body = BytesMut::new();
        for word in ["one", "two"] {
            (0..beats).for_each(|_| body.extend_from_slice(HEARTBEAT));
            encode(&mut body, Some("said"), None, word.as_bytes());
        }
        (0..beats).for_each(|_| body.extend_from_slice(HEARTBEAT));
        let body = std::str::from_utf8(&body).unwrap();
        let comments = vec![Ok(SseFrame::Comment); beats];
        let words = ["one", "two"].map(|word| vec![event(Some("said"), word, None)]);
        let [one, two] = words;
        check(body, &[comments.clone(), one, comments.clone(), two, comments].concat());
        assert!(!dispatched_without_data(body.trim_end_matches('\n').as_bytes()), "{body}");
    }
}

#[test]
fn a_long_line_in_small_pieces_is_searched_once() {
    // 4 MiB in pieces of 16 bytes: rescanning each time would look at half a tebibyte and not end.
    let mut decoder = SseDecoder::new(8 << 20);
    decoder.push(b"data:");
    for _ in 0..(4 << 20) / 16 {
        decoder.push(&[b'x'; 16]);
        assert_eq!(decoder.next_event(), None);
    }
    decoder.push(b"\n\n");
    let Some(Ok(SseFrame::Event(event))) = decoder.next_event() else {
        unreachable!("the event has ended")
    };
    assert_eq!(event.data.len(), 4 << 20);
    assert_eq!(decoder.next_event(), None);
    assert!(decoder.buffer.capacity() <= KEPT_CAPACITY, "the large buffer is given back");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        lines in prop::collection::vec(("(data|data:|data: |event: |id: |retry: |:|\u{feff}|x)?[a0: \u{e9}]{0,6}", "\n|\r|\r\n"), 0..30),
        cuts in prop::collection::vec(0usize..400, 0..40),
        limit in prop_oneof![Just(usize::MAX), 0usize..40],
    ) {
        let body: String = lines.into_iter().flat_map(|(line, end)| [line, end]).collect();
        let whole = decode(&[body.as_bytes()], limit);
        prop_assert_eq!(decode(&split_at(body.as_bytes(), cuts), limit), whole);
    }

    #[test]
    fn any_mix_of_line_ends_gives_the_same_events(
        lines in prop::collection::vec("((data|event|id): ?[a-z:]{0,6})?", 0..20),
        ends in prop::collection::vec("\r|\r\n", 20),
    ) {
        let with_lf: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        // A CR directly before an LF would be one line end, so the mix is of CR and CRLF, and of LF
        // alone.
        let mixed: String = lines.iter().zip(&ends).flat_map(|(line, end)| [line, end.as_str()]).collect();
        prop_assert_eq!(decode(&[mixed.as_bytes()], usize::MAX), decode(&[with_lf.as_bytes()], usize::MAX));
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0usize..300, 0..10)) {
        prop_assert_eq!(decode(&split_at(&body, cuts), 64), decode(&[&body], 64));
    }

    #[test]
    fn what_was_encoded_is_decoded(events in prop::collection::vec((prop::option::of("[a-z.]{1,9}"), any::<Option<u64>>(), "[^\r]{0,20}"), 0..10)) {
        let mut out = BytesMut::new();
        let mut expected = Vec::new();
        for (name, id, text) in &events {
            encode(&mut out, name.as_deref(), *id, text.as_bytes());
            expected.push(event(name.as_deref(), text, id.map(|id| id.to_string()).as_deref()));
        }
        prop_assert_eq!(decode(&[&out], usize::MAX), expected);
    }
}

#[test]
fn documents_without_blank_lines_between_them_are_events_of_their_own() {
    let events = |body: &str| {
        let mut decoder = SseDecoder::new(1 << 20).splitting_documents();
        let mut events = Vec::new();
        let mut take = |decoder: &mut SseDecoder| {
            while let Some(Ok(decoded)) = decoder.next_event() {
                if let SseFrame::Event(event) = decoded {
                    events.push(String::from_utf8(event.data.to_vec()).unwrap());
                }
            }
        };
        for byte in body.as_bytes().chunks(1) {
            decoder.push(byte);
            take(&mut decoder);
        }
        events
            .extend(decoder.finish().map(|event| String::from_utf8(event.data.to_vec()).unwrap()));
        events
    };
    assert_eq!(
        events("data: {\"a\":1}\ndata: {\"a\":2}\ndata: {\"a\":3}\ndata: [DONE]\n\n"),
        ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "[DONE]"]
    );
    assert_eq!(
        events("data: {\"a\":\ndata: 1}\n\ndata: {\"a\":2}\n\n"),
        ["{\"a\":\n1}", "{\"a\":2}"]
    );
    assert_eq!(
        events("event: x\ndata: {\"a\":1}\nevent: y\ndata: {\"a\":2}\n\n"),
        ["{\"a\":1}", "{\"a\":2}"]
    );
}

#[test]
fn once_blank_lines_are_known_to_be_missing_no_event_waits_for_the_next() {
    let mut decoder = SseDecoder::new(1 << 20).splitting_documents();
    let mut count = |bytes: &[u8]| {
        decoder.push(bytes);
        std::iter::from_fn(|| decoder.next_event()).count()
    };
    assert_eq!(count(b"data: {\"a\":1}\n"), 0);
    assert_eq!(count(b"data: {\"a\":2}\n"), 2);
    assert_eq!(count(b"data: {\"a\":3}\n"), 1);
}

#[test]
fn lines_that_are_not_fields_may_be_documents_and_errors() {
    let decode = |body: &[u8], pieces: usize| {
        let mut decoder = SseDecoder::new(1 << 20).splitting_documents();
        let mut found = Vec::new();
        for piece in body.chunks(pieces) {
            decoder.push(piece);
            found.extend(std::iter::from_fn(|| decoder.next_event()).map(Result::unwrap));
        }
        found.extend(decoder.finish().map(SseFrame::Event));
        found
    };
    let event = |name: Option<&str>, data: &str| {
        SseFrame::Event(SseEvent {
            name: name.map(str::to_owned),
            data: Bytes::copy_from_slice(data.as_bytes()),
            ..SseEvent::default()
        })
    };
    for pieces in [1, 1000] {
        let found = decode(
            b"data: {\"a\":1}\n\n{\"error\":1}\n\nerror: engine died\n\n[ERROR] gone\n\n",
            pieces,
        );
        assert_eq!(
            found,
            [
                event(None, "{\"a\":1}"),
                event(None, "{\"error\":1}"),
                event(Some("error"), "engine died"),
                event(None, "[ERROR] gone")
            ]
        );
        assert_eq!(
            decode(b"data: {\"a\":1}\n{\"error\":1}\n", pieces),
            [event(None, "{\"a\":1}"), event(None, "{\"error\":1}")]
        );
    }
}

//! Parses an event stream of completions incrementally.

use std::collections::VecDeque;
use std::mem;

use codec::sse;
use engine::provider::failure::ProviderFailure;
use engine::provider::passthrough::PassthroughPart;
use protocol::fields::JsonFields;
use protocol::passthrough::Operation;
use serde_json::Value;

use super::super::body::MAX_EVENT_BYTES;
use super::super::fault::Callee;
use super::super::json;
use super::completions;
use super::document::{document, error_in, of_value};
use super::halves::SurrogateHalves;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The data after the last event.
const DONE: &[u8] = b"[DONE]";

/// An incremental parser of a stream: push bytes, then take parts until there are none. It yields
/// nothing after a failure.
#[derive(Debug)]
pub(crate) struct EventReader {
    callee: Callee,
    operation: Operation,
    body: Body,
    parts: VecDeque<Result<PassthroughPart, ProviderFailure>>,
    halves: SurrogateHalves,
    is_over: bool,
}

/// The format of the body, which its first byte decides: no event stream starts with a brace.
#[derive(Debug)]
enum Body {
    /// Only white space, or part of a byte order mark.
    Start(Vec<u8>),
    Events(sse::SseDecoder),
    /// A server that ignores `stream`: the document has the format of an event.
    Document(Vec<u8>),
}

impl EventReader {
    /// A reader of one response. Faults name `callee`.
    pub(crate) fn new(operation: Operation, callee: Callee) -> Self {
        Self {
            callee,
            operation,
            body: Body::Start(Vec::new()),
            parts: VecDeque::new(),
            halves: SurrogateHalves::default(),
            is_over: false,
        }
    }

    /// Adds bytes. Call [`Self::next_part`] until it returns `None` before pushing more.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        match &mut self.body {
            Body::Start(held) => {
                held.extend_from_slice(bytes);
                self.recognise();
            }
            Body::Events(decoder) => decoder.push(bytes),
            Body::Document(document) if document.len() + bytes.len() > MAX_EVENT_BYTES => {
                self.too_large();
            }
            Body::Document(document) => {
                document.extend_from_slice(bytes);
                self.parts.push_back(Ok(PassthroughPart::Progress));
            }
        }
    }

    /// The next part; `None` if more bytes are needed or the response is over.
    pub(crate) fn next_part(&mut self) -> Option<Result<PassthroughPart, ProviderFailure>> {
        loop {
            if let Some(part) = self.parts.pop_front() {
                return Some(part);
            }
            let Body::Events(decoder) = &mut self.body else { return None };
            if self.is_over {
                return None;
            }
            match decoder.next_event()? {
                Ok(sse::SseFrame::Comment) => self.parts.push_back(Ok(PassthroughPart::KeepAlive)),
                Ok(sse::SseFrame::Event(event)) => self.event(&event.data),
                Err(_) => self.too_large(),
            }
        }
    }

    /// The body has ended. Remaining parts follow from [`Self::next_part`].
    pub(crate) fn finish(&mut self) {
        if self.is_over {
            return;
        }
        match &mut self.body {
            Body::Start(_) => {}
            Body::Events(decoder) => {
                // An event without its blank line may be complete; otherwise the body was cut off
                // in it.
                if let Some(last) = decoder.finish().filter(|last| is_whole(&last.data)) {
                    self.event(&last.data);
                }
            }
            Body::Document(whole) => {
                let whole = mem::take(whole);
                let read = document(&whole, self.operation.result(), self.operation, &self.callee);
                self.parts.push_back(read.map(PassthroughPart::Event));
            }
        }
        self.is_over = true;
    }

    /// Whether no more parts can follow, whatever remains of the body.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    fn recognise(&mut self) {
        let Body::Start(held) = &mut self.body else { return };
        if held.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(held) {
            return;
        }
        let text = held.strip_prefix(BYTE_ORDER_MARK).unwrap_or(held);
        let Some(start) = text.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            // In an event stream, leading white space is empty lines.
            held.clear();
            return;
        };
        let text = text[start..].to_vec();
        self.body = match text[0] {
            b'{' | b'[' => Body::Document(Vec::new()),
            // HTML: a proxy's login page, or a wrong address.
            b'<' => {
                return self.fail(
                    self.callee
                        .plain("upstream_invalid_data", "sent an HTML page instead of a stream"),
                );
            }
            _ => Body::Events(sse::SseDecoder::new(MAX_EVENT_BYTES)),
        };
        self.push(&text);
    }

    /// Parses an event's data. It may contain several objects if the blank lines between events are
    /// missing.
    fn event(&mut self, data: &[u8]) {
        let data = data.trim_ascii();
        let is_last = data.strip_suffix(DONE);
        let data = is_last.unwrap_or(data);
        // Anything but an object is a keep-alive: a timestamp, a word.
        if data.trim_ascii_start().starts_with(b"{") {
            self.objects(data);
            if self.is_over {
                return;
            }
        } else if is_last.is_none() {
            self.parts.push_back(Ok(PassthroughPart::KeepAlive));
        }
        self.is_over = is_last.is_some();
    }

    /// Parses consecutive objects. Invalid JSON is repaired only if it cannot be parsed otherwise.
    fn objects(&mut self, data: &[u8]) {
        let mut objects = serde_json::Deserializer::from_slice(data).into_iter::<JsonFields>();
        while !self.is_over {
            let read = objects.byte_offset();
            match objects.next() {
                None => return,
                Some(Ok(event)) => self.take(event),
                Some(Err(_)) => {
                    let mut events = Vec::new();
                    let broken = json::read_all(&data[read..], |value: Value| {
                        events.extend(of_value(value));
                    })
                    .is_err();
                    for event in events {
                        self.take(event);
                    }
                    if broken {
                        self.fail(
                            self.callee
                                .plain("upstream_invalid_data", "sent an event that is not JSON"),
                        );
                    }
                    return;
                }
            }
        }
    }

    fn take(&mut self, mut event: JsonFields) {
        if self.is_over {
            return;
        }
        if let Some(reported) = error_in(&event, self.operation) {
            return self.fail(self.callee.in_band(reported));
        }
        self.halves.join(&mut event);
        match completions::translate(&mut event, &self.callee) {
            Ok(()) => self.parts.push_back(Ok(PassthroughPart::Event(event))),
            Err(failure) => self.fail(failure),
        }
    }

    fn too_large(&mut self) {
        self.fail(
            self.callee.plain("upstream_event_too_large", "sent an event of more than 8 MiB"),
        );
    }

    fn fail(&mut self, failure: ProviderFailure) {
        self.parts.push_back(Err(failure));
        self.is_over = true;
    }
}

/// Whether data is complete: any number of objects, and optionally the end marker.
fn is_whole(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    let data = data.strip_suffix(DONE).unwrap_or(data);
    !data.starts_with(b"{")
        || serde_json::Deserializer::from_slice(data)
            .into_iter::<serde::de::IgnoredAny>()
            .all(|object| object.is_ok())
}

#[cfg(test)]
mod tests {
    use engine::provider::failure::FailureScope;
    use proptest::prelude::*;

    use super::super::super::sample;
    use super::*;

    /// The result of parsing a body in pieces: events as JSON, `…` for a keep-alive, and the code
    /// of a failure.
    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = EventReader::new(Operation::Completions, sample::north());
        let mut found = Vec::new();
        let mut take = |reader: &mut EventReader| {
            while let Some(part) = reader.next_part() {
                found.push(match part {
                    Ok(PassthroughPart::Event(event)) => {
                        String::from_utf8(event.to_bytes()).unwrap()
                    }
                    Ok(PassthroughPart::KeepAlive | PassthroughPart::Document(_)) => "…".to_owned(),
                    Ok(PassthroughPart::Progress) => continue,
                    Err(failure) => format!("{} {:?}", failure.fault.code, failure.scope),
                });
            }
        };
        for piece in pieces {
            reader.push(piece);
            take(&mut reader);
        }
        reader.finish();
        take(&mut reader);
        assert!(reader.is_over());
        found
    }

    fn check(body: &str, expected: &[&str]) {
        assert_eq!(read(&[body.as_bytes()]), expected, "{body}");
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes), expected, "byte by byte: {body}");
    }

    const A: &str = r#"{"choices":[{"text":"a"}]}"#;
    const B: &str = r#"{"choices":[{"text":"b"}]}"#;

    #[test]
    fn events_up_to_the_end() {
        check(&format!("data: {A}\n\ndata: {B}\r\n\r\ndata: [DONE]\n\ndata: {A}\n\n"), &[A, B]);
        check(&format!("\u{feff}\n: hi\n\ndata: {A}\n\n"), &["…", A]);
        check(&format!("data: {A}\n\ndata: {B}"), &[A, B]);
    }

    #[test]
    fn events_without_blank_lines_and_one_over_several_lines() {
        check(&format!("data: {A}\ndata: {B}\ndata: [DONE]\n"), &[A, B]);
        check("data: {\ndata: \"choices\":[]\ndata: }\n\n", &[r#"{"choices":[]}"#]);
    }

    #[test]
    fn anything_but_an_object_is_a_keep_alive() {
        check(
            &format!("event: ping\ndata: 2026-11-29T00:00:00Z\n\ndata: null\n\ndata: {A}\n\n"),
            &["…", "…", A],
        );
    }

    #[test]
    fn a_truncated_event_is_not_passed_on() {
        check(&format!("data: {A}\n\ndata: {{\"choices\":[{{\"te"), &[A]);
        check("data: {\"choices\":[{\"te\n\n", &["upstream_invalid_data Upstream(None)"]);
    }

    #[test]
    fn errors_are_found_in_events_and_documents() {
        let error = r#"{"error":{"message":"slow down","code":429}}"#;
        let rate = format!("rate_limit_exceeded {:?}", FailureScope::RateLimited(None));
        check(&format!("data: {A}\n\ndata: {error}\n\ndata: {B}\n\n"), &[A, &rate]);
        check(error, &[&rate]);
        check("<html>", &["upstream_invalid_data Upstream(None)"]);
        check("{}", &["upstream_invalid_data Upstream(None)"]);
        check(
            &format!("data: {}\n\n", r#"{"error":null,"choices":[]}"#),
            &[r#"{"error":null,"choices":[]}"#],
        );
    }

    #[test]
    fn errors_have_many_formats() {
        let too_long = r#"{"object":"error","message":"prompt has 5000 tokens, the model takes 4096","type":"BadRequestError","param":null,"code":400}"#;
        let busy = r#"{"code":50505,"message":"Model service overloaded","data":null}"#;
        for error in [too_long, busy] {
            let found = read(&[format!("data: {A}\n\ndata: {error}\n\n").as_bytes()]);
            assert!(found.len() == 2 && found[0] == A && !found[1].starts_with('{'), "{found:?}");
        }
        // Next to `choices`, these are the upstream's own fields.
        let odd = r#"{"code":0,"message":"ok","choices":[]}"#;
        check(&format!("data: {odd}\n\n"), &[odd]);
    }

    #[test]
    fn one_invalid_character_does_not_break_a_response() {
        let halves = r#"{"choices":[{"text":"a \ud83d"}]}"#;
        let (more, whole) =
            (r#"{"choices":[{"text":"\ude00 b"}]}"#, r#"{"choices":[{"text":"\ud83d\ude00 b"}]}"#);
        check(
            &format!("data: {halves}\n\ndata: {more}\n\n"),
            &[r#"{"choices":[{"text":"a "}]}"#, whole],
        );
        check(
            "data: {\"choices\":[{\"text\":\"a\tb\",\"logprobs\":NaN}]}\n\n",
            &[r#"{"choices":[{"text":"a\tb","logprobs":null}]}"#],
        );
        check(
            "data: {\"choices\":[{\"text\":\"a \\ud83d\",\"x\":NaN}]}\n\n",
            &["{\"choices\":[{\"text\":\"a \u{fffd}\",\"x\":null}]}"],
        );
        let twice = r#"{"choices":[],"choices":[{"text":"a"}]}"#;
        check(&format!("data: {twice}\n\n"), &[A]);
    }

    #[test]
    fn a_finish_reason_that_means_failed_ends_the_stream_with_an_error() {
        let aborted = r#"{"choices":[{"text":"b","finish_reason":"abort"}]}"#;
        check(
            &format!("data: {A}\n\ndata: {aborted}\n\ndata: [DONE]\n\n"),
            &[A, "upstream_error Upstream(None)"],
        );
        check(aborted, &["upstream_error Upstream(None)"]);
    }

    #[test]
    fn a_document_instead_of_a_stream_is_its_only_event() {
        let whole = r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#;
        check(whole, &[whole]);
        check(A, &["upstream_truncated Upstream(None)"]);
    }

    proptest! {
        #[test]
        fn splitting_does_not_change_the_result(sizes in prop::collection::vec(1_usize..9, 1..5)) {
            let body = format!(": hi\r\ndata: {A}\r\n\r\ndata: {B}\ndata: {A}\n\ndata: [DONE]\n\n");
            prop_assert_eq!(read(&sample::split(&body, &sizes)), read(&[body.as_bytes()]));
        }
    }
}

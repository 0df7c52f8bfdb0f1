//! Helpers for the tests of all wires: parse a body in pieces, build expected events.

#![expect(clippy::unnecessary_wraps, reason = "words as a reader gives them")]

use std::fmt::Write;

use engine::provider::event::{Finish, ModelEvent, OpaqueStep, ToolCallDelta};
use engine::provider::failure::{FailureScope, ProviderFailure};
use proptest::prelude::*;
use protocol::request::{Create, Tool};
use serde_json::{Map, Value, json};

use super::fault::Callee;
use super::reader::StreamParser;
use crate::tools::{Lifter, OfferedTools, UnknownTools};

/// The result of parsing a body.
pub(crate) type ParsedEvents = Vec<Result<ModelEvent, ProviderFailure>>;

pub(crate) const STOP: Result<ModelEvent, ProviderFailure> = Ok(ModelEvent::Finish(Finish::Stop));

pub(crate) fn north() -> Callee {
    Callee { name: "north".into(), ..Callee::default() }
}

/// Pushes `pieces` and the end of the body, and takes all events.
pub(crate) fn read(mut reader: impl StreamParser, pieces: &[&[u8]]) -> ParsedEvents {
    let mut words = Vec::new();
    for piece in pieces {
        reader.push(piece);
        words.extend(std::iter::from_fn(|| reader.next_event()));
    }
    reader.finish();
    words.extend(std::iter::from_fn(|| reader.next_event()));
    words
}

/// The events without keep-alives.
pub(crate) fn spoken(words: ParsedEvents) -> ParsedEvents {
    words.into_iter().filter(|word| *word != Ok(ModelEvent::KeepAlive)).collect()
}

/// Splits `body` into pieces of `sizes`, repeatedly.
pub(crate) fn split<'a>(body: &'a str, sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut sizes) = (body.as_bytes(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Checks that `words` are those `before` an error with this status, code and scope, and returns
/// the error.
#[track_caller]
pub(crate) fn check_failure(
    mut words: ParsedEvents,
    before: &[Result<ModelEvent, ProviderFailure>],
    expected: (u16, &str, FailureScope),
) -> ProviderFailure {
    let failure = words.pop().unwrap().unwrap_err();
    assert_eq!(words, before);
    assert_eq!((failure.fault.status, failure.fault.code.as_str(), failure.scope), expected);
    failure
}

pub(crate) fn text(text: &str) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Text { text: text.into(), logprobs: Vec::new() })
}

pub(crate) fn thought(text: &str) -> Result<ModelEvent, ProviderFailure> {
    Ok(ModelEvent::Reasoning(text.into()))
}

pub(crate) fn call(
    index: u64,
    id: Option<&str>,
    name: Option<&str>,
    arguments: &str,
) -> Result<ModelEvent, ProviderFailure> {
    let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
    Ok(ModelEvent::ToolCall(ToolCallDelta {
        index,
        id,
        name,
        arguments: arguments.into(),
        ..ToolCallDelta::default()
    }))
}

/// A call with an unknown field.
pub(crate) fn call_with(
    extra: Value,
    call: Result<ModelEvent, ProviderFailure>,
) -> Result<ModelEvent, ProviderFailure> {
    let (Ok(ModelEvent::ToolCall(delta)), Value::Object(extra)) = (call, extra) else {
        unreachable!("it is a call and an object")
    };
    Ok(ModelEvent::ToolCall(ToolCallDelta { extra, ..delta }))
}

/// A complete item.
pub(crate) fn item(key: u64, item: Value) -> Result<ModelEvent, ProviderFailure> {
    let Value::Object(item) = item else { unreachable!("it is an object") };
    Ok(ModelEvent::Item(OpaqueStep::Done { key, item }))
}

/// The first generated image.
pub(crate) fn image(format: &str, data: &str) -> Result<ModelEvent, ProviderFailure> {
    item(
        u64::MAX,
        json!({ "type": "image_generation_call", "status": "completed", "output_format": format, "result": data }),
    )
}

/// A lifter with functions of these names.
pub(crate) fn lifter(names: &[&str]) -> Lifter {
    let tools = names.iter().map(|name| Tool::Function(crate::sample::tool(name))).collect();
    let create = Create { tools, ..crate::sample::create() };
    Lifter::new(&OfferedTools::new(&create, &[]), UnknownTools::Pass)
}

/// Checks the events of a body without keep-alives, as a whole and byte by byte.
#[track_caller]
pub(crate) fn check_words(
    read: impl Fn(&[&[u8]]) -> ParsedEvents,
    body: impl AsRef<[u8]>,
    expected: &[Result<ModelEvent, ProviderFailure>],
) {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(body);
    assert_eq!(spoken(read(&[body])), expected, "{shown}");
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(spoken(read(&bytes)), expected, "byte by byte: {shown}");
}

/// Checks the events of a body before its failure, and the failure's status, code and part of its
/// message.
#[track_caller]
pub(crate) fn check_fails(
    read: impl Fn(&[&[u8]]) -> ParsedEvents,
    body: &str,
    before: &[Result<ModelEvent, ProviderFailure>],
    expected: (u16, &str, &str),
) {
    let mut words = spoken(read(&[body.as_bytes()]));
    let fault = words.pop().unwrap_or(STOP).expect_err(body).fault;
    assert_eq!(words, before, "{body}");
    assert_eq!(
        (fault.status, fault.code.as_str()),
        (expected.0, expected.1),
        "{body}: {}",
        fault.message
    );
    assert!(
        fault.message.contains(expected.2) && fault.message.contains("'north'"),
        "{body}: {}",
        fault.message
    );
}

/// Checks the events before a failure, without keep-alives, and returns its fault.
#[track_caller]
pub(crate) fn check_words_before_failure(
    words: ParsedEvents,
    before: &[Result<ModelEvent, ProviderFailure>],
) -> protocol::fault::Fault {
    let mut words = spoken(words);
    let fault = words.pop().unwrap_or(STOP).expect_err("a failure").fault;
    assert_eq!(words, before);
    fault
}

/// Any JSON value.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let fields = prop::collection::vec(("[a-z]{1,4}", inner.clone()), 0..3);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Fields whose values are passed on: anything inside them is not an unknown field.
const OPAQUE: [&str; 12] = [
    "args",
    "arguments",
    "input",
    "logprobs",
    "logprobsResult",
    "annotation",
    "annotations",
    "citation",
    "citations",
    "search_results",
    "item",
    "images",
];

/// The events or lines of a body with an unknown field in the object that `place` selects.
pub(crate) fn with_unknown_field(body: &str, place: usize, value: &Value) -> String {
    let mut documents: Vec<(String, Option<Value>)> = Vec::new();
    for line in body.split_inclusive('\n') {
        let start = line
            .find('{')
            .filter(|start| ["", "data: ", "data:"].contains(&&line[..*start]))
            .unwrap_or(line.len());
        let document = serde_json::from_str(&line[start..]).ok();
        let before = if document.is_some() { &line[..start] } else { line };
        documents.push((before.to_owned(), document));
    }
    let count: usize = documents.iter().flat_map(|(_, document)| document).map(objects).sum();
    let mut left = place.checked_rem(count).unwrap_or(0);
    for document in documents.iter_mut().filter_map(|(_, document)| document.as_mut()) {
        insert(document, &mut left, value);
    }
    documents.into_iter().fold(String::new(), |mut body, (before, document)| {
        body.push_str(&before);
        if let Some(document) = document {
            _ = writeln!(body, "{document}");
        }
        body
    })
}

fn objects(value: &Value) -> usize {
    inner(value).map(objects).sum::<usize>() + usize::from(value.is_object())
}

fn inner(value: &Value) -> impl Iterator<Item = &Value> {
    let fields = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !OPAQUE.contains(&name.as_str()))
        .map(|(_, value)| value);
    fields.chain(value.as_array().into_iter().flatten())
}

/// Inserts it into the object reached when `left` is used up.
fn insert(value: &mut Value, left: &mut usize, unknown: &Value) {
    match value {
        Value::Object(fields) => {
            if *left == 0 {
                fields.insert("x_unknown".into(), unknown.clone());
            }
            *left = left.wrapping_sub(1);
            fields
                .iter_mut()
                .filter(|(name, _)| !OPAQUE.contains(&name.as_str()))
                .for_each(|(_, value)| insert(value, left, unknown));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| insert(value, left, unknown)),
        _ => {}
    }
}

/// Removes the unknown field from an object, at any depth.
fn known(mut fields: Map<String, Value>) -> Map<String, Value> {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.shift_remove("x_unknown");
                fields.values_mut().for_each(clean);
            }
            Value::Array(list) => list.iter_mut().for_each(clean),
            _ => {}
        }
    }
    fields.shift_remove("x_unknown");
    fields.values_mut().for_each(clean);
    fields
}

/// The events without keep-alives and without unknown fields.
pub(crate) fn essential(words: ParsedEvents) -> ParsedEvents {
    let essential = |word| match word {
        Ok(ModelEvent::KeepAlive | ModelEvent::Extra(_) | ModelEvent::ReasoningExtra(_)) => None,
        Ok(ModelEvent::ToolCall(delta)) => {
            let delta = ToolCallDelta { extra: Map::new(), ..delta };
            let says = delta.id.is_some() || delta.name.is_some() || !delta.arguments.is_empty();
            says.then_some(Ok(ModelEvent::ToolCall(delta)))
        }
        // Events of hosted tools are passed on unchanged.
        Ok(ModelEvent::Item(OpaqueStep::Event { key, kind, mut fields })) => {
            fields.shift_remove("x_unknown");
            Some(Ok(ModelEvent::Item(OpaqueStep::Event { key, kind, fields })))
        }
        Ok(ModelEvent::Item(OpaqueStep::Done { key, item })) => {
            Some(Ok(ModelEvent::Item(OpaqueStep::Done { key, item: known(item) })))
        }
        other => Some(other),
    };
    words.into_iter().filter_map(essential).collect()
}

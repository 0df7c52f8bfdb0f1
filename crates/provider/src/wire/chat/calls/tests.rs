//! Pieces of calls as various servers send them.

use proptest::prelude::*;
use protocol::request::{Create, Tool};
use serde_json::{Value, json};

use super::*;
use crate::sample;
use crate::tools::{OfferedTools, UnknownTools};

fn lifter(names: &[&str]) -> Lifter {
    let tools: Vec<Tool> = names
        .iter()
        .map(|name| serde_json::from_value(json!({ "type": "function", "name": name })).unwrap())
        .collect();
    let create = Create { tools, ..sample::create() };
    Lifter::new(&OfferedTools::new(&create, &[]), UnknownTools::Pass)
}

/// A piece from `[index, id, name, arguments]`.
fn piece(value: &Value) -> CallPiece {
    let text = |at: usize| value[at].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    CallPiece {
        index: value[0].as_u64(),
        id: text(1),
        name: text(2),
        arguments: text(3).unwrap_or_default(),
        ..CallPiece::default()
    }
}

/// The resulting calls, as `id name arguments`.
fn calls(pieces: &[Value], names: &[&str]) -> Vec<String> {
    let lifter = lifter(names);
    let mut calls = ToolCalls::default();
    let mut read: Vec<(Option<String>, String, String)> = Vec::new();
    let mut said: Vec<ToolCallDelta> =
        pieces.iter().flat_map(|value| calls.read(piece(value), &lifter)).collect();
    said.extend(calls.names());
    for delta in said {
        let index = usize::try_from(delta.index).unwrap();
        read.resize_with(read.len().max(index + 1), Default::default);
        let (id, name, arguments) = &mut read[index];
        assert!(id.is_none() || delta.id.is_none(), "an id is emitted once");
        assert!(name.is_empty() || delta.name.is_none(), "a name is emitted once");
        *id = id.take().or(delta.id);
        name.push_str(delta.name.as_deref().unwrap_or_default());
        arguments.push_str(&delta.arguments);
    }
    read.into_iter()
        .map(|(id, name, arguments)| format!("{} {name} {arguments}", id.unwrap_or_default()))
        .collect()
}

fn check(pieces: Value, expected: &[&str]) {
    let Value::Array(pieces) = pieces else { panic!("no list") };
    assert_eq!(calls(&pieces, &["f", "g", "get_weather"]), expected, "{pieces:?}");
}

#[test]
fn calls_as_documented() {
    check(
        json!([
            [0, "c1", "f", ""],
            [0, "", "", "{\"a\""],
            [1, "c2", "g", ""],
            [0, "", "", ":1}"],
            [1, "", "", "{}"]
        ]),
        &["c1 f {\"a\":1}", "c2 g "],
    );
    check(
        json!([[0, "c1", "f", "{\"a\":1}"], [1, "c2", "f", "{\"a\":1}"]]),
        &["c1 f {\"a\":1}", "c2 f {\"a\":1}"],
    );
}

#[test]
fn complete_calls_with_one_index_and_no_id_are_separate() {
    check(
        json!([[0, "", "f", "{\"city\":\"A\"}"], [0, "", "f", "{\"city\":\"B\"}"]]),
        &[" f {\"city\":\"A\"}", " f {\"city\":\"B\"}"],
    );
    check(
        json!([[0, "x", "f", "{\"city\":\"A\"}"], [0, "x", "f", "{\"city\":\"B\"}"]]),
        &["x f {\"city\":\"A\"}", " f {\"city\":\"B\"}"],
    );
    check(json!([[0, "", "f", "{}"], [0, "", "g", "{}"]]), &[" f ", " g "]);
    check(
        json!([[null, "", "f", "{\"a\":1}"], [null, "", "", "{\"a\":2}"]]),
        &[" f {\"a\":1}", " f {\"a\":2}"],
    );
}

#[test]
fn pieces_of_one_call_stay_together_despite_index_and_id() {
    check(
        json!([[0, "c1", "f", "{\"ci"], [0, "c2", "f", "ty\":"], [0, "c3", "f", "\"A\"}"]]),
        &["c1 f {\"city\":\"A\"}"],
    );
    check(
        json!([[0, "c1", "f", "{\"ci"], [1, "", "", "ty\":"], [2, "", "", "\"A\"}"]]),
        &["c1 f {\"city\":\"A\"}"],
    );
    check(
        json!([[null, "c1", "f", "{\"ci"], [null, "c1", "", "ty\":\"A\"}"]]),
        &["c1 f {\"city\":\"A\"}"],
    );
    check(
        json!([[null, "", "f", "{\"ci"], [null, "", "f", "ty\":\"A\"}"]]),
        &[" f {\"city\":\"A\"}"],
    );
}

#[test]
fn an_empty_object_may_be_a_placeholder_for_arguments() {
    check(
        json!([[0, "c1", "f", "{}"], [0, "", "", "{\"city\":"], [0, "", "", "\"A\"}"]]),
        &["c1 f {\"city\":\"A\"}"],
    );
    check(
        json!([[0, "c1", "f", "{}"], [0, "c1", "f", "{\"city\":\"A\"}"]]),
        &["c1 f {\"city\":\"A\"}"],
    );
    check(json!([[0, "c1", "f", "{}"]]), &["c1 f "]);
}

#[test]
fn names_may_arrive_in_pieces_or_repeatedly() {
    check(
        json!([[0, "c1", "get_", ""], [0, "", "weather", ""], [0, "", "", "{\"a\":1}"]]),
        &["c1 get_weather {\"a\":1}"],
    );
    check(
        json!([
            [0, "c1", "get_weather", ""],
            [0, "c1", "get_weather", "{\"a\""],
            [0, "c1", "get_weather", ":1}"]
        ]),
        &["c1 get_weather {\"a\":1}"],
    );
    check(
        json!([[0, "c1", "un", ""], [0, "", "known", ""], [0, "", "", "{\"a\":1}"]]),
        &["c1 unknown {\"a\":1}"],
    );
    check(json!([[0, "c1", "f", ""], [0, "c2", "g", ""]]), &["c1 f ", "c2 g "]);
    check(
        json!([
            [0, "c1", "get", ""],
            [0, "c1", "get_wea", ""],
            [0, "c1", "get_weather", "{\"a\":1}"]
        ]),
        &["c1 get_weather {\"a\":1}"],
    );
    check(
        json!([[0, "", "get", ""], [0, "", "get_wea", ""], [0, "", "get_weather", ""]]),
        &[" get_weather "],
    );
    check(json!([[0, "a", "f", ""], [0, "b", "f", ""]]), &["a f ", "b f "]);
}

#[test]
fn a_summary_of_a_call_is_not_a_new_call() {
    check(
        json!([[0, "c1", "f", "{\"a\""], [0, "", "", ":1}"], [0, "c1", "f", "{\"a\":1}"]]),
        &["c1 f {\"a\":1}"],
    );
    check(
        json!([
            [0, "c1", "f", "{\"a\":1}"],
            [0, "", "", "{\"a\":1}"],
            [0, "c1", "f", ""],
            [0, "", "", "\n"]
        ]),
        &["c1 f {\"a\":1}"],
    );
}

proptest! {
    /// Any number of calls in any number of pieces, of which only the first has a name, are
    /// told apart by index, by id, or by their order alone.
    #[test]
    fn any_fragmentation_gives_the_same_calls(
        values in proptest::collection::vec((0..2_usize, "[a-z\"\\\\{}]{0,6}"), 1..4),
        cuts in proptest::collection::vec(0..40_usize, 0..6),
        form in 0..3_usize,
    ) {
        let mut pieces = Vec::new();
        let mut expected = Vec::new();
        for (number, (name, text)) in values.iter().enumerate() {
            let (name, arguments) = (["f", "g"][*name], json!({ "a": text }).to_string());
            let id = format!("c{number}");
            let index = if form == 0 { json!(number) } else if form == 1 { json!(0) } else { Value::Null };
            let mut starts: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < arguments.len()).chain([0]).collect();
            starts.sort_unstable();
            starts.dedup();
            for (at, start) in starts.iter().enumerate() {
                let end = starts.get(at + 1).copied().unwrap_or(arguments.len());
                let (id, name) = if at == 0 { (id.as_str(), name) } else { ("", "") };
                pieces.push(json!([index, id, name, &arguments[*start..end]]));
            }
            expected.push(format!("{id} {name} {arguments}"));
        }
        prop_assert_eq!(calls(&pieces, &["f", "g"]), expected);
    }
}

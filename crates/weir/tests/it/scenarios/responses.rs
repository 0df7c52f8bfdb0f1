//! The dialect `responses`: the order of its events, and their content.

use serde_json::Value;

use super::content::{ContentToolCall, ResponseContent};
use super::resource;
use super::table::{ExpectedOutcome, ExpectedUsage, Scenario};

/// An item during its events.
struct Item {
    id: String,
    kind: String,
    arguments: String,
    parts: Vec<Part>,
    summary: Vec<Part>,
    done: Option<Value>,
}

#[derive(Default)]
struct Part {
    text: String,
    is_done: bool,
}

/// Checks a whole stream and gives the response in its terminal event.
pub(crate) fn check_stream(scenario: &Scenario, data: &[String]) -> Value {
    let name = &scenario.name;
    let events: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for (position, event) in events.iter().enumerate() {
        assert_eq!(
            event["sequence_number"].as_u64(),
            Some(position as u64),
            "{name}: {}",
            kinds[position]
        );
        // The log entry is an event's only representation: its type and number come first.
        assert!(
            data[position].starts_with(&format!(
                "{{\"type\":\"{}\",\"sequence_number\":{position}",
                kinds[position]
            )),
            "{name}"
        );
    }
    let is_terminal = |kind: &str| {
        ["response.completed", "response.failed", "response.incomplete"].contains(&kind)
    };
    let ends: Vec<usize> =
        (0..kinds.len()).filter(|position| is_terminal(kinds[*position])).collect();
    assert_eq!(ends, [kinds.len() - 1], "{name}: exactly one terminal event, and it is the last");
    assert_eq!(kinds[..2], ["response.created", "response.in_progress"], "{name}");

    let output = check_items(name, &events);
    let terminal = &events[events.len() - 1]["response"];
    assert!(
        terminal["output"] == Value::Array(output),
        "{name}: the items are not those of the response"
    );
    for snapshot in events.iter().filter_map(|event| event.get("response")) {
        resource::check(name, snapshot);
        assert_eq!(snapshot["id"], terminal["id"], "{name}");
    }
    check_error(scenario, &events);
    check_end(scenario, terminal);
    terminal.clone()
}

/// Checks a response that has ended.
pub(crate) fn check_end(scenario: &Scenario, response: &Value) {
    let name = &scenario.name;
    resource::check(name, response);
    let (status, reason, code) = match scenario.outcome {
        ExpectedOutcome::Completed(_) => ("completed", None, None),
        ExpectedOutcome::Incomplete(reason, _) => ("incomplete", Some(reason), None),
        ExpectedOutcome::Fails { code, .. } => ("failed", None, Some(code)),
    };
    assert_eq!(response["status"], status, "{name}");
    assert_eq!(response["incomplete_details"]["reason"].as_str(), reason, "{name}");
    assert_eq!(response["error"]["code"].as_str(), code, "{name}");
    said(response).check(name, &scenario.said);
    for item in response["output"].as_array().unwrap() {
        let is_whole = item["status"].as_str().is_none_or(|status| status == "completed");
        assert!(is_whole || status != "completed", "{name}: {}", item["status"]);
    }
    let usage = &response["usage"];
    let counts = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap();
    let cost = match usage["source"].as_str() {
        None => ExpectedUsage::Unknown,
        Some("counted") if counts("/input_tokens") > 0 && counts("/output_tokens") > 0 => {
            ExpectedUsage::Counted
        }
        Some(_) => ExpectedUsage::Provider(
            counts("/input_tokens"),
            counts("/output_tokens"),
            counts("/output_tokens_details/reasoning_tokens"),
        ),
    };
    assert_eq!(cost, scenario.cost, "{name}: {usage}");
}

/// An `error` event is there exactly if the response fails, just before its end, in both formats.
fn check_error(scenario: &Scenario, events: &[Value]) {
    let errors: Vec<usize> =
        (0..events.len()).filter(|index| events[*index]["type"] == "error").collect();
    let ExpectedOutcome::Fails { status, code, .. } = scenario.outcome else {
        return assert!(errors.is_empty(), "{}", scenario.name);
    };
    assert_eq!(errors, [events.len() - 2], "{}", scenario.name);
    let event = &events[errors[0]];
    assert_eq!(event["code"], code, "{}", scenario.name);
    assert_eq!(
        (&event["error"]["code"], &event["error"]["message"]),
        (&event["code"], &event["message"]),
        "{}",
        scenario.name
    );
    assert_eq!(event["error"]["status"].as_u64(), Some(status.into()), "{}", scenario.name);
}

/// Follows every item from `added` to `done`, and returns them as completed.
fn check_items(name: &str, events: &[Value]) -> Vec<Value> {
    let mut items: Vec<Item> = Vec::new();
    for event in events {
        let kind = event["type"].as_str().unwrap();
        let Some(index) =
            event["output_index"].as_u64().map(|index| usize::try_from(index).unwrap())
        else {
            assert!(
                event.get("response").is_some() || kind == "error",
                "{name}: {kind} without a place"
            );
            continue;
        };
        if kind == "response.output_item.added" {
            assert_eq!(index, items.len(), "{name}: items come in order");
            items.push(begun(name, &event["item"]));
            continue;
        }
        let item = &mut items[index];
        assert!(item.done.is_none(), "{name}: {kind} after the item was done");
        if kind == "response.output_item.done" {
            finish(name, item, &event["item"]);
        } else {
            assert_eq!(event["item_id"].as_str(), Some(item.id.as_str()), "{name}: {kind}");
            advance(name, item, kind, event);
        }
    }
    items
        .into_iter()
        .map(|item| item.done.unwrap_or_else(|| panic!("{name}: an item that was never done")))
        .collect()
}

fn begun(name: &str, item: &Value) -> Item {
    resource::check_item(name, item);
    assert!(item["content"].as_array().is_none_or(Vec::is_empty), "{name}: an item starts empty");
    assert!(["in_progress", ""].contains(&item["status"].as_str().unwrap_or_default()), "{name}");
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    Item {
        id: text("id"),
        kind: text("type"),
        arguments: text("arguments"),
        parts: Vec::new(),
        summary: Vec::new(),
        done: None,
    }
}

/// Handles an event between an item's `added` and `done`.
fn advance(name: &str, item: &mut Item, kind: &str, event: &Value) {
    let expected_kind = match kind {
        "response.reasoning_text.delta" | "response.reasoning_text.done" => "reasoning",
        _ if kind.starts_with("response.reasoning_summary_") => "reasoning",
        "response.function_call_arguments.delta" | "response.function_call_arguments.done" => {
            "function_call"
        }
        "response.content_part.added" | "response.content_part.done" => item.kind.as_str(),
        _ => "message",
    };
    assert_eq!(item.kind, expected_kind, "{name}: {kind}");
    match kind {
        "response.function_call_arguments.delta" => {
            return item.arguments.push_str(event["delta"].as_str().unwrap());
        }
        "response.function_call_arguments.done" => {
            return assert_eq!(event["arguments"], item.arguments.as_str(), "{name}");
        }
        _ => {}
    }
    let is_summary = kind.starts_with("response.reasoning_summary_");
    let (key, parts) = if is_summary {
        ("summary_index", &mut item.summary)
    } else {
        ("content_index", &mut item.parts)
    };
    let index = usize::try_from(event[key].as_u64().unwrap()).unwrap();
    if kind == "response.content_part.added" || kind == "response.reasoning_summary_part.added" {
        assert_eq!(index, parts.len(), "{name}: parts come in order");
        assert!(parts.iter().all(|part| part.is_done), "{name}: one part at a time");
        resource::check_part(name, &event["part"]);
        return parts.push(Part::default());
    }
    let part = &mut parts[index];
    assert!(!part.is_done, "{name}: {kind} after the part was done");
    match kind {
        "response.output_text.delta"
        | "response.refusal.delta"
        | "response.reasoning_text.delta"
        | "response.reasoning_summary_text.delta" => {
            assert!(kind != "response.output_text.delta" || event["logprobs"].is_array(), "{name}");
            part.text.push_str(event["delta"].as_str().unwrap());
        }
        "response.output_text.done"
        | "response.reasoning_text.done"
        | "response.reasoning_summary_text.done" => {
            assert!(event["text"] == part.text.as_str(), "{name}: {kind}");
        }
        "response.refusal.done" => {
            assert!(event["refusal"] == part.text.as_str(), "{name}: {kind}");
        }
        "response.content_part.done" | "response.reasoning_summary_part.done" => {
            resource::check_part(name, &event["part"]);
            assert!(text_of(&event["part"]) == part.text, "{name}: {kind}");
            part.is_done = true;
        }
        _ => panic!("{name}: an event of type {kind}"),
    }
}

fn finish(name: &str, item: &mut Item, done: &Value) {
    resource::check_item(name, done);
    assert_eq!(
        (done["id"].as_str(), done["type"].as_str()),
        (Some(item.id.as_str()), Some(item.kind.as_str())),
        "{name}"
    );
    assert_eq!(done["arguments"].as_str().unwrap_or_default(), item.arguments, "{name}");
    for (key, parts) in [("content", &item.parts), ("summary", &item.summary)] {
        let texts: Vec<&str> = done[key].as_array().into_iter().flatten().map(text_of).collect();
        assert!(
            texts.iter().eq(parts.iter().map(|part| &part.text)),
            "{name}: the deltas are not the item"
        );
        assert!(parts.iter().all(|part| part.is_done), "{name}: a part was never done");
    }
    item.done = Some(done.clone());
}

fn text_of(part: &Value) -> &str {
    part["text"].as_str().or_else(|| part["refusal"].as_str()).unwrap()
}

/// The content of a response's output.
pub(crate) fn said(response: &Value) -> ResponseContent {
    let mut said = ResponseContent::default();
    for item in response["output"].as_array().unwrap() {
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        if item["type"] == "function_call" {
            said.calls.push(ContentToolCall {
                id: text("call_id"),
                name: text("name"),
                arguments: text("arguments"),
            });
        }
        for part in
            ["summary", "content"].into_iter().filter_map(|key| item[key].as_array()).flatten()
        {
            match part["type"].as_str().unwrap() {
                "output_text" => said.text.push_str(text_of(part)),
                "refusal" => said.refusal.push_str(text_of(part)),
                _ => said.reasoning.push_str(text_of(part)),
            }
        }
    }
    said
}

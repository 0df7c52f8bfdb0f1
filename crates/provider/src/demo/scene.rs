//! The demo's view of a conversation.

use std::collections::HashMap;

use engine::provider::request::ModelRequest;
use protocol::item::{Item, Message, Role};

use super::pieces::is_cjk;

/// The most words of a message that are looked at one by one: of short ones, a list takes many times
/// their text.
pub(super) const MAX_WORDS: usize = 2_000;

/// The demo's view of a conversation.
#[derive(Debug)]
pub(super) struct Scene {
    /// The last user message, trimmed.
    pub(super) said: String,
    /// Earlier user messages, oldest first, including summaries of them.
    pub(super) before: Vec<String>,
    /// Whether part of the conversation is known from a summary only.
    pub(super) has_summary: bool,
    /// The number of messages.
    pub(super) messages: usize,
    /// The number of items: a counter for call ids that grows with the conversation.
    pub(super) items: usize,
    /// The function outputs at the end, which the response is about.
    pub(super) outputs: Vec<FunctionResult>,
}

/// A function's output.
#[derive(Debug)]
pub(super) struct FunctionResult {
    /// The function; `None` if its call is not in the conversation.
    pub(super) name: Option<String>,
    /// Its result.
    pub(super) text: String,
}

impl Scene {
    /// Reads the context.
    pub(super) fn of(request: &ModelRequest) -> Self {
        let is_users =
            |item: &Item| matches!(item, Item::Message(message) if message.role == Role::User);
        let last = request.context.iter().rposition(is_users);
        let said = last.and_then(|last| heard(&request.context[last])).unwrap_or_default();
        let others = request.context.iter().enumerate().filter(|(index, _)| Some(*index) != last);
        let before: Vec<String> = others.filter_map(|(_, item)| heard(item)).collect();
        let has_summary = request.context.iter().any(|item| matches!(item, Item::Compaction(_)));
        let is_output = |item: &&Item| {
            matches!(item, Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_))
        };
        let first =
            request.context.iter().rposition(|item| !is_output(&item)).map_or(0, |last| last + 1);
        let names =
            if first < request.context.len() { called(&request.context) } else { HashMap::new() };
        let outputs =
            request.context[first..].iter().filter_map(|item| output(item, &names)).collect();
        Self {
            said,
            before,
            has_summary,
            messages: messages(&request.context).count(),
            items: request.context.len(),
            outputs,
        }
    }

    /// Whether to respond in Chinese: there are Chinese characters, and no kana or hangul.
    pub(super) fn is_chinese(&self) -> bool {
        let is_other =
            |character| matches!(character, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}');
        self.said.chars().any(is_cjk) && !self.said.chars().any(is_other)
    }
}

fn messages(context: &[Item]) -> impl Iterator<Item = &Message> {
    context
        .iter()
        .filter_map(|item| if let Item::Message(message) = item { Some(message) } else { None })
}

/// A user message, or a summary.
fn heard(item: &Item) -> Option<String> {
    match item {
        Item::Message(message) if message.role == Role::User => Some(text(message)),
        Item::Compaction(compaction) => Some(compaction.summary.clone()),
        Item::Message(_)
        | Item::FunctionCall(_)
        | Item::FunctionCallOutput(_)
        | Item::CustomToolCall(_)
        | Item::CustomToolCallOutput(_)
        | Item::Reasoning(_)
        | Item::Opaque(_) => None,
    }
}

fn text(message: &Message) -> String {
    let parts: Vec<&str> = message.content.iter().filter_map(|part| part.text()).collect();
    parts.join("\n").trim().to_owned()
}

/// The names of called tools by call id.
fn called(context: &[Item]) -> HashMap<&str, &str> {
    // Of calls with the same id, the first counts.
    context.iter().rev().filter_map(call).collect()
}

fn call(item: &Item) -> Option<(&str, &str)> {
    match item {
        Item::FunctionCall(call) => Some((&call.call_id, &call.name)),
        Item::CustomToolCall(call) => Some((&call.call_id, &call.name)),
        _ => None,
    }
}

fn output(item: &Item, names: &HashMap<&str, &str>) -> Option<FunctionResult> {
    let (call_id, output) = match item {
        Item::FunctionCallOutput(output) => (&output.call_id, &output.output),
        Item::CustomToolCallOutput(output) => (&output.call_id, &output.output),
        _ => return None,
    };
    let name = names.get(call_id.as_str()).map(|name| (*name).to_owned());
    Some(FunctionResult { name, text: output.text() })
}

/// Splits `/command rest`; any other text is not a command.
pub(super) fn split(said: &str) -> Option<(&str, &str)> {
    let (command, rest) =
        said.strip_prefix('/')?.split_once(char::is_whitespace).unwrap_or((&said[1..], ""));
    Some((command, rest.trim()))
}

//! What the demo sees of a conversation.

use engine::provider::ModelRequest;
use protocol::item::{Item, Message, Role};

use super::pieces::is_cjk;

/// A conversation as the demo sees it.
#[derive(Debug)]
pub(super) struct Scene {
    /// What the user said last, trimmed.
    pub(super) said: String,
    /// What the user said before, oldest first, and what was summed up of it.
    pub(super) before: Vec<String>,
    /// Whether some of the conversation is known from a summary only.
    pub(super) has_summary: bool,
    /// How many messages there are.
    pub(super) messages: usize,
    /// How many items there are: a counter for call ids that grows with the conversation.
    pub(super) items: usize,
    /// The outputs of functions at the very end, which the answer is about.
    pub(super) outputs: Vec<Output>,
}

/// What a function gave.
#[derive(Debug)]
pub(super) struct Output {
    /// The function; a call that is not in the conversation has no name.
    pub(super) name: Option<String>,
    /// Its result.
    pub(super) text: String,
}

impl Scene {
    /// Looks at the context.
    pub(super) fn of(request: &ModelRequest) -> Self {
        let is_users = |item: &Item| matches!(item, Item::Message(message) if message.role == Role::User);
        let last = request.context.iter().rposition(is_users);
        let said = last.and_then(|last| heard(&request.context[last])).unwrap_or_default();
        let others = request.context.iter().enumerate().filter(|(index, _)| Some(*index) != last);
        let before: Vec<String> = others.filter_map(|(_, item)| heard(item)).collect();
        let has_summary = request.context.iter().any(|item| matches!(item, Item::Compaction(_)));
        let is_output = |item: &&Item| matches!(item, Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_));
        let mut outputs: Vec<_> = request.context.iter().rev().take_while(is_output).filter_map(|item| output(item, request)).collect();
        outputs.reverse();
        Self { said, before, has_summary, messages: messages(&request.context).count(), items: request.context.len(), outputs }
    }

    /// Whether to answer in Chinese: there are Chinese characters, and neither kana nor hangul beside them.
    pub(super) fn is_chinese(&self) -> bool {
        let is_other = |character| matches!(character, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}');
        self.said.chars().any(is_cjk) && !self.said.chars().any(is_other)
    }
}

fn messages(context: &[Item]) -> impl Iterator<Item = &Message> {
    context.iter().filter_map(|item| if let Item::Message(message) = item { Some(message) } else { None })
}

/// What the user said, or what was summed up of it.
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

fn output(item: &Item, request: &ModelRequest) -> Option<Output> {
    let (call_id, output) = match item {
        Item::FunctionCallOutput(output) => (&output.call_id, &output.output),
        Item::CustomToolCallOutput(output) => (&output.call_id, &output.output),
        _ => return None,
    };
    let name = request.context.iter().find_map(|item| match item {
        Item::FunctionCall(call) if call.call_id == *call_id => Some(call.name.clone()),
        Item::CustomToolCall(call) if call.call_id == *call_id => Some(call.name.clone()),
        _ => None,
    });
    Some(Output { name, text: output.text() })
}

//! A conversation as seen by an upstream that supports functions only.

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::item::{FunctionOutput, Item, ItemStatus, Message, OpaqueItem, Reasoning};
use serde_json::{Value, json};

use super::offer::{OfferedTools, TOOL_SEARCH};

/// One step of a conversation.
#[derive(Debug)]
pub(crate) enum ConversationStep<'a> {
    Message(&'a Message),
    Call(FunctionCallStep<'a>),
    Output(FunctionResultStep<'a>),
    Reasoning(&'a Reasoning),
    Compaction(&'a Compaction),
    /// An item that Weir does not interpret; some wires translate it.
    Opaque(&'a OpaqueItem),
}

/// A function call.
#[derive(Debug)]
pub(crate) struct FunctionCallStep<'a> {
    pub(crate) id: &'a str,
    /// The function's name at the upstream.
    pub(crate) name: Cow<'a, str>,
    /// JSON; `{}` if the model wrote nothing.
    pub(crate) arguments: Cow<'a, str>,
    /// Unknown fields.
    pub(crate) extra: Option<&'a Extra>,
}

/// A function's result.
#[derive(Debug)]
pub(crate) struct FunctionResultStep<'a> {
    pub(crate) call_id: &'a str,
    pub(crate) content: Cow<'a, FunctionOutput>,
    /// Unknown fields.
    pub(crate) extra: Option<&'a Extra>,
}

/// The steps of a conversation, each with the index of its item. A call that was cut off and has no
/// output is left out, because the upstream would reject it.
pub(crate) fn turns<'a>(
    context: &'a [Item],
    offer: &OfferedTools<'a>,
) -> Vec<(usize, ConversationStep<'a>)> {
    let answered: HashSet<&str> = context.iter().filter_map(Item::answered_call_id).collect();
    let turn = |(index, item): (usize, &'a Item)| Some((index, turn(item, &answered, offer)?));
    context.iter().enumerate().filter_map(turn).collect()
}

fn turn<'a>(
    item: &'a Item,
    answered: &HashSet<&str>,
    offer: &OfferedTools<'a>,
) -> Option<ConversationStep<'a>> {
    Some(match item {
        Item::Message(message) => ConversationStep::Message(message),
        Item::Reasoning(reasoning) => ConversationStep::Reasoning(reasoning),
        Item::Compaction(compaction) => ConversationStep::Compaction(compaction),
        Item::FunctionCall(call) if is_abandoned(&call.call_id, call.status, answered) => {
            return None;
        }
        Item::FunctionCall(call) => {
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            ConversationStep::Call(FunctionCallStep {
                id: &call.call_id,
                name: name(&call.name, call.namespace(), offer),
                arguments: Cow::Borrowed(arguments),
                extra: Some(&call.extra),
            })
        }
        Item::CustomToolCall(call) if is_abandoned(&call.call_id, call.status, answered) => {
            return None;
        }
        Item::CustomToolCall(call) => ConversationStep::Call(FunctionCallStep {
            id: &call.call_id,
            name: name(&call.name, call.extra.text("namespace"), offer),
            arguments: Cow::Owned(json!({ "input": call.input }).to_string()),
            extra: Some(&call.extra),
        }),
        Item::FunctionCallOutput(output) => ConversationStep::Output(FunctionResultStep {
            call_id: &output.call_id,
            content: Cow::Borrowed(&output.output),
            extra: Some(&output.extra),
        }),
        Item::CustomToolCallOutput(output) => ConversationStep::Output(FunctionResultStep {
            call_id: &output.call_id,
            content: Cow::Borrowed(&output.output),
            extra: Some(&output.extra),
        }),
        Item::Opaque(item) => opaque(item, offer)?,
    })
}

/// Whether every wire can translate this item, through [`turns`] or the offered tools.
pub(crate) fn is_understood(item: &OpaqueItem) -> bool {
    match item.kind.as_str() {
        "additional_tools" => true,
        "tool_search_call" | "tool_search_output" => item.fields.text("call_id").is_some(),
        _ => false,
    }
}

/// The items of a client's tool search are function calls; items that only declare tools are not
/// part of the conversation.
fn opaque<'a>(item: &'a OpaqueItem, offer: &OfferedTools<'a>) -> Option<ConversationStep<'a>> {
    Some(match (item.kind.as_str(), item.fields.text("call_id")) {
        ("additional_tools", _) => return None,
        ("tool_search_call", Some(call_id)) => ConversationStep::Call(FunctionCallStep {
            id: call_id,
            name: name(TOOL_SEARCH, None, offer),
            arguments: Cow::Owned(
                item.fields.get("arguments").map_or_else(|| "{}".to_owned(), Value::to_string),
            ),
            extra: None,
        }),
        ("tool_search_output", Some(call_id)) => {
            let tools = item.fields.get("tools").map_or_else(|| "[]".to_owned(), Value::to_string);
            ConversationStep::Output(FunctionResultStep {
                call_id,
                content: Cow::Owned(FunctionOutput::Text(tools)),
                extra: None,
            })
        }
        _ => ConversationStep::Opaque(item),
    })
}

/// The upstream's name for a tool that was called earlier. It may no longer be offered.
fn name<'a>(
    declared: &'a str,
    namespace: Option<&'a str>,
    offer: &OfferedTools<'a>,
) -> Cow<'a, str> {
    match (offer.get(declared, namespace), namespace) {
        (Some(tool), _) => tool.name.clone(),
        (None, Some(namespace)) => Cow::Owned(format!("{namespace}__{declared}")),
        (None, None) => Cow::Borrowed(declared),
    }
}

/// Whether a call was cut off and has no output.
pub(crate) fn is_abandoned(call_id: &str, status: ItemStatus, answered: &HashSet<&str>) -> bool {
    status != ItemStatus::Completed && !answered.contains(call_id)
}

//! A conversation as an upstream that has functions only sees it.

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::item::{FunctionOutput, Item, ItemStatus, Message, OpaqueItem, Reasoning};
use serde_json::{Value, json};

use super::offer::{Offer, TOOL_SEARCH};

/// One step of a conversation.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    Message(&'a Message),
    Call(Call<'a>),
    Output(Output<'a>),
    Reasoning(&'a Reasoning),
    Compaction(&'a Compaction),
    /// An item that Weir does not interpret, of which a wire may know something.
    Opaque(&'a OpaqueItem),
}

/// A call of a function.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) id: &'a str,
    /// The function's name at the upstream.
    pub(crate) name: Cow<'a, str>,
    /// JSON; `{}` where the model wrote nothing.
    pub(crate) arguments: Cow<'a, str>,
    /// Fields beyond the vocabulary.
    pub(crate) extra: Option<&'a Extra>,
}

/// What a function gave.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) call_id: &'a str,
    pub(crate) content: Cow<'a, FunctionOutput>,
    /// Fields beyond the vocabulary.
    pub(crate) extra: Option<&'a Extra>,
}

/// The steps of a conversation, each with the index of its item. A call that was cut while the model wrote it and that nobody
/// answered is left out: with it, the next turn would be refused.
pub(crate) fn turns<'a>(context: &'a [Item], offer: &Offer<'a>) -> Vec<(usize, Turn<'a>)> {
    let answered: HashSet<&str> = context.iter().filter_map(Item::answered_call_id).collect();
    let turn = |(index, item): (usize, &'a Item)| Some((index, turn(item, &answered, offer)?));
    context.iter().enumerate().filter_map(turn).collect()
}

fn turn<'a>(item: &'a Item, answered: &HashSet<&str>, offer: &Offer<'a>) -> Option<Turn<'a>> {
    Some(match item {
        Item::Message(message) => Turn::Message(message),
        Item::Reasoning(reasoning) => Turn::Reasoning(reasoning),
        Item::Compaction(compaction) => Turn::Compaction(compaction),
        Item::FunctionCall(call) if is_abandoned(&call.call_id, call.status, answered) => return None,
        Item::FunctionCall(call) => {
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            Turn::Call(Call {
                id: &call.call_id,
                name: name(&call.name, call.namespace(), offer),
                arguments: Cow::Borrowed(arguments),
                extra: Some(&call.extra),
            })
        }
        Item::CustomToolCall(call) if is_abandoned(&call.call_id, call.status, answered) => return None,
        Item::CustomToolCall(call) => Turn::Call(Call {
            id: &call.call_id,
            name: name(&call.name, call.extra.text("namespace"), offer),
            arguments: Cow::Owned(json!({ "input": call.input }).to_string()),
            extra: Some(&call.extra),
        }),
        Item::FunctionCallOutput(output) => {
            Turn::Output(Output { call_id: &output.call_id, content: Cow::Borrowed(&output.output), extra: Some(&output.extra) })
        }
        Item::CustomToolCallOutput(output) => {
            Turn::Output(Output { call_id: &output.call_id, content: Cow::Borrowed(&output.output), extra: Some(&output.extra) })
        }
        Item::Opaque(item) => opaque(item, offer)?,
    })
}

/// Whether an item of another type is one that [`turns`] and the offer have a meaning for, at every upstream.
pub(crate) fn is_understood(item: &OpaqueItem) -> bool {
    match item.kind.as_str() {
        "additional_tools" => true,
        "tool_search_call" | "tool_search_output" => item.fields.text("call_id").is_some(),
        _ => false,
    }
}

/// Items of a client's tool search are calls of a function; those that only declare tools are no part of the conversation.
fn opaque<'a>(item: &'a OpaqueItem, offer: &Offer<'a>) -> Option<Turn<'a>> {
    Some(match (item.kind.as_str(), item.fields.text("call_id")) {
        ("additional_tools", _) => return None,
        ("tool_search_call", Some(call_id)) => Turn::Call(Call {
            id: call_id,
            name: name(TOOL_SEARCH, None, offer),
            arguments: Cow::Owned(item.fields.get("arguments").map_or_else(|| "{}".to_owned(), Value::to_string)),
            extra: None,
        }),
        ("tool_search_output", Some(call_id)) => {
            let tools = item.fields.get("tools").map_or_else(|| "[]".to_owned(), Value::to_string);
            Turn::Output(Output { call_id, content: Cow::Owned(FunctionOutput::Text(tools)), extra: None })
        }
        _ => Turn::Opaque(item),
    })
}

/// The name at the upstream of a tool that was called before. It may not be offered any more.
fn name<'a>(declared: &'a str, namespace: Option<&'a str>, offer: &Offer<'a>) -> Cow<'a, str> {
    match (offer.get(declared, namespace), namespace) {
        (Some(tool), _) => tool.name.clone(),
        (None, Some(namespace)) => Cow::Owned(format!("{namespace}__{declared}")),
        (None, None) => Cow::Borrowed(declared),
    }
}

/// Whether a call was cut while the model wrote it, and nobody has answered it.
pub(crate) fn is_abandoned(call_id: &str, status: ItemStatus, answered: &HashSet<&str>) -> bool {
    status != ItemStatus::Completed && !answered.contains(call_id)
}

//! Counts tokens with the model's vocabulary, where upstream does not.
//!
//! Images and files are not counted: what they cost is each provider's own rule.

use protocol::item::{Item, Part};
use protocol::request::{Create, TextFormat};
use tokens::{ChatOverhead, Encoding, Message, count_messages};

/// Tokens of everything the model reads: instructions and items as chat messages, tools and a schema as their JSON.
pub(crate) fn input(create: &Create, context: &[Item]) -> u64 {
    let model = create.model.as_str();
    let instructions = create.instructions.as_deref().map(|text| ("system", vec![text.to_owned()]));
    let items = context.iter().map(|item| (speaker(item), texts(item)));
    let all: Vec<(&str, Vec<String>)> = instructions.into_iter().chain(items).collect();
    let messages = all.iter().map(|(role, texts)| Message { role, name: None, texts: texts.iter().map(String::as_str) });
    count_messages(model, messages) + definitions(create)
}

/// Tokens of what the model may call and of the form it must keep to. How a provider words them is its own; their JSON is
/// close, and far better than nothing: tools are often the larger part of a prompt.
fn definitions(create: &Create) -> u64 {
    let encoding = Encoding::for_model(&create.model);
    let tools = create.tools.iter().filter_map(|tool| serde_json::to_string(tool).ok());
    let schema = match &create.text.format {
        TextFormat::JsonSchema { schema, .. } => Some(schema.to_string()),
        TextFormat::Text | TextFormat::JsonObject => None,
    };
    tools.chain(schema).map(|text| encoding.count(&text)).sum()
}

/// Tokens of a question by itself, wrapped as the classic API's users know it: `hello` is 9, whatever the model.
pub(crate) fn question(model: &str, text: &str) -> u64 {
    let encoding = Encoding::for_model(model);
    let ChatOverhead { per_message, priming, .. } = ChatOverhead::FIRST;
    per_message + encoding.count("user") + encoding.count(text) + priming
}

/// Tokens the model wrote: all of them, and those of them that are reasoning.
pub(crate) fn output(model: &str, output: &[Item]) -> (u64, u64) {
    let encoding = Encoding::for_model(model);
    let (mut all, mut reasoning) = (0, 0);
    for item in output {
        let count: u64 = texts(item).iter().map(|text| encoding.count(text)).sum();
        all += count;
        if matches!(item, Item::Reasoning(_)) {
            reasoning += count;
        }
    }
    (all, reasoning)
}

fn speaker(item: &Item) -> &'static str {
    match item {
        Item::Message(message) => message.role.as_str(),
        Item::FunctionCall(_) | Item::Reasoning(_) => "assistant",
        Item::FunctionCallOutput(_) => "tool",
        Item::Compaction(_) => "system",
    }
}

fn texts(item: &Item) -> Vec<String> {
    let of_parts = |parts: &[Part]| parts.iter().filter_map(Part::text).map(str::to_owned).collect();
    match item {
        Item::Message(message) => of_parts(&message.content),
        Item::FunctionCall(call) => vec![call.name.clone(), call.arguments.clone()],
        Item::FunctionCallOutput(output) => vec![output.output.text()],
        Item::Reasoning(reasoning) => of_parts(&reasoning.content),
        Item::Compaction(compaction) => vec![compaction.told()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_nine_in_every_vocabulary() {
        for model in ["gpt-3.5-turbo", "gpt-4o", "demo"] {
            assert_eq!(question(model, "hello"), 9, "{model}");
        }
    }
}

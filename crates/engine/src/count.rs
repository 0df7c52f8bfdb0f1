//! Counts tokens with the model's vocabulary, if the upstream does not.
//!
//! Images and files are not counted: each provider has its own rule for them.

use protocol::item::{Item, Part};
use protocol::request::{Create, TextFormat, Tool};
use protocol::response::Response;
use protocol::usage::{Usage, UsageSource};
use tokens::{ChatOverhead, Encoding, Message, chat_overhead, count_messages};

/// What the model reads beside the conversation.
pub(crate) struct Prompt<'a> {
    pub(crate) model: &'a str,
    instructions: Option<&'a str>,
    tools: &'a [Tool],
    format: &'a TextFormat,
}

impl<'a> From<&'a Create> for Prompt<'a> {
    fn from(create: &'a Create) -> Self {
        let Create { model, instructions, tools, text, .. } = create;
        Self { model, instructions: instructions.as_deref(), tools, format: &text.format }
    }
}

impl<'a> From<&'a Response> for Prompt<'a> {
    fn from(response: &'a Response) -> Self {
        let Response { model, instructions, tools, text, .. } = response;
        Self { model, instructions: instructions.as_deref(), tools, format: &text.format }
    }
}

/// The usage of a response whose upstream reported none.
pub(crate) fn usage(prompt: &Prompt<'_>, context: &[Item], output: &[Item]) -> Usage {
    let (all, reasoning) = self::output(prompt.model, output);
    let mut usage = Usage::new(UsageSource::Counted, input(prompt, context), all);
    usage.output_tokens_details.reasoning_tokens = reasoning;
    usage
}

/// Tokens of everything the model reads: instructions and items as chat messages, tools and a
/// schema as their JSON.
pub(crate) fn input(prompt: &Prompt<'_>, context: &[Item]) -> u64 {
    beside(prompt) + context.iter().map(|item| self::item(prompt.model, item)).sum::<u64>()
}

/// Tokens of what the model reads beside the conversation, with those that open the reply.
pub(crate) fn beside(prompt: &Prompt<'_>) -> u64 {
    let instructions =
        prompt.instructions.map(|text| Message { role: "system", name: None, texts: [text] });
    count_messages(prompt.model, instructions) + definitions(prompt)
}

/// Tokens that an item adds to what the model reads.
pub(crate) fn item(model: &str, item: &Item) -> u64 {
    let texts = texts(item);
    let message =
        Message { role: speaker(item), name: None, texts: texts.iter().map(String::as_str) };
    count_messages(model, [message]).saturating_sub(chat_overhead(model).priming)
}

/// Tokens of the tools and of the output schema. Providers render them in their own ways; their
/// JSON is a close estimate, and tools are often the larger part of a prompt.
fn definitions(prompt: &Prompt<'_>) -> u64 {
    let encoding = Encoding::for_model(prompt.model);
    let tools = prompt.tools.iter().filter_map(|tool| serde_json::to_string(tool).ok());
    let schema = prompt.format.schema().map(ToString::to_string);
    tools.chain(schema).map(|text| encoding.count(&text)).sum()
}

/// Tokens of a conversation as the Java demo of 2023 counted them: each message in the wrapping of
/// the first chat model, whatever the model. `hello` alone is 9.
pub(crate) fn wrapped(model: &str, instructions: Option<&str>, context: &[Item]) -> u64 {
    let encoding = Encoding::for_model(model);
    let ChatOverhead { per_message, priming, .. } = ChatOverhead::FIRST;
    let message = |role: &str, texts: &[String]| {
        let texts: u64 = texts.iter().map(|text| encoding.count(text)).sum();
        per_message + encoding.count(role) + texts
    };
    let system = instructions.map_or(0, |text| message("system", &[text.to_owned()]));
    let messages: u64 = context.iter().map(|item| message(speaker(item), &texts(item))).sum();
    system + messages + priming
}

/// Output tokens: all of them, and those that are reasoning.
fn output(model: &str, output: &[Item]) -> (u64, u64) {
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
        Item::FunctionCall(_) | Item::CustomToolCall(_) | Item::Reasoning(_) | Item::Opaque(_) => {
            "assistant"
        }
        Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_) => "tool",
        Item::Compaction(_) => "system",
    }
}

fn texts(item: &Item) -> Vec<String> {
    let of_parts =
        |parts: &[Part]| parts.iter().filter_map(Part::text).map(str::to_owned).collect();
    match item {
        Item::Message(message) => of_parts(&message.content),
        Item::FunctionCall(call) => vec![call.name.clone(), call.arguments.clone()],
        Item::FunctionCallOutput(output) => vec![output.output.text()],
        Item::CustomToolCall(call) => vec![call.name.clone(), call.input.clone()],
        Item::CustomToolCallOutput(output) => vec![output.output.text()],
        // If the reasoning itself is not shown, only its summary can be counted.
        Item::Reasoning(reasoning) if reasoning.content.is_empty() => of_parts(&reasoning.summary),
        Item::Reasoning(reasoning) => of_parts(&reasoning.content),
        Item::Compaction(compaction) => vec![compaction.summary_message()],
        // Only the upstream can count what the model reads of it.
        Item::Opaque(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::item::{Message as ChatMessage, Role};

    use super::*;

    fn message(role: Role, text: &str) -> Item {
        Item::Message(ChatMessage::new(role, vec![Part::input_text(text)]))
    }

    #[test]
    fn the_demo_counted_9_15_and_22_for_these_questions() {
        let context: Vec<Item> =
            ["hello", "second", "third one"].map(|text| message(Role::User, text)).into();
        for model in ["gpt-3.5-turbo", "gpt-4o", "demo"] {
            let counts = [1, 2, 3].map(|questions| wrapped(model, None, &context[..questions]));
            assert_eq!(counts, [9, 15, 22], "{model}");
        }
    }

    #[test]
    fn a_system_prompt_counts_as_a_message() {
        let context = [message(Role::User, "hello")];
        assert_eq!(wrapped("demo", Some("hello"), &context), 9 + 6);
    }
}

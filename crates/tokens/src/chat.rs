//! The tokens of a list of chat messages beyond its texts.

use crate::encoding::{Encoding, base_name};

/// The tokens that wrap messages into a prompt, by OpenAI's cookbook, "How to count tokens with tiktoken", section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatOverhead {
    /// Tokens around each message: `<|start|>{role}\n{content}<|end|>\n`.
    pub per_message: u64,
    /// Tokens that a message's name adds to its own; negative where the name replaced the role.
    pub per_name: i64,
    /// Tokens that open the response: `<|start|>assistant<|message|>`.
    pub priming: u64,
}

impl ChatOverhead {
    /// The rule of every model since `gpt-3.5-turbo-0613`.
    pub const CURRENT: Self = Self { per_message: 3, per_name: 1, priming: 3 };
    /// The rule of `gpt-3.5-turbo-0301`, which the classic Java SDK (`TikTokensUtil.tokens`) uses for `gpt-3.5-turbo` too:
    /// a single user message `hello` is 4 + 1 + 1 + 3 = 9 tokens.
    pub const FIRST: Self = Self { per_message: 4, per_name: -1, priming: 3 };
}

/// One message as the counter sees it.
#[derive(Clone, Debug)]
pub struct Message<'a, Texts> {
    /// The role, which is counted as text.
    pub role: &'a str,
    /// The participant's name, if the message has one.
    pub name: Option<&'a str>,
    /// The content: the texts of its parts in order, each counted by itself.
    pub texts: Texts,
}

/// The overhead of a model; for models that are not in the cookbook, the current one.
pub fn chat_overhead(model: &str) -> ChatOverhead {
    match base_name(model) {
        "gpt-3.5-turbo" | "gpt-3.5-turbo-0301" => ChatOverhead::FIRST,
        _ => ChatOverhead::CURRENT,
    }
}

/// The tokens of a whole prompt for `model`: each message with its role, name and texts, and the priming of the response.
pub fn count_messages<'a, Texts>(
    model: &str,
    messages: impl IntoIterator<Item = Message<'a, Texts>>,
) -> u64
where
    Texts: IntoIterator<Item = &'a str>,
{
    let encoding = Encoding::for_model(model);
    let overhead = chat_overhead(model);
    messages.into_iter().fold(overhead.priming, |total, message| {
        let texts: u64 = message.texts.into_iter().map(|text| encoding.count(text)).sum();
        let name = message
            .name
            .map_or(0, |name| encoding.count(name).saturating_add_signed(overhead.per_name));
        total + overhead.per_message + encoding.count(message.role) + name + texts
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, messages: &[(&str, Option<&str>, &[&str])], expected: u64) {
        let messages = messages.iter().map(|(role, name, texts)| Message {
            role,
            name: *name,
            texts: texts.iter().copied(),
        });
        assert_eq!(count_messages(model, messages), expected, "{model}");
    }

    #[test]
    fn the_classic_vector_is_nine() {
        check("gpt-3.5-turbo", &[("user", None, &["hello"])], 9);
        check("gpt-3.5-turbo-0613", &[("user", None, &["hello"])], 8);
    }

    #[test]
    fn the_cookbook_conversation_has_its_published_counts() {
        // The example of the cookbook; the API itself answered with these `prompt_tokens`.
        let messages: &[(&str, Option<&str>, &[&str])] = &[
            (
                "system",
                None,
                &[
                    "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
                ],
            ),
            ("system", Some("example_user"), &["New synergies will help drive top-line growth."]),
            (
                "system",
                Some("example_assistant"),
                &["Things working well together will increase revenue."],
            ),
            (
                "system",
                Some("example_user"),
                &[
                    "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
                ],
            ),
            (
                "system",
                Some("example_assistant"),
                &["Let's talk later when we're less busy about how to do better."],
            ),
            (
                "user",
                None,
                &[
                    "This late pivot means we don't have time to boil the ocean for the client deliverable.",
                ],
            ),
        ];
        check("gpt-3.5-turbo-0301", messages, 127);
        check("gpt-3.5-turbo-0613", messages, 129);
        check("gpt-4-0613", messages, 129);
        check("gpt-4o", messages, 124);
    }

    #[test]
    fn no_messages_cost_the_priming() {
        check("gpt-5", &[], 3);
    }
}

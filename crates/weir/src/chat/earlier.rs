//! The conversation before a resumed response.

use std::io;

use serde_json::Value;

use crate::cli::output;

use super::render::style::Paint;
use super::screen::note;
use super::view::OutputView;

/// How many items of a conversation are shown: about as many as one scrolls back for.
pub(super) const SHOWN: usize = 20;

/// One part of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    Question(String),
    Answer {
        text: String,
        is_whole: bool,
    },
    /// Earlier parts exist, and are not shown.
    More,
}

impl Earlier {
    /// The end of a conversation, oldest first, from the server's list of its items, newest first.
    /// Reasoning and tool calls are left out: their results are in the answers.
    pub(super) fn read(list: &Value) -> Vec<Self> {
        let mut pieces: Vec<Self> =
            list["data"].as_array().into_iter().flatten().filter_map(Self::of).collect();
        if list["has_more"] == true {
            pieces.push(Self::More);
        }
        pieces.reverse();
        pieces
    }

    fn of(item: &Value) -> Option<Self> {
        let parts = item["content"].as_array()?.iter();
        let words =
            parts.filter_map(|part| part["text"].as_str().or_else(|| part["refusal"].as_str()));
        let text = words.collect::<Vec<_>>().join("\n");
        match item["role"].as_str()? {
            "user" => Some(Self::Question(text)),
            "assistant" => Some(Self::Answer { text, is_whole: item["status"] != "incomplete" }),
            _ => None,
        }
    }

    /// Shows it as during the original conversation.
    pub(super) fn show(&self, paint: Option<Paint>) -> io::Result<()> {
        match self {
            Self::Question(text) => note(&format!("> {text}"), paint),
            Self::Answer { text, is_whole } => {
                let mut view = OutputView::of_person(paint);
                view.text(text)?;
                view.end()?;
                if !is_whole {
                    view.note("(the response is incomplete)")?;
                }
                output::write_out("\n")?;
            }
            Self::More => note("(earlier messages are not shown)", paint),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_a_conversation_oldest_first() {
        let said = |role: &str, kind: &str, text: &str| json!({ "type": "message", "role": role, "content": [{ "type": kind, "text": text }] });
        let list = json!({ "has_more": true, "data": [
            said("user", "input_text", "Why?"),
            { "type": "message", "role": "assistant", "status": "incomplete", "content": [{ "type": "refusal", "refusal": "No." }] },
            { "type": "function_call", "name": "f", "arguments": "{}" },
            said("system", "input_text", "Be brief."),
            said("user", "input_text", "Do it."),
        ] });
        let question = |text: &str| Earlier::Question(text.to_owned());
        let answer = Earlier::Answer { text: "No.".to_owned(), is_whole: false };
        let expected = [Earlier::More, question("Do it."), answer, question("Why?")];
        assert_eq!(Earlier::read(&list), expected);
        assert_eq!(Earlier::read(&json!({ "error": {} })), Vec::new());
    }
}

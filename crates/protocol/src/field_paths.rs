//! The names of a neutral request's fields in the dialect of the caller.

use crate::fault::Fault;

/// The names of a request's fields. By default those of the Responses API, which are the neutral
/// ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPaths {
    /// The source of each input item, where the dialect has messages.
    items: Vec<InputOrigin>,
    /// Neutral names and those of the dialect. The first match applies.
    names: Vec<(&'static str, &'static str)>,
}

/// The part of a list of messages that an input item was read from. Numbers are indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputOrigin {
    /// A message; whether its content was a text and not a list of parts.
    Message { message: usize, is_text: bool },
    /// The reasoning of a message.
    Reasoning { message: usize },
    /// One of the calls of a message.
    ToolCall { message: usize, call: usize },
    /// The only call of a message, in the form before parallel calls.
    FunctionCall { message: usize },
    /// One of the images of a message.
    Image { message: usize, image: usize },
    /// A message with the output of a call.
    Output { message: usize },
}

impl FieldPaths {
    pub(crate) fn new(items: Vec<InputOrigin>, names: Vec<(&'static str, &'static str)>) -> Self {
        Self { items, names }
    }

    /// A path of the neutral request in the caller's dialect.
    pub fn path(&self, path: &str) -> String {
        self.item_path(path).or_else(|| self.named_path(path)).unwrap_or_else(|| path.to_owned())
    }

    /// A fault with the field's path in the caller's dialect.
    #[must_use]
    pub fn fault(&self, fault: Fault) -> Fault {
        let Some(param) = fault.param.as_deref() else { return fault };
        let path = self.path(param);
        if path == param {
            return fault;
        }
        let message = fault.message.replace(param, &path);
        Fault { param: Some(path), message, ..fault }
    }

    fn item_path(&self, path: &str) -> Option<String> {
        let (index, rest) = path.strip_prefix("input[")?.split_once(']')?;
        Some(match *self.items.get(index.parse::<usize>().ok()?)? {
            InputOrigin::Message { message, is_text: true } if rest.starts_with(".content") => {
                format!("messages[{message}].content")
            }
            InputOrigin::Message { message, .. } => {
                format!("messages[{message}]{}", rest.replace("].file_data", "].file.file_data"))
            }
            InputOrigin::Reasoning { message } => format!("messages[{message}].reasoning_content"),
            InputOrigin::ToolCall { message, call } => {
                let rest = if rest == ".call_id" { ".id" } else { rest };
                format!("messages[{message}].tool_calls[{call}]{rest}")
            }
            InputOrigin::FunctionCall { message } => {
                format!("messages[{message}].function_call{rest}")
            }
            InputOrigin::Image { message, image } => format!("messages[{message}].images[{image}]"),
            InputOrigin::Output { message } => {
                let rest = rest.replace(".output", ".content").replace(".call_id", ".tool_call_id");
                format!("messages[{message}]{rest}")
            }
        })
    }

    fn named_path(&self, path: &str) -> Option<String> {
        let renamed = |(neutral, name): &(&str, &str)| {
            let rest = path.strip_prefix(neutral)?;
            rest.is_empty()
                .then(|| (*name).to_owned())
                .or_else(|| rest.starts_with(['.', '[']).then(|| format!("{name}{rest}")))
        };
        self.names.iter().find_map(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_dialect() {
        let items = vec![
            InputOrigin::Message { message: 0, is_text: true },
            InputOrigin::Reasoning { message: 1 },
            InputOrigin::Message { message: 1, is_text: false },
            InputOrigin::Image { message: 1, image: 0 },
            InputOrigin::ToolCall { message: 1, call: 2 },
            InputOrigin::Output { message: 2 },
            InputOrigin::FunctionCall { message: 3 },
        ];
        let names = vec![("text.format", "response_format"), ("top_logprobs", "logprobs")];
        let paths = FieldPaths::new(items, names);
        for (neutral, expected) in [
            ("input[0].content[0].cache_control", "messages[0].content"),
            ("input[0].name", "messages[0].name"),
            ("input[1]", "messages[1].reasoning_content"),
            ("input[2].content[3].type", "messages[1].content[3].type"),
            ("input[2].content[3].file_data", "messages[1].content[3].file.file_data"),
            ("input[3].type", "messages[1].images[0]"),
            ("input[4].call_id", "messages[1].tool_calls[2].id"),
            ("input[4].extra_content", "messages[1].tool_calls[2].extra_content"),
            ("input[5].output[0].type", "messages[2].content[0].type"),
            ("input[5].call_id", "messages[2].tool_call_id"),
            ("input[6].name", "messages[3].function_call.name"),
            ("input[7]", "input[7]"),
            ("text.format", "response_format"),
            ("text.format.schema", "response_format.schema"),
            ("text.formats", "text.formats"),
            ("top_logprobs", "logprobs"),
            ("tools[0].strict", "tools[0].strict"),
        ] {
            assert_eq!(paths.path(neutral), expected);
            assert_eq!(FieldPaths::default().path(neutral), neutral);
        }
        let fault = paths.fault(Fault::invalid(
            "x",
            "text.format",
            "North does not support 'text.format'.",
        ));
        assert_eq!(
            (fault.param.as_deref(), fault.message.as_str()),
            (Some("response_format"), "North does not support 'response_format'.")
        );
    }
}

//! One rule for everything beyond the Responses vocabulary: it is passed to an upstream that
//! supports it, or rejected by name. Only what cannot affect the response is left out, with a
//! warning to the caller.

use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::item::{FunctionOutput, Item, Part, Reasoning};
use protocol::request::{Create, InputItem, Tool, ToolChoice};
use serde_json::Value;

use super::shared::{CONTENT_PARTS, HOSTED_CALLS, UPSTREAM_FIELDS};
use crate::tools::{HostedTools, is_understood};

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldLocation {
    Message,
    Part,
    Call,
    Output,
    Reasoning,
    Tool,
}

/// How fields of nested objects are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InnerFields {
    /// The API has these objects too.
    Carried,
    /// They are left out.
    Omitted,
    /// They are handled like any other field.
    Checked,
}

/// What an upstream's API supports beyond the vocabulary.
pub(super) struct Carrier<'a> {
    /// The API's vendor, for messages.
    pub(super) vendor: &'a str,
    /// Whether it supports a field.
    pub(super) field: fn(FieldLocation, &str) -> bool,
    /// How fields of nested objects that only chat completions have (`image_url`, `function`) are
    /// handled.
    pub(super) inner: InnerFields,
    /// Whether it supports a content part type.
    pub(super) part: fn(&str) -> bool,
    /// Whether it supports an item type.
    pub(super) item: fn(&str) -> bool,
    /// Whether it accepts this reasoning.
    pub(super) thoughts: fn(&Reasoning) -> bool,
    /// How tools that the upstream would have to run are handled; `None` if it runs them.
    pub(super) hosted: Option<HostedTools>,
}

/// Fields that are hints, client metadata, or another vendor's state: the response is the same
/// without them.
const HINTS: [&str; 31] = [
    UPSTREAM_FIELDS,
    "cache_control",
    "prompt_cache_breakpoint",
    "name",
    "phase",
    "namespace",
    "status",
    "id",
    "index",
    "created_at",
    "timestamp",
    "metadata",
    "extra_content",
    "provider_specific_fields",
    "reasoning_details",
    "thinking_blocks",
    "upstream_id",
    "annotations",
    "citations",
    "search_results",
    "groundingMetadata",
    "citationMetadata",
    "urlContextMetadata",
    "logprobs",
    "parsed",
    "parsed_arguments",
    "caller",
    "encrypted",
    "strict",
    "eager_input_streaming",
    "format",
];

/// Hints that clients always send, or that have no effect: the caller is not warned when they are
/// left out.
const QUIET: [&str; 15] = [
    UPSTREAM_FIELDS,
    "phase",
    "namespace",
    "status",
    "id",
    "index",
    "created_at",
    "timestamp",
    "metadata",
    "upstream_id",
    "parsed",
    "parsed_arguments",
    "caller",
    "strict",
    "eager_input_streaming",
];

/// Output beyond text in a message. Weir returns it to callers, so it must accept it back for any
/// upstream.
const MADE: [&str; 7] =
    ["audio", "images", CONTENT_PARTS, HOSTED_CALLS, "thinking", "logprobs", "refusal"];

/// Objects with fields of their own.
const INNER: [&str; 4] = ["image_url", "file", "function", "custom"];

/// Items of hosted tools. Without them, the conversation still contains what the model made of
/// their results.
const HOSTED_ITEMS: [&str; 22] = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "computer_call",
    "computer_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "tool_search_call",
    "tool_search_output",
    // Anthropic; its result types are recognised by their suffix.
    "server_tool_use",
    "mcp_tool_use",
    "container_upload",
    // Gemini.
    "executable_code",
    "code_execution_result",
    "tool_call",
    "tool_response",
    "file_data",
];

/// Whether an item belongs to a hosted tool.
fn is_hosted(kind: &str) -> bool {
    HOSTED_ITEMS.contains(&kind) || kind.ends_with("_tool_result")
}

/// Checks everything in a request beyond the vocabulary. Records what is left out.
///
/// # Errors
/// The path of the first field that is not supported and matters.
pub(super) fn check(
    create: &Create,
    carrier: &Carrier<'_>,
    ignored: &mut Vec<String>,
) -> Result<(), Fault> {
    let mut check = Check { carrier, ignored };
    for (index, input) in create.input.iter().enumerate() {
        if let InputItem::Item(item) = input {
            check.item(item, &format!("input[{index}]"))?;
        }
    }
    for (index, tool) in create.tools.iter().enumerate() {
        check.tool(tool, &format!("tools[{index}]"))?;
    }
    if let (ToolChoice::Opaque(_), Some(hosted)) = (&create.tool_choice, carrier.hosted) {
        check.hosted(hosted, "tool_choice", "this choice")?;
    }
    Ok(())
}

struct Check<'a> {
    carrier: &'a Carrier<'a>,
    ignored: &'a mut Vec<String>,
}

impl Check<'_> {
    fn item(&mut self, item: &Item, path: &str) -> Result<(), Fault> {
        match item {
            Item::Message(message) => {
                self.fields(&message.extra, FieldLocation::Message, path)?;
                self.parts(&message.content, &format!("{path}.content"))
            }
            Item::FunctionCall(call) => self.fields(&call.extra, FieldLocation::Call, path),
            Item::CustomToolCall(call) => self.fields(&call.extra, FieldLocation::Call, path),
            Item::FunctionCallOutput(output) => self.output(&output.output, &output.extra, path),
            Item::CustomToolCallOutput(output) => self.output(&output.output, &output.extra, path),
            Item::Reasoning(reasoning) => {
                let has_thoughts =
                    !reasoning.text().is_empty() || reasoning.encrypted_content.is_some();
                if has_thoughts && !(self.carrier.thoughts)(reasoning) {
                    self.ignored.push(path.to_owned());
                }
                self.fields(&reasoning.extra, FieldLocation::Reasoning, path)
            }
            Item::Compaction(_) => Ok(()),
            Item::Opaque(item) if is_understood(item) || (self.carrier.item)(&item.kind) => Ok(()),
            Item::Opaque(item)
                if is_hosted(&item.kind) && self.carrier.hosted != Some(HostedTools::Refuse) =>
            {
                self.ignored.push(path.to_owned());
                Ok(())
            }
            Item::Opaque(item) => {
                let message = format!(
                    "{}, which serves this model, does not support items of type '{}'.",
                    self.carrier.vendor, item.kind
                );
                Err(Fault::invalid("unsupported_value", format!("{path}.type"), message))
            }
        }
    }

    fn output(&mut self, output: &FunctionOutput, extra: &Extra, path: &str) -> Result<(), Fault> {
        self.fields(extra, FieldLocation::Output, path)?;
        match output {
            FunctionOutput::Text(_) => Ok(()),
            FunctionOutput::Parts(parts) => self.parts(parts, &format!("{path}.output")),
        }
    }

    fn parts(&mut self, parts: &[Part], path: &str) -> Result<(), Fault> {
        for (index, part) in parts.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match part {
                Part::Opaque(fields) => {
                    let kind = fields.text("type").unwrap_or_default();
                    if !(self.carrier.part)(kind) {
                        let message = format!(
                            "{}, which serves this model, does not support content of type '{kind}'.",
                            self.carrier.vendor
                        );
                        return Err(Fault::invalid(
                            "unsupported_value",
                            format!("{path}.type"),
                            message,
                        ));
                    }
                }
                part => {
                    if let Some(extra) = part.extra() {
                        self.fields(extra, FieldLocation::Part, &path)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn tool(&mut self, tool: &Tool, path: &str) -> Result<(), Fault> {
        match tool {
            Tool::Function(tool) => self.fields(&tool.extra, FieldLocation::Tool, path),
            Tool::Custom(tool) => self.fields(&tool.extra, FieldLocation::Tool, path),
            Tool::Namespace(namespace) => {
                self.fields(&namespace.extra, FieldLocation::Tool, path)?;
                let inner = namespace.tools.iter().enumerate();
                inner.into_iter().try_for_each(|(index, tool)| {
                    self.tool(tool, &format!("{path}.tools[{index}]"))
                })
            }
            // A client's own tool search is lowered to a function.
            Tool::Hosted(fields) if fields.text("execution") == Some("client") => Ok(()),
            Tool::Hosted(_) => match self.carrier.hosted {
                Some(hosted) => {
                    self.hosted(hosted, path, &format!("tools of type '{}'", tool.kind()))
                }
                None => Ok(()),
            },
        }
    }

    fn hosted(&mut self, hosted: HostedTools, path: &str, what: &str) -> Result<(), Fault> {
        match hosted {
            HostedTools::Pass => Ok(()),
            HostedTools::Omit => {
                self.ignored.push(path.to_owned());
                Ok(())
            }
            HostedTools::Refuse => {
                let message = format!(
                    "{}, which serves this model, does not support {what}.",
                    self.carrier.vendor
                );
                let param =
                    if path == "tool_choice" { path.to_owned() } else { format!("{path}.type") };
                Err(Fault::invalid("unsupported_tool", param, message))
            }
        }
    }

    fn fields(&mut self, extra: &Extra, place: FieldLocation, path: &str) -> Result<(), Fault> {
        for (name, value) in extra.iter().filter(|(_, value)| has_content(value)) {
            let is_carried = (self.carrier.field)(place, name);
            let path = format!("{path}.{name}");
            match value {
                Value::Object(inner) if INNER.contains(&name.as_str()) => {
                    for (name, _) in inner.iter().filter(|(_, value)| has_content(value)) {
                        let path = format!("{path}.{name}");
                        match self.carrier.inner {
                            InnerFields::Carried if is_carried => {}
                            InnerFields::Carried | InnerFields::Checked => {
                                self.field(name, place, &path)?;
                            }
                            InnerFields::Omitted => self.ignored.push(path),
                        }
                    }
                }
                _ if is_carried => {}
                _ => self.field(name, place, &path)?,
            }
        }
        Ok(())
    }

    /// Handles an unsupported field.
    fn field(&mut self, name: &str, place: FieldLocation, path: &str) -> Result<(), Fault> {
        let was_handed_out = place == FieldLocation::Message && MADE.contains(&name);
        if !is_hint(name) && !was_handed_out {
            let message = format!(
                "{}, which serves this model, does not support '{path}'.",
                self.carrier.vendor
            );
            return Err(Fault::invalid("unsupported_parameter", path, message));
        }
        if !QUIET.contains(&name) {
            self.ignored.push(path.to_owned());
        }
        Ok(())
    }
}

/// Whether a field has an effect: some clients send every field they know.
fn has_content(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// The fields of `extra` that an upstream supports.
pub(super) fn carried(
    extra: &Extra,
    place: FieldLocation,
    field: fn(FieldLocation, &str) -> bool,
) -> impl Iterator<Item = (&String, &Value)> {
    extra.iter().filter(move |(name, _)| field(place, name))
}

/// Whether a field is a hint, client metadata, or another vendor's state.
pub(super) fn is_hint(name: &str) -> bool {
    HINTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CARRIER: Carrier<'_> = Carrier {
        vendor: "North",
        field: |place, name| place == FieldLocation::Part && name == "known",
        part: |kind| kind == "input_audio",
        item: |kind| kind == "known_item",
        inner: InnerFields::Checked,
        thoughts: |_| true,
        hosted: Some(HostedTools::Omit),
    };

    fn check_with(carrier: &Carrier<'_>, body: Value) -> Result<Vec<String>, String> {
        let mut body = body;
        body["model"] = "any".into();
        let create = protocol::dialect::responses::read_create(&body).unwrap();
        let mut ignored = Vec::new();
        check(&Create { store: false, ..create }, carrier, &mut ignored)
            .map_err(|fault| fault.param.unwrap_or_default())?;
        Ok(ignored)
    }

    fn part(part: &Value) -> Value {
        json!({ "input": [{ "role": "user", "content": [part] }] })
    }

    #[test]
    fn unsupported_fields_are_rejected_by_path_or_irrelevant() {
        let check = |body| check_with(&CARRIER, body);
        assert_eq!(
            check(part(&json!({ "type": "input_text", "text": "x", "known": 1 }))),
            Ok(vec![])
        );
        assert_eq!(
            check(part(
                &json!({ "type": "input_text", "text": "x", "cache_control": { "type": "ephemeral" } })
            )),
            Ok(vec!["input[0].content[0].cache_control".into()])
        );
        assert_eq!(
            check(part(&json!({ "type": "input_text", "text": "x", "other": 1 }))),
            Err("input[0].content[0].other".into())
        );
        assert_eq!(check(part(&json!({ "type": "input_audio", "input_audio": {} }))), Ok(vec![]));
        assert_eq!(
            check(part(&json!({ "type": "input_video", "url": "x" }))),
            Err("input[0].content[0].type".into())
        );
        assert_eq!(check(json!({ "input": [{ "type": "known_item" }] })), Ok(vec![]));
        assert_eq!(
            check(json!({ "input": [{ "type": "web_search_call", "id": "ws_1" }] })),
            Ok(vec!["input[0]".into()])
        );
        assert_eq!(
            check(
                json!({ "input": [{ "type": "additional_tools", "role": "developer", "tools": [] }] })
            ),
            Ok(vec![])
        );
        let search = |call_id: Value| json!({ "input": [{ "type": "tool_search_call", "call_id": call_id, "arguments": {} }] });
        assert_eq!(check(search("c1".into())), Ok(vec![]), "the client's");
        assert_eq!(check(search(Value::Null)), Ok(vec!["input[0]".into()]), "the vendor's");
        assert_eq!(check(json!({ "input": [{ "type": "poem" }] })), Err("input[0].type".into()));
        assert_eq!(
            check(json!({ "input": [{ "role": "assistant", "content": "x", "prefix": true }] })),
            Err("input[0].prefix".into())
        );
        assert_eq!(
            check(
                json!({ "input": [{ "role": "user", "content": "x", "prefix": false, "tags": [] }] })
            ),
            Ok(vec![])
        );
        let inner = |field: &str| {
            check(part(&json!({ "type": "input_text", "text": "x", "image_url": { field: "y" } })))
        };
        assert_eq!(inner("format"), Ok(vec!["input[0].content[0].image_url.format".into()]));
        assert_eq!(inner("other"), Err("input[0].content[0].image_url.other".into()));
        let made = json!({ "input": [{ "role": "assistant", "content": "x", "audio": { "id": "a" }, "phase": "final" }] });
        assert_eq!(check(made), Ok(vec!["input[0].audio".into()]));
        let thoughts = || json!({ "input": [{ "type": "reasoning", "summary": [], "content": [{ "type": "reasoning_text", "text": "hm" }] }] });
        assert_eq!(check(thoughts()), Ok(vec![]));
        assert_eq!(
            check_with(&Carrier { thoughts: |_| false, ..CARRIER }, thoughts()),
            Ok(vec!["input[0]".into()])
        );
    }

    #[test]
    fn hosted_tools_are_left_out_or_rejected_by_setting() {
        let body = || json!({ "input": "x", "tools": [{ "type": "web_search" }, { "type": "tool_search", "execution": "client" }] });
        assert_eq!(check_with(&CARRIER, body()), Ok(vec!["tools[0]".into()]));
        assert_eq!(
            check_with(&Carrier { hosted: Some(HostedTools::Refuse), ..CARRIER }, body()),
            Err("tools[0].type".into())
        );
        assert_eq!(check_with(&Carrier { hosted: None, ..CARRIER }, body()), Ok(vec![]));
    }
}

//! What the requests of several wires have in common.

use protocol::fault::Fault;
use protocol::item::{FunctionCall, Item, ItemStatus};
use protocol::request::{Create, FunctionTool, ToolChoice};
use serde_json::{Map, Value, json};

/// The efforts that OpenAI's vocabulary has, and Anthropic's one above them.
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Bytes in a URL (RFC 2397).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataUrl<'a> {
    /// Their media type, without parameters.
    pub(super) media_type: &'a str,
    /// The bytes, in base64.
    pub(super) data: &'a str,
}

impl<'a> DataUrl<'a> {
    /// Reads one; `None` where it is none, or not in base64.
    pub(super) fn read(url: &'a str) -> Option<Self> {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?.split(';').next()?;
        (!media_type.is_empty()).then_some(Self { media_type, data })
    }

    /// Reads the bytes of a file: a data URL, or the bare base64 of a PDF, which some clients send.
    pub(super) fn of_file(file_data: &'a str) -> Option<Self> {
        // Every PDF begins with `%PDF-`.
        let bare = || file_data.starts_with("JVBERi").then_some(Self { media_type: "application/pdf", data: file_data });
        Self::read(file_data).or_else(bare)
    }
}

/// Whether an upstream can fetch it.
pub(super) fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Puts `value` under `name`, if there is one.
pub(super) fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// The arguments of a call as the object that both APIs want. What is no object keeps its text, in the wrapping that
/// Anthropic's documentation of fine-grained tool streaming names: an error here would end the conversation for good.
pub(super) fn arguments(call: &FunctionCall) -> Value {
    // A model that needs no arguments may have written none.
    if call.arguments.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(&call.arguments) {
        Ok(Value::Object(arguments)) => arguments.into(),
        Ok(_) | Err(_) => json!({ "INVALID_JSON": call.arguments }),
    }
}

/// A call that was cut while the model wrote it and that nobody answered: with it, the next turn would be refused.
pub(super) fn is_abandoned(call: &FunctionCall, context: &[Item]) -> bool {
    let is_answer = |item: &Item| matches!(item, Item::FunctionCallOutput(output) if output.call_id == call.call_id);
    call.status != ItemStatus::Completed && !context.iter().any(is_answer)
}

/// The tools the model may see. Neither API has a word for a choice among some of them that leaves the model free, and
/// sending just the allowed ones means the same.
pub(super) fn allowed_tools(create: &Create) -> impl Iterator<Item = &FunctionTool> {
    create.tools.iter().filter(|tool| match &create.tool_choice {
        ToolChoice::Allowed(allowed) => allowed.tools.iter().any(|named| named.name == tool.name),
        ToolChoice::Mode(_) | ToolChoice::Function(_) => true,
    })
}

/// The texts at which to stop, from chat completions' `stop`: a text or a list of texts.
///
/// # Errors
/// It is neither.
pub(super) fn stop_sequences(create: &Create) -> Result<Option<Vec<Value>>, Fault> {
    match create.extra.get("stop") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.as_str().into()])),
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => Ok((!texts.is_empty()).then(|| texts.clone())),
        Some(_) => Err(Fault::invalid("invalid_value", "stop", "stop must be a text or a list of texts.")),
    }
}

/// A whole number among the parameters without a word.
///
/// # Errors
/// It is something else.
pub(super) fn whole_number(create: &Create, name: &str) -> Result<Option<i64>, Fault> {
    match create.extra.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(Fault::invalid("invalid_value", name, format!("{name} must be a whole number."))),
        },
    }
}

/// The effort the caller asks for.
pub(super) fn effort(create: &Create) -> Option<&str> {
    create.reasoning.as_ref()?.effort.as_deref()
}

/// Whether the caller wants to see something of the thoughts.
pub(super) fn wants_summary(create: &Create) -> bool {
    create.reasoning.as_ref().is_some_and(|reasoning| reasoning.summary.is_some())
}

/// Whether the caller wants log probabilities. Zero alternatives is what a response says that has none.
pub(super) fn wants_logprobs(create: &Create) -> bool {
    create.top_logprobs.is_some_and(|count| count > 0) || create.include.iter().any(|word| word == "message.output_text.logprobs")
}

/// Refuses what neither API has a word for; `vendor` is whose API it is, `knows` which parameters it does know.
///
/// # Errors
/// The first such field.
pub(super) fn check(create: &Create, vendor: &str, knows: impl Fn(&str) -> bool) -> Result<(), Fault> {
    if let Some(name) = create.extra.keys().find(|name| !knows(name)) {
        return Err(no_word(vendor, name));
    }
    stop_sequences(create)?;
    whole_number(create, "top_k")?;
    unlimited(create, vendor)?;
    whole(create, vendor)?;
    // What a caller says who wants nothing special.
    if create.text.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium") {
        return Err(no_word(vendor, "text.verbosity"));
    }
    match effort(create) {
        Some(effort) if !EFFORTS.contains(&effort) => Err(no_value(vendor, "reasoning.effort", effort)),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a limit on tool calls, where the vendor has none.
///
/// # Errors
/// There is one.
pub(super) fn unlimited(create: &Create, vendor: &str) -> Result<(), Fault> {
    if create.max_tool_calls.is_some() { Err(no_word(vendor, "max_tool_calls")) } else { Ok(()) }
}

/// Refuses that a conversation is shortened by the vendor, where it never does.
///
/// # Errors
/// It is to be.
pub(super) fn whole(create: &Create, vendor: &str) -> Result<(), Fault> {
    match create.truncation.as_deref() {
        None | Some("disabled") => Ok(()),
        Some(truncation) => Err(no_value(vendor, "truncation", truncation)),
    }
}

/// The vendor has no word for a parameter.
pub(super) fn no_word(vendor: &str, param: &str) -> Fault {
    Fault::invalid("unsupported_parameter", param, format!("{vendor}, which serves this model, has no word for {param}."))
}

/// The vendor has a word for a parameter, but not for this value.
pub(super) fn no_value(vendor: &str, param: &str, value: &str) -> Fault {
    Fault::invalid("unsupported_value", param, format!("{vendor}, which serves this model, does not know the {param} '{value}'."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn data_urls_with_and_without_parameters() {
        let read = |url| DataUrl::read(url).map(|url| (url.media_type, url.data));
        assert_eq!(read("data:image/png;base64,AA=="), Some(("image/png", "AA==")));
        assert_eq!(read("data:text/plain;charset=utf-8;base64,AA"), Some(("text/plain", "AA")));
        for wrong in ["data:,hello", "data:text/plain,hello", "https://x/y.png", "AA=="] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(DataUrl::of_file("JVBERi0xLjQ=").map(|url| url.media_type), Some("application/pdf"));
    }

    #[test]
    fn arguments_are_an_object_in_any_case() {
        let check = |written: &str, expected: Value| {
            let Item::FunctionCall(call) = sample::call("c", "f", written) else { panic!("no call") };
            assert_eq!(arguments(&call), expected);
        };
        check("", json!({}));
        check("{\"x\":1}", json!({ "x": 1 }));
        check("[1]", json!({ "INVALID_JSON": "[1]" }));
        check("{\"x\":", json!({ "INVALID_JSON": "{\"x\":" }));
    }
}

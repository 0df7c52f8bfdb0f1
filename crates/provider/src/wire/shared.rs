//! What the requests of several wires have in common.

use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::request::{Create, TextFormat};
use serde_json::{Map, Value, json};

use super::fault::unknown_parameter;

/// The efforts that OpenAI's vocabulary has, and Anthropic's one above them.
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The field of a message that has the parts of its content for which the vocabulary has no place, such as Mistral's `reference`.
pub(super) const CONTENT_PARTS: &str = "content_parts";

/// The field of a message that has the calls of tools that the upstream runs, such as Zhipu's `retrieval`.
pub(super) const HOSTED_CALLS: &str = "hosted_tool_calls";

/// The field of a message that has what its upstream says beside it: fields of the chunk, of the choice and of the usage. It never
/// goes back.
pub(super) const UPSTREAM_FIELDS: &str = "upstream_fields";

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
pub(super) fn arguments(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(arguments)) => arguments.into(),
        Ok(_) | Err(_) => json!({ "INVALID_JSON": arguments }),
    }
}

/// A shorter id for a call whose own is longer than a vendor takes: the same for the call and for its output.
pub(super) fn short_id(call_id: &str) -> String {
    let digest = call_id.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("call_{digest:032x}")
}

/// An annotation in Open Responses' form, where chat completions nest its fields below its type.
pub(super) fn flat_annotation(annotation: Value) -> Value {
    let Value::Object(mut fields) = annotation else { return annotation };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(Value::Object(inner)) = fields.shift_remove(&kind) {
        fields.extend(inner);
    }
    fields.into()
}

/// An image that the model made, as OpenAI's item for one: its bytes in base64, or its address.
pub(super) fn image_call(url: &str) -> Map<String, Value> {
    let (result, format) = match DataUrl::read(url) {
        Some(DataUrl { media_type, data }) => (data, media_type.strip_prefix("image/")),
        None => (url, None),
    };
    let mut item = Map::new();
    item.insert("type".into(), "image_generation_call".into());
    item.insert("status".into(), "completed".into());
    put(&mut item, "output_format", format);
    item.insert("result".into(), result.into());
    item
}

/// Reads an image that a model made, in any of the forms that servers give it: a URL, its bytes, or an object with either.
pub(super) fn made_image(image: &Value) -> Option<Map<String, Value>> {
    let text = |pointer: &str| image.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let is_url = |url: &&str| is_web_address(url) || DataUrl::read(url).is_some_and(|url| url.media_type.starts_with("image/"));
    let urls = ["", "/image_url/url", "/image_url", "/url", "/image/url", "/image"];
    if let Some(url) = urls.iter().find_map(|pointer| text(pointer)).filter(is_url) {
        return Some(image_call(url));
    }
    let data = ["/b64_json", "/image_url/b64_json", "/image/b64_json", "/data", "/base64", "/image_base64"]
        .iter()
        .find_map(|pointer| text(pointer))?;
    let media_type = ["/mime_type", "/mimeType", "/media_type"].iter().find_map(|pointer| text(pointer)).unwrap_or("image/png");
    (media_type.starts_with("image/") && is_base64(data)).then(|| image_call(&format!("data:{media_type};base64,{data}")))
}

fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
}

/// The image in such an item, as a URL.
pub(super) fn image_url(item: &protocol::item::OpaqueItem) -> Option<String> {
    let result = (item.kind == "image_generation_call").then(|| item.fields.text("result"))??;
    if is_web_address(result) {
        return Some(result.to_owned());
    }
    Some(format!("data:image/{};base64,{result}", item.fields.text("output_format").unwrap_or("png")))
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

/// Checks what neither API has a word for; `vendor` is whose API it is, `knows` which parameters it does know. Notes what is left
/// out because it cannot matter.
///
/// # Errors
/// The first field that matters.
pub(super) fn check(create: &Create, vendor: &str, knows: impl Fn(&str) -> bool, ignored: &mut Vec<String>) -> Result<(), Fault> {
    parameters(create, &knows, ignored)?;
    omitted(create, ignored);
    stop_sequences(create)?;
    whole_number(create, "top_k")?;
    // How long an answer is, is a wish.
    if create.text.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium") {
        ignored.push("text.verbosity".to_owned());
    }
    match effort(create) {
        Some(effort) if !EFFORTS.contains(&effort) => Err(no_value(vendor, "reasoning.effort", effort)),
        Some(_) | None => Ok(()),
    }
}

/// Notes the fields of objects beyond the vocabulary, which wires without such objects leave out.
pub(super) fn omitted(create: &Create, ignored: &mut Vec<String>) {
    let of = |object: &'static str, extra: Option<&Extra>| {
        let names: Vec<String> = extra.into_iter().flat_map(Extra::iter).map(|(name, _)| format!("{object}.{name}")).collect();
        names
    };
    let format = match &create.text.format {
        // A schema beside the type has a meaning of its own.
        TextFormat::Text | TextFormat::JsonObject { .. } => None,
        TextFormat::JsonSchema { extra, .. } => Some(extra),
    };
    ignored.extend(of("text", Some(&create.text.extra)));
    ignored.extend(of("text.format", format));
    ignored.extend(of("reasoning", create.reasoning.as_ref().map(|reasoning| &reasoning.extra)));
}

/// The tier of service, where one is asked for that nobody there knows.
pub(super) fn tier_is_omitted(create: &Create) -> Option<String> {
    let is_usual = |tier: &str| matches!(tier, "auto" | "default");
    create.service_tier.as_deref().filter(|tier| !is_usual(tier)).map(|_| "service_tier".to_owned())
}

/// Parameters that are about another vendor's account, caches or templates, or that only wish for something: where they are not
/// known, the answer is the same without them.
const WISHES: [&str; 13] = [
    "seed",
    "chat_template_kwargs",
    "prompt_cache_retention",
    "prompt_cache_options",
    "prediction",
    "web_search_options",
    "moderation",
    "usage",
    "transforms",
    "enable_thinking",
    "extra_headers",
    "extra_query",
    "user",
];

/// Checks the parameters for which the vocabulary has no word.
///
/// # Errors
/// The first that is not known, and that matters.
pub(super) fn parameters(create: &Create, knows: &impl Fn(&str) -> bool, ignored: &mut Vec<String>) -> Result<(), Fault> {
    // No bias is none, which some clients say.
    let says_something = |name: &str, value: &Value| name != "logit_bias" || value.as_object().is_none_or(|bias| !bias.is_empty());
    for (name, _) in create.extra.iter().filter(|(name, value)| !knows(name) && says_something(name, value)) {
        if !WISHES.contains(&name.as_str()) {
            return Err(unknown_parameter(&create.model, name));
        }
        ignored.push(name.clone());
    }
    Ok(())
}

/// The vendor has no word for a parameter.
pub(super) fn no_word(vendor: &str, param: &str) -> Fault {
    Fault::invalid("unsupported_parameter", param, format!("{vendor}, which serves this model, does not support '{param}'."))
}

/// The vendor has a word for a parameter, but not for this value.
pub(super) fn no_value(vendor: &str, param: &str, value: &str) -> Fault {
    Fault::invalid("unsupported_value", param, format!("{vendor}, which serves this model, does not support the {param} '{value}'."))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(arguments("{\"x\":1}"), json!({ "x": 1 }));
        assert_eq!(arguments("[1]"), json!({ "INVALID_JSON": "[1]" }));
        assert_eq!(arguments("{\"x\":"), json!({ "INVALID_JSON": "{\"x\":" }));
    }

    #[test]
    fn an_image_is_an_item_and_a_url_again() {
        let item = |url: &str| {
            let mut fields = protocol::extra::Extra::new(image_call(url));
            let kind = fields.remove("type").unwrap().as_str().unwrap().to_owned();
            protocol::item::OpaqueItem { kind, id: protocol::id::ItemId::new("item_1"), fields }
        };
        for url in ["data:image/webp;base64,AA==", "https://x/y.png"] {
            assert_eq!(image_url(&item(url)).as_deref(), Some(url));
        }
    }

    #[test]
    fn annotations_are_flat() {
        let nested = json!({ "type": "url_citation", "url_citation": { "url": "u", "title": "t" } });
        assert_eq!(flat_annotation(nested), json!({ "type": "url_citation", "url": "u", "title": "t" }));
        assert_eq!(flat_annotation(json!({ "type": "x", "y": 1 })), json!({ "type": "x", "y": 1 }));
    }
}

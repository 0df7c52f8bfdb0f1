//! Helpers shared by the requests of several wires.

use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::request::{Create, TextFormat};
use serde_json::{Map, Value, json};

use super::fault::unknown_parameter;

/// OpenAI's efforts, and Anthropic's additional highest one.
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// The message field for unknown content parts, such as Mistral's `reference`.
pub(super) const CONTENT_PARTS: &str = "content_parts";

/// The message field for calls of hosted tools, such as Zhipu's `retrieval`.
pub(super) const HOSTED_CALLS: &str = "hosted_tool_calls";

/// The message field for upstream metadata: fields of the chunk, the choice and the usage. Never
/// sent back.
pub(super) const UPSTREAM_FIELDS: &str = "upstream_fields";

/// A data URL (RFC 2397).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataUrl<'a> {
    /// The media type without parameters.
    pub(super) media_type: &'a str,
    /// The data in base64.
    pub(super) data: &'a str,
}

impl<'a> DataUrl<'a> {
    /// Parses one; `None` if it is not a base64 data URL.
    pub(super) fn read(url: &'a str) -> Option<Self> {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?.split(';').next()?;
        (!media_type.is_empty()).then_some(Self { media_type, data })
    }

    /// Parses the data of a file: a data URL, or a PDF in bare base64, which some clients send.
    pub(super) fn of_file(file_data: &'a str) -> Option<Self> {
        // Every PDF starts with `%PDF-`.
        let bare = || {
            file_data
                .starts_with("JVBERi")
                .then_some(Self { media_type: "application/pdf", data: file_data })
        };
        Self::read(file_data).or_else(bare)
    }
}

/// Whether an upstream can fetch it.
pub(super) fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Sets `name` if there is a value.
pub(super) fn put(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// A call's arguments as an object, which both APIs require. Anything else is wrapped in an object
/// as Anthropic's documentation of fine-grained tool streaming suggests, because an error would end
/// the conversation for good.
pub(super) fn arguments(arguments: &str) -> Value {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(arguments)) => arguments.into(),
        Ok(_) | Err(_) => json!({ "INVALID_JSON": arguments }),
    }
}

/// A shorter id for a call whose own is too long for a vendor: the same for the call and its
/// output.
pub(super) fn short_id(call_id: &str) -> String {
    let digest =
        call_id.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
    format!("call_{digest:032x}")
}

/// An annotation in Open Responses' format; chat completions nest its fields under its type.
pub(super) fn flat_annotation(annotation: Value) -> Value {
    let Value::Object(mut fields) = annotation else { return annotation };
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(Value::Object(inner)) = fields.shift_remove(&kind) {
        fields.extend(inner);
    }
    fields.into()
}

/// A generated image as OpenAI's item, from a data URL or an address.
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

/// Reads a generated image in any format: a URL, base64 data, or an object with either.
pub(super) fn made_image(image: &Value) -> Option<Map<String, Value>> {
    let text = |pointer: &str| {
        image.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let is_url = |url: &&str| {
        is_web_address(url)
            || DataUrl::read(url).is_some_and(|url| url.media_type.starts_with("image/"))
    };
    let urls = ["", "/image_url/url", "/image_url", "/url", "/image/url", "/image"];
    if let Some(url) = urls.iter().find_map(|pointer| text(pointer)).filter(is_url) {
        return Some(image_call(url));
    }
    let data = [
        "/b64_json",
        "/image_url/b64_json",
        "/image/b64_json",
        "/data",
        "/base64",
        "/image_base64",
    ]
    .iter()
    .find_map(|pointer| text(pointer))?;
    let media_type = ["/mime_type", "/mimeType", "/media_type"]
        .iter()
        .find_map(|pointer| text(pointer))
        .unwrap_or("image/png");
    (media_type.starts_with("image/") && is_base64(data))
        .then(|| image_call(&format!("data:{media_type};base64,{data}")))
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
    Some(format!(
        "data:image/{};base64,{result}",
        item.fields.text("output_format").unwrap_or("png")
    ))
}

/// The stop sequences from chat completions' `stop`: a string or a list of strings.
///
/// # Errors
/// It is neither.
pub(super) fn stop_sequences(create: &Create) -> Result<Option<Vec<Value>>, Fault> {
    match create.extra.get("stop") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.as_str().into()])),
        Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => {
            Ok((!texts.is_empty()).then(|| texts.clone()))
        }
        Some(_) => Err(Fault::invalid(
            "invalid_value",
            "stop",
            "stop must be a string or a list of strings.",
        )),
    }
}

/// An integer among the parameters beyond the vocabulary.
///
/// # Errors
/// It is not an integer.
pub(super) fn whole_number(create: &Create, name: &str) -> Result<Option<i64>, Fault> {
    match create.extra.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => {
                Err(Fault::invalid("invalid_value", name, format!("{name} must be an integer.")))
            }
        },
    }
}

/// The effort that the caller requests.
pub(super) fn effort(create: &Create) -> Option<&str> {
    create.reasoning.as_ref()?.effort.as_deref()
}

/// Whether the caller requests a reasoning summary.
pub(super) fn wants_summary(create: &Create) -> bool {
    create.reasoning.as_ref().is_some_and(|reasoning| reasoning.summary.is_some())
}

/// Whether the caller requests log probabilities. A response without them has zero alternatives.
pub(super) fn wants_logprobs(create: &Create) -> bool {
    create.top_logprobs.is_some_and(|count| count > 0)
        || create.include.iter().any(|word| word == "message.output_text.logprobs")
}

/// Checks what neither API supports. `vendor` is the API's vendor; `knows` tells the parameters it
/// supports. Records irrelevant fields that are left out.
///
/// # Errors
/// The first relevant field.
pub(super) fn check(
    create: &Create,
    vendor: &str,
    knows: impl Fn(&str) -> bool,
    ignored: &mut Vec<String>,
) -> Result<(), Fault> {
    parameters(create, &knows, ignored)?;
    omitted(create, ignored);
    stop_sequences(create)?;
    whole_number(create, "top_k")?;
    // The verbosity is only a preference.
    if create.text.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium") {
        ignored.push("text.verbosity".to_owned());
    }
    match effort(create) {
        Some(effort) if !EFFORTS.contains(&effort) => {
            Err(unsupported_value(vendor, "reasoning.effort", effort))
        }
        Some(_) | None => Ok(()),
    }
}

/// Records unknown fields of nested objects, for wires that leave these objects out.
pub(super) fn omitted(create: &Create, ignored: &mut Vec<String>) {
    let of = |object: &'static str, extra: Option<&Extra>| {
        let names: Vec<String> = extra
            .into_iter()
            .flat_map(Extra::iter)
            .map(|(name, _)| format!("{object}.{name}"))
            .collect();
        names
    };
    let format = match &create.text.format {
        // A schema next to the type has a meaning of its own.
        TextFormat::Text | TextFormat::JsonObject { .. } => None,
        TextFormat::JsonSchema { extra, .. } => Some(extra),
    };
    ignored.extend(of("text", Some(&create.text.extra)));
    ignored.extend(of("text.format", format));
    ignored.extend(of("reasoning", create.reasoning.as_ref().map(|reasoning| &reasoning.extra)));
}

/// The requested service tier, unless it is the default.
pub(super) fn tier_is_omitted(create: &Create) -> Option<String> {
    let is_usual = |tier: &str| matches!(tier, "auto" | "default");
    create.service_tier.as_deref().filter(|tier| !is_usual(tier)).map(|_| "service_tier".to_owned())
}

/// Parameters for another vendor's account, caches or templates, or mere preferences: the response
/// is the same without them.
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

/// Checks the parameters beyond the vocabulary.
///
/// # Errors
/// The first unsupported and relevant parameter.
pub(super) fn parameters(
    create: &Create,
    knows: &impl Fn(&str) -> bool,
    ignored: &mut Vec<String>,
) -> Result<(), Fault> {
    // An empty bias has no effect, and some clients send it.
    let has_content = |name: &str, value: &Value| {
        name != "logit_bias" || value.as_object().is_none_or(|bias| !bias.is_empty())
    };
    for (name, _) in
        create.extra.iter().filter(|(name, value)| !knows(name) && has_content(name, value))
    {
        if !WISHES.contains(&name.as_str()) {
            return Err(unknown_parameter(&create.model, name));
        }
        ignored.push(name.clone());
    }
    Ok(())
}

/// The vendor does not support a parameter.
pub(super) fn unsupported_parameter(vendor: &str, param: &str) -> Fault {
    Fault::invalid(
        "unsupported_parameter",
        param,
        format!("{vendor}, which serves this model, does not support '{param}'."),
    )
}

/// The vendor does not support a parameter's value.
pub(super) fn unsupported_value(vendor: &str, param: &str, value: &str) -> Fault {
    Fault::invalid(
        "unsupported_value",
        param,
        format!("{vendor}, which serves this model, does not support the {param} '{value}'."),
    )
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
        assert_eq!(
            DataUrl::of_file("JVBERi0xLjQ=").map(|url| url.media_type),
            Some("application/pdf")
        );
    }

    #[test]
    fn arguments_are_an_object_in_any_case() {
        assert_eq!(arguments("{\"x\":1}"), json!({ "x": 1 }));
        assert_eq!(arguments("[1]"), json!({ "INVALID_JSON": "[1]" }));
        assert_eq!(arguments("{\"x\":"), json!({ "INVALID_JSON": "{\"x\":" }));
    }

    #[test]
    fn an_image_becomes_an_item_and_a_url_again() {
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
        let nested =
            json!({ "type": "url_citation", "url_citation": { "url": "u", "title": "t" } });
        assert_eq!(
            flat_annotation(nested),
            json!({ "type": "url_citation", "url": "u", "title": "t" })
        );
        assert_eq!(flat_annotation(json!({ "type": "x", "y": 1 })), json!({ "type": "x", "y": 1 }));
    }
}

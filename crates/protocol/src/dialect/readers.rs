//! Reads fields that several dialects have, under different names.

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::item::{Part, Role};
use crate::limits;
use crate::on_leave::{self, OnLeave};
use crate::read::{RequestObject, RequestValue};
use crate::request::{InputItem, TextFormat};

/// The most parts that all items together may have.
///
/// # Errors
/// There are too many.
pub(super) fn check_parts(node: &RequestValue<'_>, items: &[InputItem]) -> Result<(), Fault> {
    let count = |item: &InputItem| match item {
        InputItem::Item(item) => item.parts().count(),
        InputItem::Reference(_) => 0,
    };
    let parts = items.iter().map(count).sum::<usize>();
    if parts <= limits::ALL_PARTS {
        return Ok(());
    }
    let message = format!(
        "Invalid '{}': expected at most {} content parts in all, but got {parts}.",
        node.path(),
        limits::ALL_PARTS
    );
    Err(Fault::invalid("array_above_max_length", node.path(), message))
}

/// Text as `role` writes it.
pub(super) fn text_part(role: Role, text: String) -> Part {
    match role {
        Role::Assistant => Part::output_text(text),
        Role::User | Role::System | Role::Developer => Part::input_text(text),
    }
}

/// Reads a text format. The fields of a schema stand below `nested` where that is given.
pub(super) fn read_format(
    object: &RequestObject<'_>,
    nested: Option<&str>,
) -> Result<TextFormat, Fault> {
    match object.require("type")?.word(&["text", "json_object", "json_schema"])?.as_str() {
        "text" => Ok(TextFormat::Text),
        // Some servers take a schema here.
        "json_object" => {
            object.read("schema", RequestValue::schema)?;
            Ok(TextFormat::JsonObject { extra: object.extra(&["type"]) })
        }
        _ => match nested {
            Some(nested) => read_schema(&object.require(nested)?.object()?, &[]),
            None => read_schema(object, &["type"]),
        },
    }
}

fn read_schema(object: &RequestObject<'_>, beside: &[&str]) -> Result<TextFormat, Fault> {
    let schema = object.require("schema")?;
    Ok(TextFormat::JsonSchema {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        schema: schema.schema()?,
        strict: object.boolean("strict")?.unwrap_or(false),
        extra: object.extra(&[&["name", "description", "schema", "strict"], beside].concat()),
    })
}

/// Reads what happens when the last reader leaves.
pub(super) fn read_on_leave(node: &RequestValue<'_>) -> Result<OnLeave, Fault> {
    node.string()?.parse().map_err(|_| node.wrong_value(on_leave::EXPECTED))
}

/// Reads a reasoning effort.
pub(super) fn read_effort(node: &RequestValue<'_>) -> Result<String, Fault> {
    node.word(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])
}

/// Reads metadata: at most 16 pairs of short strings.
pub(super) fn read_metadata(node: &RequestValue<'_>) -> Result<Map<String, Value>, Fault> {
    let Value::Object(pairs) = node.value() else { return Err(node.wrong_type("an object")) };
    if pairs.len() > 16 {
        return Err(node.wrong_value("at most 16 pairs"));
    }
    for (key, value) in pairs {
        let path = format!("{}.{key}", node.path());
        let Value::String(text) = value else {
            return Err(Fault::invalid(
                "invalid_type",
                &path,
                format!("Invalid type for '{path}': expected a string."),
            ));
        };
        if key.chars().count() > 64 || text.chars().count() > 512 {
            return Err(Fault::invalid(
                "invalid_value",
                &path,
                format!("'{path}' is too long: keys have at most 64 characters, values 512."),
            ));
        }
    }
    Ok(pairs.clone())
}

//! Reads the tools of a chat, and which of them the model may or must call, in their present and in
//! their former form.

use crate::dialect::tools::{
    ToolNames, read_allowed, read_custom, read_function, read_named, read_tool_mode,
};
use crate::extra::Extra;
use crate::fault::Fault;
use crate::limits;
use crate::read::{RequestObject, RequestValue};
use crate::request::{AllowedTool, NamedKind, Tool, ToolChoice, ToolMode};

/// Reads `tools`.
pub(super) fn read_tools(node: &RequestValue<'_>) -> Result<Vec<Tool>, Fault> {
    node.array(limits::TOOLS)?.iter().map(read_tool).collect()
}

/// Reads `functions`, the former name of `tools`.
pub(super) fn read_functions(node: &RequestValue<'_>) -> Result<Vec<Tool>, Fault> {
    let read = |node: &RequestValue<'_>| {
        let object = node.object()?;
        read_function(&object, object.extra(&["name", "description", "parameters", "strict"]))
            .map(Tool::Function)
    };
    node.array(limits::TOOLS)?.iter().map(read).collect()
}

fn read_tool(node: &RequestValue<'_>) -> Result<Tool, Fault> {
    let object = node.object()?;
    Ok(match object.require("type")?.some_string()?.as_str() {
        "function" => {
            let function = object.require("function")?.object()?;
            let inner = function.extra(&["name", "description", "parameters", "strict"]);
            Tool::Function(read_function(&function, with_inner(&object, "function", &inner))?)
        }
        "custom" => {
            let custom = object.require("custom")?.object()?;
            let inner = custom.extra(&["name", "description", "format"]);
            Tool::Custom(read_custom(&custom, with_inner(&object, "custom", &inner))?)
        }
        _ => Tool::Hosted(object.extra(&[])),
    })
}

fn with_inner(object: &RequestObject<'_>, name: &str, inner: &Extra) -> Extra {
    let mut extra = object.extra(&["type", name]);
    if !inner.is_empty() {
        extra.insert(name, inner.to_map().into());
    }
    extra
}

/// Reads `tool_choice`, or `function_call`, its former name.
pub(super) fn read_tool_choice(
    root: &RequestObject<'_>,
    tools: &ToolNames<'_>,
) -> Result<ToolChoice, Fault> {
    if let Some(choice) = root.get("tool_choice") {
        return read_choice(&choice, tools);
    }
    match root.get("function_call") {
        None => Ok(ToolChoice::Mode(ToolMode::Auto)),
        Some(choice) if choice.value().is_string() => {
            match choice.word(&["none", "auto"])?.as_str() {
                "none" => Ok(ToolChoice::Mode(ToolMode::None)),
                _ => Ok(ToolChoice::Mode(ToolMode::Auto)),
            }
        }
        Some(choice) => {
            read_named(&choice.object()?, NamedKind::Function, tools).map(ToolChoice::Tool)
        }
    }
}

fn read_choice(node: &RequestValue<'_>, tools: &ToolNames<'_>) -> Result<ToolChoice, Fault> {
    if node.value().is_string() {
        return read_tool_mode(node, tools).map(ToolChoice::Mode);
    }
    if !node.value().is_object() {
        return Err(node.wrong_type("a string or an object"));
    }
    let object = node.object()?;
    let kind = object.require("type")?;
    match kind.some_string()?.as_str() {
        "function" | "custom" => read_nested(&object, tools),
        "allowed_tools" => {
            let allowed = object.require("allowed_tools")?.object()?;
            let named = allowed.require("tools")?.array(limits::TOOLS)?;
            let named = named
                .iter()
                .map(|tool| read_allowed_tool(tool, tools))
                .collect::<Result<Vec<_>, _>>()?;
            return read_allowed(&allowed, named, tools);
        }
        hosted if tools.has_kind(hosted) => return Ok(ToolChoice::Opaque(object.extra(&[]))),
        _ => Err(kind.wrong_value(
            "'function', 'custom', 'allowed_tools', or the type of one of the request's 'tools'",
        )),
    }
    .map(ToolChoice::Tool)
}

fn read_allowed_tool(node: &RequestValue<'_>, tools: &ToolNames<'_>) -> Result<AllowedTool, Fault> {
    let object = node.object()?;
    match object.get("type").map(|kind| kind.string()).transpose()?.as_deref() {
        None | Some("function" | "custom") => read_nested(&object, tools).map(AllowedTool::Named),
        Some(_) => Ok(AllowedTool::Hosted(object.extra(&[]))),
    }
}

/// Reads `{"type":"function","function":{"name":…}}`, or the same with `custom`.
fn read_nested(
    object: &RequestObject<'_>,
    tools: &ToolNames<'_>,
) -> Result<crate::request::NamedTool, Fault> {
    match object.get("custom") {
        Some(custom) => read_named(&custom.object()?, NamedKind::Custom, tools),
        None => read_named(&object.require("function")?.object()?, NamedKind::Function, tools),
    }
}

//! Reads `tools` and `tool_choice`.

use crate::dialect::tools::{
    ToolNames, read_allowed, read_custom, read_function, read_named, read_tool_mode,
};
use crate::fault::Fault;
use crate::limits;
use crate::read::{RequestObject, RequestValue};
use crate::request::{AllowedTool, NamedKind, NamespaceTool, Tool, ToolChoice};

/// Reads `tools`.
pub(super) fn read_tools(node: &RequestValue<'_>) -> Result<Vec<Tool>, Fault> {
    let tools: Vec<Tool> =
        node.array(limits::TOOLS)?.iter().map(read_tool).collect::<Result<_, _>>()?;
    let count = tools.iter().map(|tool| tool.inner().map_or(1, <[_]>::len)).sum();
    if count > limits::TOOLS { Err(node.too_many(count, limits::TOOLS)) } else { Ok(tools) }
}

fn read_tool(node: &RequestValue<'_>) -> Result<Tool, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?.some_string()?;
    if kind != "namespace" {
        return read_one(&object, &kind);
    }
    Ok(Tool::Namespace(NamespaceTool {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        tools: object
            .require("tools")?
            .array(limits::TOOLS)?
            .iter()
            .map(read_inner)
            .collect::<Result<_, _>>()?,
        extra: object.extra(&["type", "name", "description", "tools"]),
    }))
}

/// A tool in a namespace, which is not one itself.
fn read_inner(node: &RequestValue<'_>) -> Result<Tool, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?;
    match kind.some_string()?.as_str() {
        "namespace" => Err(kind.wrong_value("a tool that is not a namespace itself")),
        kind => read_one(&object, kind),
    }
}

fn read_one(object: &RequestObject<'_>, kind: &str) -> Result<Tool, Fault> {
    match kind {
        "function" => read_function(
            object,
            object.extra(&["type", "name", "description", "parameters", "strict"]),
        )
        .map(Tool::Function),
        "custom" => read_custom(object, object.extra(&["type", "name", "description", "format"]))
            .map(Tool::Custom),
        _ => Ok(Tool::Hosted(object.extra(&[]))),
    }
}

/// Reads `tool_choice`.
pub(super) fn read_tool_choice(
    node: &RequestValue<'_>,
    tools: &ToolNames<'_>,
) -> Result<ToolChoice, Fault> {
    if node.value().is_string() {
        return read_tool_mode(node, tools).map(ToolChoice::Mode);
    }
    if !node.value().is_object() {
        return Err(node.wrong_type("a string or an object"));
    }
    let object = node.object()?;
    let kind = object.require("type")?;
    match kind.some_string()?.as_str() {
        "function" => read_named(&object, NamedKind::Function, tools).map(ToolChoice::Tool),
        "custom" => read_named(&object, NamedKind::Custom, tools).map(ToolChoice::Tool),
        "allowed_tools" => {
            let allowed = object.require("tools")?.array(limits::TOOLS)?;
            let allowed = allowed
                .iter()
                .map(|tool| read_allowed_tool(tool, tools))
                .collect::<Result<Vec<_>, _>>()?;
            read_allowed(&object, allowed, tools)
        }
        hosted if tools.has_kind(hosted) => Ok(ToolChoice::Opaque(object.extra(&[]))),
        _ => Err(kind.wrong_value(
            "'function', 'custom', 'allowed_tools', or the type of one of the request's 'tools'",
        )),
    }
}

fn read_allowed_tool(node: &RequestValue<'_>, tools: &ToolNames<'_>) -> Result<AllowedTool, Fault> {
    let object = node.object()?;
    match object.get("type").map(|kind| kind.string()).transpose()?.as_deref() {
        None | Some("function") => {
            read_named(&object, NamedKind::Function, tools).map(AllowedTool::Named)
        }
        Some("custom") => read_named(&object, NamedKind::Custom, tools).map(AllowedTool::Named),
        Some(_) => Ok(AllowedTool::Hosted(object.extra(&[]))),
    }
}

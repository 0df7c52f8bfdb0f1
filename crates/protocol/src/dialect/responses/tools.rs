//! Reads the tools of a request, and which of them the model may or must call. Both dialects use it.

use std::collections::HashSet;

use crate::extra::Extra;
use crate::fault::Fault;
use crate::limits;
use crate::read::{Node, Object};
use crate::request::{
    AllowedTool, AllowedTools, AllowedToolsWord, CustomTool, FunctionTool, NamedKind, NamedTool, NamespaceTool, Tool, ToolChoice, ToolMode,
};

/// What the tools of a request are called, for choices that name them.
pub(in crate::dialect) struct ToolNames<'a> {
    names: HashSet<&'a str>,
    kinds: HashSet<&'a str>,
}

impl<'a> ToolNames<'a> {
    /// Those of these tools, and of the ones in their namespaces.
    pub(in crate::dialect) fn of(tools: &'a [Tool]) -> Self {
        let all = tools.iter().flat_map(|tool| tool.inner().unwrap_or(std::slice::from_ref(tool)));
        Self { names: all.filter_map(Tool::name).collect(), kinds: tools.iter().map(Tool::kind).collect() }
    }

    /// Whether there are no tools.
    fn has_none(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Whether a tool has this name.
    fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether a tool is of this type.
    pub(in crate::dialect) fn has_kind(&self, kind: &str) -> bool {
        self.kinds.contains(kind)
    }
}

/// Reads `tools`.
pub(super) fn read_tools(node: &Node<'_>) -> Result<Vec<Tool>, Fault> {
    let tools: Vec<Tool> = node.array(limits::TOOLS)?.iter().map(read_tool).collect::<Result<_, _>>()?;
    let count = tools.iter().map(|tool| tool.inner().map_or(1, <[_]>::len)).sum();
    if count > limits::TOOLS { Err(node.too_many(count, limits::TOOLS)) } else { Ok(tools) }
}

fn read_tool(node: &Node<'_>) -> Result<Tool, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?.some_string()?;
    if kind != "namespace" {
        return read_one(&object, &kind);
    }
    Ok(Tool::Namespace(NamespaceTool {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        tools: object.require("tools")?.array(limits::TOOLS)?.iter().map(read_inner).collect::<Result<_, _>>()?,
        extra: object.extra(&["type", "name", "description", "tools"]),
    }))
}

/// A tool in a namespace, which is not one itself.
fn read_inner(node: &Node<'_>) -> Result<Tool, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?;
    match kind.some_string()?.as_str() {
        "namespace" => Err(kind.wrong_value("a tool that is not a namespace itself")),
        kind => read_one(&object, kind),
    }
}

fn read_one(object: &Object<'_>, kind: &str) -> Result<Tool, Fault> {
    match kind {
        "function" => read_function(object, object.extra(&["type", "name", "description", "parameters", "strict"])).map(Tool::Function),
        "custom" => read_custom(object, object.extra(&["type", "name", "description", "format"])).map(Tool::Custom),
        _ => Ok(Tool::Hosted(object.extra(&[]))),
    }
}

/// Reads a function's definition; `extra` is what stands beside it.
pub(in crate::dialect) fn read_function(object: &Object<'_>, extra: Extra) -> Result<FunctionTool, Fault> {
    Ok(FunctionTool {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        parameters: object.read("parameters", Node::schema)?,
        strict: object.boolean("strict")?,
        extra,
    })
}

/// Reads the definition of a tool that takes free text; `extra` is what stands beside it.
pub(in crate::dialect) fn read_custom(object: &Object<'_>, extra: Extra) -> Result<CustomTool, Fault> {
    Ok(CustomTool {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        format: object.read("format", Node::schema)?,
        extra,
    })
}

/// Reads `tool_choice`.
pub(super) fn read_tool_choice(node: &Node<'_>, tools: &ToolNames<'_>) -> Result<ToolChoice, Fault> {
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
            let allowed = allowed.iter().map(|tool| read_allowed_tool(tool, tools)).collect::<Result<Vec<_>, _>>()?;
            read_allowed(&object, allowed, tools)
        }
        hosted if tools.has_kind(hosted) => Ok(ToolChoice::Opaque(object.extra(&[]))),
        _ => Err(kind.wrong_value("'function', 'custom', 'allowed_tools', or the type of one of the request's 'tools'")),
    }
}

fn read_allowed_tool(node: &Node<'_>, tools: &ToolNames<'_>) -> Result<AllowedTool, Fault> {
    let object = node.object()?;
    match object.get("type").map(|kind| kind.string()).transpose()?.as_deref() {
        None | Some("function") => read_named(&object, NamedKind::Function, tools).map(AllowedTool::Named),
        Some("custom") => read_named(&object, NamedKind::Custom, tools).map(AllowedTool::Named),
        Some(_) => Ok(AllowedTool::Hosted(object.extra(&[]))),
    }
}

/// Reads the rest of `allowed_tools`, of which the tools were read.
pub(in crate::dialect) fn read_allowed(object: &Object<'_>, allowed: Vec<AllowedTool>, tools: &ToolNames<'_>) -> Result<ToolChoice, Fault> {
    if allowed.is_empty() {
        return Err(Fault::invalid("invalid_value", object.path_of("tools"), "'allowed_tools' needs at least one tool."));
    }
    let mode = object.read("mode", |node| read_tool_mode(node, tools))?.unwrap_or(ToolMode::Auto);
    Ok(ToolChoice::Allowed(AllowedTools { kind: AllowedToolsWord::AllowedTools, tools: allowed, mode }))
}

/// Reads `none`, `auto` or `required`.
pub(in crate::dialect) fn read_tool_mode(node: &Node<'_>, tools: &ToolNames<'_>) -> Result<ToolMode, Fault> {
    match node.word(&["none", "auto", "required"])?.as_str() {
        "none" => Ok(ToolMode::None),
        "auto" => Ok(ToolMode::Auto),
        _ if tools.has_none() => Err(node.wrong_value("a choice that the request's tools can meet, but there are no 'tools'")),
        _ => Ok(ToolMode::Required),
    }
}

/// Reads the name of a tool, which must be one of the request's.
pub(in crate::dialect) fn read_named(object: &Object<'_>, kind: NamedKind, tools: &ToolNames<'_>) -> Result<NamedTool, Fault> {
    let node = object.require("name")?;
    let name = node.some_string()?;
    if tools.has(&name) {
        return Ok(NamedTool { kind, name });
    }
    Err(node.wrong_value("the name of one of the request's 'tools'"))
}

//! Reads the tools of a request, and which of them the model may or must call, in the form that the
//! dialects share.

use std::collections::HashSet;

use crate::extra::Extra;
use crate::fault::Fault;
use crate::read::{RequestObject, RequestValue};
use crate::request::{
    AllowedTool, AllowedTools, AllowedToolsWord, CustomTool, FunctionTool, NamedKind, NamedTool,
    Tool, ToolChoice, ToolMode,
};

/// The names of a request's tools, for choices that name them.
pub(super) struct ToolNames<'a> {
    names: HashSet<&'a str>,
    kinds: HashSet<&'a str>,
}

impl<'a> ToolNames<'a> {
    /// Those of these tools, and of the ones in their namespaces.
    pub(super) fn of(tools: &'a [Tool]) -> Self {
        let all = tools.iter().flat_map(|tool| tool.inner().unwrap_or(std::slice::from_ref(tool)));
        Self {
            names: all.filter_map(Tool::name).collect(),
            kinds: tools.iter().map(Tool::kind).collect(),
        }
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
    pub(super) fn has_kind(&self, kind: &str) -> bool {
        self.kinds.contains(kind)
    }
}

/// Reads a function's definition; `extra` is what stands beside it.
pub(super) fn read_function(
    object: &RequestObject<'_>,
    extra: Extra,
) -> Result<FunctionTool, Fault> {
    Ok(FunctionTool {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        parameters: object.read("parameters", RequestValue::schema)?,
        strict: object.boolean("strict")?,
        extra,
    })
}

/// Reads the definition of a tool that takes free text; `extra` is what stands beside it.
pub(super) fn read_custom(object: &RequestObject<'_>, extra: Extra) -> Result<CustomTool, Fault> {
    Ok(CustomTool {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        format: object.read("format", RequestValue::schema)?,
        extra,
    })
}

/// Reads the rest of `allowed_tools`, of which the tools were read.
pub(super) fn read_allowed(
    object: &RequestObject<'_>,
    allowed: Vec<AllowedTool>,
    tools: &ToolNames<'_>,
) -> Result<ToolChoice, Fault> {
    if allowed.is_empty() {
        return Err(Fault::invalid(
            "invalid_value",
            object.path_of("tools"),
            "'allowed_tools' needs at least one tool.",
        ));
    }
    let mode = object.read("mode", |node| read_tool_mode(node, tools))?.unwrap_or(ToolMode::Auto);
    Ok(ToolChoice::Allowed(AllowedTools {
        kind: AllowedToolsWord::AllowedTools,
        tools: allowed,
        mode,
    }))
}

/// Reads `none`, `auto` or `required`.
pub(super) fn read_tool_mode(
    node: &RequestValue<'_>,
    tools: &ToolNames<'_>,
) -> Result<ToolMode, Fault> {
    match node.word(&["none", "auto", "required"])?.as_str() {
        "none" => Ok(ToolMode::None),
        "auto" => Ok(ToolMode::Auto),
        _ if tools.has_none() => Err(node.wrong_value(
            "a choice that the request's tools can satisfy, but there are no 'tools'",
        )),
        _ => Ok(ToolMode::Required),
    }
}

/// Reads the name of a tool, which must be one of the request's.
pub(super) fn read_named(
    object: &RequestObject<'_>,
    kind: NamedKind,
    tools: &ToolNames<'_>,
) -> Result<NamedTool, Fault> {
    let node = object.require("name")?;
    let name = node.some_string()?;
    if tools.has(&name) {
        return Ok(NamedTool { kind, name });
    }
    Err(node.wrong_value("the name of one of the request's 'tools'"))
}

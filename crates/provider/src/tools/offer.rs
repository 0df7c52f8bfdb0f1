//! Lowers the tools of a request to functions.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use engine::provider::request::ModelRequest;
use protocol::extra::Extra;
use protocol::item::Item;
use protocol::limits;
use protocol::request::{Create, CustomTool, FunctionTool, Tool, ToolChoice};
use serde_json::{Value, json};

/// The type of the tool with which a model searches a client's further tools.
pub(super) const TOOL_SEARCH: &str = "tool_search";

/// The longest function name that all vendors accept.
const LONGEST_NAME: usize = 64;

/// The namespace whose tools are called without it.
const DEFAULT_NAMESPACE: &str = "functions";

/// The kind of tool a function was declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeclaredKind {
    Function,
    Custom,
    ToolSearch,
}

/// A tool, lowered to a function.
#[derive(Clone, Debug)]
pub(crate) struct OfferedTool<'a> {
    /// Its name at the upstream.
    pub(crate) name: Cow<'a, str>,
    /// The caller's name for it.
    pub(super) declared: &'a str,
    /// The namespace the caller declared it in.
    pub(super) namespace: Option<&'a str>,
    pub(super) origin: DeclaredKind,
    pub(crate) description: Option<Cow<'a, str>>,
    /// The JSON schema of its parameters.
    pub(crate) parameters: Option<Cow<'a, Value>>,
    pub(crate) strict: Option<bool>,
    /// Unknown fields, unchanged.
    pub(crate) extra: Option<&'a Extra>,
}

impl OfferedTool<'_> {
    /// Whether it replaces a custom tool with free text input.
    pub(crate) fn is_custom(&self) -> bool {
        self.origin == DeclaredKind::Custom
    }

    /// Whether it is the client's tool search.
    pub(crate) fn is_tool_search(&self) -> bool {
        self.origin == DeclaredKind::ToolSearch
    }

    /// The caller's name for it, and its namespace.
    pub(crate) fn declared(&self) -> (&str, Option<&str>) {
        (self.declared, self.namespace)
    }
}

/// All tools the model can use, and the caller's tools that are not functions.
#[derive(Debug)]
pub(crate) struct OfferedTools<'a> {
    pub(crate) tools: Vec<OfferedTool<'a>>,
    /// The index in `tools` by name and namespace.
    places: HashMap<(&'a str, Option<&'a str>), usize>,
    /// Names already in use at the upstream.
    names: HashSet<Cow<'a, str>>,
    /// Tools that Weir does not interpret.
    pub(crate) hosted: Vec<&'a Extra>,
    choice: &'a ToolChoice,
}

impl<'a> OfferedTools<'a> {
    /// The tools of a request, including those declared by items of its conversation.
    pub(crate) fn of(request: &'a ModelRequest) -> Self {
        Self::new(&request.create, &request.context)
    }

    /// The tools of a request with this conversation.
    pub(crate) fn new(create: &'a Create, context: &'a [Item]) -> Self {
        let (places, names) = (HashMap::new(), HashSet::new());
        let mut offer = Self {
            tools: Vec::new(),
            places,
            names,
            hosted: Vec::new(),
            choice: &create.tool_choice,
        };
        create.tools.iter().for_each(|tool| offer.add(tool, None));
        for item in context {
            offer.add_item(item);
        }
        if let ToolChoice::Allowed(allowed) = &create.tool_choice {
            let allowed: HashSet<&str> = allowed.names().collect();
            offer.keep(|tool| allowed.contains(tool.declared));
        }
        offer
    }

    /// The tools of a request for an upstream that supports all kinds: names are not changed.
    pub(crate) fn declared(request: &'a ModelRequest) -> Self {
        let mut offer = Self::of(request);
        offer.tools.iter_mut().for_each(|tool| tool.name = Cow::Borrowed(tool.declared));
        // If several tools share a name, only the upstream knows which one is meant.
        let mut counts: HashMap<&str, usize> = HashMap::new();
        offer.tools.iter().for_each(|tool| *counts.entry(tool.declared).or_default() += 1);
        offer.keep(|tool| counts.get(tool.declared) == Some(&1));
        offer
    }

    /// The tool declared under this name in this namespace.
    pub(super) fn get(&self, declared: &str, namespace: Option<&str>) -> Option<&OfferedTool<'a>> {
        self.tools.get(*self.places.get(&(declared, namespace))?)
    }

    fn keep(&mut self, is_kept: impl FnMut(&OfferedTool<'a>) -> bool) {
        self.tools.retain(is_kept);
        self.places = self
            .tools
            .iter()
            .enumerate()
            .map(|(place, tool)| ((tool.declared, tool.namespace), place))
            .collect();
    }

    /// The upstream's name for the tool declared as `name`.
    pub(crate) fn wire_name(&self, name: &'a str) -> &str {
        self.tools.iter().find(|tool| tool.declared == name).map_or(name, |tool| &tool.name)
    }

    /// The request's tool choice.
    pub(crate) fn choice(&self) -> &'a ToolChoice {
        self.choice
    }

    fn add(&mut self, tool: &'a Tool, namespace: Option<&'a str>) {
        match tool {
            Tool::Function(tool) => self.push(function(tool), namespace),
            Tool::Custom(tool) => self.push(custom(tool), namespace),
            Tool::Namespace(inner) => {
                inner.tools.iter().for_each(|tool| self.add(tool, Some(&inner.name)));
            }
            Tool::Hosted(fields) => match tool_search(fields) {
                Some(offered) => self.push(offered, None),
                None => self.hosted.push(fields),
            },
        }
    }

    fn push(&mut self, mut offered: OfferedTool<'a>, namespace: Option<&'a str>) {
        // A repeated declaration (a later search found the tool again) is the same tool. Tools
        // beyond the limit are ignored rather than rejected, because items declare them.
        if self.tools.len() >= limits::TOOLS
            || self.places.contains_key(&(offered.declared, namespace))
        {
            return;
        }
        offered.namespace = namespace;
        offered.name = self.unique_name(offered.declared, namespace);
        self.names.insert(offered.name.clone());
        self.places.insert((offered.declared, namespace), self.tools.len());
        self.tools.push(offered);
    }

    /// A unique name that all vendors accept.
    fn unique_name(&self, declared: &'a str, namespace: Option<&str>) -> Cow<'a, str> {
        let is_taken = |name: &str| self.names.contains(name);
        let Some(namespace) = namespace else { return Cow::Borrowed(declared) };
        if namespace == DEFAULT_NAMESPACE && !is_taken(declared) {
            return Cow::Borrowed(declared);
        }
        let fit = |character: char| {
            if character.is_ascii_alphanumeric() || "_-".contains(character) {
                character
            } else {
                '_'
            }
        };
        let mut name: String = format!("{namespace}__{declared}").chars().map(fit).collect();
        if name.len() > LONGEST_NAME || is_taken(&name) {
            let digest = digest(&name);
            name.truncate(LONGEST_NAME - digest.len() - 1);
            _ = write!(name, "_{digest}");
        }
        Cow::Owned(name)
    }

    /// Adds the tools that an item declares: added by the client itself, or found by its tool
    /// search.
    fn add_item(&mut self, item: &'a Item) {
        let Item::Opaque(item) = item else { return };
        if !matches!(item.kind.as_str(), "additional_tools" | "tool_search_output") {
            return;
        }
        let tools = item.fields.get("tools").and_then(Value::as_array).into_iter().flatten();
        for tool in tools {
            self.add_value(tool, None);
        }
    }

    /// Adds a tool that an item declares. Anything that is not a valid tool is ignored.
    fn add_value(&mut self, tool: &'a Value, namespace: Option<&'a str>) {
        let text = |name: &str| tool.get(name).and_then(Value::as_str);
        let description = text("description").map(Cow::Borrowed);
        match (text("type"), text("name")) {
            (Some("namespace"), Some(name)) => {
                let tools = tool.get("tools").and_then(Value::as_array).into_iter().flatten();
                tools.for_each(|tool| self.add_value(tool, Some(name)));
            }
            (Some("function"), Some(declared)) => {
                let parameters = tool
                    .get("parameters")
                    .filter(|parameters| parameters.is_object())
                    .map(Cow::Borrowed);
                let strict = tool.get("strict").and_then(Value::as_bool);
                self.push(
                    OfferedTool {
                        parameters,
                        strict,
                        ..offered(declared, DeclaredKind::Function, description)
                    },
                    namespace,
                );
            }
            (Some("custom"), Some(declared)) => {
                self.push(lowered(declared, description, tool.get("format")), namespace);
            }
            (Some(TOOL_SEARCH), _) => {
                let parameters = tool
                    .get("parameters")
                    .filter(|parameters| parameters.is_object())
                    .map(Cow::Borrowed);
                self.push(
                    OfferedTool {
                        parameters,
                        ..offered(TOOL_SEARCH, DeclaredKind::ToolSearch, description)
                    },
                    None,
                );
            }
            _ => {}
        }
    }
}

fn offered<'a>(
    declared: &'a str,
    origin: DeclaredKind,
    description: Option<Cow<'a, str>>,
) -> OfferedTool<'a> {
    OfferedTool {
        name: Cow::Borrowed(declared),
        declared,
        namespace: None,
        origin,
        description,
        parameters: None,
        strict: None,
        extra: None,
    }
}

fn function(tool: &FunctionTool) -> OfferedTool<'_> {
    OfferedTool {
        parameters: tool.parameters.as_ref().map(Cow::Borrowed),
        strict: tool.strict,
        extra: Some(&tool.extra),
        ..offered(
            &tool.name,
            DeclaredKind::Function,
            tool.description.as_deref().map(Cow::Borrowed),
        )
    }
}

fn custom(tool: &CustomTool) -> OfferedTool<'_> {
    lowered(&tool.name, tool.description.as_deref().map(Cow::Borrowed), tool.format.as_ref())
}

/// Lowers a custom tool to a function with one string parameter. Its grammar cannot be enforced
/// then, but the description can show it.
fn lowered<'a>(
    declared: &'a str,
    description: Option<Cow<'a, str>>,
    format: Option<&Value>,
) -> OfferedTool<'a> {
    let text = |name: &str| format.and_then(|format| format.get(name)).and_then(Value::as_str);
    let description = match (description, text("definition")) {
        (description, None) => description,
        (description, Some(definition)) => {
            let syntax = text("syntax").unwrap_or("formal");
            Some(Cow::Owned(format!(
                "{}\n\nThe input must follow this {syntax} grammar:\n{definition}",
                description.unwrap_or_default()
            )))
        }
    };
    let parameters = json!({
        "type": "object",
        "properties": { "input": { "type": "string", "description": "The whole input of the tool, as plain text." } },
        "required": ["input"],
        "additionalProperties": false,
    });
    OfferedTool {
        parameters: Some(Cow::Owned(parameters)),
        ..offered(declared, DeclaredKind::Custom, description)
    }
}

/// The client's own tool search, unless the upstream is to run it.
fn tool_search(fields: &Extra) -> Option<OfferedTool<'_>> {
    if fields.text("type") != Some(TOOL_SEARCH) || fields.text("execution") != Some("client") {
        return None;
    }
    let parameters =
        fields.get("parameters").filter(|parameters| parameters.is_object()).map(Cow::Borrowed);
    Some(OfferedTool {
        parameters,
        ..offered(
            TOOL_SEARCH,
            DeclaredKind::ToolSearch,
            fields.text("description").map(Cow::Borrowed),
        )
    })
}

/// A short hash of a name that is too long (FNV-1a). It only needs to distinguish one caller's
/// tools.
fn digest(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn tools(tools: Value) -> Vec<Tool> {
        serde_json::from_value(tools).unwrap()
    }

    fn names(tools: Vec<Tool>) -> Vec<String> {
        let create = Create { tools, ..sample::create() };
        OfferedTools::new(&create, &[]).tools.iter().map(|tool| tool.name.to_string()).collect()
    }

    #[test]
    fn namespaced_tools_get_unique_names() {
        let long = "x".repeat(70);
        let offered = names(tools(json!([
            { "type": "function", "name": "add" },
            { "type": "namespace", "name": "mcp__calc", "tools": [{ "type": "function", "name": "add" }, { "type": "custom", "name": "exec" }] },
            { "type": "namespace", "name": "functions", "tools": [{ "type": "function", "name": "wait" }, { "type": "function", "name": "add" }] },
            { "type": "namespace", "name": "a.b", "tools": [{ "type": "function", "name": long }] },
            { "type": "web_search" },
        ])));
        assert_eq!(
            offered[..5],
            ["add", "mcp__calc__add", "mcp__calc__exec", "wait", "functions__add"]
        );
        assert!(
            offered[5].starts_with("a_b__xxx") && offered[5].len() == LONGEST_NAME,
            "{}",
            offered[5]
        );
    }

    #[test]
    fn a_custom_tool_is_lowered_to_a_function_with_one_string() {
        let create = Create {
            tools: tools(json!([{ "type": "custom", "name": "patch", "description": "Edits.",
                "format": { "type": "grammar", "syntax": "lark", "definition": "start: x" } }])),
            ..sample::create()
        };
        let offer = OfferedTools::new(&create, &[]);
        assert_eq!(
            offer.tools[0].description.as_deref(),
            Some("Edits.\n\nThe input must follow this lark grammar:\nstart: x")
        );
        assert_eq!(offer.tools[0].parameters.as_deref().unwrap()["required"], json!(["input"]));
    }

    #[test]
    fn tools_that_an_item_declares_are_offered() {
        let item: Item = serde_json::from_value(json!({ "type": "additional_tools", "id": "at_1", "tools": [
            { "type": "namespace", "name": "clock", "tools": [{ "type": "function", "name": "sleep", "parameters": { "type": "object" } }] },
            { "type": "tool_search", "execution": "client" },
            7,
        ] }))
        .unwrap();
        let create = sample::create();
        let context = [item];
        let offer = OfferedTools::new(&create, &context);
        let names: Vec<&str> = offer.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["clock__sleep", "tool_search"]);
    }
}

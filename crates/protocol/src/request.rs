//! The neutral request: a request of every dialect becomes a [`Create`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::extra::{Extra, weight};
use crate::field_paths::FieldPaths;
use crate::id::{ItemId, ResponseId};
use crate::item::Item;
use crate::on_leave::OnLeave;

/// A request for one response.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// Which model.
    pub model: String,
    /// The new input of this turn.
    pub input: Vec<InputItem>,
    /// Instructions of this turn; they are not carried to the next.
    pub instructions: Option<String>,
    /// The response it continues.
    pub previous_response_id: Option<ResponseId>,
    /// Tools the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it may or must.
    pub tool_choice: ToolChoice,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The text format.
    pub text: TextConfig,
    /// The reasoning.
    pub reasoning: Option<ReasoningConfig>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling, 0 to 1.
    pub top_p: Option<f64>,
    /// Penalty on tokens that occurred, -2 to 2.
    pub presence_penalty: Option<f64>,
    /// Penalty on tokens by how often they occurred, -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Alternatives per token, 0 to 20.
    pub top_logprobs: Option<u64>,
    /// The limit on output tokens.
    pub max_output_tokens: Option<u64>,
    /// The limit on tool calls.
    pub max_tool_calls: Option<u64>,
    /// `auto` or `disabled`.
    pub truncation: Option<String>,
    /// The service tier.
    pub service_tier: Option<String>,
    /// Additional output that the caller asks for.
    pub include: Vec<String>,
    /// The caller's own metadata.
    pub metadata: Map<String, Value>,
    /// The caller's id of its user.
    pub safety_identifier: Option<String>,
    /// The caller's cache key.
    pub prompt_cache_key: Option<String>,
    /// Whether the response is stored.
    pub store: bool,
    /// Whether it runs without a reader.
    pub background: bool,
    /// Whether the response is streamed.
    pub stream: bool,
    /// What happens when its last reader leaves, if the request sets it.
    pub on_leave: Option<OnLeave>,
    /// Parameters outside the vocabulary (`stop`, `seed`…), for upstreams that accept them.
    pub extra: Map<String, Value>,
    /// Paths of fields that have no effect here. They are reported to the caller.
    pub ignored: Vec<String>,
    /// The names of its fields in the caller's dialect.
    pub paths: FieldPaths,
}

impl Create {
    /// A request for `model` with every other field at its default.
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            input: Vec::new(),
            instructions: None,
            previous_response_id: None,
            tools: Vec::new(),
            tool_choice: ToolChoice::Mode(ToolMode::Auto),
            parallel_tool_calls: None,
            text: TextConfig::default(),
            reasoning: None,
            temperature: None,
            top_p: None,
            presence_penalty: None,
            frequency_penalty: None,
            top_logprobs: None,
            max_output_tokens: None,
            max_tool_calls: None,
            truncation: None,
            service_tier: None,
            include: Vec::new(),
            metadata: Map::new(),
            safety_identifier: None,
            prompt_cache_key: None,
            store: true,
            background: false,
            stream: false,
            on_leave: None,
            extra: Map::new(),
            ignored: Vec::new(),
            paths: FieldPaths::default(),
        }
    }
}

/// An input item as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum InputItem {
    /// An item in the request. Its id is the caller's, or empty; it gets a new one when the turn
    /// starts.
    Item(Item),
    /// A reference to a stored item.
    Reference(ItemId),
}

/// A tool the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Tool {
    /// A function of the caller's, with JSON arguments.
    Function(FunctionTool),
    /// A tool of the caller's that takes free text.
    Custom(CustomTool),
    /// Several of the caller's tools below a common name.
    Namespace(NamespaceTool),
    /// A tool that Weir does not interpret, such as `web_search`. Only the upstream can run it.
    #[serde(untagged)]
    Hosted(Extra),
}

impl Tool {
    /// The type, as on the wire.
    pub fn kind(&self) -> &str {
        match self {
            Self::Function(_) => "function",
            Self::Custom(_) => "custom",
            Self::Namespace(_) => "namespace",
            Self::Hosted(fields) => fields.text("type").unwrap_or_default(),
        }
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Function(tool) => Some(&tool.name),
            Self::Custom(tool) => Some(&tool.name),
            Self::Namespace(_) | Self::Hosted(_) => None,
        }
    }

    /// The approximate number of bytes that it takes in memory: its texts, its schema and an
    /// allowance for structures.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let value = |value: &Option<Value>| value.as_ref().map_or(0, weight);
        let own = match self {
            Self::Function(tool) => {
                let described = tool.name.len() + text(&tool.description);
                described + value(&tool.parameters) + tool.extra.weight()
            }
            Self::Custom(tool) => {
                let described = tool.name.len() + text(&tool.description);
                described + value(&tool.format) + tool.extra.weight()
            }
            Self::Namespace(namespace) => {
                let described = namespace.name.len() + text(&namespace.description);
                let inner: usize = namespace.tools.iter().map(Self::weight).sum();
                described + inner + namespace.extra.weight()
            }
            Self::Hosted(fields) => fields.weight(),
        };
        own + 200
    }

    /// The tools in it, where it is a namespace.
    pub fn inner(&self) -> Option<&[Self]> {
        if let Self::Namespace(namespace) = self { Some(&namespace.tools) } else { None }
    }
}

/// A function the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionTool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether the arguments must match it exactly.
    pub strict: Option<bool>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A tool that takes free text (OpenAI's `custom` tools).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomTool {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `{"type":"text"}`, or a grammar that the text follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Value>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Tools below a common name (OpenAI's `namespace` tools). A call of one names the namespace beside
/// the tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamespaceTool {
    /// The namespace's name.
    pub name: String,
    /// What its tools are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The tools in it.
    pub tools: Vec<Tool>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Whether and which functions the model calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(ToolMode),
    /// Just this one.
    Tool(NamedTool),
    /// Only these.
    Allowed(AllowedTools),
    /// A choice that Weir does not interpret, such as `{"type":"web_search"}`.
    Opaque(Extra),
}

/// Whether the model may or must call a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// It may not call.
    None,
    /// It may.
    Auto,
    /// It must.
    Required,
}

/// A tool by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedTool {
    /// The tool's type.
    #[serde(rename = "type")]
    pub kind: NamedKind,
    /// Its name.
    pub name: String,
}

/// The types of tools that are chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedKind {
    /// `function`
    Function,
    /// `custom`
    Custom,
}

/// A choice among some of the tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedTools {
    /// Always `allowed_tools`.
    #[serde(rename = "type")]
    pub kind: AllowedToolsWord,
    /// The ones it may call.
    pub tools: Vec<AllowedTool>,
    /// How freely.
    pub mode: ToolMode,
}

/// The constant `allowed_tools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedToolsWord {
    /// `allowed_tools`
    AllowedTools,
}

impl AllowedTools {
    /// The names of the caller's tools among them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().filter_map(|tool| {
            if let AllowedTool::Named(tool) = tool { Some(tool.name.as_str()) } else { None }
        })
    }
}

/// One of the tools that may be called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AllowedTool {
    /// A tool of the caller's.
    Named(NamedTool),
    /// A tool that Weir does not interpret.
    Hosted(Extra),
}

impl ToolChoice {
    /// Whether the model may or must call the caller's tools; a named tool is required.
    pub fn mode(&self) -> ToolMode {
        match self {
            Self::Mode(mode) => *mode,
            Self::Tool(_) => ToolMode::Required,
            Self::Allowed(allowed) => allowed.mode,
            Self::Opaque(_) => ToolMode::Auto,
        }
    }
}

/// The format of the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// `{"type":"text"}`, `{"type":"json_object"}` or a JSON schema.
    pub format: TextFormat,
    /// `low`, `medium` or `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<String>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The form of the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TextFormat {
    /// Plain text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject {
        /// Fields beyond the vocabulary, as they came: several servers take a `schema` here.
        #[serde(flatten)]
        extra: Extra,
    },
    /// JSON that follows a schema.
    JsonSchema {
        /// The schema's name.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether the text must match it exactly.
        strict: bool,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
}

impl TextFormat {
    /// The schema that the text must follow, if there is one.
    pub fn schema(&self) -> Option<&Value> {
        match self {
            Self::Text => None,
            Self::JsonObject { extra } => extra.get("schema").filter(|schema| schema.is_object()),
            Self::JsonSchema { schema, .. } => Some(schema),
        }
    }
}

/// How much the model should reason, and how much of that it should show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReasoningConfig {
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
    pub effort: Option<String>,
    /// `concise`, `detailed` or `auto`.
    pub summary: Option<String>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

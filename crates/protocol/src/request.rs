//! What a caller asks for, in neutral words: both dialects' requests become a [`Create`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::extra::Extra;
use crate::field_paths::FieldPaths;
use crate::id::{ItemId, ResponseId};
use crate::item::Item;
use crate::on_leave::OnLeave;

/// A request for one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// Which model.
    pub model: String,
    /// What is new in this turn.
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
    /// What else the caller wants to see.
    pub include: Vec<String>,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
    /// The caller's id of its user.
    pub safety_identifier: Option<String>,
    /// The caller's cache key.
    pub prompt_cache_key: Option<String>,
    /// Whether the answer is kept.
    pub store: bool,
    /// Whether it runs without a reader.
    pub background: bool,
    /// Whether the caller wants a stream.
    pub stream: bool,
    /// What happens when its last reader leaves, where the caller says it.
    pub on_leave: Option<OnLeave>,
    /// Parameters for which the vocabulary has no word (`stop`, `seed`…), for upstreams that know them.
    pub extra: Map<String, Value>,
    /// What of the request has no effect, by path: fields that cannot matter here. The caller is told of them.
    pub ignored: Vec<String>,
    /// What its fields are called where it was written.
    pub paths: FieldPaths,
}

impl Create {
    /// A request for `model` that says nothing else: what each field means when it is absent.
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
    /// An item that the request holds. Its id is the caller's, or empty; it gets one of Weir's when the turn starts.
    Item(Item),
    /// An item the server holds.
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
    /// A tool that Weir does not interpret, such as `web_search`: the upstream runs it, or nobody does.
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

    /// Its name, where it can be called by one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Function(tool) => Some(&tool.name),
            Self::Custom(tool) => Some(&tool.name),
            Self::Namespace(_) | Self::Hosted(_) => None,
        }
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
    /// Whether the arguments must follow it to the letter.
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

/// Tools below a common name (OpenAI's `namespace` tools). A call of one names the namespace beside the tool.
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

/// How freely the model chooses.
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

/// The word `allowed_tools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedToolsWord {
    /// `allowed_tools`
    AllowedTools,
}

impl AllowedTools {
    /// The names of those that are the caller's.
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
    /// How freely the model chooses among the caller's tools; a named tool is a must.
    pub fn mode(&self) -> ToolMode {
        match self {
            Self::Mode(mode) => *mode,
            Self::Tool(_) => ToolMode::Required,
            Self::Allowed(allowed) => allowed.mode,
            Self::Opaque(_) => ToolMode::Auto,
        }
    }
}

/// How the text should come.
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
    /// As the model likes.
    #[default]
    Text,
    /// Some JSON object.
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
        /// Whether to follow it to the letter.
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

/// How much the model should think, and show of it.
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

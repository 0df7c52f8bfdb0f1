//! What a caller asks for, in neutral words: both dialects' requests become a [`Create`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ItemId, ResponseId};
use crate::item::{FunctionOutput, Part, Role};
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
    /// Functions the model may call.
    pub tools: Vec<FunctionTool>,
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
        }
    }
}

/// An input item as it was sent: without the ids that Weir gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum InputItem {
    /// A message.
    Message {
        /// Its id, where the caller sends back one it was given.
        id: Option<ItemId>,
        /// Who speaks.
        role: Role,
        /// What is said.
        content: Vec<Part>,
    },
    /// A call the model made before.
    FunctionCall {
        /// Its id.
        id: Option<ItemId>,
        /// The name of the call.
        call_id: String,
        /// The function.
        name: String,
        /// Its arguments.
        arguments: String,
    },
    /// A function's result.
    FunctionCallOutput {
        /// Its id.
        id: Option<ItemId>,
        /// Which call it answers.
        call_id: String,
        /// The result.
        output: FunctionOutput,
    },
    /// Reasoning given back for the next turn.
    Reasoning {
        /// Its id.
        id: Option<ItemId>,
        /// The summary.
        summary: Vec<Part>,
        /// The thoughts.
        content: Vec<Part>,
        /// The thoughts as only the upstream can read them.
        encrypted_content: Option<String>,
    },
    /// What stands for an earlier conversation.
    Compaction {
        /// Its id.
        id: Option<ItemId>,
        /// The summary.
        summary: String,
    },
    /// An item the server holds.
    Reference(ItemId),
}

/// A function the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionTool {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether the arguments must follow it to the letter.
    pub strict: Option<bool>,
}

/// Whether and which functions the model calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(ToolMode),
    /// Just this one.
    Function(NamedFunction),
    /// Only these.
    Allowed(AllowedTools),
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

/// A function by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFunction {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: FunctionWord,
    /// Its name.
    pub name: String,
}

/// The word `function`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionWord {
    /// `function`
    Function,
}

/// A choice among some of the tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedTools {
    /// Always `allowed_tools`.
    #[serde(rename = "type")]
    pub kind: AllowedToolsWord,
    /// The ones it may call.
    pub tools: Vec<NamedFunction>,
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

impl ToolChoice {
    /// How freely the model chooses; a named function is a must.
    pub fn mode(&self) -> ToolMode {
        match self {
            Self::Mode(mode) => *mode,
            Self::Function(_) => ToolMode::Required,
            Self::Allowed(allowed) => allowed.mode,
        }
    }

    /// Whether the model may call `name`.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Mode(mode) => *mode != ToolMode::None,
            Self::Function(function) => function.name == name,
            Self::Allowed(allowed) => allowed.mode != ToolMode::None && allowed.tools.iter().any(|tool| tool.name == name),
        }
    }
}

/// How the text should come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// `{"type":"text"}`, `{"type":"json_object"}` or a JSON schema.
    pub format: TextFormat,
    /// `low`, `medium` or `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<String>,
}

/// The form of the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TextFormat {
    /// As the model likes.
    Text,
    /// Some JSON object.
    JsonObject,
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
    },
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { format: TextFormat::Text, verbosity: None }
    }
}

/// How much the model should think, and show of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasoningConfig {
    /// `none`, `minimal`, `low`, `medium`, `high` or `xhigh`.
    pub effort: Option<String>,
    /// `concise`, `detailed` or `auto`.
    pub summary: Option<String>,
}

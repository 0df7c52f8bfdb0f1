//! Chooses the tool that the demo calls, and its arguments.

use std::collections::HashSet;

use engine::provider::event::{Finish, ModelEvent, ToolCallDelta};
use engine::provider::request::ModelRequest;
use protocol::request::{ToolChoice, ToolMode};
use serde_json::{Map, Value, json};

use super::pieces::Pieces;
use super::scene::{MAX_WORDS, Scene, split};
use super::schema;
use super::script::{DemoScript, DemoStep};
use crate::tools::{OfferedTool, OfferedTools};

/// How much of a description is examined.
const MAX_DESCRIPTION: usize = 1_000;

/// Shorter words occur in too many descriptions.
const MIN_WORD_LENGTH: usize = 4;

/// Words that occur in too many names and descriptions to identify a tool.
const COMMON: &[&str] = &[
    "about", "call", "create", "current", "data", "fetch", "find", "from", "function", "given",
    "have", "into", "list", "make", "name", "read", "return", "returns", "some", "tell", "text",
    "that", "this", "tool", "user", "value", "what", "when", "where", "which", "will", "with",
    "your",
];

/// Chinese for what tools are most often about.
const CHINESE: &[(&str, &str)] = &[
    ("天气", "weather"),
    ("时间", "time"),
    ("搜索", "search"),
    ("计算", "calculate"),
    ("邮件", "email"),
    ("股票", "stock"),
];

/// Whether there is a tool that may be called.
pub(super) fn is_any_allowed(request: &ModelRequest) -> bool {
    !allowed(request).is_empty()
}

/// The script of a call; `None` if the demo responds with text.
pub(super) fn choose(request: &ModelRequest, scene: &Scene) -> Option<DemoScript> {
    let tools = allowed(request);
    if let Some(("tool", rest)) = split(&scene.said) {
        let named = named(&tools, rest).or_else(|| tools.first().map(|tool| (tool, "")));
        return named.map(|(tool, arguments)| call(tool, arguments, scene));
    }
    let said = scene.said.to_lowercase();
    let words: HashSet<&str> = said
        .split(|character: char| !(character.is_alphanumeric() || character == '_'))
        .take(MAX_WORDS)
        .collect();
    let chinese: HashSet<&str> = CHINESE
        .iter()
        .filter(|(chinese, _)| said.contains(chinese))
        .map(|(_, english)| *english)
        .collect();
    let is_meant = |word: &str| words.contains(word) || chinese.contains(word);
    let fitting = tools.iter().find(|tool| fits(tool, is_meant));
    let is_due = request.create.tool_choice.mode() == ToolMode::Required;
    let tool = fitting.or_else(|| tools.first().filter(|_| is_due))?;
    Some(call(tool, "", scene))
}

fn allowed(request: &ModelRequest) -> Vec<OfferedTool<'_>> {
    let choice = &request.create.tool_choice;
    if choice.mode() == ToolMode::None {
        return Vec::new();
    }
    let is_chosen = |name: &str| !matches!(choice, ToolChoice::Tool(tool) if tool.name != name);
    let is_allowed =
        |tool: &OfferedTool<'_>| !tool.is_tool_search() && is_chosen(tool.declared().0);
    OfferedTools::of(request).tools.into_iter().filter(is_allowed).collect()
}

/// The tool named by `/tool NAME ARGUMENTS`, alone or with its namespace, and the arguments.
fn named<'a, 'b>(
    tools: &'a [OfferedTool<'b>],
    rest: &'a str,
) -> Option<(&'a OfferedTool<'b>, &'a str)> {
    let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_it = |tool: &&OfferedTool<'_>| {
        let (declared, namespace) = tool.declared();
        declared == name
            || namespace.is_some_and(|namespace| format!("{namespace}.{declared}") == name)
    };
    Some((tools.iter().find(is_it)?, arguments))
}

/// Whether a word of the tool's name, or of the start of its description, matches.
fn fits(tool: &OfferedTool<'_>, is_meant: impl Fn(&str) -> bool) -> bool {
    let declared = tool.declared().0;
    let description = tool.description.as_deref().unwrap_or_default();
    let description =
        description[..description.floor_char_boundary(MAX_DESCRIPTION)].to_lowercase();
    let words = words(declared).chain(
        description.split(|character: char| !character.is_alphanumeric()).map(str::to_owned),
    );
    let is_word = |word: &String| word.len() >= MIN_WORD_LENGTH && !COMMON.contains(&word.as_str());
    is_meant(&declared.to_lowercase()) || words.filter(is_word).any(|word| is_meant(&word))
}

/// The words of a name in either style: `get_weather`, `getWeather`.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    for character in name.chars() {
        if character.is_uppercase() {
            spaced.push('_');
        }
        spaced.extend(character.to_lowercase());
    }
    spaced.split(['_', '-', '.']).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// The steps of a call: id and name first, then the arguments in pieces, as with real models.
fn call(tool: &OfferedTool<'_>, arguments: &str, scene: &Scene) -> DemoScript {
    let arguments = if tool.is_custom() {
        input(arguments, scene)
    } else {
        json_arguments(tool, arguments, scene)
    };
    let ((name, namespace), is_custom) = (tool.declared(), tool.is_custom());
    let extra: Map<String, Value> =
        namespace.map(|namespace| ("namespace".to_owned(), namespace.into())).into_iter().collect();
    let first = ToolCallDelta {
        id: Some(format!("call_{}", scene.items)),
        name: Some(name.to_owned()),
        is_custom,
        extra,
        ..Default::default()
    };
    let pieces = Pieces::new(arguments).map(move |arguments| ToolCallDelta {
        is_custom,
        arguments,
        ..Default::default()
    });
    let steps =
        [first].into_iter().chain(pieces).map(|delta| DemoStep::Say(ModelEvent::ToolCall(delta)));
    DemoScript::new(steps.chain([DemoStep::Finish(Finish::Stop)]))
}

/// The input of a tool with free text.
fn input(arguments: &str, scene: &Scene) -> String {
    if arguments.is_empty() { scene.said.clone() } else { arguments.to_owned() }
}

/// The arguments of a function: those given, or some that its schema allows. A text that is not an
/// object becomes the value of the first required string.
fn json_arguments(tool: &OfferedTool<'_>, arguments: &str, scene: &Scene) -> String {
    if serde_json::from_str::<Value>(arguments).is_ok_and(|arguments| arguments.is_object()) {
        return arguments.to_owned();
    }
    let empty = json!({ "type": "object" });
    let schema = tool.parameters.as_deref().filter(|schema| schema.is_object()).unwrap_or(&empty);
    let generated = schema::generate(schema, &scene.said);
    let mut generated = if let Value::Object(fields) = generated { fields } else { Map::new() };
    let is_text =
        |name: &&Value| schema["properties"][name.as_str().unwrap_or_default()]["type"] == "string";
    let text =
        schema["required"].as_array().into_iter().flatten().find(is_text).and_then(Value::as_str);
    if let (Some(name), false) = (text, arguments.is_empty()) {
        generated.insert(name.to_owned(), arguments.into());
    }
    Value::Object(generated).to_string()
}

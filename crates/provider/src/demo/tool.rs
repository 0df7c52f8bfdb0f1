//! Which tool the demo calls, and with which arguments.

use engine::provider::{Finish, Word};
use protocol::request::{Create, FunctionTool, ToolMode};
use serde_json::{Value, json};

use super::pieces::Pieces;
use super::scene::Scene;
use super::script::{Script, Step};
use super::{command, schema};

/// Shorter words stand in too many descriptions.
const MIN_WORD_LENGTH: usize = 4;

/// Words that stand in too many names and descriptions to mean one.
const COMMON: &[&str] = &[
    "about", "call", "create", "current", "data", "fetch", "find", "from", "function", "given", "have", "into", "list", "make", "name",
    "read", "return", "returns", "some", "tell", "text", "that", "this", "tool", "user", "value", "what", "when", "where", "which", "will",
    "with", "your",
];

/// Chinese for what tools are most often about.
const CHINESE: &[(&str, &str)] =
    &[("天气", "weather"), ("时间", "time"), ("搜索", "search"), ("计算", "calculate"), ("邮件", "email"), ("股票", "stock")];

/// Whether there is a tool that may be called.
pub(super) fn is_any_allowed(create: &Create) -> bool {
    allowed(create).next().is_some()
}

/// The script of a call; `None` where the demo would rather talk.
pub(super) fn choose(create: &Create, scene: &Scene) -> Option<Script> {
    let is_told = matches!(command::split(&scene.said), Some(("tool", _)));
    let fitting = allowed(create).find(|tool| fits(tool, &scene.said.to_lowercase()));
    let is_due = is_told || create.tool_choice.mode() == ToolMode::Required;
    let tool = fitting.filter(|_| !is_told).or_else(|| is_due.then(|| allowed(create).next()).flatten())?;
    Some(call(tool, scene))
}

fn allowed(create: &Create) -> impl Iterator<Item = &FunctionTool> {
    create.tools.iter().filter(|tool| create.tool_choice.allows(&tool.name))
}

fn fits(tool: &FunctionTool, said: &str) -> bool {
    let name = tool.name.to_lowercase();
    let said_words: Vec<&str> = said.split(|character: char| !(character.is_alphanumeric() || character == '_')).collect();
    let chinese = CHINESE.iter().filter(|(chinese, _)| said.contains(chinese)).map(|(_, english)| *english);
    let is_meant = |word: &str| said_words.contains(&word) || chinese.clone().any(|english| english == word);
    let description = tool.description.as_deref().unwrap_or_default().to_lowercase();
    let words = words(&tool.name).chain(description.split(|character: char| !character.is_alphanumeric()).map(str::to_owned));
    is_meant(&name) || words.filter(|word| word.len() >= MIN_WORD_LENGTH && !COMMON.contains(&word.as_str())).any(|word| is_meant(&word))
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

/// The steps of a call: id and name first, then the arguments piece by piece, as models do.
fn call(tool: &FunctionTool, scene: &Scene) -> Script {
    let empty = json!({ "type": "object" });
    let arguments = schema::generate(tool.parameters.as_ref().filter(|schema| schema.is_object()).unwrap_or(&empty), &scene.said);
    let arguments = if arguments.is_object() { arguments } else { Value::Object(serde_json::Map::new()) };
    let (id, name) = (format!("call_{}", scene.items), tool.name.clone());
    let piece = |id, name, arguments| Step::Say(Word::ToolCall { index: 0, id, name, arguments });
    let pieces = Pieces::new(arguments.to_string()).map(move |arguments| piece(None, None, arguments));
    Script::new([piece(Some(id), Some(name), String::new())].into_iter().chain(pieces).chain([Step::Finish(Finish::Stop)]))
}

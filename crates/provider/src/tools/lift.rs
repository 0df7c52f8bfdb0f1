//! Translates function calls back to calls of the tools that the caller declared.

use std::collections::BTreeMap;

use engine::provider::event::{ModelEvent, OpaqueStep, ToolCallDelta};
use protocol::fault::{Fault, FaultKind};
use serde_json::{Map, Value};

use super::input::InputText;
use super::offer::{DeclaredKind, OfferedTools};

/// Prefixes that models put before the name of an offered function.
const PREFIXES: [&str; 9] = [
    "functions.",
    "functions:",
    "functions/",
    "function.",
    "tools.",
    "tool.",
    "default_api.",
    "default_api:",
    "api.",
];

/// How calls of tools that were not offered are handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTools {
    /// They are passed on: an agent answers that there is no such tool, and the model recovers.
    #[default]
    Pass,
    /// The response fails.
    Refuse,
}

/// The most argument bytes that are buffered until the tool's name is known.
const LONGEST_HELD_BACK: usize = 64 << 10;

/// Translates the calls of one response. If no tools were offered, calls are passed on unchanged.
#[derive(Debug, Default)]
pub(crate) struct Lifter {
    known: Vec<Known>,
    unknown: UnknownTools,
    calls: BTreeMap<u64, Lifted>,
}

/// An offered tool.
#[derive(Debug)]
struct Known {
    /// Its name at the upstream.
    wire_name: String,
    name: String,
    namespace: Option<String>,
    origin: DeclaredKind,
}

/// The kind of a call.
#[derive(Debug)]
enum Lifted {
    /// The name has not arrived yet.
    Unnamed {
        arguments: String,
    },
    /// A function call, passed on unchanged.
    Function,
    Custom(InputText),
    ToolSearch {
        call_id: Option<String>,
        arguments: String,
    },
}

impl Lifter {
    /// A lifter for calls of these tools.
    pub(crate) fn new(offer: &OfferedTools<'_>, unknown: UnknownTools) -> Self {
        let known = offer.tools.iter().map(|tool| Known {
            wire_name: tool.name.clone().into_owned(),
            name: tool.declared.to_owned(),
            namespace: tool.namespace.map(str::to_owned),
            origin: tool.origin,
        });
        Self { known: known.collect(), unknown, calls: BTreeMap::new() }
    }

    /// Whether any tool was offered.
    pub(crate) fn has_any(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether a function with this name was offered.
    pub(crate) fn has(&self, wire_name: &str) -> bool {
        self.known.iter().any(|known| known.wire_name == wire_name)
    }

    /// Whether a function was offered whose name starts with this.
    pub(crate) fn may_go_on(&self, wire_name: &str) -> bool {
        self.known.iter().any(|known| {
            known.wire_name.len() > wire_name.len() && known.wire_name.starts_with(wire_name)
        })
    }

    /// Translates a piece of a call; `None` if nothing can be passed on yet.
    ///
    /// # Errors
    /// The tool was not offered, and such calls are refused.
    pub(crate) fn lift(
        &mut self,
        mut delta: ToolCallDelta,
    ) -> Result<Option<ToolCallDelta>, Fault> {
        if delta.is_custom {
            self.calls.insert(delta.index, Lifted::Function);
            return Ok(Some(delta));
        }
        let before =
            self.calls.remove(&delta.index).unwrap_or(Lifted::Unnamed { arguments: String::new() });
        let mut call = match (before, delta.name.take()) {
            (Lifted::Unnamed { arguments }, Some(name)) => {
                delta.arguments.insert_str(0, &arguments);
                self.named(name, &mut delta)?
            }
            (Lifted::Unnamed { mut arguments }, None)
                if arguments.len() + delta.arguments.len() <= LONGEST_HELD_BACK =>
            {
                arguments.push_str(&std::mem::take(&mut delta.arguments));
                Lifted::Unnamed { arguments }
            }
            (Lifted::Unnamed { arguments }, None) => {
                delta.arguments.insert_str(0, &arguments);
                Lifted::Function
            }
            (known, _) => known,
        };
        let says = match &mut call {
            Lifted::Unnamed { .. } => delta.id.is_some() || !delta.extra.is_empty(),
            Lifted::Function => true,
            Lifted::Custom(input) => {
                delta.arguments = input.push(&delta.arguments);
                true
            }
            Lifted::ToolSearch { call_id, arguments } => {
                *call_id = call_id.take().or(delta.id.take());
                arguments.push_str(&delta.arguments);
                false
            }
        };
        self.calls.insert(delta.index, call);
        Ok(says.then_some(delta))
    }

    /// What remains to be passed on after the last piece.
    pub(crate) fn finish(&mut self) -> Vec<ModelEvent> {
        let words =
            std::mem::take(&mut self.calls).into_iter().filter_map(|(index, call)| match call {
                Lifted::Unnamed { arguments } if !arguments.is_empty() => {
                    Some(ModelEvent::ToolCall(ToolCallDelta {
                        index,
                        arguments,
                        ..Default::default()
                    }))
                }
                Lifted::Unnamed { .. } | Lifted::Function => None,
                Lifted::Custom(mut input) => {
                    let arguments = input.finish();
                    (!arguments.is_empty()).then(|| {
                        ModelEvent::ToolCall(ToolCallDelta {
                            index,
                            arguments,
                            ..Default::default()
                        })
                    })
                }
                Lifted::ToolSearch { call_id, arguments } => {
                    Some(ModelEvent::Item(OpaqueStep::Done {
                        key: index,
                        item: tool_search_call(call_id, &arguments),
                    }))
                }
            });
        words.collect()
    }

    /// Decides the kind of the call once its name is known.
    fn named(&mut self, name: String, delta: &mut ToolCallDelta) -> Result<Lifted, Fault> {
        let Some(known) = self.find(&name) else {
            if self.unknown == UnknownTools::Refuse && !self.known.is_empty() {
                let message =
                    format!("the model called the tool '{name}', which was not offered to it");
                return Err(Fault::new(FaultKind::Upstream, "tool_not_allowed", message));
            }
            delta.name = Some(name);
            return Ok(Lifted::Function);
        };
        delta.name = Some(known.name.clone());
        if let Some(namespace) = &known.namespace {
            delta.extra.entry("namespace").or_insert_with(|| namespace.as_str().into());
        }
        Ok(match known.origin {
            DeclaredKind::Function => Lifted::Function,
            DeclaredKind::Custom => {
                delta.is_custom = true;
                Lifted::Custom(InputText::default())
            }
            DeclaredKind::ToolSearch => {
                Lifted::ToolSearch { call_id: None, arguments: String::new() }
            }
        })
    }

    /// The tool with this name, after removing a known prefix or a trailing number.
    fn find(&self, name: &str) -> Option<&Known> {
        let exact = |name: &str| self.known.iter().find(|known| known.wire_name == name);
        let trimmed = name.trim();
        let bare =
            PREFIXES.iter().find_map(|prefix| trimmed.strip_prefix(prefix)).unwrap_or(trimmed);
        // Kimi appends a number to the name in its calls (`functions.f:0`).
        let unnumbered = bare
            .rsplit_once(':')
            .filter(|(_, number)| number.parse::<u32>().is_ok())
            .map_or(bare, |(before, _)| before);
        exact(name)
            .or_else(|| exact(trimmed))
            .or_else(|| exact(bare))
            .or_else(|| exact(unnumbered))
            .or_else(|| self.qualified(unnumbered))
    }

    /// The tool that the model calls by namespace and name.
    fn qualified(&self, name: &str) -> Option<&Known> {
        self.known.iter().find(|known| {
            let inner =
                known.namespace.as_deref().and_then(|namespace| name.strip_prefix(namespace));
            inner.is_some_and(|inner| inner.strip_prefix(['.', ':', '/']) == Some(&known.name))
        })
    }
}

/// A call of the client's own tool search, whose arguments are an object.
fn tool_search_call(call_id: Option<String>, arguments: &str) -> Map<String, Value> {
    let arguments = serde_json::from_str(arguments)
        .ok()
        .filter(Value::is_object)
        .unwrap_or_else(|| Value::Object(Map::new()));
    let mut item = Map::new();
    item.insert("type".into(), "tool_search_call".into());
    item.insert(
        "call_id".into(),
        call_id.unwrap_or_else(|| format!("call_{:016x}", fastrand::u64(..))).into(),
    );
    item.insert("execution".into(), "client".into());
    item.insert("status".into(), "completed".into());
    item.insert("arguments".into(), arguments);
    item
}

#[cfg(test)]
mod tests {
    use protocol::request::{Create, Tool};
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn lifter(unknown: UnknownTools) -> Lifter {
        let tools: Vec<Tool> = serde_json::from_value(json!([
            { "type": "function", "name": "f" },
            { "type": "custom", "name": "patch" },
            { "type": "namespace", "name": "mcp__calc", "tools": [{ "type": "function", "name": "add" }] },
            { "type": "tool_search", "execution": "client" },
        ]))
        .unwrap();
        let create = Create { tools, ..sample::create() };
        Lifter::new(&OfferedTools::new(&create, &[]), unknown)
    }

    fn named(index: u64, name: &str, arguments: &str) -> ToolCallDelta {
        ToolCallDelta {
            index,
            name: Some(name.into()),
            arguments: arguments.into(),
            ..Default::default()
        }
    }

    fn name_of(name: &str) -> (String, bool, Option<Value>) {
        let delta = lifter(UnknownTools::Pass).lift(named(0, name, "")).unwrap().unwrap();
        (delta.name.unwrap(), delta.is_custom, delta.extra.get("namespace").cloned())
    }

    #[test]
    fn known_prefixes_before_an_offered_name_are_removed() {
        for name in ["f", "functions.f", "functions.f:0", "default_api.f", "tools.f", " f "] {
            assert_eq!(name_of(name), ("f".into(), false, None), "{name}");
        }
        for name in ["mcp__calc__add", "mcp__calc.add", "functions.mcp__calc__add"] {
            assert_eq!(name_of(name), ("add".into(), false, Some("mcp__calc".into())), "{name}");
        }
        for unknown in ["g", "functions.g", "other.f"] {
            assert_eq!(name_of(unknown), (unknown.into(), false, None), "as it came");
        }
    }

    #[test]
    fn a_custom_tool_call_gets_its_text_back() {
        let mut lifter = lifter(UnknownTools::Pass);
        let first = lifter.lift(named(0, "patch", "{\"input\":\"a\\")).unwrap().unwrap();
        assert_eq!((first.is_custom, first.arguments.as_str()), (true, "a"));
        let more = ToolCallDelta { index: 0, arguments: "nb\"}".into(), ..Default::default() };
        assert_eq!(lifter.lift(more).unwrap().unwrap().arguments, "\nb");
        assert_eq!(lifter.finish(), []);
    }

    #[test]
    fn a_tool_search_becomes_an_item_of_its_own_type() {
        let mut lifter = lifter(UnknownTools::Pass);
        let call = ToolCallDelta { id: Some("c".into()), ..named(0, "tool_search", "{\"query\":") };
        assert_eq!(lifter.lift(call), Ok(None));
        assert_eq!(
            lifter.lift(ToolCallDelta {
                index: 0,
                arguments: "\"x\"}".into(),
                ..Default::default()
            }),
            Ok(None)
        );
        let item = json!({ "type": "tool_search_call", "call_id": "c", "execution": "client", "status": "completed", "arguments": { "query": "x" } });
        assert_eq!(
            lifter.finish(),
            [ModelEvent::Item(OpaqueStep::Done {
                key: 0,
                item: item.as_object().cloned().unwrap()
            })]
        );
    }

    #[test]
    fn a_tool_that_was_not_offered_can_be_refused() {
        assert_eq!(
            lifter(UnknownTools::Refuse).lift(named(0, "g", "")).unwrap_err().code,
            "tool_not_allowed"
        );
    }
}

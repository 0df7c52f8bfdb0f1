//! Fields that Weir does not interpret: kept unchanged, and passed on to a side that may interpret
//! them.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// Fields that Weir does not interpret, in their order. Most values have none, which costs one
/// pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra(Option<Box<Map<String, Value>>>);

impl Extra {
    /// The fields of `object`.
    pub fn new(object: Map<String, Value>) -> Self {
        if object.is_empty() { Self(None) } else { Self(Some(Box::new(object))) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.as_ref()?.get(name)
    }

    /// The text of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// Every field with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter().flat_map(|fields| fields.iter())
    }

    /// Sets a field.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.0.get_or_insert_default().insert(name.into(), value);
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let fields = self.0.as_mut()?;
        let removed = fields.shift_remove(name);
        if fields.is_empty() {
            self.0 = None;
        }
        removed
    }

    /// Sets all fields of `more`.
    pub fn extend(&mut self, more: Map<String, Value>) {
        if !more.is_empty() {
            self.0.get_or_insert_default().extend(more);
        }
    }

    /// Adds fields that come in pieces, as a stream brings them: texts, lists and objects grow, and
    /// entries of lists that have the same `index` and `type` are merged. A text that equals the
    /// text so far or starts with it, a type word, and any other value replace the value so far.
    pub fn merge(&mut self, more: Map<String, Value>) {
        if !more.is_empty() {
            merge_fields(self.0.get_or_insert_default(), more);
        }
    }

    /// The approximate number of bytes that the fields take in memory.
    pub fn weight(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + weight(value)).sum()
    }

    /// The fields as an object of their own.
    pub fn to_map(&self) -> Map<String, Value> {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}

/// The approximate number of bytes that a value takes in memory.
pub(crate) fn weight(value: &Value) -> usize {
    72 + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + 40 + weight(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Fields that are texts in pieces at any depth, so two equal pieces are both appended.
const PIECES: [&str; 10] = [
    "text",
    "summary",
    "data",
    "arguments",
    "thinking",
    "transcript",
    "content",
    "b64_json",
    "partial_json",
    "reasoning_content",
];

/// Fields whose value is a type word and comes whole, as ids do.
const WORDS: [&str; 14] = [
    "id",
    "type",
    "status",
    "role",
    "name",
    "object",
    "model",
    "provider",
    "format",
    "kind",
    "mime_type",
    "mimeType",
    "signature",
    "system_fingerprint",
];

fn is_word(name: &str) -> bool {
    WORDS.contains(&name)
        || name.ends_with("_id")
        || name.ends_with("Id")
        || name.ends_with("_type")
        || name.ends_with("_at")
}

fn merge_fields(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (known.get_mut(&name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => {
                for entry in more {
                    merge_entry(list, entry);
                }
            }
            (Some(Value::Object(known)), Value::Object(more)) => merge_fields(known, more),
            (Some(Value::String(text)), Value::String(more)) => merge_text(&name, text, more),
            (Some(_), Value::Null) => {}
            (Some(place), value) => *place = value,
            (None, value) => _ = known.insert(name, value),
        }
    }
}

fn merge_text(name: &str, text: &mut String, more: String) {
    if PIECES.contains(&name) {
        text.push_str(&more);
    } else if is_word(name) || more.starts_with(text.as_str()) {
        *text = more;
    } else {
        text.push_str(&more);
    }
}

fn merge_entry(list: &mut Vec<Value>, entry: Value) {
    let is_same = |known: &Value| {
        entry.get("index").is_some()
            && ["index", "type"].iter().all(|name| known.get(name) == entry.get(name))
    };
    match (list.iter_mut().rfind(|known| is_same(known)), entry) {
        (Some(Value::Object(known)), Value::Object(entry)) => merge_fields(known, entry),
        (_, entry) => list.push(entry),
    }
}

impl FromIterator<(String, Value)> for Extra {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Self::new(fields.into_iter().collect())
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(self.0.as_ref().map(|fields| fields.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::item::{Item, Part};

    #[test]
    fn unknown_fields_of_items_and_parts_survive_a_round_trip() {
        for wire in [
            json!({ "type": "input_text", "text": "S", "cache_control": { "type": "ephemeral" } }),
            json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } }),
        ] {
            let part: Part = serde_json::from_value(wire.clone()).unwrap();
            assert_eq!(serde_json::to_value(&part).unwrap(), wire);
        }
        for wire in [
            json!({ "type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed",
                "extra_content": { "google": { "thought_signature": "SIG==" } } }),
            json!({ "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "query": "weirs" } }),
        ] {
            let item: Item = serde_json::from_value(wire.clone()).unwrap();
            assert_eq!(serde_json::to_value(&item).unwrap(), wire);
        }
    }

    #[test]
    fn lists_in_pieces_are_merged() {
        let mut extra = Extra::default();
        let piece = |value: Value| value.as_object().cloned().unwrap();
        extra.merge(piece(json!({ "reasoning_details": [{ "type": "reasoning.text", "index": 0, "text": "a" }], "provider": "x" })));
        extra.merge(piece(json!({ "reasoning_details": [
            { "type": "reasoning.text", "index": 0, "text": "b", "signature": "S" },
            { "type": "reasoning.encrypted", "index": 0, "data": "E" },
        ], "provider": "x" })));
        let expected = json!({ "reasoning_details": [
            { "type": "reasoning.text", "index": 0, "text": "ab", "signature": "S" },
            { "type": "reasoning.encrypted", "index": 0, "data": "E" },
        ], "provider": "x" });
        assert_eq!(Value::Object(extra.to_map()), expected);
    }

    #[test]
    fn texts_and_objects_in_pieces_are_merged() {
        let check = |pieces: [Value; 2], expected: Value| {
            let mut extra = Extra::default();
            for piece in pieces {
                extra.merge(piece.as_object().cloned().unwrap());
            }
            assert_eq!(Value::Object(extra.to_map()), expected);
        };
        check(
            [json!({ "thinking": "hmA" }), json!({ "thinking": "hmB" })],
            json!({ "thinking": "hmAhmB" }),
        );
        check(
            [json!({ "unheard_of": "a" }), json!({ "unheard_of": "b" })],
            json!({ "unheard_of": "ab" }),
        );
        check(
            [json!({ "unheard_of": "a" }), json!({ "unheard_of": "ab" })],
            json!({ "unheard_of": "ab" }),
        );
        check(
            [json!({ "fields": { "k1": 1 } }), json!({ "fields": { "k2": 2 } })],
            json!({ "fields": { "k1": 1, "k2": 2 } }),
        );
        check(
            [
                json!({ "audio": { "id": "a", "data": "AA" } }),
                json!({ "audio": { "id": "a", "data": "AA", "expires_at": 1 } }),
            ],
            json!({ "audio": { "id": "a", "data": "AAAA", "expires_at": 1 } }),
        );
        check(
            [
                json!({ "status": "open", "request_id": "x" }),
                json!({ "status": "done", "request_id": "y" }),
            ],
            json!({ "status": "done", "request_id": "y" }),
        );
        check(
            [json!({ "count": 1, "x": "a" }), json!({ "count": 2, "x": null })],
            json!({ "count": 2, "x": "a" }),
        );
    }

    #[test]
    fn absent_fields_cost_one_pointer() {
        assert_eq!(size_of::<Extra>(), size_of::<usize>());
        let mut extra = Extra::from_iter([("a".to_owned(), Value::Null)]);
        assert_eq!(extra.remove("a"), Some(Value::Null));
        assert_eq!(extra, Extra::default());
    }
}

//! Fields beyond the vocabulary: kept as they came, and passed on to whoever may understand them.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// Fields that Weir does not interpret, in the order in which they came. Most values have none, which costs a pointer.
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

    /// Takes a field out.
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

    /// Adds fields that come in pieces, as a stream brings them: lists grow, and entries of lists that have the same `index` and
    /// `type` are one entry whose texts grow. Anything else is replaced.
    pub fn merge(&mut self, more: Map<String, Value>) {
        for (name, value) in more {
            match (self.0.get_or_insert_default().get_mut(&name), value) {
                (Some(Value::Array(list)), Value::Array(more)) => more.into_iter().for_each(|entry| merge_entry(list, entry)),
                (Some(place), value) => *place = value,
                (None, value) => self.insert(name, value),
            }
        }
    }

    /// The fields as an object of their own.
    pub fn to_map(&self) -> Map<String, Value> {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}

/// Fields of a list's entry that are texts in pieces, in the words of those who stream such lists (`reasoning_details`).
const PIECES: [&str; 4] = ["text", "summary", "data", "arguments"];

fn merge_entry(list: &mut Vec<Value>, entry: Value) {
    let is_same = |known: &Value| entry.get("index").is_some() && ["index", "type"].iter().all(|name| known.get(name) == entry.get(name));
    let Some(Value::Object(known)) = list.iter_mut().find(|known| is_same(known)) else { return list.push(entry) };
    let Value::Object(entry) = entry else { return };
    for (name, value) in entry {
        match (known.get_mut(&name), value) {
            (Some(Value::String(text)), Value::String(more)) if PIECES.contains(&name.as_str()) => text.push_str(&more),
            (Some(_), Value::Null) => {}
            (_, value) => _ = known.insert(name, value),
        }
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
    fn lists_that_come_in_pieces_are_put_together() {
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
    fn no_fields_cost_a_pointer() {
        assert_eq!(size_of::<Extra>(), size_of::<usize>());
        let mut extra = Extra::from_iter([("a".to_owned(), Value::Null)]);
        assert_eq!(extra.remove("a"), Some(Value::Null));
        assert_eq!(extra, Extra::default());
    }
}

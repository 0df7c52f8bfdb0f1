//! A JSON object whose values are kept as raw text, for bodies that pass through.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The fields of an object, in their order. The last occurrence of a repeated name counts, as in
/// most parsers.
#[derive(Clone, Default)]
pub struct JsonFields(Vec<(String, Box<RawValue>)>);

impl JsonFields {
    /// Reads an object. A byte order mark before it is skipped.
    ///
    /// # Errors
    /// Not JSON, or not an object; [`serde_json::Error::is_data`] distinguishes them.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
    }

    /// The value of a field as it was written; `None` where it is absent or null.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        (value.get() != "null").then_some(value)
    }

    /// The value of a field, read as `T`; `None` where it is absent, null, or something else.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The names of all fields that are not null.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| value.get() != "null").map(|(name, _)| name.as_str())
    }

    /// Replaces the field's value, or appends the field. A value that cannot be serialised changes
    /// nothing.
    pub fn set(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let Ok(value) = serde_json::value::to_raw_value(value) else { return };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes a field.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The object as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length =
            self.0.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum::<usize>()
                + 2;
        let mut bytes = Vec::with_capacity(length);
        // Names and raw values are JSON already, and writing to a vector cannot fail.
        let _written = serde_json::to_writer(&mut bytes, self);
        bytes
    }
}

/// Names only: values may be prompts.
impl fmt::Debug for JsonFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Serialize for JsonFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for JsonFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = JsonFields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonFields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(JsonFields(last_of_each_name(fields)))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Removes fields whose name occurs again later. Sorts, as comparing each name with all others
/// would take quadratic time.
fn last_of_each_name(fields: Vec<(String, Box<RawValue>)>) -> Vec<(String, Box<RawValue>)> {
    let mut order: Vec<usize> = (0..fields.len()).collect();
    // The sort is stable: among equal names the later field stays last.
    order.sort_by(|left, right| fields[*left].0.cmp(&fields[*right].0));
    let mut is_superseded = vec![false; fields.len()];
    for pair in order.windows(2) {
        is_superseded[pair[0]] = fields[pair[0]].0 == fields[pair[1]].0;
    }
    fields
        .into_iter()
        .zip(is_superseded)
        .filter(|(_, is_superseded)| !is_superseded)
        .map(|(field, _)| field)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn fields(text: &str) -> JsonFields {
        JsonFields::parse(text.as_bytes()).unwrap()
    }

    fn text(fields: &JsonFields) -> String {
        String::from_utf8(fields.to_bytes()).unwrap()
    }

    #[test]
    fn values_stay_as_they_were_written() {
        let written = r#"{"z":1.50e+2,"big":123456789012345678901234567890,"lone":"\ud83d","a":{ "b" : [ ] },"null":null}"#;
        assert_eq!(text(&fields(written)), written);
        assert_eq!(text(&fields("\u{feff} {}")), "{}");
    }

    #[test]
    fn a_field_is_replaced_in_its_place_or_added_at_the_end() {
        let mut object = fields(r#"{"model":"a","input":"x"}"#);
        object.set("model", "b");
        object.set("user", &1);
        object.remove("input");
        assert_eq!(text(&object), r#"{"model":"b","user":1}"#);
        assert_eq!(
            (object.read::<String>("model").as_deref(), object.read::<u64>("model")),
            (Some("b"), None)
        );
    }

    #[test]
    fn null_is_absent_and_the_last_of_a_name_counts() {
        let object = fields(r#"{"a":1,"b":null,"a":2,"c":3,"a":null}"#);
        assert_eq!((object.get("a").is_none(), object.get("b").is_none()), (true, true));
        assert_eq!(object.names().collect::<Vec<_>>(), ["c"]);
        assert_eq!(text(&object), r#"{"b":null,"c":3,"a":null}"#);
    }

    #[test]
    fn invalid_json_and_non_objects_are_distinguished() {
        for (text, is_data) in [
            ("[1]", true),
            ("\"a\"", true),
            ("{\"a\":", false),
            ("nonsense", false),
            ("{} {}", false),
        ] {
            assert_eq!(
                JsonFields::parse(text.as_bytes()).unwrap_err().is_data(),
                is_data,
                "{text}"
            );
        }
    }

    #[test]
    fn no_value_is_printed() {
        assert_eq!(format!("{:?}", fields(r#"{"prompt":"a secret"}"#)), r#"{"prompt"}"#);
    }

    /// Quadratic would be sixteen times as long; a busy machine needs some room.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other clock here, and nobody has to hold this one"
    )]
    fn removing_repeated_fields_is_not_quadratic() {
        let of = |count: usize| {
            let fields: Vec<String> =
                (0..count).map(|number| format!("\"{number}\":{number}")).collect();
            let text = format!("{{{}}}", fields.join(","));
            let start = Instant::now();
            assert_eq!(JsonFields::parse(text.as_bytes()).unwrap().0.len(), count);
            start.elapsed().as_secs_f64()
        };
        of(1000);
        let (once, four_times) = (of(50_000), of(200_000));
        assert!(four_times < once * 12.0, "{once} {four_times}");
    }
}

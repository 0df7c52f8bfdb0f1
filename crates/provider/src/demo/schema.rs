//! Makes a value that satisfies a JSON schema, with texts from what the user said where they fit.

use serde_json::{Map, Value, json};

/// Deeper, a schema that contains itself would never end.
const MAX_DEPTH: usize = 16;

/// Keywords that say by example what the value may be, best first.
const GIVEN: [&str; 2] = ["const", "default"];

/// What may follow a word.
const PUNCTUATION: [char; 4] = ['.', '?', '!', ','];

/// A value for `schema`. What it cannot satisfy (a `pattern`, say) it ignores.
pub(super) fn generate(schema: &Value, said: &str) -> Value {
    Generator { root: schema, said }.value(schema, "", 0)
}

struct Generator<'a> {
    root: &'a Value,
    said: &'a str,
}

impl Generator<'_> {
    /// A value for the property `name`.
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|reference| self.resolve(reference)) {
            return self.value(target, name, depth + 1);
        }
        if let Some(value) = GIVEN.iter().find_map(|keyword| schema.get(keyword)) {
            return value.clone();
        }
        if let Some(value) = self.choice(schema) {
            return value;
        }
        if let Some(schemas) = schema.get("allOf").and_then(Value::as_array) {
            return self.value(&merged(schema, schemas), name, depth + 1);
        }
        let alternatives = ["anyOf", "oneOf"].iter().find_map(|keyword| schema.get(keyword)?.as_array());
        if let Some(first) = alternatives.and_then(|schemas| schemas.iter().find(|schema| kind(schema) != "null").or(schemas.first())) {
            return self.value(first, name, depth + 1);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => number(schema, first_number(self.said), true),
            "number" => number(schema, first_number(self.said), false),
            "boolean" => true.into(),
            "null" => Value::Null,
            _ => self.text(schema, name).into(),
        }
    }

    /// Of an `enum`, the first that the user mentions, or else the first.
    fn choice(&self, schema: &Value) -> Option<Value> {
        let values = schema.get("enum")?.as_array()?;
        let said = self.said.to_lowercase();
        let is_said = |value: &&Value| value.as_str().is_some_and(|text| !text.is_empty() && said.contains(&text.to_lowercase()));
        values.iter().find(is_said).or_else(|| values.first()).cloned()
    }

    /// The required properties, in their order; where none is required, all of them.
    fn object(&self, schema: &Value, depth: usize) -> Value {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let names = if required.is_empty() { properties.keys().map(String::as_str).collect() } else { required };
        let unknown = json!({});
        let property = |name: &str| {
            let schema = properties.get(name).unwrap_or(&unknown);
            (name.to_owned(), self.value(schema, name, depth + 1))
        };
        // A schema that contains itself ends where it can.
        let is_too_deep = depth > MAX_DEPTH / 2 && schema.get("required").is_none();
        Value::Object(if is_too_deep { Map::new() } else { names.into_iter().map(property).collect() })
    }

    fn array(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if let Some(schemas) = schema.get("prefixItems").and_then(Value::as_array) {
            return schemas.iter().map(|schema| self.value(schema, name, depth + 1)).collect();
        }
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        // One shows what an entry looks like; deep down, none ends a schema that contains itself.
        let count = if depth > MAX_DEPTH / 2 { least } else { least.max(1) }.min(most).min(100);
        let unknown = json!({ "type": "string" });
        let item = schema.get("items").filter(|items| items.is_object()).unwrap_or(&unknown);
        (0..count).map(|_| self.value(item, name, depth + 1)).collect()
    }

    fn text(&self, schema: &Value, name: &str) -> String {
        let word = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
        let text = match schema.get("format").and_then(Value::as_str) {
            Some("date") => "2026-01-31".to_owned(),
            Some("time") => "12:00:00Z".to_owned(),
            Some("date-time") => "2026-01-31T12:00:00Z".to_owned(),
            Some("email") => "ada@example.com".to_owned(),
            Some("uri" | "url") => "https://example.com/".to_owned(),
            Some("uuid") => "00000000-0000-4000-8000-000000000000".to_owned(),
            Some("ipv4") => "192.0.2.1".to_owned(),
            _ => self.words_for(name),
        };
        let missing = word("minLength").unwrap_or(0).saturating_sub(text.chars().count());
        text.chars().chain(std::iter::repeat_n('.', missing)).take(word("maxLength").unwrap_or(usize::MAX)).collect()
    }

    /// What of the user's words fits a property of this name.
    fn words_for(&self, name: &str) -> String {
        let lower = name.to_lowercase();
        let is_any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let found = if is_any(&["city", "location", "place", "address", "country", "town"]) {
            place(self.said)
        } else if is_any(&["url", "link"]) {
            self.said.split_whitespace().find(|word| word.starts_with("http")).map(str::to_owned)
        } else if is_any(&["expression", "formula"]) {
            expression(self.said)
        } else {
            None
        };
        let whole = || super::command::split(self.said).map_or(self.said, |(_, rest)| rest).to_owned();
        found.or_else(|| Some(whole()).filter(|text| !text.is_empty())).unwrap_or_else(|| "demo".to_owned())
    }

    /// A reference within the schema: `#`, `#/$defs/node`.
    fn resolve(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }
}

/// The type that is meant: of several, the first that is not null; without one, what the keywords suggest.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            names.find(|name| *name != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

/// All keywords of all schemas; properties and required names add up.
fn merged(schema: &Value, schemas: &[Value]) -> Value {
    let mut all = Map::new();
    let rest = schema.as_object().into_iter().flatten().filter(|(keyword, _)| *keyword != "allOf");
    for (keyword, value) in rest.chain(schemas.iter().filter_map(Value::as_object).flatten()) {
        match (all.get_mut(keyword), value) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.iter().cloned()),
            _ => {
                all.insert(keyword.clone(), value.clone());
            }
        }
    }
    all.into()
}

/// The number the user said, moved into the schema's bounds.
fn number(schema: &Value, said: Option<f64>, is_integer: bool) -> Value {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0).or(is_integer.then_some(1.0));
    let beyond = step.unwrap_or(0.5);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|bound| bound + beyond));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|bound| bound - beyond));
    let wanted = said.unwrap_or(1.0);
    let bounded = wanted.min(most.unwrap_or(f64::MAX)).max(least.unwrap_or(f64::MIN));
    let value = step.map_or(bounded, |step| {
        let below = (bounded / step).floor() * step;
        if least.is_some_and(|least| below < least) { below + step } else { below }
    });
    // What has no fraction is written without one.
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

fn first_number(said: &str) -> Option<f64> {
    let is_part = |character: char| character.is_ascii_digit() || character == '.' || character == '-';
    said.split(|character| !is_part(character)).find_map(|word| word.trim_end_matches('.').parse().ok())
}

/// The words after "in", "at" or "for" until the clause ends.
fn place(said: &str) -> Option<String> {
    let words: Vec<&str> = said.split_whitespace().collect();
    let start = words.iter().rposition(|word| ["in", "at"].contains(&word.to_lowercase().as_str()));
    let start = start.or_else(|| words.iter().rposition(|word| word.eq_ignore_ascii_case("for")));
    if let Some(start) = start {
        let is_end = |word: &&&str| {
            !["today", "tomorrow", "now", "please", "right", "this", "and"].contains(&word.to_lowercase().trim_end_matches(PUNCTUATION))
        };
        let place: Vec<&str> = words[start + 1..].iter().take_while(is_end).copied().collect();
        let place = place.join(" ").trim_end_matches(PUNCTUATION).to_owned();
        return Some(place).filter(|place| !place.is_empty());
    }
    chinese_place(said)
}

/// The words after 在, or at the start, until what is asked of the place.
fn chinese_place(said: &str) -> Option<String> {
    let after = said.split_once('在').map_or(said, |(_, after)| after);
    let end = ["的", "天气", "今天", "明天", "有", "怎么"].iter().filter_map(|word| after.find(word)).filter(|end| *end > 0).min()?;
    let mut place = &after[..end];
    while let Some(rest) = ["请问", "今天", "明天", "现在", "查一下", "查询"].iter().find_map(|word| place.strip_prefix(word))
    {
        place = rest;
    }
    // A place has a short name; anything longer is a sentence.
    Some(place.to_owned()).filter(|place| !place.is_empty() && place.chars().count() <= 10)
}

/// The longest run of digits and signs.
fn expression(said: &str) -> Option<String> {
    let is_part = |character: char| character.is_ascii_digit() || "+-*/().^ %".contains(character);
    let runs = said.split(|character| !is_part(character)).map(str::trim).filter(|run| run.chars().any(|digit| digit.is_ascii_digit()));
    runs.max_by_key(|run| run.len()).map(|run| run.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &Value, said: &str, expected: &Value) {
        assert_eq!(&generate(schema, said), expected);
    }

    #[test]
    fn objects_have_what_is_required_first() {
        let schema = json!({
            "type": "object",
            "properties": {
                "unit": { "type": "string", "enum": ["celsius", "fahrenheit"] },
                "city": { "type": "string" },
                "note": { "type": "string" },
                "days": { "type": ["integer", "null"], "minimum": 1, "maximum": 7 },
            },
            "required": ["city", "unit", "days"],
        });
        check(&schema, "What is the weather in New York tomorrow?", &json!({ "city": "New York", "unit": "celsius", "days": 1 }));
        check(&schema, "12 days in Rome, Fahrenheit", &json!({ "city": "Rome, Fahrenheit", "unit": "fahrenheit", "days": 7 }));
        check(&schema, "北京的天气怎么样", &json!({ "city": "北京", "unit": "celsius", "days": 1 }));
        check(&schema, "今天上海天气怎么样", &json!({ "city": "上海", "unit": "celsius", "days": 1 }));
    }

    #[test]
    fn keywords_are_followed() {
        check(&json!({}), "hi", &json!("hi"));
        check(&json!({ "const": 5 }), "hi", &json!(5));
        check(&json!({ "anyOf": [{ "type": "null" }, { "type": "boolean" }] }), "hi", &json!(true));
        check(&json!({ "type": "array", "items": { "type": "number", "exclusiveMinimum": 3 }, "minItems": 2 }), "", &json!([3.5, 3.5]));
        check(&json!({ "type": "string", "maxLength": 3 }), "hello", &json!("hel"));
        check(&json!({ "type": "string", "minLength": 4 }), "hi", &json!("hi.."));
        check(&json!({ "type": "integer", "multipleOf": 5, "minimum": 7 }), "", &json!(10));
        let parts = json!([{ "properties": { "a": { "type": "integer" } } }, { "properties": { "b": { "type": "boolean" } } }]);
        check(&json!({ "type": "object", "allOf": parts }), "2", &json!({ "a": 2, "b": true }));
        check(
            &json!({ "type": "object", "properties": { "expression": { "type": "string" } } }),
            "what is (2+3)*4?",
            &json!({ "expression": "(2+3)*4" }),
        );
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let node =
            json!({ "type": "object", "properties": { "next": { "type": "array", "items": { "$ref": "#" } } }, "required": ["next"] });
        assert!(generate(&node, "hi").is_object());
        let wide = json!({ "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" } } });
        assert!(generate(&wide, "hi").is_object());
    }
}

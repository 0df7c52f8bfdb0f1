//! Generates a value that satisfies a JSON schema, with texts from the user's message where they
//! fit.

use std::cell::Cell;

use serde_json::{Map, Value, json};

use super::scene::split;

/// A recursive schema ends at this depth.
const MAX_DEPTH: usize = 16;

/// The most values of one document.
const MAX_VALUES: usize = 250;

/// The most bytes of text and copied values in one document.
const MAX_BYTES: usize = 16 << 10;

/// How much of a schema is examined for one document: names, alternatives, keywords.
const MAX_STEPS: usize = 50_000;

/// The most values that are copied out of a schema. One takes about 100 bytes, however short its
/// JSON is.
const MAX_COPIES: usize = 5_000;

/// How many `enum` values or alternatives are tried.
const MAX_ALTERNATIVES: usize = 64;

/// How much of the message is searched.
const MAX_SAID: usize = 4 << 10;

/// Keywords with example values, best first.
const GIVEN: [&str; 2] = ["const", "default"];

/// What may follow a word.
const PUNCTUATION: [char; 4] = ['.', '?', '!', ','];

/// A value for `schema`. Keywords it cannot satisfy (such as `pattern`) are ignored. Neither schema
/// nor text can exceed [`MAX_VALUES`], [`MAX_BYTES`], [`MAX_STEPS`] and [`MAX_COPIES`]: the rest is `null`,
/// empty, or left out.
pub(super) fn generate(schema: &Value, said: &str) -> Value {
    let budget = Budget {
        values: Cell::new(MAX_VALUES),
        bytes: Cell::new(MAX_BYTES),
        steps: Cell::new(MAX_STEPS),
        copies: Cell::new(MAX_COPIES),
    };
    Generator { root: schema, said: UserText::of(said), budget }.value(schema, "", 0)
}

/// What may still be spent on a document. A budget, not a depth, because schemas multiply.
struct Budget {
    values: Cell<usize>,
    bytes: Cell<usize>,
    steps: Cell<usize>,
    copies: Cell<usize>,
}

impl Budget {
    /// Spends `cost`; returns `false` and spends nothing if there is less.
    fn take(left: &Cell<usize>, cost: usize) -> bool {
        let rest = left.get().checked_sub(cost);
        rest.inspect(|rest| left.set(*rest)).is_some()
    }

    /// A copy of a value; `None` if it is too large.
    fn copy(&self, value: &Value) -> Option<Value> {
        self.pay(value).then(|| value.clone())
    }

    /// Spends for every value in `value`, until the budget is exceeded.
    fn pay(&self, value: &Value) -> bool {
        Self::take(&self.copies, 1)
            && match value {
                Value::String(text) => Self::take(&self.bytes, text.len()),
                Value::Array(list) => list.iter().all(|entry| self.pay(entry)),
                Value::Object(fields) => fields
                    .iter()
                    .all(|(name, value)| Self::take(&self.bytes, name.len()) && self.pay(value)),
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
            }
    }
}

/// The user's message, and what was found in it, once for all properties.
struct UserText<'a> {
    whole: &'a str,
    lower: String,
    number: Option<f64>,
    place: Option<String>,
    url: Option<&'a str>,
    expression: Option<String>,
}

impl<'a> UserText<'a> {
    fn of(said: &'a str) -> Self {
        let part = beginning(said, MAX_SAID);
        let whole = split(said).map_or(said, |(_, rest)| rest);
        Self {
            whole: beginning(whole, MAX_BYTES / 4),
            lower: part.to_lowercase(),
            number: first_number(part),
            place: place(part),
            url: part.split_whitespace().find(|word| word.starts_with("http")),
            expression: expression(part),
        }
    }
}

/// At most the first `limit` bytes, up to a character boundary.
fn beginning(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

struct Generator<'a> {
    root: &'a Value,
    said: UserText<'a>,
    budget: Budget,
}

impl Generator<'_> {
    /// A value for the property `name`.
    fn value(&self, schema: &Value, name: &str, depth: usize) -> Value {
        if !Budget::take(&self.budget.values, 1) || depth > MAX_DEPTH {
            return Value::Null;
        }
        if let Some(target) =
            schema.get("$ref").and_then(Value::as_str).and_then(|reference| self.resolve(reference))
        {
            return self.value(target, name, depth + 1);
        }
        if let Some(value) = GIVEN.iter().find_map(|keyword| schema.get(keyword)) {
            return self.budget.copy(value).unwrap_or_default();
        }
        if let Some(value) = self.choice(schema) {
            return value;
        }
        if let Some(schemas) = schema.get("allOf").and_then(Value::as_array) {
            let is_affordable = self.budget.pay(schema);
            return if is_affordable {
                self.value(&merged(schema, schemas), name, depth + 1)
            } else {
                Value::Null
            };
        }
        let alternatives =
            ["anyOf", "oneOf"].iter().find_map(|keyword| schema.get(keyword)?.as_array());
        let is_some = |schemas: &&[Value]| !schemas.is_empty();
        if let Some(schemas) = alternatives
            .map(|schemas| &schemas[..schemas.len().min(MAX_ALTERNATIVES)])
            .filter(is_some)
        {
            let first = schemas.iter().find(|schema| kind(schema) != "null").unwrap_or(&schemas[0]);
            return self.value(first, name, depth + 1);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => number(schema, self.said.number, true),
            "number" => number(schema, self.said.number, false),
            "boolean" => true.into(),
            "null" => Value::Null,
            _ => self.text(schema, name).into(),
        }
    }

    /// The first `enum` value that the user mentions, or else the first.
    fn choice(&self, schema: &Value) -> Option<Value> {
        let values = schema.get("enum")?.as_array()?;
        let said = &self.said.lower;
        let is_said = |value: &&Value| {
            let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= said.len());
            text.is_some_and(|text| {
                Budget::take(&self.budget.steps, 1 + said.len() / 64)
                    && said.contains(&text.to_lowercase())
            })
        };
        let chosen =
            values.iter().take(MAX_ALTERNATIVES).find(is_said).or_else(|| values.first())?;
        Some(self.budget.copy(chosen).unwrap_or_default())
    }

    /// The required properties in order; if none is required, all of them.
    fn object(&self, schema: &Value, depth: usize) -> Value {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .filter(|required| !required.is_empty());
        // A recursive schema ends as soon as possible.
        if depth > MAX_DEPTH / 2 && required.is_none() {
            return Value::Object(empty);
        }
        let names: &mut dyn Iterator<Item = &str> = match required {
            Some(required) => &mut required.iter().filter_map(Value::as_str),
            None => &mut properties.keys().map(String::as_str),
        };
        let unknown = json!({});
        let mut object = Map::new();
        for name in names {
            if self.budget.values.get() == 0 || !Budget::take(&self.budget.bytes, name.len()) {
                break;
            }
            let value = self.value(properties.get(name).unwrap_or(&unknown), name, depth + 1);
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }

    fn array(&self, schema: &Value, name: &str, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let has_budget = || self.budget.values.get() > 0;
        if let Some(schemas) = schema.get("prefixItems").and_then(Value::as_array) {
            return schemas
                .iter()
                .take_while(|_| has_budget())
                .map(|schema| self.value(schema, name, depth + 1))
                .collect();
        }
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        // One entry shows what entries look like; at depth, none ends a recursive schema.
        let count = if depth > MAX_DEPTH / 2 { least } else { least.max(1) }.min(most).min(100);
        let unknown = json!({ "type": "string" });
        let item = schema.get("items").filter(|items| items.is_object()).unwrap_or(&unknown);
        (0..count).take_while(|_| has_budget()).map(|_| self.value(item, name, depth + 1)).collect()
    }

    fn text(&self, schema: &Value, name: &str) -> String {
        let word = |keyword: &str| {
            schema
                .get(keyword)
                .and_then(Value::as_u64)
                .and_then(|length| usize::try_from(length).ok())
        };
        let text = match schema.get("format").and_then(Value::as_str) {
            Some("date") => "2026-01-31",
            Some("time") => "12:00:00Z",
            Some("date-time") => "2026-01-31T12:00:00Z",
            Some("email") => "ada@example.com",
            Some("uri" | "url") => "https://example.com/",
            Some("uuid") => "00000000-0000-4000-8000-000000000000",
            Some("ipv4") => "192.0.2.1",
            _ => self.words_for(name),
        };
        let affordable = self.budget.bytes.get();
        let text = beginning(text, affordable);
        let missing = word("minLength")
            .unwrap_or(0)
            .saturating_sub(text.chars().count())
            .min(affordable - text.len());
        let text: String = text
            .chars()
            .chain(std::iter::repeat_n('x', missing))
            .take(word("maxLength").unwrap_or(usize::MAX))
            .collect();
        Budget::take(&self.budget.bytes, text.len());
        text
    }

    /// The part of the user's message that fits a property with this name.
    fn words_for(&self, name: &str) -> &str {
        let lower = beginning(name, 64).to_lowercase();
        let is_any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let found = if is_any(&["city", "location", "place", "address", "country", "town"]) {
            self.said.place.as_deref()
        } else if is_any(&["url", "link"]) {
            self.said.url
        } else if is_any(&["expression", "formula"]) {
            self.said.expression.as_deref()
        } else {
            None
        };
        found.or_else(|| Some(self.said.whole).filter(|text| !text.is_empty())).unwrap_or("demo")
    }

    /// A reference within the schema: `#`, `#/$defs/node`.
    fn resolve(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(beginning(reference, 1_000).strip_prefix('#')?)
    }
}

/// The type: of several, the first that is not null; without one, what the keywords suggest.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let mut names = names.iter().take(MAX_ALTERNATIVES).filter_map(Value::as_str);
            names.find(|name| *name != "null").unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "string",
    }
}

/// All keywords of all schemas; properties and required names are combined.
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

/// The number in the user's message, clamped to the schema's bounds.
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
    // Integers are written without a fraction.
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

fn first_number(said: &str) -> Option<f64> {
    let is_part =
        |character: char| character.is_ascii_digit() || character == '.' || character == '-';
    said.split(|character| !is_part(character))
        .find_map(|word| word.trim_end_matches('.').parse().ok())
}

/// The words after "in", "at" or "for" to the end of the clause.
fn place(said: &str) -> Option<String> {
    let words: Vec<&str> = said.split_whitespace().collect();
    let start = words.iter().rposition(|word| ["in", "at"].contains(&word.to_lowercase().as_str()));
    let start = start.or_else(|| words.iter().rposition(|word| word.eq_ignore_ascii_case("for")));
    if let Some(start) = start {
        let is_end = |word: &&&str| {
            !["today", "tomorrow", "now", "please", "right", "this", "and"]
                .contains(&word.to_lowercase().trim_end_matches(PUNCTUATION))
        };
        let place: Vec<&str> = words[start + 1..].iter().take_while(is_end).copied().collect();
        let place = place.join(" ").trim_end_matches(PUNCTUATION).to_owned();
        return Some(place).filter(|place| !place.is_empty());
    }
    chinese_place(said)
}

/// The words after 在, or at the start, up to the question about the place.
fn chinese_place(said: &str) -> Option<String> {
    let after = said.split_once('在').map_or(said, |(_, after)| after);
    let end = ["的", "天气", "今天", "明天", "有", "怎么"]
        .iter()
        .filter_map(|word| after.find(word))
        .filter(|end| *end > 0)
        .min()?;
    let mut place = &after[..end];
    while let Some(rest) = ["请问", "今天", "明天", "现在", "查一下", "查询"]
        .iter()
        .find_map(|word| place.strip_prefix(word))
    {
        place = rest;
    }
    // A place has a short name; anything longer is a sentence.
    Some(place.to_owned()).filter(|place| !place.is_empty() && place.chars().count() <= 10)
}

/// The longest run of digits and operators.
fn expression(said: &str) -> Option<String> {
    let is_part = |character: char| character.is_ascii_digit() || "+-*/().^ %".contains(character);
    let runs = said
        .split(|character| !is_part(character))
        .map(str::trim)
        .filter(|run| run.chars().any(|digit| digit.is_ascii_digit()));
    runs.max_by_key(|run| run.len()).map(|run| run.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests;

//! Reads a JSON request field by field; every error names the field by its path.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::extra::Extra;
use crate::fault::Fault;
use crate::limits;

/// A value of a request and the path to it.
pub(crate) struct RequestValue<'a> {
    value: &'a Value,
    path: String,
}

/// An object of a request and its path.
pub(crate) struct RequestObject<'a> {
    fields: &'a Map<String, Value>,
    path: String,
}

impl<'a> RequestValue<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// The error for a wrong type.
    pub(crate) fn wrong_type(&self, expected: &str) -> Fault {
        let got = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a decimal number",
            Value::Number(_) => "an integer",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        if self.path.is_empty() {
            return Fault::new(
                crate::fault::FaultKind::InvalidRequest,
                "invalid_type",
                format!("the body must be {expected}, but it is {got}"),
            );
        }
        Fault::invalid(
            "invalid_type",
            &self.path,
            format!(
                "Invalid type for '{}': expected {expected}, but got {got} instead.",
                self.path
            ),
        )
    }

    /// The error for a wrong value.
    pub(crate) fn wrong_value(&self, expected: &str) -> Fault {
        Fault::invalid(
            "invalid_value",
            &self.path,
            format!("Invalid value for '{}': expected {expected}.", self.path),
        )
    }

    pub(crate) fn object(&self) -> Result<RequestObject<'a>, Fault> {
        match self.value {
            Value::Object(fields) => Ok(RequestObject { fields, path: self.path.clone() }),
            _ => Err(self.wrong_type("an object")),
        }
    }

    /// The entries of an array, up to a limit.
    pub(crate) fn array(&self, most: usize) -> Result<Vec<RequestValue<'a>>, Fault> {
        match self.value {
            Value::Array(values) if values.len() > most => Err(self.too_many(values.len(), most)),
            Value::Array(values) => Ok(values
                .iter()
                .enumerate()
                .map(|(index, value)| RequestValue {
                    value,
                    path: format!("{}[{index}]", self.path),
                })
                .collect()),
            _ => Err(self.wrong_type("an array")),
        }
    }

    /// The error for more entries than one request may have.
    pub(crate) fn too_many(&self, count: usize, most: usize) -> Fault {
        let message = format!(
            "Invalid '{}': array too long. Expected at most {most} entries, but got {count}.",
            self.path
        );
        Fault::invalid("array_above_max_length", &self.path, message)
    }

    /// A JSON schema: an object within the limits of a schema.
    pub(crate) fn schema(&self) -> Result<Value, Fault> {
        self.object()?;
        let mut left = limits::SCHEMA_VALUES;
        if !is_within(self.value, &mut left, limits::SCHEMA_DEPTH) {
            let (values, depth) = (limits::SCHEMA_VALUES, limits::SCHEMA_DEPTH);
            let message = format!(
                "Invalid schema in '{}': expected at most {values} values, at most {depth} deep.",
                self.path
            );
            return Err(Fault::invalid("schema_too_large", &self.path, message));
        }
        Ok(self.value.clone())
    }

    pub(crate) fn string(&self) -> Result<String, Fault> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.wrong_type("a string"))
    }

    /// A string of 1 to `longest` characters.
    pub(crate) fn short_string(&self, longest: usize) -> Result<String, Fault> {
        let text = self.string()?;
        let length = text.chars().count();
        if length == 0 || length > longest {
            return Err(self
                .wrong_value(&format!("a string of 1 to {longest} characters, but got {length}")));
        }
        Ok(text)
    }

    /// A string that is not empty. Names and ids made by an upstream are accepted in any form.
    pub(crate) fn some_string(&self) -> Result<String, Fault> {
        let text = self.string()?;
        if text.is_empty() { Err(self.wrong_value("a string that is not empty")) } else { Ok(text) }
    }

    /// The name of a tool or a schema that the caller defines. OpenAI allows 64 letters, digits,
    /// `_` and `-`; other upstreams allow more and report their own limits.
    pub(crate) fn name(&self) -> Result<String, Fault> {
        let text = self.short_string(128)?;
        if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte)) {
            return Ok(text);
        }
        Err(self.wrong_value("letters, digits, '_', '-', '.', ':' and '/' only"))
    }

    pub(crate) fn word(&self, words: &[&str]) -> Result<String, Fault> {
        let text = self.string()?;
        if words.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(self.wrong_value(&format!(
            "one of {}",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
        )))
    }

    pub(crate) fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.wrong_type("a boolean"))
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        if !self.value.is_i64() && !self.value.is_u64() {
            return Err(self.wrong_type("an integer"));
        }
        match self.value.as_u64() {
            Some(number) if range.contains(&number) => Ok(number),
            _ if *range.end() == u64::MAX => {
                Err(self.wrong_value(&format!("an integer of {} or more", range.start())))
            }
            _ => Err(self.wrong_value(&format!(
                "an integer from {} to {}",
                range.start(),
                range.end()
            ))),
        }
    }

    pub(crate) fn number(&self, range: RangeInclusive<f64>) -> Result<f64, Fault> {
        match self.value.as_f64() {
            Some(number) if range.contains(&number) => Ok(number),
            Some(_) => Err(self.wrong_value(&format!(
                "a number from {} to {}",
                range.start(),
                range.end()
            ))),
            None => Err(self.wrong_type("a number")),
        }
    }
}

/// Whether a value contains at most `left` values, none of them nested too deeply.
fn is_within(value: &Value, left: &mut usize, depth: usize) -> bool {
    let (Some(rest), Some(depth)) = (left.checked_sub(1), depth.checked_sub(1)) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Array(list) => list.iter().all(|value| is_within(value, left, depth)),
        Value::Object(fields) => fields.values().all(|value| is_within(value, left, depth)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl<'a> RequestObject<'a> {
    /// The field's path from the root of the body.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The field, unless it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<RequestValue<'a>> {
        let value = self.fields.get(name)?;
        if value.is_null() { None } else { Some(RequestValue { value, path: self.path_of(name) }) }
    }

    pub(crate) fn require(&self, name: &str) -> Result<RequestValue<'a>, Fault> {
        self.get(name).ok_or_else(|| {
            let path = self.path_of(name);
            Fault::invalid(
                "missing_required_parameter",
                &path,
                format!("Missing required parameter: '{path}'."),
            )
        })
    }

    /// Reads an optional field.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&RequestValue<'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.get(name).as_ref().map(read).transpose()
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.read(name, RequestValue::boolean)
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, Fault> {
        self.read(name, RequestValue::string)
    }

    /// The fields that `known` does not name, as they came, nulls left out.
    pub(crate) fn extra(&self, known: &[&str]) -> Extra {
        Extra::new(self.others(known))
    }

    /// The fields that `known` does not name, nulls left out.
    pub(crate) fn others(&self, known: &[&str]) -> Map<String, Value> {
        self.fields
            .iter()
            .filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

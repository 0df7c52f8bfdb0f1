//! An estimate of the memory that a JSON text takes once it is parsed, in one pass over the bytes
//! without allocation.

use crate::fault::{Fault, FaultKind};

/// Limit on the values of one request. A value takes about a hundred bytes in memory and may be one
/// byte on the wire.
pub const VALUES: usize = 250_000;

/// A string from this length on is binary data if it looks like base64.
const BINARY: usize = 1 << 10;

/// The counts of a JSON text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Values, nested ones included, and field names.
    pub values: usize,
    /// Bytes, apart from those of binary data in strings.
    pub text_bytes: usize,
}

impl Weight {
    /// Counts. Invalid JSON is counted as far as it resembles JSON; the parser reports the error.
    pub fn of(json: &[u8]) -> Self {
        let mut weight = Self { values: 1, text_bytes: json.len() };
        let mut at = 0;
        while let Some(byte) = json.get(at) {
            at += 1;
            match byte {
                b'"' => {
                    weight.values += 1;
                    let rest = &json[at..];
                    let length = string_length(rest);
                    if length >= BINARY && is_binary(&rest[..length]) {
                        weight.text_bytes -= length;
                    }
                    at += length + 1;
                }
                b',' | b'[' | b'{' | b':' => weight.values += 1,
                _ => {}
            }
        }
        weight
    }

    /// Approximate bytes in memory, without the text itself.
    pub fn in_memory(self) -> u64 {
        (self.values as u64).saturating_mul(100)
    }

    /// Checks it against the limits of one request.
    ///
    /// # Errors
    /// 413: too many values, or more than `text_bytes` of text.
    pub fn check(self, text_bytes: usize) -> Result<(), Fault> {
        let refused = |code: &str, message: String| {
            Err(Fault::new(FaultKind::InvalidRequest, code, message).with_status(413))
        };
        if self.values > VALUES {
            return refused(
                "body_too_complex",
                format!("The body has more than {VALUES} JSON values, the limit for one request."),
            );
        }
        if self.text_bytes > text_bytes {
            let message = format!(
                "The body has more than {text_bytes} bytes besides images and files (server.text_bytes)."
            );
            return refused("body_too_large", message);
        }
        Ok(())
    }
}

/// The length of a string whose opening quotation mark was read.
fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += found;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// Whether a string is base64, by itself or in a data URL: no other text is that long without a
/// space.
fn is_binary(string: &[u8]) -> bool {
    let data = if string.starts_with(b"data:") {
        memchr::memchr(b',', &string[..BINARY]).map_or(string, |at| &string[at + 1..])
    } else {
        string
    };
    data.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn values(value: &Value) -> usize {
        1 + match value {
            Value::Array(list) => list.iter().map(values).sum(),
            Value::Object(fields) => fields.values().map(|value| 1 + values(value)).sum(),
            _ => 0,
        }
    }

    #[test]
    fn many_small_values_are_refused_and_pictures_are_not_text() {
        let zeros = format!("[{}0]", "0,".repeat(VALUES));
        assert_eq!(
            Weight::of(zeros.as_bytes()).check(usize::MAX).unwrap_err().code,
            "body_too_complex"
        );
        let picture = format!(r#"{{"a":"data:image/png;base64,{}"}}"#, "QUJD".repeat(10_000));
        assert!(Weight::of(picture.as_bytes()).check(100).is_ok());
        let text = json!({ "a": "word ".repeat(10_000) }).to_string();
        let refused = Weight::of(text.as_bytes()).check(100).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (413, "body_too_large"));
    }

    #[test]
    fn values_inside_strings_are_not_counted() {
        let weight = Weight::of(br#"{"a\"[,{":"x,y\\",  "b":["{"]}"#);
        assert!((5..=10).contains(&weight.values), "{weight:?}");
        assert_eq!(Weight::of(b"\"").values, 2);
        assert_eq!(Weight::of(b"\"\\").values, 2);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map("\\PC{0,5}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_fewer_values_are_counted_than_there_are(value in any_json()) {
            let counted = Weight::of(value.to_string().as_bytes()).values;
            let there_are = values(&value);
            prop_assert!(counted >= there_are && counted <= 3 * there_are + 1, "{} for {}: {}", counted, there_are, value);
        }

        #[test]
        fn any_bytes_are_counted(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Weight::of(&bytes).text_bytes == bytes.len());
        }
    }
}

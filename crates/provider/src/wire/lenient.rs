//! Deserialises fields that may have any type: a value of an unexpected type counts as absent.
//!
//! The functions are for serde's `deserialize_with`. None fails on well-formed JSON, so that an
//! irrelevant field cannot break a response.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// The name of a field, borrowed from the JSON unless it contains escapes.
pub(super) struct FieldName<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FieldNameVisitor)
    }
}

struct FieldNameVisitor;

impl<'de> Visitor<'de> for FieldNameVisitor {
    type Value = FieldName<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(FieldName(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(FieldName(Cow::Owned(name.to_owned())))
    }

    fn visit_string<E>(self, name: String) -> Result<Self::Value, E> {
        Ok(FieldName(Cow::Owned(name)))
    }
}

/// A string.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(Scalar(|scalar: Found<'_>| match scalar {
        Found::Text(text) => Some(text.to_owned()),
        Found::Number(_) | Found::Boolean(_) => None,
    }))
}

/// A count or index; servers also write `0.0` and `"0"`.
pub(super) fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Scalar(|scalar: Found<'_>| match scalar {
        Found::Text(text) => text.trim().parse().ok(),
        Found::Number(number) => count(number),
        Found::Boolean(_) => None,
    }))
}

/// A boolean; servers also write `"true"`.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    deserializer.deserialize_any(Scalar(|scalar: Found<'_>| match scalar {
        Found::Boolean(flag) => Some(flag),
        Found::Text(text) => text.parse().ok(),
        Found::Number(_) => None,
    }))
}

/// An object.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Object(PhantomData))
}

/// A list of objects; anything else in it is skipped.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

/// A list of objects, or a single one.
pub(super) fn one_or_more<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    deserializer.deserialize_any(OneOrMore(PhantomData))
}

/// Converts a number to a count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a count is no exact science"
)]
fn count(number: f64) -> Option<u64> {
    (number >= 0.0).then_some(number as u64)
}

/// A count in any representation.
pub(super) fn read_count(value: &serde_json::Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().and_then(count))
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// A scalar.
enum Found<'a> {
    Text(&'a str),
    Number(f64),
    Boolean(bool),
}

struct Scalar<F>(F);

impl<'de, T, F: FnOnce(Found<'_>) -> Option<T>> Visitor<'de> for Scalar<F> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0)(Found::Text(text)))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok((self.0)(Found::Boolean(flag)))
    }

    #[expect(clippy::cast_precision_loss, reason = "indices are small")]
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok((self.0)(Found::Number(number as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "indices are small")]
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok((self.0)(Found::Number(number as f64)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok((self.0)(Found::Number(number)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
        skip_list(sequence).map(|()| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        skip_object(map).map(|()| None)
    }
}

fn skip_list<'de, A: SeqAccess<'de>>(mut sequence: A) -> Result<(), A::Error> {
    while sequence.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn skip_object<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Rejects all scalars but strings and numbers.
macro_rules! no_scalars {
    () => {
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("anything")
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    };
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Option<T>;

    no_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
        skip_list(sequence).map(|()| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Object<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Option<Vec<T>>;

    no_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = sequence.next_element_seed(Object(PhantomData))? {
            list.extend(element);
        }
        Ok(Some(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        skip_object(map).map(|()| None)
    }
}

/// Deserialises a list of objects or a single one.
struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
    type Value = Option<Vec<T>>;

    no_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
        List(PhantomData).visit_seq(sequence)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|one| Some(vec![one]))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        #[serde(deserialize_with = "text")]
        text: Option<String>,
        #[serde(deserialize_with = "index")]
        index: Option<u64>,
        #[serde(deserialize_with = "flag")]
        flag: Option<bool>,
        #[serde(deserialize_with = "object")]
        object: Option<Box<Outer>>,
        #[serde(deserialize_with = "list")]
        list: Option<Vec<Outer>>,
    }

    #[test]
    fn any_type_in_any_field_is_accepted() {
        let odd =
            ["null", "true", "0", "-1.5", "\"\"", "\"x\"", "[]", "[[1]]", "{}", r#"{"a":[{}]}"#];
        for field in ["text", "index", "flag", "object", "list", "unknown"] {
            for value in odd {
                let json = format!(r#"{{"{field}":{value}}}"#);
                assert!(serde_json::from_str::<Outer>(&json).is_ok(), "{json}");
            }
        }
    }

    #[test]
    fn values_of_the_expected_type_are_read() {
        let json = r#"{"text":"t","index":"7","flag":"true","object":{"index":1.0},"list":[{"text":"a"},null,[],{"index":2}]}"#;
        let read: Outer = serde_json::from_str(json).unwrap();
        let inner = |text: Option<&str>, index| Outer {
            text: text.map(str::to_owned),
            index,
            ..Outer::default()
        };
        assert_eq!(read.object, Some(Box::new(inner(None, Some(1)))));
        assert_eq!(read.list, Some(vec![inner(Some("a"), None), inner(None, Some(2))]));
        assert_eq!((read.text.as_deref(), read.index, read.flag), (Some("t"), Some(7), Some(true)));
    }
}

//! An embedding in its two forms: a list of numbers, or base64 of 32-bit floats in little-endian
//! order.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::{RawValue, to_raw_value};

/// The format of vectors in a response (`encoding_format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum VectorFormat {
    /// A list of numbers.
    #[default]
    Float,
    /// Base64 of 32-bit floats, little-endian: the default of OpenAI's SDKs.
    Base64,
}

impl VectorFormat {
    /// The format with this name; `None` if there is none.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "float" => Some(Self::Float),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }

    /// Whether a value is in this format already, by its first character.
    pub fn is_of(self, value: &RawValue) -> bool {
        value.get().starts_with(match self {
            Self::Float => '[',
            Self::Base64 => '"',
        })
    }

    /// Reads a vector in this format; `None` if it is not a vector.
    pub fn decode(self, value: &RawValue) -> Option<Vec<f32>> {
        match self {
            Self::Float => serde_json::from_str(value.get()).ok(),
            Self::Base64 => {
                let bytes =
                    STANDARD.decode(serde_json::from_str::<String>(value.get()).ok()?).ok()?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                rest.is_empty()
                    .then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
            }
        }
    }

    /// Writes a vector in this format; `None` if a number cannot be represented.
    pub fn encode(self, vector: &[f32]) -> Option<Box<RawValue>> {
        match self {
            // JSON cannot represent non-finite numbers, and serde would write null.
            Self::Float => vector
                .iter()
                .all(|number| number.is_finite())
                .then(|| to_raw_value(vector).ok())
                .flatten(),
            Self::Base64 => {
                let bytes: Vec<u8> =
                    vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                to_raw_value(&STANDARD.encode(bytes)).ok()
            }
        }
    }

    /// Converts a vector of either format to this one; `None` if it is not a vector.
    pub fn convert(self, value: &RawValue) -> Option<Box<RawValue>> {
        let other = match self {
            Self::Float => Self::Base64,
            Self::Base64 => Self::Float,
        };
        if self.is_of(value) { Some(value.to_owned()) } else { self.encode(&other.decode(value)?) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn base64_is_of_little_endian_floats() {
        // Python: base64.b64encode(struct.pack("<3f", 1.0, -0.5, 0.1))
        let (floats, base64) = (raw("[1.0,-0.5,0.1]"), raw("\"AACAPwAAAL/NzMw9\""));
        assert_eq!(VectorFormat::Base64.convert(&floats).unwrap().get(), base64.get());
        assert_eq!(VectorFormat::Float.convert(&base64).unwrap().get(), floats.get());
        assert_eq!(
            VectorFormat::Float.convert(&raw("[1, 2e0]")).unwrap().get(),
            "[1, 2e0]",
            "what fits stays as it was written"
        );
    }

    #[test]
    fn values_that_are_not_vectors_are_detected() {
        for (format, wrong) in [
            (VectorFormat::Base64, "[1,null]"),
            (VectorFormat::Base64, "[\"a\"]"),
            (VectorFormat::Base64, "{}"),
            (VectorFormat::Float, "\"AAA=\""),
            (VectorFormat::Float, "\"no base64!\""),
            (VectorFormat::Float, "{}"),
            (VectorFormat::Float, "null"),
            // Not a number.
            (VectorFormat::Float, "\"AADAfw==\""),
        ] {
            assert!(format.convert(&raw(wrong)).is_none(), "{format:?} {wrong}");
        }
    }

    proptest! {
        #[test]
        fn there_and_back_it_is_the_same(vector in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 0..20)) {
            for format in [VectorFormat::Float, VectorFormat::Base64] {
                prop_assert_eq!(format.decode(&format.encode(&vector).unwrap()).unwrap(), vector.clone());
            }
        }
    }
}

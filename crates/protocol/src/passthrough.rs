//! Operations whose bodies pass through: embeddings, text completions and moderations, in OpenAI's
//! form. Only the fields that routing needs are read; everything else is forwarded unchanged.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::fault::{Fault, FaultKind};
use crate::fields::JsonFields;

/// The model of a moderation that names none, as at OpenAI.
const MODERATION_MODEL: &str = "omni-moderation-latest";

/// The most inputs or prompts that are split; OpenAI accepts no more in one request.
pub const MAX_INPUTS: usize = 2048;

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Vectors of texts: `POST /v1/embeddings`.
    Embeddings,
    /// The continuation of a text: `POST /v1/completions`.
    Completions,
    /// Whether a text is harmful: `POST /v1/moderations`.
    Moderations,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Embeddings, Self::Completions, Self::Moderations];

    /// The last segment of its path, at Weir and at upstreams that have it in this form.
    pub fn path(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Completions => "completions",
            Self::Moderations => "moderations",
        }
    }

    /// OpenTelemetry's `gen_ai.operation.name`; it has none for moderations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Completions => "text_completion",
            Self::Moderations => "moderation",
        }
    }

    /// What it produces, for messages to people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Completions => "text completions",
            Self::Moderations => "moderations",
        }
    }

    /// The field that every response to it has.
    pub fn result(self) -> &'static str {
        match self {
            Self::Embeddings => "data",
            Self::Completions => "choices",
            Self::Moderations => "results",
        }
    }
}

/// A request that passes through.
#[derive(Clone, Debug)]
pub struct Passthrough {
    /// The operation.
    pub operation: Operation,
    /// The model's name, as the caller wrote it.
    pub model: String,
    /// Whether the response is streamed.
    pub stream: bool,
    /// The whole body, `model` and `stream` included.
    pub body: JsonFields,
}

impl Passthrough {
    /// Reads the fields of a body that Weir interprets.
    ///
    /// # Errors
    /// Not a JSON object; `model` or `stream` is missing or wrong.
    pub fn read(operation: Operation, body: &[u8]) -> Result<Self, Fault> {
        let body = JsonFields::parse(body).map_err(|error| {
            let (code, message) = if error.is_data() {
                ("invalid_type", "the body must be an object".to_owned())
            } else {
                ("invalid_json", format!("The body is not valid JSON: {error}."))
            };
            Fault::new(FaultKind::InvalidRequest, code, message)
        })?;
        let model = match (body.get("model"), operation) {
            (None, Operation::Moderations) => MODERATION_MODEL.to_owned(),
            (None, Operation::Embeddings | Operation::Completions) => {
                return Err(Fault::invalid(
                    "missing_required_parameter",
                    "model",
                    "Missing required parameter: 'model'.",
                ));
            }
            (Some(_), _) => body.read("model").ok_or_else(|| wrong_type("model", "a string"))?,
        };
        if model.is_empty() {
            return Err(Fault::invalid(
                "invalid_value",
                "model",
                "Invalid value for 'model': expected the name of a model.",
            ));
        }
        let stream = match body.get("stream") {
            None => false,
            Some(_) => body.read("stream").ok_or_else(|| wrong_type("stream", "a boolean"))?,
        };
        if stream && operation != Operation::Completions {
            let message =
                format!("Streaming is not available for {}: leave 'stream' out.", operation.noun());
            return Err(Fault::invalid("unsupported_value", "stream", message));
        }
        Ok(Self { operation, model, stream, body })
    }

    /// The field that holds the model's input.
    pub fn input_name(&self) -> &'static str {
        match self.operation {
            Operation::Embeddings | Operation::Moderations => "input",
            Operation::Completions => "prompt",
        }
    }

    /// The model's input, split.
    ///
    /// # Errors
    /// The input is missing, of another type, or more than [`MAX_INPUTS`].
    pub fn inputs(&self) -> Result<EmbeddingInputs, Fault> {
        let name = self.input_name();
        if self.body.get(name).is_none() {
            return Err(Fault::invalid(
                "missing_required_parameter",
                name,
                format!("Missing required parameter: '{name}'."),
            ));
        }
        let expected =
            format!("a string, or an array of up to {MAX_INPUTS} strings or of arrays of tokens");
        self.body.read(name).ok_or_else(|| wrong_type(name, &expected))
    }
}

fn wrong_type(name: &str, expected: &str) -> Fault {
    Fault::invalid("invalid_type", name, format!("Invalid type for '{name}': expected {expected}."))
}

/// The inputs of a request, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingInputs {
    /// Texts.
    Texts(Vec<String>),
    /// Texts as tokens of some vocabulary.
    Tokens(Vec<Vec<u32>>),
}

impl EmbeddingInputs {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One element of an array of inputs.
enum Element {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for EmbeddingInputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputsVisitor;

        impl<'de> Visitor<'de> for InputsVisitor {
            type Value = EmbeddingInputs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, or an array of texts or tokens")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<EmbeddingInputs, E> {
                Ok(EmbeddingInputs::Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut elements: A,
            ) -> Result<EmbeddingInputs, A::Error> {
                let Some(first) = elements.next_element()? else {
                    return Ok(EmbeddingInputs::Texts(Vec::new()));
                };
                match first {
                    Element::Text(text) => Ok(EmbeddingInputs::Texts(rest(
                        text,
                        &mut elements,
                        MAX_INPUTS,
                        |element| match element {
                            Element::Text(text) => Some(text),
                            Element::Token(_) | Element::Tokens(_) => None,
                        },
                    )?)),
                    Element::Tokens(tokens) => Ok(EmbeddingInputs::Tokens(rest(
                        tokens,
                        &mut elements,
                        MAX_INPUTS,
                        |element| match element {
                            Element::Tokens(tokens) => Some(tokens),
                            Element::Text(_) | Element::Token(_) => None,
                        },
                    )?)),
                    // One input, whose length the upstream checks.
                    Element::Token(token) => Ok(EmbeddingInputs::Tokens(vec![rest(
                        token,
                        &mut elements,
                        usize::MAX,
                        |element| match element {
                            Element::Token(token) => Some(token),
                            Element::Text(_) | Element::Tokens(_) => None,
                        },
                    )?])),
                }
            }
        }

        deserializer.deserialize_any(InputsVisitor)
    }
}

/// The elements of an array, all of the first one's type and at most `most`.
fn rest<'de, T, A: SeqAccess<'de>>(
    first: T,
    elements: &mut A,
    most: usize,
    is_alike: impl Fn(Element) -> Option<T>,
) -> Result<Vec<T>, A::Error> {
    let mut all = vec![first];
    while let Some(element) = elements.next_element()? {
        if all.len() == most {
            return Err(A::Error::custom("too many elements"));
        }
        all.push(is_alike(element).ok_or_else(|| A::Error::custom("elements of different types"))?);
    }
    Ok(all)
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;

        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = Element;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, a token, or an array of tokens")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
                u32::try_from(token).map(Element::Token).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Element, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = elements.next_element()? {
                    tokens.push(token);
                }
                Ok(Element::Tokens(tokens))
            }
        }

        deserializer.deserialize_any(ElementVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(operation: Operation, body: &str) -> Result<Passthrough, (String, Option<String>)> {
        Passthrough::read(operation, body.as_bytes()).map_err(|fault| (fault.code, fault.param))
    }

    #[test]
    fn only_the_model_and_the_stream_are_read() {
        let request = read(
            Operation::Completions,
            r#"{"model":"m","stream":true,"prompt":{"odd":1},"x":[1.0]}"#,
        )
        .unwrap();
        assert_eq!((request.model.as_str(), request.stream), ("m", true));
        assert_eq!(
            request.body.to_bytes(),
            br#"{"model":"m","stream":true,"prompt":{"odd":1},"x":[1.0]}"#
        );
        assert!(!read(Operation::Embeddings, r#"{"model":"m","stream":false}"#).unwrap().stream);
        assert!(!read(Operation::Embeddings, r#"{"model":"m","stream":null}"#).unwrap().stream);
    }

    #[test]
    fn errors_name_the_field() {
        let check = |operation, body: &str, code: &str, param: Option<&str>| {
            assert_eq!(
                read(operation, body).unwrap_err(),
                (code.to_owned(), param.map(str::to_owned)),
                "{body}"
            );
        };
        check(Operation::Embeddings, "[]", "invalid_type", None);
        check(Operation::Embeddings, "{", "invalid_json", None);
        check(Operation::Embeddings, "{}", "missing_required_parameter", Some("model"));
        check(Operation::Completions, r#"{"model":1}"#, "invalid_type", Some("model"));
        check(Operation::Moderations, r#"{"model":""}"#, "invalid_value", Some("model"));
        check(
            Operation::Completions,
            r#"{"model":"m","stream":"yes"}"#,
            "invalid_type",
            Some("stream"),
        );
        check(
            Operation::Embeddings,
            r#"{"model":"m","stream":true}"#,
            "unsupported_value",
            Some("stream"),
        );
    }

    #[test]
    fn a_moderation_without_a_model_asks_openais_default() {
        assert_eq!(
            read(Operation::Moderations, r#"{"input":"x"}"#).unwrap().model,
            "omni-moderation-latest"
        );
    }

    fn inputs(input: &str) -> Result<EmbeddingInputs, String> {
        let request =
            read(Operation::Embeddings, &format!(r#"{{"model":"m","input":{input}}}"#)).unwrap();
        request.inputs().map_err(|fault| fault.code)
    }

    #[test]
    fn inputs_come_in_four_forms() {
        let texts = |texts: &[&str]| {
            Ok(EmbeddingInputs::Texts(texts.iter().map(|text| (*text).to_owned()).collect()))
        };
        assert_eq!(inputs(r#""a""#), texts(&["a"]));
        assert_eq!(inputs(r#"["a","\u00e9"]"#), texts(&["a", "é"]));
        assert_eq!(inputs("[]"), texts(&[]));
        assert_eq!(inputs("[1,2]"), Ok(EmbeddingInputs::Tokens(vec![vec![1, 2]])));
        assert_eq!(
            inputs("[[1],[2,3],[]]"),
            Ok(EmbeddingInputs::Tokens(vec![vec![1], vec![2, 3], vec![]]))
        );
        for wrong in [
            "1",
            "{}",
            "[1,\"a\"]",
            "[\"a\",[1]]",
            "[[1],2]",
            "[-1]",
            "[1.5]",
            "[[[1]]]",
            "[4294967296]",
        ] {
            assert_eq!(inputs(wrong), Err("invalid_type".to_owned()), "{wrong}");
        }
        assert_eq!(inputs("null"), Err("missing_required_parameter".to_owned()));
    }

    #[test]
    fn the_number_of_inputs_is_limited() {
        let of = |count: usize, element: &str| {
            inputs(&format!("[{}]", vec![element; count].join(","))).map(|inputs| inputs.len())
        };
        assert_eq!(
            (of(MAX_INPUTS, "\"a\""), of(MAX_INPUTS, "[1]"), of(MAX_INPUTS + 1, "1")),
            (Ok(MAX_INPUTS), Ok(MAX_INPUTS), Ok(1))
        );
        assert!(of(MAX_INPUTS + 1, "\"a\"").is_err() && of(MAX_INPUTS + 1, "[1]").is_err());
    }
}

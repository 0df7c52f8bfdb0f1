//! Embeddings of APIs with their own format: inputs as texts, and vectors as OpenAI's list.

use engine::provider::failure::ProviderFailure;
use protocol::fault::Fault;
use protocol::fields::JsonFields;
use protocol::passthrough::{EmbeddingInputs, Operation, Passthrough};
use protocol::vector::VectorFormat;
use serde_json::json;
use serde_json::value::RawValue;

use super::super::fault::Callee;
use super::super::shared::{unsupported_parameter, unsupported_value};

/// Fields that do not affect the vectors; the end user's identity is not passed on.
const LEFT_OUT: &[&str] = &["user"];

/// The texts of a request for embeddings.
///
/// # Errors
/// The input is tokens, empty, or missing.
pub(in crate::wire) fn texts(request: &Passthrough, vendor: &str) -> Result<Vec<String>, Fault> {
    match request.inputs()? {
        EmbeddingInputs::Texts(texts) if texts.is_empty() => Err(Fault::invalid(
            "invalid_value",
            "input",
            "Invalid value for 'input': expected at least one text.",
        )),
        EmbeddingInputs::Texts(texts) => Ok(texts),
        EmbeddingInputs::Tokens(_) => {
            let message = format!(
                "{vendor}, which serves this model, takes texts and no tokens, which are of another model's vocabulary: send 'input' as text \
                 (with LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)."
            );
            Err(Fault::invalid("unsupported_value", "input", message))
        }
    }
}

/// The format of the vectors.
///
/// # Errors
/// `vendor` does not support the format.
pub(in crate::wire) fn format(request: &Passthrough, vendor: &str) -> Result<VectorFormat, Fault> {
    let Some(word) = request.body.get("encoding_format") else { return Ok(VectorFormat::Float) };
    let format =
        serde_json::from_str::<String>(word.get()).ok().and_then(|word| VectorFormat::read(&word));
    format.ok_or_else(|| unsupported_value(vendor, "encoding_format", word.get().trim_matches('"')))
}

/// Rejects fields that `vendor` does not support.
///
/// # Errors
/// The first unsupported field.
pub(in crate::wire) fn check_fields(
    request: &Passthrough,
    vendor: &str,
    known: &[&str],
) -> Result<(), Fault> {
    let usual = ["model", "input", "encoding_format", "dimensions", "stream"];
    let unknown = request
        .body
        .names()
        .find(|name| !usual.contains(name) && !LEFT_OUT.contains(name) && !known.contains(name));
    unknown.map_or(Ok(()), |name| Err(unsupported_parameter(vendor, name)))
}

/// OpenAI's list of embeddings.
///
/// # Errors
/// The number of vectors does not match, or a vector is invalid.
pub(in crate::wire) fn list(
    vectors: &[&RawValue],
    inputs: usize,
    format: VectorFormat,
    model: &str,
    prompt_tokens: Option<u64>,
    callee: &Callee,
) -> Result<JsonFields, ProviderFailure> {
    if vectors.len() != inputs {
        let what = format!("sent {} embeddings for {inputs} inputs", vectors.len());
        return Err(callee.plain("upstream_invalid_data", &what));
    }
    let entry = |(index, vector): (usize, &&RawValue)| {
        let vector = format.convert(vector)?;
        let mut entry = JsonFields::default();
        entry.set("object", "embedding");
        entry.set("index", &index);
        entry.set("embedding", &vector);
        Some(entry)
    };
    let data: Option<Vec<JsonFields>> = vectors.iter().enumerate().map(entry).collect();
    let data = data.ok_or_else(|| {
        callee.plain("upstream_invalid_data", "sent an embedding that is not a list of numbers")
    })?;
    let mut list = JsonFields::default();
    list.set("object", "list");
    list.set(Operation::Embeddings.result(), &data);
    list.set("model", model);
    if let Some(tokens) = prompt_tokens {
        list.set("usage", &json!({ "prompt_tokens": tokens, "total_tokens": tokens }));
    }
    Ok(list)
}

//! Vectors computed from a text's bytes.

use protocol::fault::Fault;
use protocol::fields::JsonFields;
use protocol::passthrough::{EmbeddingInputs, Passthrough};
use protocol::vector::VectorFormat;

use super::super::MODEL;
use super::{check_fields, number};

const NOTICE: &str = "These vectors are of Weir's built-in demo model: the same text has the same vector, and none has a meaning.";

/// As many as the smaller vectors of real models.
const DIMENSIONS: u64 = 256;

/// As many as `text-embedding-3-small` has. Weir generates them itself, and 2048 of these vectors
/// are 40 MB of text.
const MOST_DIMENSIONS: u64 = 1536;

/// The planned vectors.
pub(super) struct EmbeddingPlan {
    inputs: EmbeddingInputs,
    dimensions: u64,
    format: VectorFormat,
}

impl EmbeddingPlan {
    pub(super) fn of(request: &Passthrough) -> Result<Self, Fault> {
        check_fields(
            request,
            &["model", "input", "encoding_format", "dimensions", "user", "stream"],
        )?;
        let inputs = request.inputs()?;
        if inputs.is_empty() {
            return Err(Fault::invalid(
                "invalid_value",
                "input",
                "Invalid value for 'input': expected at least one input.",
            ));
        }
        let dimensions = number(request, "dimensions", 1, MOST_DIMENSIONS)?.unwrap_or(DIMENSIONS);
        let format = match request.body.get("encoding_format") {
            None => VectorFormat::Float,
            Some(word) => serde_json::from_str::<String>(word.get())
                .ok()
                .and_then(|word| VectorFormat::read(&word))
                .ok_or_else(|| {
                    Fault::invalid(
                        "invalid_value",
                        "encoding_format",
                        "Invalid value for 'encoding_format': expected 'float' or 'base64'.",
                    )
                })?,
        };
        Ok(Self { inputs, dimensions, format })
    }

    /// OpenAI's list of embeddings.
    pub(super) fn list(&self) -> JsonFields {
        let seeds: Vec<u64> = match &self.inputs {
            EmbeddingInputs::Texts(texts) => texts.iter().map(|text| seed(text.bytes())).collect(),
            EmbeddingInputs::Tokens(tokens) => tokens
                .iter()
                .map(|tokens| seed(tokens.iter().flat_map(|token| token.to_le_bytes())))
                .collect(),
        };
        let entry = |(index, seed): (usize, u64)| {
            let mut entry = JsonFields::default();
            entry.set("object", "embedding");
            entry.set("index", &index);
            entry.set("embedding", &self.format.encode(&vector(seed, self.dimensions)));
            entry
        };
        let mut list = JsonFields::default();
        list.set("object", "list");
        list.set("data", &seeds.into_iter().enumerate().map(entry).collect::<Vec<_>>());
        list.set("model", MODEL);
        list.set("notice", NOTICE);
        list
    }
}

/// A hash of bytes (FNV-1a).
fn seed(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// A vector of length 1. A shorter one with the same seed has the same direction in its dimensions,
/// as with models that shorten theirs.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "53 bits of a random number, and no more than 24 of its place"
)]
fn vector(seed: u64, dimensions: u64) -> Vec<f32> {
    let numbers: Vec<f64> = (1..=dimensions)
        .map(|index| (mix(seed, index) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0)
        .collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    numbers.iter().map(|number| (number / length) as f32).collect()
}

/// The `index`-th number of the sequence with this seed (SplitMix64).
fn mix(seed: u64, index: u64) -> u64 {
    let state = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

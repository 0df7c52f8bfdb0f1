//! The vocabularies, and which model uses which.

use std::sync::LazyLock;

use tiktoken::CoreBpe;

static O200K: LazyLock<CoreBpe> = LazyLock::new(tiktoken::encoding::o200k_base);

static CL100K: LazyLock<CoreBpe> = LazyLock::new(tiktoken::encoding::cl100k_base);

/// A vocabulary of OpenAI's `tiktoken`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `o200k_base`: GPT-4o and everything since; also our estimate for models of other makers.
    O200k,
    /// `cl100k_base`: GPT-3.5, GPT-4 and the embedding models.
    Cl100k,
}

impl Encoding {
    /// The vocabulary of a model, by the table in `tiktoken/model.py`; a route prefix (`openai/gpt-4`) is ignored.
    /// A model that is not OpenAI's gets `o200k_base`, so its count is an estimate.
    pub fn for_model(name: &str) -> Self {
        let name = base_name(name);
        let is_cl100k = name.starts_with("gpt-3.5")
            || name.starts_with("gpt-35") // Azure allows no dot in a deployment's name
            || name.starts_with("text-embedding")
            || is_first_gpt_4(name);
        if is_cl100k { Self::Cl100k } else { Self::O200k }
    }

    /// The number of tokens of `text`. Special tokens in it (`<|endoftext|>`) count as the ordinary text that
    /// they are when a user types them. The first call for a vocabulary loads it: tens of milliseconds.
    pub fn count(self, text: &str) -> u64 {
        self.vocabulary().count(text) as u64
    }

    /// The vocabulary's name in `tiktoken`.
    pub fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k_base",
            Self::Cl100k => "cl100k_base",
        }
    }

    fn vocabulary(self) -> &'static CoreBpe {
        match self {
            Self::O200k => &O200K,
            Self::Cl100k => &CL100K,
        }
    }
}

/// Loads a vocabulary now, so that the first count does not wait for it. Blocks for tens of milliseconds: not for an
/// async task.
pub fn warm(encoding: Encoding) {
    encoding.vocabulary();
}

/// The model's name without the route before it.
pub(crate) fn base_name(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, base)| base)
}

/// Whether this is the GPT-4 of 2023 (`gpt-4`, `gpt-4-0613`, `gpt-4-32k`, `gpt-4-turbo`), not 4o, 4.1 or 4.5.
fn is_first_gpt_4(name: &str) -> bool {
    name.strip_prefix("gpt-4").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

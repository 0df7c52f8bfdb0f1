//! Differences between generations of Claude, derived from the model's name.

/// The default output limit. All models since Claude 4.5 allow it (64K, later 128K). It leaves room
/// for reasoning, and an unused limit costs nothing: Anthropic's rate limits count actual output.
const MAX_TOKENS: u64 = 64_000;

/// A generation of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// The version in the name, such as 4.5.
    Known(u64, u64),
    /// No version in the name: an alias, or another vendor's model.
    Unknown,
}

impl Generation {
    /// The generation of a model: `claude-opus-4-5-20251101`, `claude-3-7-sonnet-latest`,
    /// `us.anthropic.claude-sonnet-5`.
    pub(super) fn of(model: &str) -> Self {
        let mut words = model.split(|character: char| !character.is_ascii_alphanumeric());
        let version = |word: &str| word.parse::<u64>().ok().filter(|_| word.len() <= 2);
        if !words.any(|word| word == "claude") {
            return Self::Unknown;
        }
        while let Some(word) = words.next() {
            if let Some(major) = version(word) {
                // A longer number would be the date of a snapshot.
                return Self::Known(major, words.next().and_then(version).unwrap_or(0));
            }
        }
        Self::Unknown
    }

    /// The output limit if the caller sets none. Anthropic requires one, and rejects one above the
    /// model's maximum.
    pub(super) fn default_max_tokens(self) -> u64 {
        match self {
            Self::Known(..=2, _) | Self::Known(3, ..=4) => 4_096,
            Self::Known(3, 5..=6) => 8_192,
            // The maximum of Opus 4 and 4.1, the smallest of their generation; also a safe value
            // for unknown models.
            Self::Known(3, _) | Self::Known(4, ..=4) | Self::Unknown => 32_000,
            Self::Known(..) => MAX_TOKENS,
        }
    }

    /// Whether the model decides how much to think (`thinking.type: adaptive`, since 4.6), guided
    /// by `output_config.effort`. Older models support budgets only; models since 4.7 reject
    /// budgets.
    pub(super) fn is_adaptive(self) -> bool {
        match self {
            Self::Known(major, minor) => (major, minor) >= (4, 6),
            Self::Unknown => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_reveal_their_generation() {
        let check = |name: &str, expected: Generation, max_tokens: u64, is_adaptive: bool| {
            let generation = Generation::of(name);
            assert_eq!(generation, expected, "{name}");
            assert_eq!(
                (generation.default_max_tokens(), generation.is_adaptive()),
                (max_tokens, is_adaptive),
                "{name}"
            );
        };
        check("claude-2.1", Generation::Known(2, 1), 4_096, false);
        check("claude-3-haiku-20240307", Generation::Known(3, 0), 4_096, false);
        check("claude-3-5-sonnet-20241022", Generation::Known(3, 5), 8_192, false);
        check("claude-3-7-sonnet-latest", Generation::Known(3, 7), 32_000, false);
        check("claude-opus-4-20250514", Generation::Known(4, 0), 32_000, false);
        check("claude-opus-4-1@20250805", Generation::Known(4, 1), 32_000, false);
        check("claude-haiku-4-5-20251001", Generation::Known(4, 5), 64_000, false);
        check("us.anthropic.claude-opus-4-6-v1", Generation::Known(4, 6), 64_000, true);
        check("claude-sonnet-5", Generation::Known(5, 0), 64_000, true);
        check("claude-fable-5-1", Generation::Known(5, 1), 64_000, true);
        check("claude-mythos-preview", Generation::Unknown, 32_000, true);
        check("kimi-k2", Generation::Unknown, 32_000, true);
    }
}

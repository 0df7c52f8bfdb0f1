//! What differs between generations of Claude, told by the model's name.

/// The longest default answer. All models since Claude 4.5 allow it (64K, later ones 128K), it leaves room for thoughts,
/// and a limit that is not reached costs nothing: Anthropic's rate limits count what is written.
const MAX_TOKENS: u64 = 64_000;

/// A generation of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    /// A version that the name says, such as 4.5.
    Known(u64, u64),
    /// A name that says none: an alias, or a model of somebody else who speaks this API.
    Unknown,
}

impl Generation {
    /// The generation of a model: `claude-opus-4-5-20251101`, `claude-3-7-sonnet-latest`, `us.anthropic.claude-sonnet-5`.
    pub(super) fn of(model: &str) -> Self {
        let mut words = model.split(|character: char| !character.is_ascii_alphanumeric());
        let version = |word: &str| word.parse::<u64>().ok().filter(|_| word.len() <= 2);
        if !words.any(|word| word == "claude") {
            return Self::Unknown;
        }
        while let Some(word) = words.next() {
            if let Some(major) = version(word) {
                // What follows may be the date of a snapshot, which is longer.
                return Self::Known(major, words.next().and_then(version).unwrap_or(0));
            }
        }
        Self::Unknown
    }

    /// The limit on output tokens where the caller gives none; Anthropic demands one, and refuses one above the model's
    /// own maximum.
    pub(super) fn default_max_tokens(self) -> u64 {
        match self {
            Self::Known(..=2, _) | Self::Known(3, ..=4) => 4_096,
            Self::Known(3, 5..=6) => 8_192,
            // Opus 4 and 4.1 have the smallest maximum of their time, and it is a safe one for who says nothing.
            Self::Known(3, _) | Self::Known(4, ..=4) | Self::Unknown => 32_000,
            Self::Known(..) => MAX_TOKENS,
        }
    }

    /// Whether the model decides itself how much it thinks (`thinking.type: adaptive`, since 4.6), guided by
    /// `output_config.effort`. Older ones know budgets only, and those since 4.7 refuse them.
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
    fn names_say_their_generation() {
        let check = |name: &str, expected: Generation, max_tokens: u64, is_adaptive: bool| {
            let generation = Generation::of(name);
            assert_eq!(generation, expected, "{name}");
            assert_eq!((generation.default_max_tokens(), generation.is_adaptive()), (max_tokens, is_adaptive), "{name}");
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

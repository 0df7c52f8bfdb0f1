//! Differences between generations of Gemini, derived from the model's name.

/// How reasoning is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// With a token budget (2.5).
    Budget,
    /// With a level (3 and later); signatures must be sent back with calls.
    Level,
}

impl Thinking {
    /// How reasoning of `model` is configured. A model without a version in its name counts as a
    /// new one.
    pub(super) fn of(model: &str) -> Self {
        let mut words = model.split(|character: char| !character.is_ascii_alphanumeric());
        let is_gemini = words.any(|word| word == "gemini");
        match words.find_map(|word| word.parse::<u64>().ok()) {
            Some(..=2) if is_gemini => Self::Budget,
            Some(_) | None => Self::Level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_determine_the_reasoning_configuration() {
        for (name, expected) in [
            ("gemini-2.5-pro", Thinking::Budget),
            ("gemini-2.0-flash-001", Thinking::Budget),
            ("models/gemini-2.5-flash-lite", Thinking::Budget),
            ("gemini-3-pro-preview", Thinking::Level),
            ("gemini-3.5-flash", Thinking::Level),
            ("gemini-flash-latest", Thinking::Level),
        ] {
            assert_eq!(Thinking::of(name), expected, "{name}");
        }
    }
}

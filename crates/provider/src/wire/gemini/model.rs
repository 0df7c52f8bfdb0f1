//! What differs between generations of Gemini, told by the model's name.

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// By a budget of tokens (2.5).
    Budget,
    /// By a level (3 and later), which wants its signatures back with the calls.
    Level,
}

impl Thinking {
    /// How `model` is told; one whose name says no version is taken for a new one.
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
    fn names_say_how_they_think() {
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

//! Counting tokens with the real vocabularies, each loaded once and only when first asked for.

mod chat;
mod encoding;

pub use chat::{ChatOverhead, Message, chat_overhead, count_messages};
pub use encoding::{Encoding, warm};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_their_vocabulary() {
        let cl100k = [
            "gpt-3.5-turbo",
            "gpt-3.5-turbo-0301",
            "gpt-35-turbo",
            "gpt-4",
            "gpt-4-0613",
            "gpt-4-32k",
            "gpt-4-turbo",
            "text-embedding-3-small",
            "openai/gpt-4",
        ];
        for model in cl100k {
            assert_eq!(Encoding::for_model(model), Encoding::Cl100k, "{model}");
        }
        let o200k = [
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-4.1",
            "gpt-4.5-preview",
            "gpt-5",
            "o3",
            "deepseek-chat",
            "openai/gpt-4o",
            "",
        ];
        for model in o200k {
            assert_eq!(Encoding::for_model(model), Encoding::O200k, "{model}");
        }
    }

    #[test]
    fn known_texts_have_their_known_counts() {
        // From tiktoken's own tests and the cookbook's "How to count tokens": text, cl100k, o200k.
        let known = [
            ("", 0, 0),
            ("hello", 1, 1),
            ("hello world", 2, 2),
            ("tiktoken is great!", 6, 6),
            ("antidisestablishmentarianism", 6, 6),
            ("2 + 2 = 4", 7, 7),
            ("お誕生日おめでとう", 9, 8),
            ("👍", 3, 1),
            ("你好,世界", 6, 3), // no published vector: as counted by tiktoken 4.1.2,
        ];
        for (text, cl100k, o200k) in known {
            assert_eq!(
                (Encoding::Cl100k.count(text), Encoding::O200k.count(text)),
                (cl100k, o200k),
                "{text}"
            );
        }
    }

    #[test]
    fn special_tokens_in_text_are_text() {
        for encoding in [Encoding::O200k, Encoding::Cl100k] {
            assert!(encoding.count("<|endoftext|>") > 1, "{}", encoding.name());
        }
    }

    #[test]
    fn hostile_input_ends() {
        // A byte-pair merge written naively is quadratic in a run without a break.
        for letter in ["a", " ", "漢", "👍"] {
            assert!(Encoding::O200k.count(&letter.repeat(100_000)) > 0);
        }
    }

    #[test]
    fn warming_is_idempotent() {
        warm(Encoding::Cl100k);
        warm(Encoding::Cl100k);
        assert_eq!(Encoding::Cl100k.count("hello"), 1);
    }
}

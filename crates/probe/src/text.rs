//! Sentences in both languages of the report.

/// The language of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Simplified Chinese.
    Chinese,
}

/// A sentence in each language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl Text {
    /// The sentence in one language.
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::Chinese => &self.zh,
        }
    }
}

/// Formats both sentences; arguments are captured by name.
macro_rules! text {
    ($en:literal, $zh:literal) => {
        $crate::text::Text { en: format!($en), zh: format!($zh) }
    };
}
pub(crate) use text;

/// Milliseconds with as many digits as are worth reading.
pub(crate) fn milliseconds(duration: std::time::Duration) -> String {
    let value = duration.as_secs_f64() * 1000.0;
    if value >= 10_000.0 {
        format!("{:.1} s", value / 1000.0)
    } else if value >= 100.0 {
        format!("{value:.0} ms")
    } else {
        format!("{value:.1} ms")
    }
}

/// A number of bytes, in KiB where that is a whole number or the number is large.
pub(crate) fn bytes(count: u64) -> String {
    if count >= 1024 && (count.is_multiple_of(1024) || count >= 100 * 1024) {
        format!("{} KiB", count / 1024)
    } else {
        format!("{count} B")
    }
}

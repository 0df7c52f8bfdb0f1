//! Both languages in one HTML page, which shows one of them.

use lens::ladder::words::Language;

use super::xml::escape;
use crate::bilingual::Bilingual;

/// A text in both languages.
pub(super) fn both(text: &Bilingual) -> String {
    each(|language| escape(text.pick(language)), "span")
}

/// A pair of texts, English and Chinese.
pub(super) fn pair((en, zh): (&str, &str)) -> String {
    both(&Bilingual::new(en, zh))
}

/// The same content in both languages.
pub(super) fn each(write: impl Fn(Language) -> String, element: &str) -> String {
    let (english, chinese) = (write(Language::English), write(Language::Chinese));
    if english == chinese {
        return format!("<{element}>{english}</{element}>");
    }
    format!(
        "<{element} lang=\"en\">{english}</{element}><{element} lang=\"zh\">{chinese}</{element}>"
    )
}

/// A text in both languages, with what is between backticks as code.
pub(super) fn with_code(text: &Bilingual) -> String {
    let code = |language: Language| {
        let parts = escape(text.pick(language));
        let mut html = String::new();
        for (index, part) in parts.split('`').enumerate() {
            let (before, after) = if index % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
            html.extend([before, part, after]);
        }
        html
    };
    each(code, "span")
}

//! Hides what looks like a credential in an upstream's messages.

/// The replacement for a credential.
pub(super) const HIDDEN: &str = "(hidden)";

/// Prefixes of well-known vendors' keys.
const PREFIXES: [&str; 10] =
    ["sk-", "sk_", "pk-", "AIza", "xai-", "gsk_", "hf_", "ghp_", "AKIA", "eyJ"];

/// No key is shorter; words such as `sk-learn` are.
const SHORTEST: usize = 12;

/// Removes keys of well-known vendors, and tokens after `Bearer`.
pub(super) fn hide(words: &str) -> String {
    let mut hidden = String::with_capacity(words.len());
    let mut rest = words;
    let mut is_token = false;
    while !rest.is_empty() {
        // The upstream's own key is hidden already.
        if let Some(after) = rest.strip_prefix(HIDDEN) {
            hidden.push_str(HIDDEN);
            (rest, is_token) = (after, false);
            continue;
        }
        let end = rest.find(|character: char| !is_of_key(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_key =
            word.len() >= SHORTEST && PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        hidden.push_str(if is_key || (is_token && !word.is_empty()) { HIDDEN } else { word });
        // Only white space separates the scheme from its token.
        let separator = after.len() - after.trim_start().len();
        if !word.is_empty() {
            is_token = word.eq_ignore_ascii_case("bearer") && separator > 0;
        }
        let length =
            if separator > 0 { separator } else { after.chars().next().map_or(0, char::len_utf8) };
        hidden.push_str(&after[..length]);
        rest = &after[length..];
    }
    hidden
}

/// Whether a key may contain the character; upstreams mask the middle of keys with stars or dots.
fn is_of_key(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '-' | '_' | '*' | '.' | '…' | '+' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hidden_and_ordinary_words_are_not() {
        let check = |words: &str, expected: &str| assert_eq!(hide(words), expected);
        check(
            "Incorrect API key provided: sk-proj-ab*****************yz.",
            "Incorrect API key provided: (hidden)",
        );
        check("got Bearer abcdef0123, sorry", "got Bearer (hidden), sorry");
        check("got Bearer (hidden), sorry", "got Bearer (hidden), sorry");
        check("key AIzaSyD-1234567890abcdef!", "key (hidden)!");
        check("?key=AIzaSyD-1234567890abcdef&x=1", "?key=(hidden)&x=1");
        check("use sk-learn or ask, 你好 😀", "use sk-learn or ask, 你好 😀");
        check("", "");
    }
}

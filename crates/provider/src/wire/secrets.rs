//! Finds an upstream's secrets in its messages, however they are encoded.
//!
//! An upstream or a proxy may repeat what it was sent: a key, a value of `headers`, the proxy's
//! credentials. They appear completely or in part, in base64 or hexadecimal, percent-encoded or
//! escaped.

use std::collections::HashSet;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use engine::secret::Secret;

use super::credentials::HIDDEN;
use crate::config::{ProxyConfig, UpstreamConfig};

/// A shorter part of a secret reveals too little, and occurs in ordinary words.
const RUN: usize = 8;

/// A shorter header value is a word such as `on`.
const SHORTEST: usize = 4;

/// How many nested encodings are decoded.
const LAYERS: usize = 3;

/// Public headers whose values an error message may need.
const PUBLIC: [&str; 10] = [
    "accept",
    "accept-language",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "http-referer",
    "openai-beta",
    "referer",
    "user-agent",
    "x-title",
];

/// The secrets of one upstream.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Every run of [`RUN`] bytes of each secret in each encoding, in lower case.
    runs: HashSet<[u8; RUN]>,
    /// Secrets shorter than a run.
    short: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(hidden)")
    }
}

impl Secrets {
    /// The secrets in an upstream's settings, or in the environment for its proxy.
    pub(crate) fn of(config: &UpstreamConfig) -> Self {
        let connection = &config.connection;
        let keys = config.keys.iter().map(|key| &key.secret);
        match &connection.proxy {
            ProxyConfig::At(proxy) => Self::new(keys, &connection.headers, [proxy.reveal()]),
            ProxyConfig::Direct => Self::new(keys, &connection.headers, []),
            ProxyConfig::Environment => {
                let names = [
                    "HTTPS_PROXY",
                    "HTTP_PROXY",
                    "ALL_PROXY",
                    "https_proxy",
                    "http_proxy",
                    "all_proxy",
                ];
                let proxies: Vec<String> =
                    names.iter().filter_map(|name| std::env::var(name).ok()).collect();
                Self::new(keys, &connection.headers, proxies.iter().map(String::as_str))
            }
        }
    }

    /// The secrets in an upstream's keys, headers and proxy.
    pub(super) fn new<'a>(
        keys: impl IntoIterator<Item = &'a Secret>,
        headers: impl IntoIterator<Item = &'a (String, Secret)>,
        proxies: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut secrets = Self::default();
        for key in keys {
            secrets.add(key.reveal().as_bytes(), 1);
        }
        for (_, value) in headers
            .into_iter()
            .filter(|(name, _)| !PUBLIC.iter().any(|public| name.eq_ignore_ascii_case(public)))
        {
            // `Bearer KEY` and `Basic …` may be repeated without the first word.
            for word in std::iter::once(value.reveal())
                .chain(value.reveal().split_ascii_whitespace().skip(1))
            {
                secrets.add(word.as_bytes(), SHORTEST);
            }
        }
        for (user, password) in proxies.into_iter().filter_map(userinfo) {
            secrets.add(&user, SHORTEST);
            secrets.add(&password, 1);
            secrets.add(&[&user, b":".as_slice(), &password].concat(), SHORTEST);
        }
        secrets
    }

    fn add(&mut self, secret: &[u8], shortest: usize) {
        let secret = secret.trim_ascii();
        if secret.len() < shortest.max(1) {
            return;
        }
        for form in std::iter::once(secret.to_vec()).chain(encoded(secret)) {
            let form = form.to_ascii_lowercase();
            if form.len() < RUN {
                self.short.push(form);
            } else {
                self.runs
                    .extend(form.windows(RUN).filter_map(|run| <[u8; RUN]>::try_from(run).ok()));
            }
        }
    }

    /// The text without any secret.
    pub(crate) fn hide(&self, words: &str) -> String {
        let mut hidden: Vec<Range<usize>> = Vec::new();
        let mut text = Decoded::new(words);
        for _layer in 0..=LAYERS {
            hidden.extend(self.found(&text));
            let Some(below) = text.decoded() else { break };
            text = below;
        }
        hidden.sort_unstable_by_key(|range| range.start);
        let mut clean = String::with_capacity(words.len());
        let mut at = 0;
        for range in hidden {
            let (start, end) =
                (words.floor_char_boundary(range.start), words.ceil_char_boundary(range.end));
            if start > at || (at == 0 && clean.is_empty()) {
                clean.push_str(&words[at..start]);
                clean.push_str(HIDDEN);
            }
            at = at.max(end);
        }
        clean.push_str(&words[at..]);
        clean
    }

    /// The ranges of secrets in a text's source.
    fn found(&self, text: &Decoded) -> Vec<Range<usize>> {
        let lower = text.bytes.to_ascii_lowercase();
        let source = |from: usize, to: usize| text.starts[from]..text.starts[to];
        let runs = lower.windows(RUN).enumerate().filter(|(_, run)| {
            <&[u8; RUN]>::try_from(*run).is_ok_and(|run| self.runs.contains(run))
        });
        let mut found: Vec<Range<usize>> = runs.map(|(at, _)| source(at, at + RUN)).collect();
        for short in &self.short {
            let is_letter = |at: usize| lower.get(at).is_some_and(u8::is_ascii_alphanumeric);
            for (at, _) in lower.windows(short.len()).enumerate().filter(|(_, run)| run == short) {
                // A short secret only counts as a separate word.
                let is_inside = (at > 0 && is_letter(at - 1)) || is_letter(at + short.len());
                if !is_inside {
                    found.push(source(at, at + short.len()));
                }
            }
        }
        found
    }
}

/// The decoded user and password of a URL.
fn userinfo(url: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let authority =
        url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next()?;
    let (userinfo, _) = authority.rsplit_once('@')?;
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let plain = |text: &str| {
        Decoded::new(text)
            .decoded()
            .map_or_else(|| text.as_bytes().to_vec(), |decoded| decoded.bytes)
    };
    Some((plain(user), plain(password)))
}

/// The secret in base64 and hexadecimal. Inside a longer text, base64 depends on the secret's
/// offset modulo three, and its first and last characters only partly belong to the secret.
fn encoded(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms =
        vec![secret.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()];
    for before in 0..3_usize {
        let shifted = [vec![0; before], secret.to_vec()].concat();
        for base64 in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            let first = (before * 8).div_ceil(6);
            let last = shifted.len() * 8 / 6;
            // At the end of a text, the last character is known completely.
            let ends = if before == 0 { [last, base64.len()] } else { [last, last] };
            forms.extend(
                ends.iter()
                    .filter(|end| **end > first)
                    .map(|end| base64.as_bytes()[first..*end].to_vec()),
            );
        }
    }
    forms.retain(|form| form.len() >= RUN);
    forms
}

/// A text with its escapes decoded, and the position of each byte in its source.
struct Decoded {
    bytes: Vec<u8>,
    /// One more than there are bytes: the last is the end of the source.
    starts: Vec<usize>,
}

impl Decoded {
    fn new(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), starts: (0..=text.len()).collect() }
    }

    /// Decodes `%XX`, `\xXX`, `\uXXXX`, `&#NN;`, `&#xXX;`, `&amp;` and backslashes before
    /// punctuation. `None` if there are no escapes.
    fn decoded(&self) -> Option<Self> {
        let mut below = Self {
            bytes: Vec::with_capacity(self.bytes.len()),
            starts: Vec::with_capacity(self.starts.len()),
        };
        let mut at = 0;
        while at < self.bytes.len() {
            let (byte, length) = escape(&self.bytes[at..]).unwrap_or((self.bytes[at], 1));
            below.bytes.push(byte);
            below.starts.push(self.starts[at]);
            at += length;
        }
        below.starts.push(self.starts[at]);
        (below.bytes.len() < self.bytes.len()).then_some(below)
    }
}

/// The byte of an escape, and the escape's length.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    let number = |from: usize, length: usize, radix: u32| {
        let digits = std::str::from_utf8(text.get(from..from + length)?).ok()?;
        let is_number =
            !digits.is_empty() && digits.bytes().all(|digit| char::from(digit).is_digit(radix));
        is_number
            .then(|| u32::from_str_radix(digits, radix).ok())
            .flatten()
            .and_then(|number| u8::try_from(number).ok())
    };
    match text {
        [b'%', ..] => Some((number(1, 2, 16)?, 3)),
        [b'\\', b'u', ..] => Some((number(2, 4, 16)?, 6)),
        [b'\\', b'x', ..] => Some((number(2, 2, 16)?, 4)),
        [b'\\', mark, ..] if mark.is_ascii_punctuation() => Some((*mark, 2)),
        [b'&', b'a', b'm', b'p', b';', ..] => Some((b'&', 5)),
        [b'&', b'#', ..] => {
            let end = text.iter().take(9).position(|byte| *byte == b';')?;
            let is_hex = matches!(text[2], b'x' | b'X');
            let from = 2 + usize::from(is_hex);
            Some((number(from, end.checked_sub(from)?, if is_hex { 16 } else { 10 })?, end + 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets() -> Secrets {
        let headers = [
            ("X-Secret".to_owned(), Secret::new("HDRSECRET1")),
            ("User-Agent".to_owned(), Secret::new("weir-in-tests")),
        ];
        Secrets::new(
            &[Secret::new("sk-very-secret"), Secret::new("tiny")],
            &headers,
            ["http://ada:p%40ss%2Fw@proxy:1"],
        )
    }

    fn check(words: &str, expected: &str) {
        assert_eq!(secrets().hide(words), expected);
    }

    #[test]
    fn secrets_are_hidden_completely_and_in_part() {
        check("key sk-very-secret | x-secret: HDRSECRET1.", "key (hidden) | x-secret: (hidden).");
        check("sk-very-... and RSECRET1 and hdrsecret", "(hidden)... and (hidden) and (hidden)");
        check("a tiny one, tinyx, attiny", "a (hidden) one, tinyx, attiny");
        check("user ada:p@ss/w or p@ss/w or p%40ss%2fw", "user (hidden) or (hidden) or (hidden)");
        check(
            "weir-in-tests is public, and so is sk-very",
            "weir-in-tests is public, and so is sk-very",
        );
        check("", "");
    }

    #[test]
    fn secrets_are_found_in_every_encoding() {
        check("%73%6b-very%2Dsecret", "(hidden)");
        check("%2573k-very-%2573ecret", "(hidden)");
        check(r"sk\u002dvery\x2dsecret", "(hidden)");
        check("sk&#45;very&#x2d;secret", "(hidden)");
        check("736b2d766572792d736563726574", "(hidden)");
        check(&STANDARD_NO_PAD.encode("sk-very-secret"), "(hidden)");
        check(
            &format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ada:p@ss/w")),
            "Basic (hidden)==",
        );
        for before in ["", "a", "ab", "abc"] {
            let text = STANDARD_NO_PAD.encode(format!("{before}sk-very-secret, and more"));
            assert!(secrets().hide(&text).contains(HIDDEN), "{text}");
            let middle = STANDARD_NO_PAD.encode("y-secr");
            assert!(!secrets().hide(&text).contains(&middle[1..7]), "{text}");
        }
    }

    #[test]
    fn removed_ranges_are_on_character_boundaries() {
        let secrets = Secrets::new(&[Secret::new("密钥密钥")], &[], []);
        assert_eq!(secrets.hide("见密钥密钥。"), "见(hidden)。");
    }

    proptest! {
        #[test]
        fn no_run_of_a_secret_remains(
            secret in "[!-~]{8,40}",
            before in "[ -~]{0,20}",
            after in "[ -~]{0,20}",
            from in 0_usize..32,
            length in 8_usize..40,
            way in 0_usize..6,
        ) {
            let secrets = Secrets::new(&[Secret::new(&secret)], &[], []);
            let from = from.min(secret.len() - RUN);
            let part = &secret[from..(from + length).min(secret.len())];
            let escaped = |format: fn(u8) -> String| part.bytes().map(format).collect::<String>();
            let written = match way {
                0 => part.to_owned(),
                1 => escaped(|byte| format!("%{byte:02X}")),
                2 => escaped(|byte| format!("\\u{byte:04x}")),
                3 => escaped(|byte| format!("&#{byte};")),
                4 => part.to_ascii_uppercase(),
                _ => escaped(|byte| format!("{byte:02X}")),
            };
            let hidden = secrets.hide(&format!("{before} {written} {after}"));
            prop_assert!(hidden.contains(HIDDEN));
            for run in written.as_bytes().windows(if way == 0 || way == 4 { RUN } else { written.len() }) {
                let run = std::str::from_utf8(run).unwrap();
                prop_assert!(!hidden.contains(run), "{run} of {hidden}");
            }
        }

        #[test]
        fn base64_of_a_secret_in_a_text_is_hidden(secret in "[!-~]{12,40}", before in "[ -~]{0,8}", after in "[ -~]{0,8}") {
            let secrets = Secrets::new(&[Secret::new(&secret)], &[], []);
            let text = STANDARD_NO_PAD.encode(format!("{before}{secret}{after}"));
            let first = (before.len() * 8).div_ceil(6);
            let last = (before.len() + secret.len()) * 8 / 6;
            prop_assert!(!secrets.hide(&text).contains(&text[first..last]));
            prop_assert!(secrets.hide(&text).contains(HIDDEN));
        }

        #[test]
        fn text_without_a_secret_is_unchanged(words in "\\PC{0,80}") {
            prop_assert_eq!(Secrets::new(&[Secret::new("\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}")], &[], []).hide(&words), words);
        }
    }
}

//! Finds the tokens in the lines of a body: after the needle stand a number, `@`, and the moment the token was written.

use memchr::{memchr, memmem, memrchr};

use crate::verify::Verifier;

/// Knows what a line with a token looks like.
pub(crate) struct Finder {
    needle: memmem::Finder<'static>,
    end: Option<memmem::Finder<'static>>,
}

/// What was found in a piece of a body.
#[derive(Default)]
pub(crate) struct Found {
    pub tokens: u64,
    pub is_first: bool,
    pub is_end: bool,
}

impl Finder {
    pub(crate) fn new(needle: &str, end: Option<&str>) -> Self {
        let finder = |text: &str| memmem::Finder::new(text.as_bytes()).into_owned();
        Self { needle: finder(needle), end: end.map(finder) }
    }

    /// Takes all whole lines out of `body`, and tells `verifier` and `delays` of each token; `now` is when they were read.
    pub(crate) fn scan(
        &self,
        body: &mut Vec<u8>,
        now: u64,
        verifier: &mut Verifier,
        mut delay: impl FnMut(u64),
    ) -> Found {
        let mut found = Found::default();
        let Some(last) = memrchr(b'\n', body) else { return found };
        let mut lines = &body[..=last];
        while let Some(end) = memchr(b'\n', lines) {
            let line = &lines[..end];
            lines = &lines[end + 1..];
            if line.len() < 2 {
                continue;
            }
            if let Some((number, stamp)) = self.token(line) {
                found.is_first |= verifier.seen() == 0;
                verifier.token(number);
                delay(now.saturating_sub(stamp));
                found.tokens += 1;
            } else if let Some(finder) = &self.end {
                found.is_end |= finder.find(line).is_some();
            }
        }
        body.drain(..=last);
        found
    }

    fn token(&self, line: &[u8]) -> Option<(u64, u64)> {
        let start = self.needle.find(line)? + self.needle.needle().len();
        let (number, rest) = digits(&line[start..])?;
        let (stamp, _) = digits(rest.strip_prefix(b"@")?)?;
        Some((number, stamp))
    }
}

/// The number that the text starts with, and what follows it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).filter(|end| *end > 0)?;
    let number = text[..end]
        .iter()
        .fold(0_u64, |number, byte| number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
    Some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::script::Framing;
    use crate::verify::Faults;

    #[test]
    fn tokens_are_found_wherever_the_body_is_split() {
        let mut bytes = Vec::new();
        for number in 0..3 {
            Framing::Chunks.token(&mut bytes, number, 100);
        }
        for split in 0..bytes.len() {
            let finder = Finder::new(r#""content":""#, None);
            let (mut verifier, mut body, mut delays) =
                (Verifier::default(), Vec::new(), Vec::new());
            for part in [&bytes[..split], &bytes[split..]] {
                body.extend_from_slice(part);
                finder.scan(&mut body, 107, &mut verifier, |delay| delays.push(delay));
            }
            assert_eq!(verifier.end(3), Faults::default());
            assert_eq!(delays, [7, 7, 7]);
        }
    }

    #[test]
    fn the_end_is_found() {
        let finder = Finder::new(r#""delta":""#, Some(r#""type":"response.completed""#));
        let mut body =
            b"{\"delta\":\"0@5 \"}\n{\"type\":\"response.completed\",\"text\":\"0@5 \"}\n".to_vec();
        let mut verifier = Verifier::default();
        let found = finder.scan(&mut body, 5, &mut verifier, |_| {});
        assert_eq!((found.tokens, found.is_first, found.is_end, body.len()), (1, true, true, 0));
    }
}

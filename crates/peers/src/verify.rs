//! The check of one stream's tokens: each of them once, in order, none missing at the end.

use std::collections::BTreeSet;

use serde::Serialize;

/// More missing numbers than these are only counted: the row has failed long since.
const MAX_MISSING: usize = 10_000;

/// What was wrong with the tokens of one stream, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    /// Never came.
    pub lost: u64,
    /// Came again.
    pub doubled: u64,
    /// Came after a later one.
    pub swapped: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.swapped += other.swapped;
    }
}

/// The tokens of one stream, numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    next: u64,
    seen: u64,
    missing: BTreeSet<u64>,
    faults: Faults,
}

impl Verifier {
    /// Takes the number of the token that came.
    pub(crate) fn token(&mut self, number: u64) {
        self.seen += 1;
        if number == self.next {
            self.next += 1;
        } else if number > self.next {
            let room = MAX_MISSING.saturating_sub(self.missing.len());
            self.faults.lost += number - self.next;
            self.missing.extend((self.next..number).take(room));
            self.next = number + 1;
        } else if self.missing.remove(&number) {
            self.faults.lost -= 1;
            self.faults.swapped += 1;
        } else {
            self.faults.doubled += 1;
        }
    }

    /// How many came, doubled ones included.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The stream ended, and should have had `expected` tokens.
    pub(crate) fn end(mut self, expected: u64) -> Faults {
        self.faults.lost += expected.saturating_sub(self.next);
        // More than were sent is an invention, which is no better than a repetition.
        self.faults.doubled += self.next.saturating_sub(expected);
        self.faults
    }

    /// The stream was left before its end.
    pub(crate) fn leave(self) -> Faults {
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[u64], expected: u64, faults: Faults) {
        let mut verifier = Verifier::default();
        for number in numbers {
            verifier.token(*number);
        }
        assert_eq!(verifier.end(expected), faults, "{numbers:?} of {expected}");
    }

    #[test]
    fn whole_streams_have_no_faults() {
        check(&[0, 1, 2, 3], 4, Faults::default());
        check(&[], 0, Faults::default());
    }

    #[test]
    fn lost_tokens_are_counted() {
        check(&[0, 2, 3], 4, Faults { lost: 1, ..Faults::default() });
        check(&[1, 2, 3], 4, Faults { lost: 1, ..Faults::default() });
        check(&[0, 1], 4, Faults { lost: 2, ..Faults::default() });
        check(&[], 4, Faults { lost: 4, ..Faults::default() });
    }

    #[test]
    fn doubled_tokens_are_counted() {
        check(&[0, 1, 1, 2, 3], 4, Faults { doubled: 1, ..Faults::default() });
        check(&[0, 1, 2, 3, 0, 1], 4, Faults { doubled: 2, ..Faults::default() });
        check(&[0, 1, 2, 3, 4], 4, Faults { doubled: 1, ..Faults::default() });
    }

    #[test]
    fn swapped_tokens_are_neither_lost_nor_doubled() {
        check(&[0, 2, 1, 3], 4, Faults { swapped: 1, ..Faults::default() });
        check(&[3, 2, 1, 0], 4, Faults { swapped: 3, ..Faults::default() });
    }
}

//! The times of one run of a cell, before they are summed up.

use crate::numbers::{RunSummary, Times};
use crate::spread::Spread;

/// Times in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Of TCP handshakes.
    pub connect: Vec<f64>,
    /// Of full TLS handshakes.
    pub tls_full: Vec<f64>,
    /// Of resumed TLS handshakes.
    pub tls_resumed: Vec<f64>,
    /// From a question to the head of its response.
    pub head: Marked,
    /// From a question to its first token.
    pub first_token: Marked,
    /// From a question to the end of its answer.
    pub whole: Vec<f64>,
    /// Between two tokens.
    pub gap: Marked,
    /// The delay of each token.
    pub added: Marked,
    /// Processor time of the server for each token, by answer, in microseconds.
    pub processor: Vec<f64>,
    /// How long the measuring side stalled.
    pub stalled_ms: f64,
}

/// Values, apart from those that were taken while the measuring side stalled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marked {
    /// The others.
    pub calm: Vec<f64>,
    /// Those that may be too long.
    pub stalled: Vec<f64>,
}

impl Marked {
    /// Adds a value.
    pub fn push(&mut self, value: f64, taken: Taken) {
        match taken {
            Taken::Calm => self.calm.push(value),
            Taken::Stalled => self.stalled.push(value),
        }
    }

    /// The distribution of the values without a stall; of all if these are fewer than the others.
    pub fn spread(&self) -> Option<Spread> {
        let mut values = self.calm.clone();
        if self.calm.len() < self.stalled.len() {
            values.extend(&self.stalled);
        }
        Spread::of(values)
    }

    fn extend(&mut self, other: &Self) {
        self.calm.extend(&other.calm);
        self.stalled.extend(&other.stalled);
    }
}

/// In which state of the measuring side a value was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It ran.
    Calm,
    /// It stalled.
    Stalled,
}

impl Samples {
    /// Adds those of another run.
    pub fn extend(&mut self, other: &Self) {
        self.connect.extend(&other.connect);
        self.tls_full.extend(&other.tls_full);
        self.tls_resumed.extend(&other.tls_resumed);
        self.head.extend(&other.head);
        self.first_token.extend(&other.first_token);
        self.whole.extend(&other.whole);
        self.gap.extend(&other.gap);
        self.added.extend(&other.added);
        self.processor.extend(&other.processor);
        self.stalled_ms += other.stalled_ms;
    }

    /// Their distributions.
    pub fn times(&self) -> Times {
        Times {
            connect_ms: Spread::of(self.connect.clone()),
            tls_full_ms: Spread::of(self.tls_full.clone()),
            tls_resumed_ms: Spread::of(self.tls_resumed.clone()),
            head_ms: self.head.spread(),
            first_token_ms: self.first_token.spread(),
            whole_ms: Spread::of(self.whole.clone()),
            gap_ms: self.gap.spread(),
            added_ms: self.added.spread(),
            stalled_tokens: self.added.stalled.len() as u64,
        }
    }

    /// The run in short; its place and the load of the machine are not known here.
    pub fn summary(&self) -> RunSummary {
        let added = self.added.spread();
        RunSummary {
            first_token_ms: self.first_token.spread().map(|spread| spread.p50),
            added_ms: added.map(|spread| spread.p50),
            slowest_ms: added.map(|spread| spread.max),
            tokens: (self.added.calm.len() + self.added.stalled.len()) as u64,
            stalled_tokens: self.added.stalled.len() as u64,
            stalled_ms: self.stalled_ms,
            ..RunSummary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_stall_are_left_out_unless_they_are_most() {
        let mut values = Marked::default();
        for (value, taken) in
            [(1.0, Taken::Calm), (50.0, Taken::Stalled), (2.0, Taken::Calm), (3.0, Taken::Calm)]
        {
            values.push(value, taken);
        }
        let spread = values.spread().unwrap();
        assert_eq!((spread.count, spread.p50, spread.max), (3, 2.0, 3.0));
        let stalled = Marked { calm: vec![1.0], stalled: vec![50.0, 60.0] };
        let spread = stalled.spread().unwrap();
        assert_eq!((spread.count, spread.p50), (3, 50.0), "nothing else is left");
        assert_eq!(Marked::default().spread(), None);
    }
}

//! A decoder of one content coding, which does a bounded amount of work at a time.

use bytes::BytesMut;

/// How much one step decodes at most.
pub(super) const PIECE: usize = 16 << 10;

/// How many members (gzip) or frames (zstd) one body may have. Writers that append make a few;
/// empty ones cost time and no bytes.
pub(super) const MOST_MEMBERS: usize = 1024;

/// What one step of a decoder did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeStep {
    /// It needs more input, or is at its end.
    Idle,
    /// It took input, and wrote this many bytes.
    Wrote(usize),
}

/// Why a decoder cannot take a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Its header announces more than the limit.
    TooLarge,
    /// Not valid in its coding.
    Invalid(&'static str),
}

impl From<&'static str> for Flaw {
    fn from(what: &'static str) -> Self {
        Self::Invalid(what)
    }
}

/// A decoder of one coding, which does a bounded amount of work at a time.
pub(super) trait Decode: Send {
    /// Takes from `input` and writes to `out`, which has room for a [`PIECE`].
    fn step(&mut self, input: &mut BytesMut, out: &mut [u8]) -> Result<DecodeStep, Flaw>;

    /// Whether its data may end here.
    fn is_complete(&self) -> bool;
}

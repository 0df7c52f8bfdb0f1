//! Tracks a call's arguments: whether they are complete, and what a repetition adds.

use super::super::super::repeat::SoFar;

/// The arguments so far.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) so_far: SoFar,
    pub(super) scanner: JsonScanner,
    /// The same without white space, which repetitions may format differently.
    pub(super) compact: Compact,
    /// Whether a single `{}` arrived. It may be a placeholder for arguments that follow, so it is
    /// held back; a call without arguments ends with it anyway.
    pub(super) is_placeholder: bool,
}

/// How complete arguments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentsProgress {
    Nothing,
    Incomplete,
    Complete,
}

impl Arguments {
    pub(super) fn progress(&self) -> ArgumentsProgress {
        match (self.is_placeholder, self.scanner) {
            (true, _) | (_, JsonScanner::Complete) => ArgumentsProgress::Complete,
            (false, JsonScanner::Before) => ArgumentsProgress::Nothing,
            (false, JsonScanner::Inside { .. } | JsonScanner::Scalar) => {
                ArgumentsProgress::Incomplete
            }
        }
    }

    /// Adds a piece; returns what to emit.
    pub(super) fn take(&mut self, piece: String) -> String {
        if self.so_far.is_empty() && is_empty_object(&piece) {
            self.is_placeholder = true;
            return String::new();
        }
        if !piece.is_empty() {
            self.is_placeholder = false;
        }
        self.so_far.add(&piece);
        self.compact.push(&piece, &mut self.scanner);
        piece
    }
}

/// Arguments without insignificant white space, as a length and a hash (FNV-1a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compact {
    pub(super) bytes: usize,
    pub(super) hash: u64,
}

impl Default for Compact {
    fn default() -> Self {
        Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Compact {
    pub(super) fn of(arguments: &str) -> Self {
        let mut compact = Self::default();
        compact.push(arguments, &mut JsonScanner::default());
        compact
    }

    pub(super) fn push(&mut self, text: &str, scanner: &mut JsonScanner) {
        for byte in text.bytes() {
            if !byte.is_ascii_whitespace()
                || matches!(scanner, JsonScanner::Inside { is_text: true, .. })
            {
                self.bytes += 1;
                self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            *scanner = scanner.step(byte);
        }
    }
}

/// Whether the text is `{}`.
pub(in crate::wire) fn is_empty_object(text: &str) -> bool {
    text.trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inner| inner.trim().is_empty())
}

/// Finds the end of a JSON value incrementally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum JsonScanner {
    /// White space only.
    #[default]
    Before,
    /// In an object or array.
    Inside {
        depth: u32,
        is_text: bool,
        is_escaped: bool,
    },
    /// In a scalar, whose end cannot be determined.
    Scalar,
    Complete,
}

impl JsonScanner {
    pub(super) fn step(self, byte: u8) -> Self {
        match self {
            Self::Before => match byte {
                b'{' | b'[' => Self::Inside { depth: 1, is_text: false, is_escaped: false },
                byte if byte.is_ascii_whitespace() => Self::Before,
                _ => Self::Scalar,
            },
            Self::Inside { depth, is_text: true, is_escaped } => Self::Inside {
                depth,
                is_text: byte != b'"' || is_escaped,
                is_escaped: byte == b'\\' && !is_escaped,
            },
            Self::Inside { depth, .. } => match byte {
                b'"' => Self::Inside { depth, is_text: true, is_escaped: false },
                b'{' | b'[' => Self::Inside {
                    depth: depth.saturating_add(1),
                    is_text: false,
                    is_escaped: false,
                },
                b'}' | b']' if depth == 1 => Self::Complete,
                b'}' | b']' => Self::Inside { depth: depth - 1, is_text: false, is_escaped: false },
                _ => self,
            },
            Self::Scalar | Self::Complete => self,
        }
    }
}

//! The options of TCP (RFC 9293, section 3.2; RFC 7323; RFC 2018; RFC 7413).

use super::bytes::{u16_at, u32_at};

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Padding between options.
    NoOperation,
    /// The largest segment that the sender takes, without headers (RFC 9293, section 3.7.1).
    MaximumSegmentSize(u16),
    /// By how many bits the window is shifted (RFC 7323, section 2).
    WindowScale(u8),
    /// Selective acknowledgments may be sent (RFC 2018, section 2).
    SackPermitted,
    /// Blocks that were received after a gap (RFC 2018, section 3).
    Sack(Sack),
    /// A clock's value, and the value that it answers (RFC 7323, section 3).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The last value that the sender got.
        echo: u32,
    },
    /// A cookie, or the wish for one if it is empty (RFC 7413, section 4.1.1).
    FastOpen(&'a [u8]),
    /// Another one.
    Other {
        /// Its kind, by IANA's number.
        kind: u8,
        /// What it says.
        value: &'a [u8],
    },
    /// Bytes that are not an option; nothing after them can be read.
    Malformed(&'a [u8]),
}

/// Up to four blocks, each from its first number to the one after its last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sack {
    blocks: [(u32, u32); 4],
    count: usize,
}

impl Sack {
    /// The blocks; the first may be a duplicate's (RFC 2883).
    pub fn blocks(&self) -> &[(u32, u32)] {
        &self.blocks[..self.count]
    }

    fn read(value: &[u8]) -> Option<Self> {
        let mut sack = Self::default();
        if value.is_empty() || !value.len().is_multiple_of(8) || value.len() > 32 {
            return None;
        }
        for (index, block) in sack.blocks.iter_mut().enumerate().take(value.len() / 8) {
            *block = (u32_at(value, index * 8)?, u32_at(value, index * 8 + 4)?);
            sack.count = index + 1;
        }
        Some(sack)
    }
}

/// The options of a segment.
#[derive(Clone, Debug)]
pub struct TcpOptionIterator<'a> {
    rest: &'a [u8],
}

impl<'a> TcpOptionIterator<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for TcpOptionIterator<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, behind) = self.rest.split_first()?;
        match kind {
            0 => {
                self.rest = &[];
                return None;
            }
            1 => {
                self.rest = behind;
                return Some(TcpOption::NoOperation);
            }
            _ => {}
        }
        let length = behind.first().map_or(0, |length| usize::from(*length));
        if length < 2 || length > self.rest.len() {
            return Some(TcpOption::Malformed(std::mem::take(&mut self.rest)));
        }
        let (option, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(read(*kind, &option[2..]))
    }
}

/// An option whose length is not the one that its kind has is told as [`TcpOption::Other`].
fn read(kind: u8, value: &[u8]) -> TcpOption<'_> {
    let known = match (kind, value.len()) {
        (2, 2) => u16_at(value, 0).map(TcpOption::MaximumSegmentSize),
        (3, 1) => value.first().map(|shift| TcpOption::WindowScale(*shift)),
        (4, 0) => Some(TcpOption::SackPermitted),
        (5, _) => Sack::read(value).map(TcpOption::Sack),
        (8, 8) => u32_at(value, 0)
            .zip(u32_at(value, 4))
            .map(|(value, echo)| TcpOption::Timestamps { value, echo }),
        (34, 0 | 4..=16) => Some(TcpOption::FastOpen(value)),
        _ => None,
    };
    known.unwrap_or(TcpOption::Other { kind, value })
}

/// The options of a segment by name; the last of a kind counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// In bytes.
    pub maximum_segment_size: Option<u16>,
    /// In bits, at most 14 (RFC 7323, section 2.3).
    pub window_scale: Option<u8>,
    /// Whether selective acknowledgments may be sent.
    pub sack_permitted: bool,
    /// Blocks that were received after a gap.
    pub sack: Sack,
    /// Value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// The length of the cookie.
    pub fast_open: Option<usize>,
}

impl TcpOptions {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut options = Self::default();
        for option in TcpOptionIterator::new(bytes) {
            match option {
                TcpOption::MaximumSegmentSize(size) => options.maximum_segment_size = Some(size),
                TcpOption::WindowScale(shift) => options.window_scale = Some(shift.min(14)),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::Sack(sack) => options.sack = sack,
                TcpOption::Timestamps { value, echo } => options.timestamps = Some((value, echo)),
                TcpOption::FastOpen(cookie) => options.fast_open = Some(cookie.len()),
                TcpOption::NoOperation | TcpOption::Other { .. } | TcpOption::Malformed(_) => {}
            }
        }
        options
    }
}

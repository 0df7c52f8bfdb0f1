//! Cuts a stream into pieces that leave nothing out.

use super::event::{Event, Scanner};
use super::piece::{Kind, Piece, Reading, What};

/// A place in a stream, and the pieces before it.
#[derive(Debug)]
pub(super) struct Cutter<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) pieces: Vec<Piece>,
    pub(super) events: Vec<Event>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, pieces: Vec::new(), events: Vec::new() }
    }

    /// What was not cut yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Cuts off `length` bytes, or what there is of them. Whether that was all.
    pub(super) fn take(&mut self, length: u64, kind: Kind, what: What) -> bool {
        let left = self.bytes.len() - self.at;
        let taken = usize::try_from(length).unwrap_or(usize::MAX).min(left);
        let is_whole = taken as u64 == length;
        if taken > 0 {
            let start = self.at as u64;
            self.pieces.push(Piece { range: start..start + taken as u64, kind, what, is_whole });
            self.at += taken;
        }
        is_whole
    }

    /// The same for a part of a body, in which `scanner` looks for events.
    pub(super) fn take_body(&mut self, length: u64, what: What, scanner: &mut Scanner) -> bool {
        let start = self.at;
        let is_whole = self.take(length, Kind::Body, what);
        scanner.push(start as u64, &self.bytes[start..self.at], &mut self.events);
        is_whole
    }

    /// Cuts off all there is, for something that is not over.
    pub(super) fn take_unfinished(&mut self, kind: Kind, what: What) {
        let left = self.rest().len() as u64;
        // One byte more than there is, so that it is not whole.
        self.take(left + 1, kind, what);
    }

    /// What was not cut is not known.
    pub(super) fn finish(mut self, length: u64) -> Reading {
        let start = self.at as u64;
        if start < length {
            self.pieces.push(Piece {
                range: start..length,
                kind: Kind::Unknown,
                what: What::Unread,
                is_whole: true,
            });
        }
        Reading { pieces: self.pieces, events: self.events }
    }
}

//! Cuts a stream into pieces that leave nothing out.

use super::event::{BodyEvent, EventScanner};
use super::piece::{PieceContent, StreamPiece, StreamPieceKind, StreamReading};

/// A place in a stream, and the pieces before it.
#[derive(Debug)]
pub(super) struct Cutter<'a> {
    bytes: &'a [u8],
    at: usize,
    pub(super) pieces: Vec<StreamPiece>,
    pub(super) events: Vec<BodyEvent>,
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
    pub(super) fn take(
        &mut self,
        length: u64,
        kind: StreamPieceKind,
        content: PieceContent,
    ) -> bool {
        let left = self.bytes.len() - self.at;
        let taken = usize::try_from(length).unwrap_or(usize::MAX).min(left);
        let is_complete = taken as u64 == length;
        if taken > 0 {
            let start = self.at as u64;
            self.pieces.push(StreamPiece {
                range: start..start + taken as u64,
                kind,
                content,
                is_complete,
            });
            self.at += taken;
        }
        is_complete
    }

    /// The same for a part of a body, in which `scanner` looks for events.
    pub(super) fn take_body(
        &mut self,
        length: u64,
        content: PieceContent,
        scanner: &mut EventScanner,
    ) -> bool {
        let start = self.at;
        let is_complete = self.take(length, StreamPieceKind::Body, content);
        scanner.push(start as u64, &self.bytes[start..self.at], &mut self.events);
        is_complete
    }

    /// Cuts off all there is, for something that is not over.
    pub(super) fn take_unfinished(&mut self, kind: StreamPieceKind, content: PieceContent) {
        let left = self.rest().len() as u64;
        // One byte more than there is, so that it is not whole.
        self.take(left + 1, kind, content);
    }

    /// What was not cut is not known.
    pub(super) fn finish(mut self, length: u64) -> StreamReading {
        let start = self.at as u64;
        if start < length {
            self.pieces.push(StreamPiece {
                range: start..length,
                kind: StreamPieceKind::Unknown,
                content: PieceContent::Unread,
                is_complete: true,
            });
        }
        StreamReading { pieces: self.pieces, events: self.events }
    }
}

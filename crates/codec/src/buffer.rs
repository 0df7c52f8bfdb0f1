//! Shared by the decoders: the limit of an event, and a buffer that gives memory back.

use bytes::{Buf, BytesMut};

/// The peer sent an event, or a line, larger than the decoder's limit. The decoder cannot be used
/// any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// An empty buffer larger than this is freed: one large event must not occupy its size for the rest
/// of the stream.
pub(crate) const KEPT_CAPACITY: usize = 64 * 1024;

/// Drops `count` bytes at the front of `buffer`, and the memory too if it was large and is now
/// empty.
pub(crate) fn consume(buffer: &mut BytesMut, count: usize) {
    buffer.advance(count);
    if buffer.is_empty() && buffer.capacity() > KEPT_CAPACITY {
        *buffer = BytesMut::new();
    }
}

/// For the codecs' tests: `body` cut at the places of `cuts` that lie in it.
#[cfg(test)]
pub(crate) fn split_at(body: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.retain(|cut| *cut <= body.len());
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([body.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &body[start..end]).collect()
}

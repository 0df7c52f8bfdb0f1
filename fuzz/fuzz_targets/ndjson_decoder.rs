//! Any split of lines gives the same lines.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use codec::EventTooLarge;
use codec::ndjson::{NdjsonFrame, NdjsonDecoder};

fn decode(pieces: &[&[u8]], limit: usize) -> Vec<Result<NdjsonFrame, EventTooLarge>> {
    let mut decoder = NdjsonDecoder::new(limit);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        found.extend(std::iter::from_fn(|| decoder.next_event()));
    }
    found.extend(decoder.finish().map(|line| Ok(NdjsonFrame::Line(line))));
    found
}

fuzz_target!(|input: &[u8]| {
    let (body, pieces) = pieces::split(input);
    for limit in [8, usize::MAX] {
        assert_eq!(decode(&pieces, limit), decode(&[body], limit));
    }
});

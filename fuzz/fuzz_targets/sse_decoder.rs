//! Any split of an event stream gives the same events.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use codec::EventTooLarge;
use codec::sse::{SseFrame, SseDecoder};

fn decode(pieces: &[&[u8]], limit: usize) -> Vec<Result<SseFrame, EventTooLarge>> {
    let mut decoder = SseDecoder::new(limit);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        found.extend(std::iter::from_fn(|| decoder.next_event()));
    }
    found.extend(decoder.finish().map(|event| Ok(SseFrame::Event(event))));
    found
}

fuzz_target!(|input: &[u8]| {
    let (body, pieces) = pieces::split(input);
    for limit in [8, usize::MAX] {
        assert_eq!(decode(&pieces, limit), decode(&[body], limit));
    }
});

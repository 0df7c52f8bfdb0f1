//! Any two streams are cut into pieces that lie side by side and leave nothing out; events lie within.

#![no_main]

use lens::http::piece::StreamReading;
use lens::http::{StreamSource, read};
use libfuzzer_sys::fuzz_target;

fn check(reading: &StreamReading, length: usize) {
    let mut at = 0;
    for piece in &reading.pieces {
        assert!(piece.range.start == at && piece.range.end > at, "{:?}", reading.pieces);
        at = piece.range.end;
    }
    assert_eq!((at, reading.sums().total()), (length as u64, length as u64));
    for event in &reading.events {
        assert!(event.range.start < event.range.end && event.range.end <= at, "{event:?}");
        assert!(event.body_bytes <= event.range.end - event.range.start, "{event:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    // The first two bytes say how long the client's stream is.
    let Some((length, rest)) = input.split_first_chunk() else { return };
    let (client, server) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let conversation = read(StreamSource::from(client), StreamSource::from(server));
    check(&conversation.readings.client, client.len());
    check(&conversation.readings.server, server.len());
});

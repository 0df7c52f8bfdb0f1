//! Any split of an upstream's answer gives the same words, whichever API it speaks.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use provider::config::WireKind;
use provider::read_pieces;

/// The wire that an input is read as: the high half of its first byte says it, of which [`pieces::split`] reads the low half.
fn wire(input: &[u8]) -> WireKind {
    let number = usize::from(input.first().copied().unwrap_or_default() >> 4);
    WireKind::ALL[number % WireKind::ALL.len()].1
}

fn words(wire: WireKind, pieces: &[&[u8]]) -> Vec<String> {
    let mut words = Vec::new();
    read_pieces(wire, pieces.iter().copied(), |word| words.push(format!("{word:?}")));
    words
}

fuzz_target!(|input: &[u8]| {
    let wire = wire(input);
    let (body, pieces) = pieces::split(input);
    assert_eq!(words(wire, &pieces), words(wire, &[body]));
});

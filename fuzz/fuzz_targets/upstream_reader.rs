//! Any split of an upstream's answer gives the same words.

#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use provider::openai::read_pieces;

fn words(pieces: &[&[u8]]) -> Vec<String> {
    let mut words = Vec::new();
    read_pieces(pieces.iter().copied(), |word| words.push(format!("{word:?}")));
    words
}

fuzz_target!(|input: &[u8]| {
    let (body, pieces) = pieces::split(input);
    assert_eq!(words(&pieces), words(&[body]));
});

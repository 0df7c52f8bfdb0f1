//! The cost of reading is small for each byte, whatever the request: the shapes that the fuzz target
//! `request_cost` makes, from fixed seeds.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

#[path = "../../../fuzz/fuzz_targets/shapes.rs"]
mod shapes;

use std::time::{Duration, Instant};

use serde_json::Value;
use shapes::Shapes;
use weir_protocol::dialect::{chat_completions, responses};
use weir_protocol::weight::Weight;

/// The time limit for a request and for each of its bytes in addition, without optimisations and
/// on a busy machine.
const TIME: Duration = Duration::from_millis(100);
const TIME_PER_BYTE: Duration = Duration::from_micros(4);

/// Seeds of each kind. The fuzzer tries more of them than a test has time for.
const SEEDS: u64 = 40;

/// Different bytes for each seed (xorshift64).
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    let length = 20 + usize::from(next()) * 4;
    (0..length).map(|_| next()).collect()
}

/// Reads the request that `make` builds for each seed, and returns the number of valid ones.
fn check(make: impl Fn(&mut Shapes) -> Value, read: impl Fn(&Value) -> bool) -> usize {
    let mut valid = 0;
    for seed in 0..SEEDS {
        let body = make(&mut Shapes::new(&bytes(seed)));
        let text = body.to_string();
        let most = TIME + TIME_PER_BYTE * u32::try_from(text.len()).unwrap_or(u32::MAX);
        let mut is_valid = false;
        let mut run = || {
            let start = Instant::now();
            assert!(Weight::of(text.as_bytes()).values > 0);
            is_valid = read(&body);
            start.elapsed()
        };
        // Other work on the machine only makes it slower.
        let took = (0..3).map(|_| run()).find(|took| *took <= most);
        assert!(
            took.is_some(),
            "seed {seed}: {} bytes take longer than {most:?}: {text:.300}",
            text.len()
        );
        valid += usize::from(is_valid);
    }
    valid
}

#[test]
fn any_request_is_cheap_for_its_size() {
    let valid = check(Shapes::request, |body| responses::read_create(body).is_ok());
    assert!(valid > 5, "only {valid} of {SEEDS} are requests: the shapes no longer fit");
}

#[test]
fn any_chat_is_cheap_for_its_size() {
    let valid = check(Shapes::chat, |body| chat_completions::read_create(body).is_ok());
    assert!(valid > 5, "only {valid} of {SEEDS} are chats: the shapes no longer fit");
}

#[test]
fn any_client_event_is_cheap_for_its_size() {
    let valid = check(Shapes::event, |body| {
        responses::read_client_event(body.to_string().as_bytes()).is_ok()
    });
    assert!(valid > 5, "only {valid} of {SEEDS} are events: the shapes no longer fit");
}

//! Reading a request costs no more than its size and its values allow, and the memory that is taken for it is enough.

#![no_main]

mod meter;
mod shapes;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use protocol::dialect::{chat_completions, responses};
use protocol::weight::Weight;
use serde_json::Value;

use meter::{Cost, measure};
use shapes::Shapes;

/// What every request may cost, and what each byte of it may besides.
const TIME: Duration = Duration::from_millis(10);
const TIME_PER_BYTE: Duration = Duration::from_nanos(400);
const SLACK: usize = 64 << 10;

/// How often a byte may be allocated, freed or not: a value of one byte takes 72 in memory, lists double while they grow, and
/// what is unknown is copied once.
const ALLOCATED_PER_BYTE: usize = 150;

/// How often the memory that the server takes for a body may be exceeded while it is read.
const PEAK: usize = 3;

fn read(kind: u8, text: &[u8]) -> bool {
    match kind % 4 {
        0 => responses::read_client_event(text).is_ok(),
        1 => serde_json::from_slice::<Value>(text).is_ok_and(|body| chat_completions::read_create(&body).is_ok()),
        2 => serde_json::from_slice::<Value>(text).is_ok_and(|body| responses::read_count(&body).is_ok()),
        _ => serde_json::from_slice::<Value>(text).is_ok_and(|body| responses::read_create(&body).is_ok()),
    }
}

fn check(what: &str, cost: Cost, text: &[u8], weight: Weight) {
    let size = text.len();
    let time = TIME + TIME_PER_BYTE * u32::try_from(size).unwrap_or(u32::MAX);
    let taken = size + usize::try_from(weight.in_memory()).unwrap_or(usize::MAX);
    let show = String::from_utf8_lossy(&text[..size.min(500)]);
    assert!(cost.time <= time, "{what}: {cost:?} for {size} bytes: {show}");
    assert!(cost.allocated <= ALLOCATED_PER_BYTE * size + SLACK, "{what}: {cost:?} for {size} bytes: {show}");
    assert!(cost.peak <= PEAK * taken + SLACK, "{what}: {cost:?} for {size} bytes, of which {taken} are taken: {show}");
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let mut shapes = Shapes::new(rest);
    let text = match kind % 4 {
        0 => shapes.event(),
        1 => shapes.chat(),
        _ => shapes.request(),
    }
    .to_string();
    let text = text.as_bytes();
    let weight = Weight::of(text);
    check("weighing", measure(TIME, || Weight::of(text)), text, weight);
    check("reading", measure(TIME, || read(*kind, text)), text, weight);
});

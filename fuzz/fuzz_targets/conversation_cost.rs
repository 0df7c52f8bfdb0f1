//! A conversation costs no more than its size on its way to any upstream, and the demo model no more than its budget.

#![no_main]

mod meter;
#[expect(dead_code, reason = "client events are of no use here")]
mod shapes;

use std::sync::Arc;
use std::time::Duration;

use engine::provider::call::UpstreamCall;
use engine::provider::request::ModelRequest;
use engine::provider::Provider;
use futures_util::StreamExt;
use libfuzzer_sys::fuzz_target;
use protocol::dialect::{chat_completions, responses};
use protocol::item::{Item, ItemStatus};
use protocol::request::{Create, InputItem};
use provider::config::WireKind;
use provider::demo::Demo;
use provider::write_request;

use meter::{Cost, measure};
use shapes::Shapes;

/// What every conversation may cost, and what each byte of it may besides.
const TIME: Duration = Duration::from_millis(10);
const TIME_PER_BYTE: Duration = Duration::from_nanos(400);
const ALLOCATED_PER_BYTE: usize = 400;
const SLACK: usize = 64 << 10;

/// What an answer of the demo model may have in memory at once (docs/reference/security.md).
const DEMO: usize = 1 << 20;

/// So many words of it are read, and so much each may cost.
const WORDS: usize = 1_000;
const ALLOCATED_PER_WORD: usize = 4 << 10;

/// What stands in the conversation when this request is answered. Calls may be cut, which callers cannot send.
fn request(create: Create, is_cut: bool) -> ModelRequest {
    let item = |input: &InputItem| match input {
        InputItem::Item(Item::FunctionCall(call)) if is_cut => {
            let mut call = call.clone();
            call.status = ItemStatus::Incomplete;
            Some(Item::FunctionCall(call))
        }
        InputItem::Item(item) => Some(item.clone()),
        InputItem::Reference(_) => None,
    };
    let context = create.input.iter().filter_map(item).collect();
    ModelRequest { create: Arc::new(create), model: None, context, call: UpstreamCall::default() }
}

fn check(what: &str, cost: Cost, size: usize, more: usize) {
    assert!(cost.time <= TIME + TIME_PER_BYTE * u32::try_from(size).unwrap_or(u32::MAX), "{what}: {cost:?} for {size} bytes");
    assert!(cost.allocated <= ALLOCATED_PER_BYTE * size + SLACK + more, "{what}: {cost:?} for {size} bytes");
}

/// Asks the demo model and reads some of its answer; pauses take no time.
fn ask_demo(request: ModelRequest) -> usize {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build() else { return 0 };
    runtime.block_on(async {
        let Ok(words) = Demo::new(0.0).ask(request).await else { return 0 };
        let reading = words.take(WORDS).count();
        tokio::time::timeout(Duration::from_secs(3600), reading).await.unwrap_or_default()
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let mut shapes = Shapes::new(rest);
    let (body, create) = if kind % 2 == 0 {
        let body = shapes.request();
        let create = responses::read_create(&body);
        (body, create)
    } else {
        let body = shapes.chat();
        let create = chat_completions::read_create(&body).map(|asked| asked.create);
        (body, create)
    };
    let Ok(create) = create else { return };
    let (size, request) = (body.to_string().len(), request(create, kind & 2 != 0));
    for (name, wire) in WireKind::ALL {
        check(name, measure(TIME, || write_request(*wire, &request)), size, 0);
    }
    // As the engine does: what is refused is not asked.
    if Demo::new(0.0).check(&request.create).is_err() {
        return;
    }
    // It takes the request as the engine's does, so the copies for repeated measurements are made beforehand.
    let mut copies = vec![request.clone(), request.clone(), request];
    let cost = measure(TIME, || copies.pop().map_or(0, ask_demo));
    check("demo", cost, size, DEMO + WORDS * ALLOCATED_PER_WORD);
    assert!(cost.peak <= DEMO + 10 * size, "demo: {cost:?} for {size} bytes");
});

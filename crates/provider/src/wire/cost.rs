//! The cost of translating a request is linear in its size.

#[expect(dead_code, reason = "client events are of no use here")]
#[path = "../../../../fuzz/fuzz_targets/shapes.rs"]
mod shapes;

use std::time::{Duration, Instant};

use engine::provider::Provider;
use engine::provider::request::ModelRequest;
use protocol::dialect::{chat_completions, responses};
use protocol::item::{Item, ItemStatus};
use protocol::request::InputItem;
use serde_json::{Value, json};

use super::of;
use crate::config::{Preset, UpstreamConfig};
use crate::demo::Demo;
use crate::sample;
use shapes::Shapes;

/// How much longer a request of four times the size may take.
const MOST: f64 = 6.0;

#[expect(clippy::disallowed_methods, reason = "the time of the machine is what is measured")]
fn fastest(work: &dyn Fn()) -> Duration {
    // Long enough to measure, and short enough not to be interrupted each time.
    let mut times = 0_u32;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1) {
        work();
        times += 1;
    }
    let run = || {
        let start = Instant::now();
        (0..times).for_each(|_| work());
        start.elapsed() / times
    };
    (0..5).map(|_| run()).min().unwrap_or_default().max(Duration::from_nanos(1))
}

fn request(model: &str, body: &Value) -> ModelRequest {
    let mut body = body.clone();
    body["model"] = model.into();
    let mut create = responses::read_create(&body).unwrap();
    // An incomplete call, which callers cannot send but a conversation may contain.
    let cut = |item: &mut InputItem| {
        if let InputItem::Item(Item::FunctionCall(call)) = item {
            call.status = ItemStatus::Incomplete;
        }
    };
    create.input.iter_mut().for_each(cut);
    let item =
        |item: &InputItem| if let InputItem::Item(item) = item { Some(item.clone()) } else { None };
    let context = create.input.iter().filter_map(item).collect();
    sample::request(create, context)
}

fn repeat(n: usize, make: impl Fn(usize) -> Value) -> Vec<Value> {
    (0..n).map(make).collect()
}

/// A name, the size, and a body of that size.
type Large = (&'static str, usize, fn(usize) -> Value);

fn bodies() -> Vec<Large> {
    vec![
        (
            "messages",
            500,
            |n| json!({ "input": repeat(n, |_| json!({ "role": "user", "content": "my name is Ada. my cat is Tom." })) }),
        ),
        (
            "facts",
            500,
            |n| json!({ "input": (0..n).fold(String::new(), |text, index| format!("{text}my k{index} is v. ")) }),
        ),
        ("calls and outputs", 300, |n| {
            let call = |index| json!({ "type": "function_call", "call_id": format!("c{index}"), "name": format!("f{index}"), "arguments": "{}" });
            let output = |index| json!({ "type": "function_call_output", "call_id": format!("c{}", n - 1 - index), "output": "x" });
            let items = [repeat(n, call), repeat(n, output)].concat();
            json!({ "input": items })
        }),
        ("tools", 200, |n| {
            let tool = |index| json!({ "type": "custom", "name": format!("f{index}"), "description": "a tool" });
            let names = repeat(
                n,
                |index| json!({ "type": "custom", "name": format!("f{}", n - 1 - index) }),
            );
            let choice = json!({ "type": "allowed_tools", "mode": "auto", "tools": names });
            json!({ "input": "hi", "tools": repeat(n, tool), "tool_choice": choice })
        }),
        (
            "system messages",
            500,
            |n| json!({ "input": repeat(n, |index| json!({ "role": if index % 2 == 0 { "system" } else { "user" }, "content": "hi" })) }),
        ),
    ]
}

/// What several wires make into one message; longer than the demo's context.
fn merged_bodies() -> Vec<Large> {
    vec![
        (
            "long system messages",
            100,
            |n| json!({ "input": repeat(n, |_| json!({ "role": "system", "content": "word ".repeat(800) })) }),
        ),
        ("long messages after a call", 100, |n| {
            let call =
                json!({ "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" });
            let message = |_| json!({ "role": "assistant", "content": "word ".repeat(800) });
            let items = [vec![call], repeat(n, message)].concat();
            json!({ "input": items })
        }),
    ]
}

fn check(what: &str, n: usize, make: impl Fn(usize) -> ModelRequest, work: impl Fn(&ModelRequest)) {
    let (small, large) = (make(n), make(4 * n));
    let ratio =
        || fastest(&|| work(&large)).as_secs_f64() / fastest(&|| work(&small)).as_secs_f64();
    // A noisy machine gets more attempts; quadratic cost fails all of them.
    let ratio = (0..20).map(|_| ratio()).find(|ratio| *ratio < MOST).unwrap_or(MOST);
    assert!(ratio < MOST, "{what}: 4 times as much takes {ratio:.1} times as long, or more");
}

fn check_wire(preset: Preset, model: &str) {
    let wire = of(&UpstreamConfig::new("north", preset, "http://127.0.0.1:9/v1"));
    for (what, n, make) in bodies().into_iter().chain(merged_bodies()) {
        let ask = |request: &ModelRequest| {
            assert!(wire.check(&request.create).is_ok());
            assert!(wire.ask(request).is_ok(), "{preset:?} {what}");
        };
        check(&format!("{preset:?}: {what}"), n, |n| request(model, &make(n)), ask);
    }
}

#[test]
fn encoding_a_request_is_linear() {
    check_wire(Preset::OpenAi, "gpt-5.1");
    check_wire(Preset::Compatible, "m");
    check_wire(Preset::Anthropic, "claude-sonnet-4-5");
    check_wire(Preset::Gemini, "gemini-3-pro-preview");
    check_wire(Preset::Ollama, "m");
}

#[tokio::test]
async fn answering_with_the_demo_is_linear() {
    for (what, n, make) in bodies() {
        let ask = |request: &ModelRequest| {
            let words = futures_util::FutureExt::now_or_never(Demo::new(0.0).ask(request.clone()));
            assert!(words.is_some_and(|words| words.is_ok()), "{what}");
        };
        check(&format!("demo: {what}"), n, |n| request("demo", &make(n)), ask);
    }
}

/// The shapes of the fuzz target `conversation_cost` with fixed seeds: each is cheap for its size,
/// on every wire and for the demo.
#[tokio::test]
async fn any_conversation_is_cheap_for_its_size() {
    let wires =
        [Preset::OpenAi, Preset::Compatible, Preset::Anthropic, Preset::Gemini, Preset::Ollama]
            .map(|preset| of(&UpstreamConfig::new("north", preset, "http://127.0.0.1:9/v1")));
    let mut asked = 0;
    for seed in 0..40_u64 {
        let bytes: Vec<u8> = (0..300_u64)
            .map(|index| {
                (seed + 1).wrapping_mul(index + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
                    [0]
            })
            .collect();
        let mut shapes = Shapes::new(&bytes);
        let (body, create) = if seed % 2 == 0 {
            let body = shapes.request();
            let create = responses::read_create(&body);
            (body, create)
        } else {
            let body = shapes.chat();
            let create = chat_completions::read_create(&body).map(|asked| asked.create);
            (body, create)
        };
        let Ok(create) = create else { continue };
        let item = |item: &InputItem| {
            if let InputItem::Item(item) = item { Some(item.clone()) } else { None }
        };
        let context = create.input.iter().filter_map(item).collect();
        let request = sample::request(create, context);
        let size = body.to_string().len();
        // Without optimisations, on a busy machine.
        let most =
            Duration::from_millis(100) + Duration::from_micros(4) * u32::try_from(size).unwrap();
        let ask = || {
            asked += wires
                .iter()
                .filter(|wire| wire.check(&request.create).is_ok() && wire.ask(&request).is_ok())
                .count();
            drop(futures_util::FutureExt::now_or_never(Demo::new(0.0).ask(request.clone())));
        };
        assert!(
            fastest_of_three(ask) < most,
            "seed {seed}: {size} bytes take longer than {most:?}"
        );
    }
    assert!(asked > 20, "only {asked} requests were made: the shapes no longer fit");
}

#[expect(clippy::disallowed_methods, reason = "the time of the machine is what is measured")]
fn fastest_of_three(mut work: impl FnMut()) -> Duration {
    let mut run = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..3).map(|_| run()).min().unwrap_or_default()
}

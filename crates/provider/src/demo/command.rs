//! Commands at the start of the last message, for tests and for trying out model behaviour.

use std::time::Duration;

use engine::provider::event::{Finish, ModelEvent};
use engine::provider::request::ModelRequest;
use protocol::fault::{Fault, FaultKind};

use super::content::{HELP, LOREM};
use super::pieces::Pieces;
use super::scene::{Scene, split};
use super::script::{DemoScript, DemoStep, json_object, json_text, say};
use super::{schema, talk, tool};

/// More would be an accidental load test.
const MAX_COUNT: u64 = 100_000;

/// How many words come before a failure, unless specified.
const WORDS_BEFORE_TROUBLE: usize = 5;

/// The text before a failure, repeated as needed.
const TROUBLE: &str = " This answer is about to go wrong, as it was told to.";

/// Runs the command, if there is one.
pub(super) fn run_command(
    scene: &Scene,
    request: &ModelRequest,
) -> Option<Result<DemoScript, Fault>> {
    let (command, rest) = split(&scene.said)?;
    let script = match command {
        "help" => DemoScript::text(HELP),
        "echo" => DemoScript::text(rest),
        "count" => count(rest),
        "lorem" => lorem(rest),
        "think" => think(rest, scene),
        "refuse" => refuse(),
        "json" => DemoScript::text(json(scene, request)),
        "stall" => trouble(rest, Some(DemoStep::Stall)),
        "fail" => trouble(
            rest,
            Some(DemoStep::Fail(Fault::new(
                FaultKind::Upstream,
                "demo_failure",
                "The demo failed, as it was told to.",
            ))),
        ),
        "cut" => trouble(rest, None),
        "slow" => slow(rest, scene),
        "status" => return Some(Err(status(rest))),
        "tool" if tool::is_any_allowed(request) => return None,
        "tool" => {
            DemoScript::text("No tool was offered that I may call: send `tools` with the request.")
        }
        _ => return None,
    };
    Some(Ok(script))
}

fn count(rest: &str) -> DemoScript {
    let last = rest.parse().unwrap_or(10).min(MAX_COUNT);
    let number = |number: u64| if number == 1 { "1".to_owned() } else { format!(" {number}") };
    DemoScript::new(
        (1..=last).map(move |step| text(number(step))).chain([DemoStep::Finish(Finish::Stop)]),
    )
}

fn lorem(rest: &str) -> DemoScript {
    let length = rest.parse().unwrap_or(100).min(MAX_COUNT);
    let words = Pieces::new(LOREM).collect::<Vec<_>>().into_iter().cycle();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    DemoScript::new(words.take(length).map(text).chain([DemoStep::Finish(Finish::Stop)]))
}

fn think(rest: &str, scene: &Scene) -> DemoScript {
    let about = if rest.is_empty() { "nothing in particular" } else { rest };
    let thought = format!(
        "I am asked about: {about}. I am a demo, so these thoughts were written beforehand. There are {} messages to consider. Now I answer.",
        scene.messages
    );
    let thoughts = Pieces::new(thought).map(|piece| DemoStep::Say(ModelEvent::Reasoning(piece)));
    let answer =
        format!("I have thought about it: {about}. A real model would now tell you what it found.");
    DemoScript::new(thoughts.chain(say(answer)).chain([DemoStep::Finish(Finish::Stop)]))
}

fn refuse() -> DemoScript {
    let words = Pieces::new("I would rather not, because I was told to refuse.")
        .map(|piece| DemoStep::Say(ModelEvent::Refusal(piece)));
    DemoScript::new(words.chain([DemoStep::Finish(Finish::Stop)]))
}

fn json(scene: &Scene, request: &ModelRequest) -> String {
    match request.create.text.format.schema() {
        Some(schema) => json_text(&schema::generate(schema, &scene.said)),
        None => json_object(scene),
    }
}

/// Some words, and then `step`; without one the stream is cut off.
fn trouble(rest: &str, step: Option<DemoStep>) -> DemoScript {
    let length = rest
        .parse()
        .unwrap_or(WORDS_BEFORE_TROUBLE)
        .min(usize::try_from(MAX_COUNT).unwrap_or(usize::MAX));
    let pieces = Pieces::new(TROUBLE).collect::<Vec<_>>().into_iter().cycle();
    DemoScript::new(pieces.take(length).map(text).chain(step))
}

fn slow(rest: &str, scene: &Scene) -> DemoScript {
    let milliseconds =
        rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(500);
    let answer = format!(
        "This answer takes its time: {milliseconds} ms between two words. {}",
        talk::about_messages(scene)
    );
    DemoScript { pause: Some(Duration::from_millis(milliseconds)), ..DemoScript::text(answer) }
}

/// The error response before the stream.
fn status(rest: &str) -> Fault {
    let fault = |kind, code| {
        Fault::new(kind, code, format!("The demo refuses with status {rest}, as it was told to."))
    };
    match rest {
        "400" => fault(FaultKind::InvalidRequest, "demo_refusal"),
        "401" => fault(FaultKind::Authentication, "demo_refusal"),
        "429" => {
            Fault { retry_after: Some(7), ..fault(FaultKind::RateLimit, "rate_limit_exceeded") }
        }
        "500" => fault(FaultKind::Server, "demo_refusal"),
        "503" => fault(FaultKind::Upstream, "upstream_overloaded").with_status(503),
        _ => Fault::new(
            FaultKind::InvalidRequest,
            "demo_unknown_status",
            "The demo knows /status 400, 401, 429, 500 and 503.",
        ),
    }
}

fn text(text: String) -> DemoStep {
    DemoStep::Say(ModelEvent::Text { text, logprobs: Vec::new() })
}

//! The upstream's scripts for the crash test: many kinds of responses, in which each word names its response.

use std::time::Duration;

use fakes::Script;
use serde_json::json;

/// Reproducible random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }
}

/// The complete content of a response.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedContent {
    pub(super) reasoning: String,
    pub(super) text: String,
    pub(super) arguments: String,
    /// Its approximate number of events.
    pub(super) events: usize,
}

/// The script of one response. Each string starts with `label` and a space; arguments have a brace before it. The
/// script may only hang if `may_hang`.
pub(super) fn script(
    dice: &mut Dice,
    label: &str,
    number: usize,
    may_hang: bool,
) -> (Script, ExpectedContent) {
    let count = 15 + dice.below(35);
    let pause = Duration::from_millis(2 + dice.below(12) as u64);
    let mut making = Making {
        script: Script::new().role(),
        said: ExpectedContent::default(),
        label: label.to_owned(),
    };
    match number % 10 {
        0..=2 => making.text(count, 0),
        3 => {
            making.reasoning(count / 2);
            making.text(count / 2, 0);
        }
        4 => {
            making.text(count / 3, 0);
            making.call(count / 2);
        }
        // One event crosses disk and write buffer blocks.
        5 => making.text(count / 3, 9_000),
        // It has probably ended before the kill.
        6 => {
            making.text(3, 0);
            return (making.end("stop"), making.said);
        }
        7 if may_hang => {
            making.text(count / 3, 0);
            return (making.script.paced(pause).stall(), making.said);
        }
        8 if may_hang => return (Script::no_head(), making.said),
        _ => making.text(count * 2, 40),
    }
    let reason = if making.said.arguments.is_empty() { "stop" } else { "tool_calls" };
    (making.end(reason).paced(pause), making.said)
}

struct Making {
    script: Script,
    said: ExpectedContent,
    label: String,
}

impl Making {
    fn text(&mut self, count: usize, filler: usize) {
        for index in 0..count {
            let piece = if index == 0 {
                format!("{} ", self.label)
            } else {
                format!("{index} 你好\n{}", "ab".repeat(filler / 2))
            };
            self.script = std::mem::take(&mut self.script).content(&piece);
            self.said.text.push_str(&piece);
        }
        self.said.events += count;
    }

    fn reasoning(&mut self, count: usize) {
        for index in 0..count {
            let piece = if index == 0 { format!("{} ", self.label) } else { format!("…{index}") };
            self.script =
                std::mem::take(&mut self.script).delta(&json!({ "reasoning_content": piece }));
            self.said.reasoning.push_str(&piece);
        }
        self.said.events += count;
    }

    fn call(&mut self, count: usize) {
        let named = json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "" } });
        self.script = std::mem::take(&mut self.script).delta(&json!({ "tool_calls": [named] }));
        for index in 0..=count {
            let piece = match index {
                0 => format!("{{\"{} ", self.label),
                _ if index == count => "\":1}".to_owned(),
                _ => format!("{index},"),
            };
            let piece_of_call = json!({ "index": 0, "function": { "arguments": piece } });
            self.script =
                std::mem::take(&mut self.script).delta(&json!({ "tool_calls": [piece_of_call] }));
            self.said.arguments.push_str(&piece);
        }
        self.said.events += count;
    }

    fn end(&mut self, reason: &str) -> Script {
        std::mem::take(&mut self.script).finish(reason).usage(9, 9, 0).done().end()
    }
}

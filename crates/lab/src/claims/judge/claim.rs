//! A claim and its judge.

use crate::bilingual::Bilingual;
use crate::claims::evidence::{Evidence, TransportDelay};
use crate::claims::verdict::{Ruling, Verdict};
use crate::spread::Spread;

/// A claim, and how it is judged.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) id: &'static str,
    /// The claim in short, English and Chinese.
    pub(super) says: (&'static str, &'static str),
    /// What is true, with a reference.
    pub(super) truth: (&'static str, &'static str),
    pub(super) judge: Judge,
    /// Bytes that show it.
    pub(super) example: Option<fn(&Evidence) -> Option<String>>,
}

/// How a claim is judged.
#[derive(Clone, Copy)]
pub(super) enum Judge {
    /// By a measurement; `None` if it was not made.
    By(fn(&Evidence) -> Option<(Ruling, Bilingual)>),
    /// Without a measurement: by the standards, or by the sources of the Java demo.
    Standard(Ruling),
}

/// Wordings for claims that are right in one sense.
const RIGHT_AS: [(&str, &str, &str); 3] = [
    ("4.20", "right, but incomplete", "正确，但不完整"),
    ("4.22", "right for the stream", "对流本身而言正确"),
    ("4.24", "right, and more sharply so", "正确，而且更严格"),
];

/// Claims about one program, the Java demo chatgpt-steam-output, and not about a technique.
const ABOUT_DEMO: [&str; 2] = ["4.8", "4.9"];

impl Claim {
    pub(super) fn verdict(&self, evidence: &Evidence) -> Verdict {
        let example = self.example.and_then(|example| example(evidence));
        let both = |(en, zh): (&str, &str)| Bilingual::new(en, zh);
        let (ruling, is_measured, evidence) = match self.judge {
            Judge::Standard(ruling) => (
                ruling,
                false,
                Bilingual::new("Not a matter of measurement.", "不属于可测量的问题。"),
            ),
            Judge::By(judge) => match judge(evidence) {
                Some((ruling, evidence)) => (ruling, true, evidence),
                None => (
                    Ruling::NotMeasured,
                    false,
                    Bilingual::new("Not measured in this run.", "本次运行未测量。"),
                ),
            },
        };
        let sense = RIGHT_AS.iter().find(|(id, ..)| *id == self.id && ruling == Ruling::Right);
        let words = sense.map_or_else(|| both(ruling.words()), |(_, en, zh)| both((en, zh)));
        Verdict {
            id: self.id,
            claim: both(self.says),
            ruling,
            words,
            is_measured,
            is_about_demo: ABOUT_DEMO.contains(&self.id),
            evidence,
            truth: both(self.truth),
            example,
            packets: None,
        }
    }
}

/// Right or wrong, with the evidence.
#[expect(clippy::unnecessary_wraps, reason = "the return type of a judge")]
pub(super) fn right_if(is_so: bool, evidence: Bilingual) -> Option<(Ruling, Bilingual)> {
    Some((if is_so { Ruling::Right } else { Ruling::Wrong }, evidence))
}

/// A count with its noun, in the plural unless it is 1.
pub(super) fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

pub(super) fn yes(condition: bool) -> (&'static str, &'static str) {
    if condition { ("yes", "是") } else { ("no", "否") }
}

/// The delay of tokens in words, with the size of the sample and no quantile that it does not carry.
pub(super) fn delay_words(delay: &TransportDelay) -> Bilingual {
    let Spread { count, p50, p99, max, .. } = delay.all;
    let (tail_en, tail_zh) = match p99 {
        Some(p99) => (format!(", p99 {p99:.2}"), format!("，p99 {p99:.2}")),
        None => (String::new(), String::new()),
    };
    Bilingual::new(
        format!("median {p50:.2}{tail_en}, slowest of {count}: {max:.2}"),
        format!("中位数 {p50:.2}{tail_zh}，{count} 个中最慢 {max:.2}"),
    )
}

//! Judges each claim by the evidence: pure, so that other evidence gives another verdict.

mod http;
mod streams;
mod tcp;

use super::evidence::Evidence;
use super::verdict::{Bilingual, Ruling, Verdict};

/// A claim, and how it is judged.
#[derive(Clone, Copy)]
struct Claim {
    id: &'static str,
    /// The claim in short, English and Chinese.
    says: (&'static str, &'static str),
    /// What is so, and where it is written.
    truth: (&'static str, &'static str),
    judge: Judge,
}

/// How a claim is judged.
#[derive(Clone, Copy)]
enum Judge {
    /// By what was measured; `None` where it was not.
    By(fn(&Evidence) -> Option<(Ruling, Bilingual)>),
    /// It is no matter of measurement: by the standards, or by what the demo's sources say.
    Standard(Ruling),
}

/// In what sense a claim is right that is not all there is to say.
const RIGHT_AS: [(&str, &str, &str); 3] = [
    ("4.20", "right, but incomplete", "正确，但不完整"),
    ("4.22", "right for the stream", "对流本身而言正确"),
    ("4.24", "right, and more sharply so", "正确，而且更严格"),
];

/// A verdict on each claim, in the order of their numbers.
pub fn judge(evidence: &Evidence) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> =
        [tcp::CLAIMS, http::CLAIMS, streams::CLAIMS].concat().iter().map(|claim| claim.verdict(evidence)).collect();
    verdicts.sort_by_key(|verdict| number(verdict.id));
    verdicts
}

impl Claim {
    fn verdict(&self, evidence: &Evidence) -> Verdict {
        let both = |(en, zh): (&str, &str)| Bilingual::new(en, zh);
        let (ruling, is_measured, evidence) = match self.judge {
            Judge::Standard(ruling) => (ruling, false, Bilingual::new("Not a matter of measurement.", "不属于可测量的问题。")),
            Judge::By(judge) => match judge(evidence) {
                Some((ruling, evidence)) => (ruling, true, evidence),
                None => (Ruling::NotMeasured, false, Bilingual::new("Not measured in this run.", "本次运行未测量。")),
            },
        };
        let sense = RIGHT_AS.iter().find(|(id, ..)| *id == self.id && ruling == Ruling::Right);
        let words = sense.map_or_else(|| both(ruling.words()), |(_, en, zh)| both((en, zh)));
        Verdict { id: self.id, claim: both(self.says), ruling, words, is_measured, evidence, truth: both(self.truth) }
    }
}

fn number(id: &str) -> u32 {
    id.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Right, or else wrong, with what shows it.
#[expect(clippy::unnecessary_wraps, reason = "what a judge returns")]
fn right_if(is_so: bool, evidence: Bilingual) -> Option<(Ruling, Bilingual)> {
    Some((if is_so { Ruling::Right } else { Ruling::Wrong }, evidence))
}

/// So many of something.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn yes(condition: bool) -> (&'static str, &'static str) {
    if condition { ("yes", "是") } else { ("no", "否") }
}

#[cfg(test)]
mod tests;

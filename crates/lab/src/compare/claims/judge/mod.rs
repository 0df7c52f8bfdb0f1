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
    /// `None` where the evidence is missing.
    judge: fn(&Evidence) -> Option<(Ruling, Bilingual)>,
}

/// A verdict on each claim, in the order of their numbers.
pub fn judge(evidence: &Evidence) -> Vec<Verdict> {
    let both = |(en, zh): (&str, &str)| Bilingual::new(en, zh);
    let missing = || (Ruling::NotMeasured, Bilingual::new("Not measured in this run.", "本次运行未测量。"));
    let mut verdicts: Vec<Verdict> = [tcp::CLAIMS, http::CLAIMS, streams::CLAIMS]
        .concat()
        .iter()
        .map(|claim| {
            let (ruling, evidence) = (claim.judge)(evidence).unwrap_or_else(missing);
            Verdict { id: claim.id, claim: both(claim.says), ruling, evidence, truth: both(claim.truth) }
        })
        .collect();
    verdicts.sort_by_key(|verdict| number(verdict.id));
    verdicts
}

fn number(id: &str) -> u32 {
    id.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// What is no matter of measurement.
fn unmeasured(_: &Evidence) -> Option<(Ruling, Bilingual)> {
    None
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

//! Judges each claim by the evidence alone, so that other evidence gives another verdict.

mod claim;
mod http;
mod streams;
mod tcp;

use super::evidence::Evidence;
use super::verdict::Verdict;

/// The verdict on each claim, by number.
pub fn judge(evidence: &Evidence) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = [tcp::CLAIMS, http::CLAIMS, streams::CLAIMS]
        .concat()
        .iter()
        .map(|claim| claim.verdict(evidence))
        .collect();
    verdicts.sort_by_key(|verdict| number(verdict.id));
    verdicts
}

fn number(id: &str) -> u32 {
    id.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

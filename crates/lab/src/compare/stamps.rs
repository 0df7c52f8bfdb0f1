//! When the model said each token: what a client's clock is compared with, where both are one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::runtime::now;

/// The times at which a model gave its tokens, answer by answer. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stamps(Arc<Mutex<Vec<AnswerStamps>>>);

/// The same of one answer.
#[derive(Clone, Debug, Default)]
pub struct AnswerStamps(Arc<Mutex<Vec<Instant>>>);

impl Stamps {
    /// An answer begins.
    pub fn begin(&self) -> AnswerStamps {
        let answer = AnswerStamps::default();
        lock(&self.0).push(answer.clone());
        answer
    }

    /// The tokens of the answers that began since this was last called. What those say later is not told any more.
    pub fn take(&self) -> Vec<Instant> {
        let answers = std::mem::take(&mut *lock(&self.0));
        answers.iter().flat_map(|answer| lock(&answer.0).clone()).collect()
    }
}

impl AnswerStamps {
    /// A token was said just now.
    pub fn stamp(&self) {
        lock(&self.0).push(now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_answer_still_says_is_no_part_of_a_later_one() {
        let stamps = Stamps::default();
        let earlier = stamps.begin();
        earlier.stamp();
        assert_eq!(stamps.take().len(), 1);
        let later = stamps.begin();
        earlier.stamp();
        later.stamp();
        later.stamp();
        assert_eq!(stamps.take().len(), 2);
    }
}

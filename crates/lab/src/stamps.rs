//! When the model sent each token, by the same clock as the client's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use client::now;

/// The times at which a model sent its tokens, by response. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stamps(Arc<Mutex<Vec<ResponseStamps>>>);

/// The times of one response.
#[derive(Clone, Debug, Default)]
pub struct ResponseStamps(Arc<Mutex<Vec<Instant>>>);

impl Stamps {
    /// Starts a response.
    pub fn start(&self) -> ResponseStamps {
        let response = ResponseStamps::default();
        lock(&self.0).push(response.clone());
        response
    }

    /// The tokens of the responses that started since the last call. Their later tokens are
    /// dropped.
    pub fn take(&self) -> Vec<Instant> {
        let responses = std::mem::take(&mut *lock(&self.0));
        responses.iter().flat_map(|response| lock(&response.0).clone()).collect()
    }
}

impl ResponseStamps {
    /// Records a token that was sent now.
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
    fn tokens_of_an_earlier_response_are_not_counted_for_a_later_one() {
        let stamps = Stamps::default();
        let earlier = stamps.start();
        earlier.stamp();
        assert_eq!(stamps.take().len(), 1);
        let later = stamps.start();
        earlier.stamp();
        later.stamp();
        later.stamp();
        assert_eq!(stamps.take().len(), 2);
    }
}

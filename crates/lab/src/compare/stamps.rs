//! When the model said each token: what a client's clock is compared with, where both are one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::runtime::now;

/// The times at which a model gave its tokens, answer by answer. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Stamps(Arc<Mutex<Vec<Instant>>>);

impl Stamps {
    /// A token was said just now.
    pub fn stamp(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(now());
    }

    /// The tokens since this was last called.
    pub fn take(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

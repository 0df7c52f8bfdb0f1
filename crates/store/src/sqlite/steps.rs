//! A change of several transactions, between which others have their turn. Only the last one shows it; if it does not come to that,
//! the others are undone, by the next start if need be.

use engine::store::StoreError;
use tokio::sync::oneshot;

use super::failure::JobFailure;
use super::job::{Job, WriteTransaction};

/// Whether a step was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Last,
}

/// What is done step by step. Each takes some milliseconds.
pub(super) trait Steps: Send + 'static {
    /// Makes the next step. Before the last one nobody sees anything.
    fn step(&mut self, change: &mut WriteTransaction<'_>) -> Result<Step, JobFailure>;

    /// The step that was made last is in the database.
    fn committed(&mut self);

    /// Undoes a part of what is in the database.
    fn undo(&mut self, change: &mut WriteTransaction<'_>) -> Result<Step, JobFailure>;
}

/// Steps that are being made.
pub(super) struct Stepped<S> {
    steps: S,
    stage: Stage,
    waiting: oneshot::Sender<Result<(), StoreError>>,
}

#[derive(Clone, Copy)]
enum Stage {
    Making,
    Made,
    /// They failed, or nobody waits for them any more.
    Undoing(StoreError),
    Undone(StoreError),
}

impl<S> Stepped<S> {
    pub(super) fn new(steps: S, waiting: oneshot::Sender<Result<(), StoreError>>) -> Self {
        Self { steps, stage: Stage::Making, waiting }
    }
}

impl<S: Steps> Job for Stepped<S> {
    fn run(&mut self, change: &mut WriteTransaction<'_>) -> Result<(), JobFailure> {
        if matches!(self.stage, Stage::Making) && self.waiting.is_closed() {
            // The caller has left, and takes back what it knows of: it would not find what shows after that.
            self.stage = Stage::Undoing(StoreError::Unavailable);
        }
        match self.stage {
            Stage::Making => match self.steps.step(change) {
                Ok(Step::More) => {}
                Ok(Step::Last) => self.stage = Stage::Made,
                Err(failure) => {
                    self.stage = Stage::Undoing(failure.told());
                    return Err(failure);
                }
            },
            Stage::Undoing(error) => match self.steps.undo(change) {
                Ok(Step::More) => {}
                Ok(Step::Last) => self.stage = Stage::Undone(error),
                Err(failure) => {
                    // What is left nobody sees, and the next start undoes it.
                    self.stage = Stage::Undone(error);
                    return Err(failure);
                }
            },
            Stage::Made | Stage::Undone(_) => {}
        }
        Ok(())
    }

    fn answer(mut self: Box<Self>, is_committed: bool) -> Option<Box<dyn Job>> {
        let result = match (self.stage, is_committed) {
            (Stage::Making, true) => {
                self.steps.committed();
                return Some(self);
            }
            (Stage::Undoing(_), true) => return Some(self),
            (Stage::Making | Stage::Made, false) => {
                self.stage = Stage::Undoing(StoreError::Unavailable);
                return Some(self);
            }
            (Stage::Made, true) => Ok(()),
            (Stage::Undoing(error), false) | (Stage::Undone(error), _) => Err(error),
        };
        let _gone = self.waiting.send(result);
        None
    }
}

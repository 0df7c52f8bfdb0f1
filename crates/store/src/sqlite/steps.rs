//! A change in several transactions, with changes of others in between. Only the last one makes it
//! visible; without it, the others are undone, by the next start if necessary.

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

/// A change in steps, each of some milliseconds.
pub(super) trait Steps: Send + 'static {
    /// Makes the next step. Nothing is visible before the last one.
    fn step(&mut self, change: &mut WriteTransaction<'_>) -> Result<Step, JobFailure>;

    /// The last step was committed.
    fn committed(&mut self);

    /// Undoes a part of the committed steps.
    fn undo(&mut self, change: &mut WriteTransaction<'_>) -> Result<Step, JobFailure>;
}

/// The state of a change in steps.
pub(super) struct Stepped<S> {
    steps: S,
    stage: Stage,
    waiting: oneshot::Sender<Result<(), StoreError>>,
}

#[derive(Clone, Copy)]
enum Stage {
    Making,
    Made,
    /// The change failed, or its caller was dropped.
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
            // The caller was dropped and has cleaned up what it knows of: it would not find what
            // becomes visible later.
            self.stage = Stage::Undoing(StoreError::Unavailable);
        }
        match self.stage {
            Stage::Making => match self.steps.step(change) {
                Ok(Step::More) => {}
                Ok(Step::Last) => self.stage = Stage::Made,
                Err(failure) => {
                    self.stage = Stage::Undoing(failure.to_store_error());
                    return Err(failure);
                }
            },
            Stage::Undoing(error) => match self.steps.undo(change) {
                Ok(Step::More) => {}
                Ok(Step::Last) => self.stage = Stage::Undone(error),
                Err(failure) => {
                    // The remaining rows are invisible, and the next start deletes them.
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

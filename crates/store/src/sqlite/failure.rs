//! Why one job does not do what it was asked: an outcome that its caller expects, or a fault of the database.

use engine::store::StoreError;
use rusqlite::ErrorCode;

/// Why a job has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobFailure {
    /// The answer to what was asked is no; the database works.
    #[error(transparent)]
    Expected(#[from] StoreError),
    /// SQLite cannot.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// What stands in a row cannot be what was written to it.
    #[error("{0}")]
    Damaged(&'static str),
}

impl JobFailure {
    /// What the caller is told.
    pub(super) fn told(&self) -> StoreError {
        match self {
            Self::Expected(expected) => *expected,
            Self::Sqlite(_) | Self::Damaged(_) => StoreError::Unavailable,
        }
    }

    /// Whether the database is at fault, rather than the question.
    pub(super) fn is_fault(&self) -> bool {
        !matches!(self, Self::Expected(_))
    }
}

/// An id that is there already is an answer, not a fault.
pub(super) fn taken(error: rusqlite::Error) -> JobFailure {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => JobFailure::Expected(StoreError::Taken),
        _ => JobFailure::Sqlite(error),
    }
}

//! Why a job failed: an outcome that its caller expects, or a fault of the database.

use engine::store::StoreError;
use rusqlite::ErrorCode;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobFailure {
    /// An expected outcome; the database works.
    #[error(transparent)]
    Expected(#[from] StoreError),
    /// An error of SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A row has content that Weir does not write.
    #[error("{0}")]
    Damaged(&'static str),
}

impl JobFailure {
    /// The error that the caller gets.
    pub(super) fn to_store_error(&self) -> StoreError {
        match self {
            Self::Expected(expected) => *expected,
            Self::Sqlite(_) | Self::Damaged(_) => StoreError::Unavailable,
        }
    }

    /// Whether the database is at fault, rather than the request.
    pub(super) fn is_fault(&self) -> bool {
        !matches!(self, Self::Expected(_))
    }
}

/// An existing id is an expected outcome, not a fault.
pub(super) fn insert_error(error: rusqlite::Error) -> JobFailure {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => JobFailure::Expected(StoreError::Taken),
        _ => JobFailure::Sqlite(error),
    }
}

//! Why a response was stopped before the model had finished.

use protocol::fault::{Fault, FaultKind};
use protocol::response::ResponseStatus;

/// Why a response was stopped before the model had finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A caller cancelled it.
    Cancelled,
    /// Its last reader left, and the policy is to stop then.
    ClientLeft,
    /// Its owner deleted it.
    Deleted,
    /// The key that it was started with was revoked.
    KeyRevoked,
    /// The deadline of a shutdown passed.
    ServerShutdown,
    /// The process that ran it died.
    ServerRestarted,
}

impl Cause {
    /// The value of `incomplete_details.reason`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Cancelled | Self::Deleted => "cancelled",
            Self::ClientLeft => "client_left",
            Self::KeyRevoked => "key_revoked",
            Self::ServerShutdown => "server_shutdown",
            Self::ServerRestarted => "server_restarted",
        }
    }

    /// The status of the response: a request of the caller is a cancel, everything else an early
    /// end.
    pub(crate) fn status(self) -> ResponseStatus {
        match self {
            Self::Cancelled | Self::ClientLeft | Self::Deleted | Self::KeyRevoked => {
                ResponseStatus::Cancelled
            }
            Self::ServerShutdown => ResponseStatus::Failed,
            Self::ServerRestarted => ResponseStatus::Incomplete,
        }
    }

    /// The fault, if the cause is a failure: only a shutdown is (promise 3).
    pub(crate) fn fault(self) -> Option<Fault> {
        match self {
            Self::ServerShutdown => Some(
                Fault::new(
                    FaultKind::Server,
                    "server_shutdown",
                    "the server shut down before the response was complete",
                )
                .with_status(503),
            ),
            Self::Cancelled
            | Self::ClientLeft
            | Self::Deleted
            | Self::KeyRevoked
            | Self::ServerRestarted => None,
        }
    }
}

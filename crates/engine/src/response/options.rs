//! What a caller may pass with a request that starts a response.

use std::sync::Arc;

use protocol::dialect::StreamId;
use protocol::on_leave::OnLeave;
use protocol::trace::TraceContext;

use crate::conversation::history::SocketHistory;
use crate::conversation::named::Conversation;
use crate::shares::Reservation;

/// An idempotency key and the request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key.
    pub key: String,
    /// SHA-256 of the path and the body.
    pub request: [u8; 32],
}

/// Options of a start, beside the request.
#[derive(Debug, Default)]
pub struct StartOptions {
    /// The key under which the same request gives the same response.
    pub idempotency: Option<Idempotency>,
    /// The socket of the request, for turns that continue what only the socket remembers.
    pub socket: Option<SocketContext>,
    /// Whether the model is left out: the response is empty, and only its id is of use.
    pub warm_up: bool,
    /// The named conversation of the turn. It takes precedence over a `previous_response_id`.
    pub conversation: Option<Conversation>,
    /// What happens when the last reader leaves; `None` leaves it to the request, the route and the
    /// settings.
    pub on_leave: Option<OnLeave>,
    /// The client's place in its trace.
    pub trace: Option<TraceContext>,
    /// The bytes that were reserved for the request; they are released with the response.
    pub bytes: Option<Reservation>,
}

/// A lane of a socket.
#[derive(Clone, Debug)]
pub struct SocketContext {
    /// What the socket remembers.
    pub history: Arc<SocketHistory>,
    /// The lane of the turn.
    pub lane: StreamId,
}

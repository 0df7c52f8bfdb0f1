//! The context of a request, for its handler.

use protocol::id::Owner;
use protocol::trace::TraceContext;

use crate::grants::Grant;
use crate::listen::ConnectionHandle;

/// The caller of a request, and the connection on which it came.
pub(crate) struct RequestContext {
    pub(crate) owner: Owner,
    /// Ends when the caller's credential does.
    pub(crate) grant: Grant,
    pub(crate) connection: Option<ConnectionHandle>,
    pub(crate) is_http_1_0: bool,
    /// The trace that the request belongs to.
    pub(crate) trace: Option<TraceContext>,
}

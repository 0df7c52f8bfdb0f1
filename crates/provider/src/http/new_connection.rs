//! A connection on which nothing was sent yet.

use std::sync::Arc;

use engine::provider::connection::UpstreamConnection;

use super::stream::Stream;

/// A connection that was just opened, and how.
pub(super) struct NewConnection {
    pub(super) stream: Stream,
    pub(super) facts: Arc<UpstreamConnection>,
}

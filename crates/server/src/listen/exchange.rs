//! One request and its response, on the timeline of their connection.

use std::sync::Arc;

use http::{Request, Version};
use lens::live::RequestStart;

use super::connection::ConnectionHandle;
use super::service::Label;

/// A request on its connection. Its response ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Arc<Started>);

#[derive(Debug)]
struct Started {
    connection: ConnectionHandle,
    number: u64,
}

impl Exchange {
    /// The head of a request was read.
    pub(super) fn start<B>(
        connection: &ConnectionHandle,
        request: &Request<B>,
        label: Label<'_>,
    ) -> Self {
        let version = match request.version() {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        let Label { subject, lane } = label;
        let start = RequestStart {
            subject,
            method: request.method().as_str(),
            path: request.uri().path(),
            version,
            lane,
        };
        let number = connection.timeline().start_request(start, connection.bytes().1);
        Self(Arc::new(Started { connection: connection.clone(), number }))
    }

    /// Sets the caller that the request belongs to.
    pub(crate) fn set_owner(&self, owner: &str) {
        self.0.connection.timeline().set_owner(self.0.number, owner);
    }

    /// The head of its response is ready.
    pub(super) fn response_started(&self, status: u16) {
        self.0.connection.timeline().response_started(self.0.number, status);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.connection.timeline().request_finished(self.number);
    }
}

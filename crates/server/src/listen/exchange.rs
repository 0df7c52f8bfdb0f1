//! One request and its answer, on the timeline of their connection.

use std::sync::Arc;

use http::{Request, Version};

use super::io::Connection;

/// A request on its connection. When the last handle goes, its answer is over.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Arc<Begun>);

#[derive(Debug)]
struct Begun {
    connection: Connection,
    number: u64,
}

impl Exchange {
    /// The head of a request was read.
    pub(super) fn begin<B>(connection: &Connection, request: &Request<B>) -> Self {
        let version = match request.version() {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        let number = connection.timeline().asked(request.method().as_str(), request.uri().path(), version);
        Self(Arc::new(Begun { connection: connection.clone(), number }))
    }

    /// It is known whose it is.
    pub(crate) fn owned(&self, owner: &str) {
        self.0.connection.timeline().owned(self.0.number, owner);
    }

    /// The head of its answer is ready.
    pub(super) fn answered(&self, status: u16) {
        self.0.connection.timeline().answered(self.0.number, status);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.connection.timeline().ended(self.number);
    }
}

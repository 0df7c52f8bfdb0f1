//! Breaks a body off without losing what was written to it before.
//!
//! hyper drops whatever an HTTP/1 connection has not flushed when its body fails, and h2 whatever
//! waits in a stream that is reset.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::listen::{ConnectionHandle, HttpVersion};

/// The last chunk of a body that is about to be aborted.
#[derive(Debug, Default)]
pub(super) struct LastChunk(Arc<Notify>);

/// A chunk that reports when it has been copied out of its HTTP/2 stream.
struct Tracked {
    bytes: Bytes,
    released: Arc<Notify>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.released.notify_one();
    }
}

impl LastChunk {
    /// The chunk as the body is to yield it. It must not be empty.
    pub(super) fn track(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Tracked { bytes, released: Arc::clone(&self.0) })
    }

    /// Resolves when the body may fail: the chunk, and all before it, are on their way to the
    /// client. Not to be waited for by a time limit: a reader that takes nothing is cut by its
    /// connection or stream.
    pub(super) async fn sent(&self, connection: Option<&ConnectionHandle>) {
        match connection {
            // Its bytes are copied before they are sent; only a flush shows that they are.
            Some(connection) if connection.protocol() == HttpVersion::Http1 => {
                connection.flushed().await;
            }
            // Frames leave a stream in their order, and none can be recalled.
            Some(_) | None => self.0.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_chunk_is_sent_when_its_last_piece_is() {
        let chunk = LastChunk::default();
        let mut bytes = chunk.track(Bytes::from_static(b"the chunk"));
        let piece = bytes.split_to(4);
        drop(bytes);
        assert!(chunk.sent(None).now_or_never().is_none());
        drop(piece);
        assert!(chunk.sent(None).now_or_never().is_some());
    }
}

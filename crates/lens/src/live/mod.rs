//! What is counted of a connection while it lives: bytes by kind, and the times of what happened on
//! it.
//!
//! A server feeds it what it reads and writes, above TLS, in the order in which it does. It keeps
//! counts and no contents.

pub mod bytes;
mod http1;
mod http2;
mod record;
mod split;
mod timeline;
mod websocket;

pub use record::{
    ClosingSide, ConnectionClose, ConnectionRecord, ReadWriteCounts, RequestRecord, RequestShare,
    RequestStart, RequestSubject, ResponseBytes, SentBytes, TlsHandshakeRecord,
};
pub use split::ByteClassifier;
pub use timeline::Timeline;

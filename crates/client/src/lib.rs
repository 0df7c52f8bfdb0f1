//! A client of HTTP/1.0, 1.1 and 2, server-sent events, NDJSON and WebSocket, in clear or through
//! TLS. It shows every byte as it arrives and can close a connection in every way. It does not use
//! the server's internals.

pub mod http1;

mod byte_stream;
mod connection;
mod endpoint;
mod request;
mod response;
mod runtime;
mod stream;
mod tap;
mod trust;

pub mod http2;
pub mod json;
pub mod websocket;

pub use byte_stream::ByteStream;
pub use connection::{Connection, reset_on_close};
pub use endpoint::{ConnectionInfo, Endpoint, OpenedConnection, TlsHandshake};
pub use request::Request;
pub use response::{BodyEnd, Response, send};
pub use runtime::{SOON, Task, now, soon, spawn, within};
pub use stream::{Decoder, Stream, StreamEvent, StreamItem};
pub use tap::{DirectionBytes, Tap, TappedBytes, TappedCall};
pub use trust::{Encryption, KeyLines, Trust};

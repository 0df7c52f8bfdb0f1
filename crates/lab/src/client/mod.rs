//! An HTTP/1.0 and 1.1 client, in clear or through TLS, that shows every byte as it comes and can cut the connection in every way.

mod connection;
mod dial;
mod line;
mod response;
mod stream;
mod tap;
mod trust;

pub mod http2;
pub mod json;
pub mod ndjson;
pub mod sse;
pub mod websocket;

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;

pub use connection::Connection;
pub(crate) use connection::reset_on_close;
pub use dial::{Dial, Dialled, Opened, Shaken};
pub use line::Line;
pub use response::{BodyEnd, Response};
pub use stream::{Decoder, Found, Stream, StreamEvent};
pub use tap::{Passed, Tap, Tapped};
pub use trust::{Encryption, KeyLines, Trust};

/// A request, as it is to be written. `Host` and `Content-Length` are added unless they are among the headers.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, as on the wire.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The version, as on the wire: `HTTP/1.1` unless [`Self::http_1_0`] was asked for.
    pub version: &'static str,
    /// The fields, written in this order and as they are.
    pub headers: Vec<(String, String)>,
    /// The body; no length is written for an empty one unless the method is POST, PUT or PATCH.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), version: "HTTP/1.1", headers: Vec::new(), body: Vec::new() }
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST of JSON.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// The same in the words of HTTP/1.0: the answer may not be chunked, and its end is the connection's.
    #[must_use]
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// Appends a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Appends `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request's bytes for a server at `host`.
    pub fn encode(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.path, self.version);
        let mut line = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
        if !self.has("host") {
            line("host", host);
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        let takes_body = !self.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&self.method.as_str());
        if takes_body && !self.has("content-length") && !self.has("transfer-encoding") {
            line("content-length", &self.body.len().to_string());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name))
    }
}

/// Sends a request on a connection of its own and waits for the answer's head.
pub async fn send(address: SocketAddr, request: &Request) -> Result<Response> {
    Connection::open(address).await?.send(request).await
}

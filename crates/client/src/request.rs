//! A request, as it is written to the wire.

use serde_json::Value;

/// A request. `Host` and `Content-Length` are added unless they are among the headers.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, as on the wire.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The version, as on the wire: `HTTP/1.1` unless changed by [`Self::http_1_0`].
    pub version: &'static str,
    /// The header fields, written unchanged and in this order.
    pub headers: Vec<(String, String)>,
    /// The body; no length is written for an empty one unless the method is POST, PUT or PATCH.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST of JSON.
    pub fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// Uses HTTP/1.0: the response is not chunked, and ends with the connection.
    #[must_use]
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// Appends a header field.
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
        let takes_body =
            !self.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&self.method.as_str());
        if takes_body && !self.has("content-length") && !self.has("transfer-encoding") {
            line("content-length", &self.body.len().to_string());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Whether a header field is set; `name` in any case.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name))
    }
}

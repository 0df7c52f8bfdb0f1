//! The server of a conversation: its address, requests to it, and the API key, which is never
//! printed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use client::{Connection, Encryption, Request, Response, Trust, json};
use engine::secret::Secret;
use serde_json::Value;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::address::Address;

/// The timeout for establishing a connection.
const CONNECTING: Duration = Duration::from_secs(10);

/// The timeout for a response that is not a stream.
const WAITING: Duration = Duration::from_secs(30);

/// A failed request.
#[derive(Debug)]
pub(crate) enum ChatError {
    /// The connection could not be established, or broke: a retry may help.
    Broken(String),
    /// The server refused the request, with a status: a retry does not help.
    Refused(u16, String),
    /// No retry will help, neither here nor at another server.
    Hopeless(String),
}

impl std::fmt::Display for ChatError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(401, what) => {
                write!(formatter, "{what} Set WEIR_API_KEY, or pass --key.")
            }
            Self::Broken(what) | Self::Hopeless(what) | Self::Refused(_, what) => {
                formatter.write_str(what)
            }
        }
    }
}

pub(crate) struct ChatServer {
    place: Address,
    encryption: Option<Encryption>,
    key: Option<Secret>,
}

impl ChatServer {
    /// The server at an `http:` or `https:` address.
    pub(crate) fn at(url: &str, fingerprint: Option<&str>, key: Option<Secret>) -> Result<Self> {
        let place = Address::read(url)?;
        let trust = fingerprint.map_or(Trust::System, |text| Trust::Fingerprint(text.to_owned()));
        let encryption = if place.is_encrypted { Some(Encryption::new(&trust)?) } else { None };
        Ok(Self { place, encryption, key })
    }

    /// The address, for display.
    pub(crate) fn address(&self) -> String {
        self.place.to_string()
    }

    /// A request for a path below the server's prefix, with the host and the key.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let mut request = Request::new(method, &format!("{}{path}", self.place.prefix));
        for (name, value) in self.headers() {
            request = request.header(name, &value);
        }
        request
    }

    /// The headers of every request.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let key =
            self.key.as_ref().map(|key| ("authorization", format!("Bearer {}", key.reveal())));
        [
            ("host", self.place.authority()),
            ("user-agent", concat!("weir/", env!("CARGO_PKG_VERSION")).to_owned()),
        ]
        .into_iter()
        .chain(key)
        .collect()
    }

    /// The path below the server's prefix.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.place.prefix)
    }

    /// Connects to the first of the addresses that accepts.
    pub(crate) async fn connect(&self) -> Result<Connection, ChatError> {
        let place = self.address();
        let broken = |error: &dyn std::fmt::Display| {
            ChatError::Broken(format!("cannot reach {place}: {error}"))
        };
        let found =
            timeout(CONNECTING, lookup_host((self.place.host.as_str(), self.place.port))).await;
        let addresses: Vec<SocketAddr> = found
            .map_err(|_| broken(&"name resolution timed out"))?
            .map_err(|error| broken(&error))?
            .collect();
        let mut last = broken(&"it has no address");
        for address in addresses {
            match timeout(CONNECTING, self.open(address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(trouble)) => last = trouble,
                Err(_) => last = broken(&"the connection timed out"),
            }
        }
        Err(last)
    }

    async fn open(&self, address: SocketAddr) -> Result<Connection, ChatError> {
        let place = self.address();
        let Some(encryption) = &self.encryption else {
            return Connection::open(address).await.map_err(|error| {
                ChatError::Broken(format!("cannot reach {place}: {}", error.root_cause()))
            });
        };
        Connection::open_encrypted(address, &self.place.host, encryption.connector()).await.map_err(|error| {
            let cause = error.root_cause().to_string();
            match encryption.seen() {
                Some(seen) if cause.contains("certificate") => ChatError::Hopeless(format!(
                    "the certificate of {place} is not trusted ({cause}).\nIts SHA-256 is {seen}\n\
                     If this is what the server printed, trust it with: --fingerprint {seen}"
                )),
                _ => ChatError::Broken(format!("cannot reach {place}: {cause}")),
            }
        })
    }

    /// Sends a request on a new connection, and reads the head of the response.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, ChatError> {
        let connection = self.connect().await?;
        let broken = |error: anyhow::Error| ChatError::Broken(format!("{error:#}"));
        let mut response = connection.send(request).await.map_err(broken)?;
        if response.status == 200 || response.status == 101 {
            return Ok(response);
        }
        Err(refusal(&mut response).await)
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn json(&self, request: &Request) -> Result<Value, ChatError> {
        let whole = async {
            let mut response = self.send(request).await?;
            json::value(&mut response)
                .await
                .map_err(|error| ChatError::Broken(format!("{error:#}")))
        };
        timeout(WAITING, whole).await.unwrap_or_else(|_| {
            Err(ChatError::Broken(format!("{} did not respond in time", self.address())))
        })
    }
}

/// The error of a refused request, from the response's body.
pub(crate) async fn refusal(response: &mut Response) -> ChatError {
    let status = response.status;
    let body = json::value(response).await.unwrap_or_default();
    let message = body["error"]["message"]
        .as_str()
        .map_or_else(|| format!("the server returned status {status}"), str::to_owned);
    ChatError::Refused(status, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_only_in_requests() {
        let server = ChatServer::at("http://h", None, Some(Secret::new("wk_marker"))).unwrap();
        let bytes = String::from_utf8(server.request("GET", "/v1/models").encode("x")).unwrap();
        assert!(
            bytes.contains("authorization: Bearer wk_marker\r\n") && bytes.contains("host: h\r\n"),
            "{bytes}"
        );
        assert!(!server.address().contains("wk_"));
    }
}

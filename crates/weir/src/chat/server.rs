//! The server of a conversation: its address, requests to it, and the API key, which is never
//! printed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use client::{Connection, ConnectionInfo, Encryption, Endpoint, Request, Response, Trust, json};
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

    /// Whether requests carry a key.
    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Its port, if it is reached without TLS.
    pub(crate) fn plain_port(&self) -> Option<u16> {
        self.encryption.is_none().then_some(self.place.port)
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
        let mut last = self.broken(&"it has no address");
        for address in self.resolve().await? {
            match timeout(CONNECTING, self.open(address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(trouble)) => last = trouble,
                Err(_) => last = self.broken(&"the connection timed out"),
            }
        }
        Err(last)
    }

    /// The same with a copy of the connection's bytes.
    pub(crate) async fn connect_tapped(&self) -> Result<(Connection, ConnectionInfo), ChatError> {
        let mut last = self.broken(&"it has no address");
        for address in self.resolve().await? {
            let named = |encryption: &Encryption| (encryption.clone(), self.place.host.clone());
            let endpoint = Endpoint {
                address,
                authority: self.place.authority(),
                prefix: self.place.prefix.clone(),
                timeout: CONNECTING,
                encryption: self.encryption.as_ref().map(named),
            };
            match endpoint.connect().await {
                Ok(opened) => {
                    let info = opened.info.clone();
                    return Ok((opened.into_connection(&endpoint.authority), info));
                }
                Err(error) => last = self.unreachable(&error),
            }
        }
        Err(last)
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, ChatError> {
        let found =
            timeout(CONNECTING, lookup_host((self.place.host.as_str(), self.place.port))).await;
        let addresses = found
            .map_err(|_| self.broken(&"name resolution timed out"))?
            .map_err(|error| self.broken(&error))?;
        Ok(addresses.collect())
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ChatError {
        ChatError::Broken(format!("cannot reach {}: {error}", self.address()))
    }

    /// Why a connection could not be opened. A certificate that is not trusted is shown.
    fn unreachable(&self, error: &anyhow::Error) -> ChatError {
        let cause = error.root_cause().to_string();
        match self.encryption.as_ref().and_then(Encryption::seen) {
            Some(seen) if cause.contains("certificate") => ChatError::Hopeless(format!(
                "the certificate of {} is not trusted ({cause}).\nIts SHA-256 is {seen}\n\
                 If this is what the server printed, trust it with: --fingerprint {seen}",
                self.address()
            )),
            _ => self.broken(&cause),
        }
    }

    async fn open(&self, address: SocketAddr) -> Result<Connection, ChatError> {
        let opened = match &self.encryption {
            None => Connection::open(address).await,
            Some(encryption) => {
                let connector = encryption.connector();
                Connection::open_encrypted(address, &self.place.host, connector).await
            }
        };
        opened.map_err(|error| self.unreachable(&error))
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

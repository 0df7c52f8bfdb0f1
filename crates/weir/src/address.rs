//! The address of a server, as typed by users.

use anyhow::{Context, Result, bail};
use http::Uri;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The host name or IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The prefix of every path, without a trailing slash.
    pub(crate) prefix: String,
    pub(crate) is_encrypted: bool,
}

impl Address {
    /// Parses an `http:` or `https:` URL, which may end with `/v1`.
    pub(crate) fn read(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("--server {url}: not a URL"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => bail!("--server {url}: expected http://… or https://…"),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let prefix = uri.path().trim_end_matches('/');
        let prefix = prefix.strip_suffix("/v1").unwrap_or(prefix).to_owned();
        Ok(Self { host, port, prefix, is_encrypted })
    }

    /// The host, and the port unless it is the scheme's default.
    pub(crate) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_encrypted { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// As users type it.
impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(formatter, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Option<&str>) {
        assert_eq!(
            Address::read(url).ok().map(|address| address.to_string()).as_deref(),
            expected,
            "{url}"
        );
    }

    #[test]
    fn addresses_are_parsed_and_displayed() {
        check("http://127.0.0.1:8000", Some("http://127.0.0.1:8000"));
        check("http://localhost/v1/", Some("http://localhost"));
        check("https://chat.example:443/weir/", Some("https://chat.example/weir"));
        check("http://[::1]:9000", Some("http://[::1]:9000"));
        check("localhost:8000", None);
        check("ftp://localhost", None);
        check("http://", None);
    }
}

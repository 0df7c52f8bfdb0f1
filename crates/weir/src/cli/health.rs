//! `weir health`: checks that a server is up, for images without a shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use http::Uri;

use super::output::Printed;
use crate::config::settings::Settings;

/// The timeout of each step.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number of bytes of a response that are read.
const LONGEST: u64 = 64 << 10;

/// The path of the liveness check.
const PATH: &str = "/healthz";

/// What `weir health` takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct HealthArguments {
    /// The URL to check, such as http://127.0.0.1:8000/readyz [default: /healthz at the address
    /// that the server listens on]
    url: Option<String>,
}

/// Sends the request; an error unless the response is 200.
pub(crate) fn run(settings: &Settings, arguments: &HealthArguments) -> Result<Printed> {
    let (authority, path) = match &arguments.url {
        Some(url) => taken_apart(url)?,
        None => (reachable(settings.server.listen).to_string(), PATH.to_owned()),
    };
    let answer = ask(&authority, &path).with_context(|| format!("{authority} does not respond"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    match answer.split(' ').nth(1) {
        Some("200") => Ok(Printed { out: format!("{body}\n"), hints: String::new() }),
        // A server with HTTPS only responds to plain HTTP with an error of its own: it is alive.
        Some("400") if body.contains("\"https_only\"") => Ok(Printed {
            out: String::new(),
            hints: "It is up, and serves HTTPS only: nothing more was checked.\n".to_owned(),
        }),
        Some(status) => bail!("{authority}{path} returned {status}: {body}"),
        None => bail!("{authority} does not speak HTTP"),
    }
}

fn taken_apart(url: &str) -> Result<(String, String)> {
    let uri: Uri = url.parse().with_context(|| format!("{url:?} is not an address"))?;
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        bail!("expected an address such as http://127.0.0.1:8000/healthz, got {url:?}");
    };
    let path = if uri.path() == "/" { PATH } else { uri.path() };
    let port =
        authority.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    Ok((format!("{}:{port}", authority.host()), path.to_owned()))
}

/// The address for reaching a server from its own machine, even if it listens on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Sends one request and returns the whole response.
fn ask(authority: &str, path: &str) -> Result<String> {
    let address = authority.to_socket_addrs()?.next().context("its name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            let expected =
                expected.map(|(authority, path)| (authority.to_owned(), path.to_owned()));
            assert_eq!(taken_apart(url).ok(), expected, "{url}");
        };
        check("http://127.0.0.1:8000", Some(("127.0.0.1:8000", "/healthz")));
        check("http://weir/readyz", Some(("weir:80", "/readyz")));
        check("https://[::1]:8443/", Some(("[::1]:8443", "/healthz")));
        check("127.0.0.1:8000", None);
        check("ftp://weir/", None);
    }

    #[test]
    fn a_server_on_all_addresses_is_reached_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}

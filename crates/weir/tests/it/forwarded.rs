//! Reverse proxies: what trusted proxies report about their clients is used, and what anyone else reports is not.

use client::{Connection, Request, Response};
use serde_json::json;
use server::listen::proxy_protocol::{ProxyHeader, ProxyHeaderError, ProxyHeaderParser};
use server::{IpNetwork, ProxyProtocol};

use crate::test_server::{ALICE, TestServer, TestServerPlan};

/// An address that nothing here has: trusting it trusts no one.
const NOBODY: &str = "192.0.2.1";

/// A server that trusts `proxy`; all connections come from 127.0.0.1.
async fn test_server(proxy: &str, proxy_protocol: ProxyProtocol, per_address: usize) -> TestServer {
    let plan = TestServerPlan::server(|server| {
        server.trusted_proxies = vec![proxy.parse().unwrap()];
        server.proxy_protocol = proxy_protocol;
        server.connections_per_address = per_address;
        server.hosts = vec!["chat.example".into()];
    });
    TestServer::open_with(TestServerPlan { with_keys: true, ..plan }).await
}

/// A version 2 header (§2.2) with these fields.
fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, addresses].concat()
}

/// 203.0.113.7:4242 to 192.0.2.1:443, with extensions.
fn v4() -> Vec<u8> {
    binary(0x21, 0x11, b"\xcb\x00\x71\x07\xc0\x00\x02\x01\x10\x92\x01\xbb\x04\x00\x03abc")
}

fn v6() -> Vec<u8> {
    let mut addresses = [0; 36];
    addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    addresses[15] = 7;
    addresses[32..].copy_from_slice(&[0x10, 0x92, 0x01, 0xbb]);
    binary(0x21, 0x21, &addresses)
}

fn headers() -> Vec<(Vec<u8>, ProxyHeader)> {
    let client = |text: &str| ProxyHeader::Client(text.parse().unwrap());
    vec![
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 4242 443\r\n".to_vec(), client("203.0.113.7:4242")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n".to_vec(), client("[2001:db8::7]:0")),
        (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Proxy),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), ProxyHeader::Proxy),
        (v4(), client("203.0.113.7:4242")),
        (v6(), client("[2001:db8::7]:4242")),
        (binary(0x20, 0x00, b""), ProxyHeader::Proxy),
        (binary(0x20, 0x11, &[0; 12]), ProxyHeader::Proxy),
        (binary(0x21, 0x00, &[7; 20]), ProxyHeader::Proxy),
        (binary(0x21, 0x31, &[0; 216]), ProxyHeader::Proxy),
    ]
}

#[test]
fn a_header_may_be_split_anywhere() {
    for (header, expected) in headers() {
        let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let (mut parser, mut taken, mut found) = (ProxyHeaderParser::default(), 0, None);
                for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    if found.is_none() {
                        let (count, origin) = parser.push(piece).unwrap();
                        (taken, found) = (taken + count, origin);
                    }
                }
                assert_eq!(
                    (taken, found),
                    (header.len(), Some(expected)),
                    "{header:?} at {first} and {second}"
                );
            }
        }
        for cut in 0..header.len() {
            assert_eq!(
                ProxyHeaderParser::default().push(&header[..cut]),
                Ok((cut, None)),
                "{header:?} cut at {cut}"
            );
        }
    }
}

/// Malformed headers are detected in one piece and byte by byte.
fn check_malformed(bytes: &[u8], expected: ProxyHeaderError) {
    assert_eq!(ProxyHeaderParser::default().push(bytes), Err(expected), "{bytes:?}");
    let mut parser = ProxyHeaderParser::default();
    let found = bytes.iter().find_map(|byte| parser.push(&[*byte]).err());
    assert_eq!(found, Some(expected), "{bytes:?}");
}

#[test]
fn malformed_headers_are_rejected() {
    check_malformed(b"GET / HTTP/1.1\r\n", ProxyHeaderError::Missing);
    check_malformed(b"PROXX", ProxyHeaderError::Missing);
    check_malformed(b"\x16\x03\x01", ProxyHeaderError::Missing);
    for line in [
        "TCP4 203.0.113.7 192.0.2.1 4242",
        "TCP4 203.0.113.7 192.0.2.1 4242 443 1",
        "TCP4 203.0.113.7  192.0.2.1 4242 443",
        "TCP4 203.0.113.7 192.0.2.1 04242 443",
        "TCP4 203.0.113.7 192.0.2.1 +4242 443",
        "TCP4 203.0.113.7 192.0.2.1 65536 443",
        "TCP4 2001:db8::7 2001:db8::1 1 2",
        "TCP6 203.0.113.7 192.0.2.1 1 2",
        "UDP4 203.0.113.7 192.0.2.1 1 2",
        "",
    ] {
        check_malformed(format!("PROXY {line}\r\n").as_bytes(), ProxyHeaderError::Line);
    }
    check_malformed(&[b"PROXY ", &[b'x'; 200][..]].concat(), ProxyHeaderError::Line);
    check_malformed(&binary(0x21, 0x11, &[0; 11]), ProxyHeaderError::Binary);
    check_malformed(&binary(0x21, 0x21, &[0; 12]), ProxyHeaderError::Binary);
    check_malformed(&binary(0x22, 0x11, &[0; 12]), ProxyHeaderError::Binary);
    check_malformed(&binary(0x11, 0x11, &[0; 12]), ProxyHeaderError::Binary);
    check_malformed(&binary(0x21, 0x41, &[0; 12]), ProxyHeaderError::Binary);
    check_malformed(&binary(0x21, 0x11, &[0; 5000]), ProxyHeaderError::TooLong);
}

#[test]
fn networks_are_address_prefixes() {
    for (network, address, expected) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("0.0.0.0/0", "203.0.113.7", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::/0", "2001:db9::1", true),
    ] {
        let parsed: IpNetwork = network.parse().unwrap();
        assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{network} {address}");
        assert_eq!(parsed.to_string().parse(), Ok(parsed));
    }
    for wrong in
        ["", "proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "::/129", "127.0.0.1:80"]
    {
        assert!(wrong.parse::<IpNetwork>().is_err(), "{wrong:?}");
    }
}

/// Opens a connection with `header` and sends a request; `None` if it is closed without a response.
async fn start(test_server: &TestServer, header: &[u8]) -> Option<Response> {
    let mut connection = Connection::open(test_server.address).await.unwrap();
    let request = Request::get("/healthz");
    connection.write_raw(&[header, &request.encode("localhost")].concat()).await.unwrap();
    client::soon(connection.read_response(&request)).await.unwrap().ok()
}

/// The status of the response, read to its end.
async fn status(test_server: &TestServer, header: &[u8]) -> Option<u16> {
    let mut response = start(test_server, header).await?;
    response.collect().await.unwrap();
    Some(response.status)
}

#[tokio::test]
async fn a_trusted_proxy_must_send_a_header_on_each_connection() {
    let test_server = test_server("127.0.0.0/8", ProxyProtocol::On, 0).await;
    for (header, _) in headers() {
        assert_eq!(status(&test_server, &header).await, Some(200), "{header:?}");
    }
    assert_eq!(status(&test_server, b"").await, None, "without a header");
    assert_eq!(status(&test_server, b"PROXY nonsense\r\n").await, None);
    assert_eq!(
        status(&test_server, &[v4(), v4()].concat()).await,
        None,
        "a second header is the client's own"
    );
    // A port check is not an error.
    drop(Connection::open(test_server.address).await.unwrap());
    test_server.close().await;
}

#[tokio::test]
async fn headers_from_untrusted_peers_are_ignored() {
    for proxy_protocol in [ProxyProtocol::On, ProxyProtocol::Off] {
        let test_server = test_server(NOBODY, proxy_protocol, 0).await;
        for (header, _) in headers() {
            assert_eq!(status(&test_server, &header).await, None, "{header:?}");
        }
        assert_eq!(status(&test_server, b"").await, Some(200), "{proxy_protocol:?}");
        test_server.close().await;
    }
    let test_server = test_server("127.0.0.1", ProxyProtocol::Off, 0).await;
    assert_eq!(status(&test_server, &v4()).await, None, "not asked for");
    test_server.close().await;
}

#[tokio::test]
async fn connections_count_for_the_client_not_its_proxy() {
    let test_server = test_server("127.0.0.1", ProxyProtocol::On, 1).await;
    let held = start(&test_server, &v4()).await.unwrap();
    assert_eq!(status(&test_server, &v4()).await, Some(503), "a second one of the same client");
    let other = start(&test_server, &v6()).await.unwrap();
    let checks = [
        start(&test_server, &binary(0x20, 0, b"")).await.unwrap(),
        start(&test_server, &binary(0x20, 0, b"")).await.unwrap(),
    ];
    assert_eq!(
        (held.status, other.status, checks.map(|check| check.status)),
        (200, 200, [200, 200])
    );
    assert_eq!(test_server.connections.refused(), 1);
    drop((held, other));
    test_server.wait_connections(0).await;
    assert_eq!(status(&test_server, &v4()).await, Some(200), "its place was given back");
    test_server.close().await;
}

#[tokio::test]
async fn forwarded_headers_are_used_from_trusted_proxies_only() {
    let session = || Request::post("/v1/tickets", &json!({ "cookie": true })).bearer(ALICE);
    for (proxy, is_trusted) in [("127.0.0.1", true), (NOBODY, false)] {
        let test_server = test_server(proxy, ProxyProtocol::Off, 0).await;
        let pick = |trusted: u16, other: u16| if is_trusted { trusted } else { other };
        for (scheme, is_secure) in [("https", is_trusted), ("http", false), ("https, http", false)]
        {
            let response = test_server.send(&session().header("x-forwarded-proto", scheme)).await;
            let cookie = response.headers.get("set-cookie").unwrap();
            assert_eq!(cookie.contains("; Secure"), is_secure, "{scheme}: {cookie}");
            // Over HTTPS the session cookie has a name that only this host can set, and only that cookie counts.
            assert_eq!(cookie.starts_with("__Host-weir_session="), is_secure, "{scheme}: {cookie}");
            let pair = cookie.split(';').next().unwrap();
            let renamed = format!("weir_session={}", pair.split_once('=').unwrap().1);
            for (cookie, expected) in [(pair, 200), (&*renamed, if is_secure { 401 } else { 200 })]
            {
                let request = Request::get("/v1/models")
                    .header("x-forwarded-proto", scheme)
                    .header("cookie", cookie);
                assert_eq!(test_server.send(&request).await.status, expected, "{scheme}: {cookie}");
            }
        }
        let of_page = |host: &str, origin: &str| {
            let request =
                Request::get("/v1/models").bearer(ALICE).header("x-forwarded-proto", "https");
            request.header("x-forwarded-host", host).header("origin", origin)
        };
        for (host, origin, expected) in [
            ("chat.example", "https://chat.example", pick(200, 403)),
            ("chat.example:443", "https://chat.example", pick(200, 403)),
            ("chat.example", "http://chat.example", 403),
            ("chat.example", "https://evil.example", 403),
            ("evil.example", "https://evil.example", pick(421, 403)),
        ] {
            assert_eq!(
                test_server.send(&of_page(host, origin)).await.status,
                expected,
                "{proxy}: {host} {origin}"
            );
        }
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_path_prefix_that_the_proxy_strips_is_in_urls_for_clients() {
    for (proxy, is_trusted) in [("127.0.0.1", true), (NOBODY, false)] {
        let test_server = test_server(proxy, ProxyProtocol::Off, 0).await;
        for (prefix, expected) in [
            ("/weir", "/weir"),
            ("/a/weir/", "/a/weir"),
            ("/theirs, /ours", "/ours"),
            ("/", ""),
            ("weir", ""),
            ("https://evil.example/", ""),
            ("/weir?x=", ""),
            ("/we ir", ""),
        ] {
            let expected =
                format!("http://{}{}", test_server.address, if is_trusted { expected } else { "" });
            let (status, body) =
                test_server.json(&Request::get("/v1").header("x-forwarded-prefix", prefix)).await;
            assert_eq!(
                (status, &body["base_url"]),
                (200, &json!(format!("{expected}/v1"))),
                "{proxy}: {prefix}"
            );
            assert_eq!(
                body["description"],
                json!(format!("{expected}/openapi.json")),
                "{proxy}: {prefix}"
            );
            let (status, body) = test_server
                .json(&Request::get("/api/v1/models").header("x-forwarded-prefix", prefix))
                .await;
            let message = body["error"]["message"].as_str().unwrap();
            assert!(
                status == 404 && message.ends_with(&format!(" {expected}/v1.")),
                "{proxy}: {prefix}: {message}"
            );
        }
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_client_of_a_proxy_cannot_impersonate_a_proxy() {
    let test_server = test_server("127.0.0.1", ProxyProtocol::On, 0).await;
    for (header, is_secure) in [(v4(), false), (binary(0x20, 0, b""), true)] {
        let mut connection = Connection::open(test_server.address).await.unwrap();
        let request = Request::post("/v1/tickets", &json!({ "cookie": true }))
            .header("x-forwarded-proto", "https")
            .bearer(ALICE);
        connection.write_raw(&[header, request.encode("localhost")].concat()).await.unwrap();
        let response = client::soon(connection.read_response(&request)).await.unwrap().unwrap();
        assert_eq!(response.headers.get("set-cookie").unwrap().contains("; Secure"), is_secure);
    }
    test_server.close().await;
}

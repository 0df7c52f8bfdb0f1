//! HTTPS: both protocols, certificate changes, session resumption, and clients that do not speak TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::{BodyEnd, Connection, Request};
use fakes::Script;
use h2::client::Builder;
use http::Method;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::http2::{Http2Client, collect};
use crate::test_server::{MODEL, TestServer, TestServerPlan, ask};

/// A certificate's files in a directory of their own.
pub(crate) struct CertificatePair {
    directory: tempfile::TempDir,
}

impl CertificatePair {
    pub(crate) fn new() -> Self {
        let pair = Self { directory: tempfile::tempdir().unwrap() };
        pair.make();
        pair
    }

    /// Creates a new one.
    fn make(&self) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.key(), signing_key.serialize_pem()).unwrap();
        fs::write(self.certificate(), cert.pem()).unwrap();
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    pub(crate) fn plan(&self) -> TestServerPlan {
        TestServerPlan {
            tls: Some(Arc::new(
                server::TlsServer::from_files(&self.certificate(), &self.key()).unwrap(),
            )),
            ..TestServerPlan::default()
        }
    }
}

pub(crate) fn connector(
    certificate: &Path,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn connect(connector: &TlsConnector, address: SocketAddr) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    client::soon(connector.connect(ServerName::try_from("localhost").unwrap(), stream))
        .await
        .unwrap()
        .unwrap()
}

/// Sends a request that closes the connection, and reads everything.
async fn say(stream: &mut TlsStream<TcpStream>, request: Request) -> String {
    stream.write_all(&request.header("connection", "close").encode("localhost")).await.unwrap();
    let mut text = String::new();
    client::soon(stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

#[tokio::test]
async fn http1_through_both_versions() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    for versions in [&[&TLS12], &[&TLS13]] {
        for alpn in [&[][..], &[&b"http/1.1"[..]]] {
            let mut stream =
                connect(&connector(&pair.certificate(), alpn, versions), test_server.address).await;
            assert_eq!(stream.get_ref().1.protocol_version(), Some(versions[0].version));
            test_server.upstream.script(Script::text(&["Hel", "lo"]));
            let text = say(&mut stream, Request::post("/v1/responses", &ask("hi"))).await;
            assert!(
                text.starts_with("HTTP/1.1 200 OK\r\n")
                    && text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"),
                "{text}"
            );
        }
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn http2_by_alpn() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    let stream = connect(
        &connector(&pair.certificate(), &[b"h2", b"http/1.1"], &[&TLS13]),
        test_server.address,
    )
    .await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Http2Client::over(stream, &Builder::new()).await;
    test_server.upstream.script(Script::text(&["Hel", "lo"]));
    let (text, end) = collect(client.post("/v1/responses", &ask("hi")).await).await;
    assert!(text.ends_with("data: [DONE]\n\n") && end.is_none(), "{end:?}: {text}");
    assert_eq!(client.send(Method::GET, "/healthz", None).await.unwrap().status(), 200);
    drop(client);
    test_server.quiet().await;
    test_server.close().await;
}

/// Bytes that arrive during a response are read ahead below TLS, and must arrive in order.
#[tokio::test]
async fn requests_sent_during_a_response_are_answered_after_it() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    let mut stream =
        connect(&connector(&pair.certificate(), &[], &[&TLS13]), test_server.address).await;
    let gate = Arc::new(tokio::sync::Notify::new());
    test_server.upstream.script(
        Script::new().role().content("Hel").wait_for(&gate).content("lo").finish("stop").done(),
    );
    stream
        .write_all(&Request::post("/v1/responses", &ask("hi")).encode("localhost"))
        .await
        .unwrap();
    let mut seen = String::new();
    while !seen.contains("Hel") {
        let mut buffer = [0; 4096];
        let count = client::soon(stream.read(&mut buffer)).await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    // Much more than one record, in pieces.
    let padding = "x".repeat(40_000);
    stream
        .write_all(&Request::get("/healthz").header("x-padding", &padding).encode("localhost"))
        .await
        .unwrap();
    stream.flush().await.unwrap();
    gate.notify_one();
    let rest = say(&mut stream, Request::get("/v1/models")).await;
    let (first, after) = rest.split_once("\r\n0\r\n\r\n").unwrap();
    assert!(first.ends_with("data: [DONE]\n\n"), "{first}");
    assert!(
        after.starts_with("HTTP/1.1 200 OK\r\n")
            && after.contains(r#"{"status":"ok"}"#)
            && after.contains(r#""object":"list""#),
        "{after}"
    );
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_leaving_client_is_detected_below_tls() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    for (request, stream) in [true, false].into_iter().enumerate() {
        test_server.upstream.script(Script::text(&["Hel", "lo"]).first(2).stall());
        let mut tls =
            connect(&connector(&pair.certificate(), &[], &[&TLS13]), test_server.address).await;
        let body = json!({ "model": MODEL, "input": "hi", "stream": stream, "store": false });
        tls.write_all(&Request::post("/v1/responses", &body).encode("localhost")).await.unwrap();
        client::soon(test_server.upstream.wait_requests(request + 1)).await.unwrap();
        drop(tls);
        client::soon(test_server.upstream.wait_closed(request)).await.unwrap();
        test_server.quiet().await;
    }
    test_server.close().await;
}

/// Requests a response repeatedly, and reads nothing.
async fn ask_and_take_nothing(mut stream: impl AsyncWrite + Unpin, id: &str) -> impl Sized {
    let request = Request::get(&format!("/v1/responses/{id}?stream=true")).encode("localhost");
    for _ in 0..100 {
        stream.write_all(&request).await.unwrap();
    }
    stream.flush().await.unwrap();
    stream
}

#[tokio::test]
async fn a_reader_that_reads_nothing_is_cut_off_with_and_without_tls() {
    let pair = CertificatePair::new();
    for is_encrypted in [false, true] {
        let mut plan = if is_encrypted { pair.plan() } else { TestServerPlan::default() };
        plan.server.write_timeout = Duration::from_millis(300);
        let test_server = TestServer::open_with(plan).await;
        let connector = connector(&pair.certificate(), &[], &[&TLS13]);
        let question = Request::post(
            "/v1/responses",
            &json!({ "model": "demo", "input": format!("echo {}", "word ".repeat(1000)) }),
        );
        let answer = if is_encrypted {
            say(&mut connect(&connector, test_server.address).await, question).await
        } else {
            String::from_utf8(test_server.send(&question).await.collect().await.unwrap().0).unwrap()
        };
        let (_, id) = answer.split_once(r#""id":""#).unwrap();
        let id = &id[..id.find('"').unwrap()];
        if is_encrypted {
            let _held =
                ask_and_take_nothing(connect(&connector, test_server.address).await, id).await;
            test_server.wait_connections(0).await;
        } else {
            let _held =
                ask_and_take_nothing(TcpStream::connect(test_server.address).await.unwrap(), id)
                    .await;
            test_server.wait_connections(0).await;
        }
        test_server.close().await;
    }
}

#[tokio::test]
async fn plain_http_gets_a_readable_response() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    let mut response =
        test_server.send(&Request::post("/v1/responses", &ask(&"hi ".repeat(1000)))).await;
    let (body, end) = response.collect().await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (response.status, end, body["error"]["code"].as_str()),
        (400, BodyEnd::Clean, Some("https_only"))
    );
    test_server.close().await;
}

#[tokio::test]
async fn a_handshake_has_the_same_timeout_as_a_head() {
    let pair = CertificatePair::new();
    let mut plan = pair.plan();
    plan.server.head_timeout = Duration::from_millis(200);
    let test_server = TestServer::open_with(plan).await;
    for start in [&b""[..], b"\x16\x03\x01\x02"] {
        let mut connection = Connection::open(test_server.address).await.unwrap();
        connection.write_raw(start).await.unwrap();
        assert!(
            client::soon(connection.read_raw()).await.unwrap().is_ok_and(|bytes| bytes.is_empty()),
            "{start:?}"
        );
    }
    test_server.close().await;
}

#[tokio::test]
async fn returning_clients_resume_their_session() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    for version in [&TLS12, &TLS13] {
        let connector = connector(&pair.certificate(), &[], &[version]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(&connector, test_server.address).await;
            say(&mut stream, Request::get("/healthz")).await;
            kinds.push(stream.get_ref().1.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
    }
    test_server.close().await;
}

/// Whether the server presents the certificate in `file`.
async fn shows(test_server: &TestServer, file: &Path) -> bool {
    let stream = TcpStream::connect(test_server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    client::soon(connector(file, &[], &[&TLS13]).connect(name, stream)).await.unwrap().is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let pair = CertificatePair::new();
    let test_server = TestServer::open_with(pair.plan()).await;
    let first = pair.directory.path().join("first.pem");
    fs::copy(pair.certificate(), &first).unwrap();
    assert!(shows(&test_server, &first).await);
    fs::write(pair.certificate(), "not a certificate").unwrap();
    // The server checks once a second; only after that can the test know that it kept the certificate.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(shows(&test_server, &first).await);
    pair.make();
    let changed = async { while !shows(&test_server, &pair.certificate()).await {} };
    client::soon(changed).await.unwrap();
    assert!(!shows(&test_server, &first).await);
    test_server.close().await;
}

//! Request bodies as clients send them: compressed, or with a byte order mark.

use std::io::Write;

use client::Request;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::test_server::{TestApi, TestServer, TestServerPlan};

/// `{"model":"demo","input":"/echo hi"}`, compressed by zstd 1.5.4.
const BY_ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\x19\x01\x00{\"model\":\"demo\",\"input\":\"/echo hi\"}\x3b\x40\x0d\x64";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn request(words: TestApi) -> (&'static str, Vec<u8>) {
    let (path, body) = match words {
        TestApi::Responses => ("/v1/responses", json!({ "model": "demo", "input": "/echo hi" })),
        TestApi::Chat => (
            "/v1/chat/completions",
            json!({ "model": "demo", "messages": [{ "role": "user", "content": "/echo hi" }] }),
        ),
    };
    (path, body.to_string().into_bytes())
}

fn coded(path: &str, coding: &str, body: Vec<u8>) -> Request {
    Request::new("POST", path)
        .header("content-type", "application/json")
        .header("content-encoding", coding)
        .body(body)
}

fn check(what: &str, (status, body): &(u16, Value)) {
    let text =
        [&body["output"][0]["content"][0]["text"], &body["choices"][0]["message"]["content"]];
    assert!(*status == 200 && text.contains(&&json!("hi")), "{what}: {status} {body}");
}

#[tokio::test]
async fn compressed_bodies_are_read_in_every_dialect() {
    let test_server = TestServer::open().await;
    for words in [TestApi::Responses, TestApi::Chat] {
        let (path, body) = request(words);
        for (coding, body) in [
            ("gzip", gzip(&body)),
            ("x-gzip", gzip(&body)),
            ("deflate", zlib(&body)),
            ("gzip, deflate", zlib(&gzip(&body))),
            ("identity", body.clone()),
            ("", body.clone()),
        ] {
            check(coding, &test_server.json(&coded(path, coding, body)).await);
        }
    }
    check("zstd", &test_server.json(&coded("/v1/responses", "zstd", BY_ZSTD.to_vec())).await);
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn other_codings_are_a_415_that_names_the_supported_ones() {
    let test_server = TestServer::open().await;
    for path in
        ["/v1/responses", "/v1/chat/completions", "/v1/responses/input_tokens", "/v1/tickets"]
    {
        let mut response =
            test_server.send(&coded(path, "br", b"\x0b\x02\x80{}\x03".to_vec())).await;
        assert_eq!(
            (response.status, response.headers.get("accept-encoding")),
            (415, Some("zstd, gzip, deflate")),
            "{path}"
        );
        let body: Value = serde_json::from_slice(&response.collect().await.unwrap().0).unwrap();
        let error = &body["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("unsupported_content_encoding"), &json!("Content-Encoding")),
            "{error}"
        );
        assert!(error["message"].as_str().unwrap().contains("'br'"), "{error}");
    }
    test_server.close().await;
}

#[tokio::test]
async fn the_limit_applies_to_the_decompressed_body() {
    let test_server =
        TestServer::open_with(TestServerPlan::server(|server| server.body_bytes = 100_000)).await;
    let padded = |bytes: usize| {
        let mut body = request(TestApi::Responses).1;
        body.resize(bytes, b' ');
        body
    };
    check(
        "exactly as large",
        &test_server.json(&coded("/v1/responses", "gzip", gzip(&padded(100_000)))).await,
    );
    for (coding, body) in [
        ("gzip", gzip(&padded(100_001))),
        ("gzip", gzip(&padded(50_000_000))),
        ("gzip, gzip", gzip(&gzip(&padded(50_000_000)))),
    ] {
        let (status, body) = test_server.json(&coded("/v1/responses", coding, body)).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (413, &json!("body_too_large")),
            "{coding}: {body}"
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_body_that_does_not_match_its_header_is_a_400() {
    let test_server = TestServer::open().await;
    let (path, body) = request(TestApi::Responses);
    let cut = gzip(&body);
    for (coding, body, code) in [
        ("gzip", body.clone(), "invalid_content_encoding"),
        ("zstd", body.clone(), "invalid_content_encoding"),
        ("gzip", cut[..cut.len() - 9].to_vec(), "truncated_body"),
        ("gzip", gzip(b"{\"model\":"), "invalid_json"),
    ] {
        let (status, found) = test_server.json(&coded(path, coding, body)).await;
        assert_eq!(
            (status, found["error"]["code"].as_str()),
            (400, Some(code)),
            "{coding}: {found}"
        );
    }
    test_server.close().await;
}

#[tokio::test]
async fn the_same_request_with_another_coding_is_the_same_request() {
    let test_server = TestServer::open().await;
    let (path, body) = request(TestApi::Responses);
    let plain = Request::new("POST", path)
        .header("content-type", "application/json")
        .header("idempotency-key", "k")
        .body(body.clone());
    let (status, first) = test_server.json(&plain).await;
    let (again, second) =
        test_server.json(&coded(path, "gzip", gzip(&body)).header("idempotency-key", "k")).await;
    assert_eq!((status, again, &first["id"]), (200, 200, &second["id"]), "{second}");
    test_server.quiet().await;
    test_server.close().await;
}

#[tokio::test]
async fn a_byte_order_mark_is_ignored() {
    let test_server = TestServer::open().await;
    for words in [TestApi::Responses, TestApi::Chat] {
        let (path, body) = request(words);
        let marked = [b"\xEF\xBB\xBF", &body[..]].concat();
        check("marked", &test_server.json(&coded(path, "identity", marked.clone())).await);
        check(
            "marked and compressed",
            &test_server.json(&coded(path, "gzip", gzip(&marked))).await,
        );
    }
    test_server.quiet().await;
    test_server.close().await;
}

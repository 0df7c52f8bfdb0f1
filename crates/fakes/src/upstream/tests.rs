//! The fake model server with the client: each vendor's format, errors and keys, and HTTP/2.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use client::{Request, Response, json, send, soon, spawn};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{SCENARIOS, Script, Upstream, Vendor, VendorError, scenario};

const KEY: &str = "lab-key-of-the-tests";

/// A valid request of a vendor.
fn request(vendor: Vendor, is_stream: bool) -> Request {
    let messages = json!([{"role": "user", "content": "hello"}]);
    let body = json!({"model": "lab-model", "stream": is_stream, "messages": messages});
    match vendor {
        Vendor::OpenAi => Request::post("/v1/chat/completions", &body)
            .header("authorization", &format!("Bearer {KEY}")),
        Vendor::Responses => {
            let body = json!({"model": "lab-model", "stream": is_stream, "input": "hello"});
            Request::post("/v1/responses", &body).header("authorization", &format!("Bearer {KEY}"))
        }
        Vendor::Anthropic => {
            let body = json!({"model": "lab-model", "max_tokens": 99, "stream": is_stream, "messages": messages});
            Request::post("/v1/messages", &body)
                .header("x-api-key", KEY)
                .header("anthropic-version", "2023-06-01")
        }
        Vendor::Gemini => {
            let verb = if is_stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let body = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
            Request::post(&format!("/v1beta/models/lab-model:{verb}"), &body)
                .header("x-goog-api-key", KEY)
        }
        Vendor::Ollama => Request::post("/api/chat", &body),
    }
}

async fn ask(upstream: &Upstream, request: &Request) -> Result<Response> {
    soon(send(upstream.address(), request)).await?
}

/// The complete body of a stream, as text.
async fn body(vendor: Vendor, script: Script) -> Result<String> {
    let upstream = Upstream::start_as(vendor).await?;
    upstream.script(script);
    let mut response = ask(&upstream, &request(vendor, true)).await?;
    let (bytes, _) = soon(response.collect()).await??;
    assert_eq!(upstream.complaints(), Vec::<String>::new());
    Ok(String::from_utf8(bytes)?)
}

/// The document of a response, with its status.
async fn document(upstream: &Upstream, request: &Request) -> Result<(u16, Value)> {
    let mut response = ask(upstream, request).await?;
    Ok((response.status, soon(json::value(&mut response)).await??))
}

#[tokio::test]
async fn every_vendor_has_its_frames() -> Result<()> {
    let text = || Script::text(&["Hel", "lo"]);
    assert!(body(Vendor::OpenAi, text()).await?.ends_with("data: [DONE]\n\n"));
    let responses = body(Vendor::Responses, text()).await?;
    assert!(
        responses.starts_with("event: response.created\ndata: {\"type\":\"response.created\""),
        "{responses}"
    );
    assert!(responses.contains("event: response.completed\n") && !responses.contains("[DONE]"));
    let anthropic = body(Vendor::Anthropic, text()).await?;
    assert!(
        anthropic.starts_with("event: message_start\n")
            && anthropic.ends_with("data: {\"type\":\"message_stop\"}\n\n")
    );
    let gemini = body(Vendor::Gemini, text()).await?;
    assert!(
        gemini.split("\r\n\r\n").all(|event| event.is_empty() || event.starts_with("data: {")),
        "{gemini}"
    );
    assert!(gemini.contains("\"finishReason\":\"STOP\""));
    let ollama = body(Vendor::Ollama, text()).await?;
    let lines: Vec<Value> = ollama.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(
        lines.iter().map(|line| line["done"] == true).collect::<Vec<_>>(),
        [false, false, true]
    );
    Ok(())
}

#[tokio::test]
async fn every_vendor_fails_in_its_own_way() -> Result<()> {
    let failing = || Script::new().role().content("a").failure(VendorError::Overloaded).end();
    assert!(body(Vendor::OpenAi, failing()).await?.contains("data: {\"error\":{"));
    let responses = body(Vendor::Responses, failing()).await?;
    assert!(responses.contains("event: error\n") && responses.contains("event: response.failed\n"));
    assert!(
        body(Vendor::Anthropic, failing())
            .await?
            .contains("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded")
    );
    assert!(body(Vendor::Gemini, failing()).await?.contains("\r\n\r\n{\n  \"error\": {\n"));
    assert!(body(Vendor::Ollama, failing()).await?.ends_with("\n{\"error\":\"Overloaded\"}\n"));
    Ok(())
}

#[tokio::test]
async fn every_scenario_plays_for_every_vendor_streamed_and_whole() -> Result<()> {
    for vendor in Vendor::ALL {
        let upstream = Upstream::start_as(vendor).await?;
        for name in SCENARIOS.iter().filter(|name| !matches!(**name, "stall" | "slow")) {
            for is_stream in [true, false] {
                upstream.script(scenario(name).context("a scenario of the list")?);
                let mut response = ask(&upstream, &request(vendor, is_stream)).await;
                // A response without streaming that is cut has no head.
                if let Ok(response) = &mut response {
                    soon(response.end()).await??;
                }
                assert!(response.is_ok() || matches!(*name, "cut" | "reset"), "{vendor:?} {name}");
            }
        }
        assert_eq!((upstream.complaints(), upstream.scripts_left()), (Vec::new(), 0), "{vendor:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_in_the_shape_of_the_vendor() -> Result<()> {
    let upstream = Upstream::start().await?;
    let wait = Duration::from_secs(7);
    let paths = [
        (Vendor::OpenAi, "/error/code", json!("rate_limit_exceeded"), Some("7")),
        (Vendor::Responses, "/error/code", json!("rate_limit_exceeded"), Some("7")),
        (Vendor::Anthropic, "/error/type", json!("rate_limit_error"), Some("7")),
        (Vendor::Gemini, "/error/details/0/retryDelay", json!("7s"), None),
        (Vendor::Ollama, "/error", json!("Rate limit reached."), None),
    ];
    for (vendor, pointer, expected, retry_after) in paths {
        upstream.script(Script::refused_for(429, VendorError::RateLimit, wait));
        let mut response = ask(&upstream, &request(vendor, true)).await?;
        assert_eq!(
            (response.status, response.headers.get("retry-after")),
            (429, retry_after),
            "{vendor:?}"
        );
        let body = soon(json::value(&mut response)).await??;
        assert_eq!(body.pointer(pointer), Some(&expected), "{vendor:?}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn keys_are_known_and_scripted_one_by_one() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.require_keys(&[KEY, "lab-key-of-another"]);
    upstream.script_for_key("lab-key-of-another", Script::refused_as(VendorError::Quota));
    let with = |key: &str| {
        Request::post("/v1/responses", &json!({"model": "m", "input": "hi"})).bearer(key)
    };
    assert_eq!(ask(&upstream, &with("lab-key-of-another")).await?.status, 429);
    assert_eq!(ask(&upstream, &with("lab-key-of-another")).await?.status, 200);
    assert_eq!(ask(&upstream, &with(KEY)).await?.status, 200);
    assert_eq!(ask(&upstream, &with("lab-key-of-nobody")).await?.status, 401);
    assert_eq!(upstream.complaints(), Vec::<String>::new(), "an unknown key is no complaint");
    assert_eq!(upstream.requests()[2].key.as_deref(), Some(KEY));

    let misplaced = with(KEY).header("x-api-key", KEY);
    assert_eq!(ask(&upstream, &misplaced).await?.status, 200);
    let leaked = Request::post("/v1/responses", &json!({"model": "m", "input": KEY})).bearer(KEY);
    assert_eq!(ask(&upstream, &leaked).await?.status, 200);
    assert_eq!(
        upstream.complaints(),
        [
            "responses: /v1/responses: There is a key in x-api-key, which is authorization here.",
            "responses: /v1/responses: The key is in the body.",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn what_the_vendor_refuses_is_refused() -> Result<()> {
    let upstream = Upstream::start_as(Vendor::OpenAi).await?;
    let messages = json!([{"role": "user", "content": "hi"}]);
    let chat = json!({"model": "m", "messages": messages, "top_k": 1});
    let (status, body) =
        document(&upstream, &Request::post("/v1/chat/completions", &chat).bearer(KEY)).await?;
    assert_eq!((status, &body["error"]["type"]), (400, &json!("invalid_request_error")));
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let responses = json!({"model": "m", "input": [call]});
    assert_eq!(
        document(&upstream, &Request::post("/v1/responses", &responses).bearer(KEY)).await?.0,
        400
    );
    let anthropic = Request::post("/v1/messages", &json!({"model": "m", "messages": messages}))
        .header("x-api-key", KEY);
    let (status, body) = document(&upstream, &anthropic).await?;
    assert_eq!((status, &body["type"]), (400, &json!("error")));
    let gemini =
        json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "model_name": "m"});
    let gemini =
        Request::post("/v1beta/models/m:generateContent", &gemini).header("x-goog-api-key", KEY);
    assert_eq!(document(&upstream, &gemini).await?.1["error"]["status"], "INVALID_ARGUMENT");
    let ollama = json!({"model": "m", "messages": [{"role": "user", "content": ["hi"]}]});
    assert_eq!(document(&upstream, &Request::post("/api/chat", &ollama)).await?.0, 400);
    assert_eq!(upstream.complaints().len(), 6, "{:#?}", upstream.complaints());

    let lenient = Upstream::start().await?;
    assert_eq!(document(&lenient, &Request::post("/v1/chat/completions", &chat)).await?.0, 200);
    assert_eq!(lenient.complaints(), Vec::<String>::new());
    Ok(())
}

/// An HTTP/2 client, with the task that drives its connection.
async fn http2(upstream: &Upstream) -> Result<(h2::client::SendRequest<Bytes>, client::Task)> {
    let (client, connection) =
        h2::client::handshake(TcpStream::connect(upstream.address()).await?).await?;
    let moving = spawn(async move {
        // The client's calls return its errors.
        let _ = connection.await;
    });
    Ok((client.ready().await?, moving))
}

fn send_http2(
    client: &mut h2::client::SendRequest<Bytes>,
    request: &Request,
) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>)> {
    let mut head = http::Request::post(format!("http://lab{}", request.path));
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    let (response, mut body) = client.send_request(head.body(())?, false)?;
    body.send_data(Bytes::from(request.body.clone()), true)?;
    Ok((response, body))
}

#[tokio::test]
async fn http2_on_the_same_port() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.default_script(Script::text(&["Hel", "lo"]).first(2).stall());
    upstream.script(Script::text(&["Hel", "lo"]));
    let (mut client, _moving) = http2(&upstream).await?;
    let (response, _) = send_http2(&mut client, &request(Vendor::Anthropic, true))?;
    let mut body = soon(response).await??.into_body();
    let mut all = Vec::new();
    while let Some(data) = soon(body.data()).await? {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    assert!(all.ends_with(b"data: {\"type\":\"message_stop\"}\n\n"));

    let (first, mut stopped) = send_http2(&mut client, &request(Vendor::Anthropic, true))?;
    let (second, _kept) = send_http2(&mut client, &request(Vendor::Gemini, true))?;
    let (_first, _second) = (soon(first).await??, soon(second).await??);
    assert_eq!(
        (
            upstream.open_streams(),
            upstream.open_streams_of(Vendor::Gemini),
            upstream.accepted_connections()
        ),
        (2, 1, 1)
    );
    stopped.send_reset(h2::Reason::CANCEL);
    soon(upstream.wait_closed(1)).await?;
    soon(upstream.wait_streams(1)).await?;
    assert_eq!((upstream.resets(), upstream.open_connections()), (1, 1));
    assert!(upstream.requests().iter().all(|request| request.is_http2));
    Ok(())
}

#[tokio::test]
async fn http2_is_cut_as_ordered() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.script(Script::text(&["Hel", "lo"]).first(2).rst());
    upstream.script(Script::text(&["Hel", "lo"]).first(2).fin());
    let (mut client, _moving) = http2(&upstream).await?;
    for is_reset in [true, false] {
        let (response, _) = send_http2(&mut client, &request(Vendor::OpenAi, true))?;
        let error = match soon(response).await? {
            Err(error) => error,
            Ok(response) => {
                let mut body = response.into_body();
                loop {
                    match soon(body.data()).await?.context("a cut, not an end")? {
                        Ok(data) => body.flow_control().release_capacity(data.len())?,
                        Err(error) => break error,
                    }
                }
            }
        };
        assert_eq!(error.is_reset(), is_reset, "{error}");
    }
    soon(upstream.wait_open(0)).await?;
    assert_eq!(upstream.resets(), 0, "the reset was the server's");
    Ok(())
}

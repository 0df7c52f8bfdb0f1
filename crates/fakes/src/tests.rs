//! The fakes and the client together: the client receives what the script sends, directly and
//! through the proxy.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use client::{BodyEnd, Connection, Request, Response, Stream, json, send, soon};
use serde_json::json;
use tokio::sync::Notify;

use crate::{Cut, FaultProxy, Script, Upstream};

fn completion() -> Request {
    Request::post(
        "/v1/chat/completions",
        &json!({"model": "lab-model", "stream": true, "messages": []}),
    )
}

async fn start(script: Script) -> Result<Upstream> {
    let upstream = Upstream::start().await?;
    upstream.script(script);
    Ok(upstream)
}

async fn ask(upstream: &Upstream) -> Result<Stream> {
    soon(send(upstream.address(), &completion())).await??.events()
}

/// Plays a script: the data of its events, how its body ended, and by which error.
async fn play(script: Script) -> Result<(Vec<Bytes>, BodyEnd, Option<ErrorKind>)> {
    let upstream = start(script).await?;
    let mut stream = ask(&upstream).await?;
    let (data, end) = soon(stream.collect_data()).await??;
    Ok((data, end, stream.response().cut_by()))
}

/// The values at `pointer` in the events' first choice.
async fn pieces(script: Script, pointer: &str) -> Result<Vec<String>> {
    let (data, end, _) = play(script).await?;
    ensure!(
        end == BodyEnd::Clean && data.last().is_some_and(|last| last == "[DONE]"),
        "not a complete response: {data:?}"
    );
    let values =
        data.iter().filter_map(|data| serde_json::from_slice::<serde_json::Value>(data).ok());
    Ok(values.filter_map(|value| Some(value.pointer(pointer)?.as_str()?.to_owned())).collect())
}

#[tokio::test]
async fn complete_responses_arrive_completely() -> Result<()> {
    let content = "/choices/0/delta/content";
    let reason = "/choices/0/finish_reason";
    assert_eq!(pieces(Script::text(&["Hel", "lo"]), content).await?, ["", "Hel", "lo"]);
    assert_eq!(
        pieces(Script::text(&["Hel", "lo"]).byte_by_byte(), content).await?,
        ["", "Hel", "lo"]
    );
    assert_eq!(
        pieces(Script::text(&["a"]).paced(Duration::from_millis(1)), reason).await?,
        ["stop"]
    );
    assert_eq!(
        pieces(Script::reasoning(&["hm"], &["so"]), "/choices/0/delta/reasoning_content").await?,
        ["hm"]
    );
    assert_eq!(pieces(Script::reasoning(&["hm"], &["so"]), content).await?, ["", "so"]);
    assert_eq!(pieces(Script::refusal(&["no"]), "/choices/0/delta/refusal").await?, ["no"]);
    let call = || Script::tool_call("weather", "call_1", &["{\"city\"", ":1}"]);
    assert_eq!(
        pieces(call(), "/choices/0/delta/tool_calls/0/function/arguments").await?,
        ["", "{\"city\"", ":1}"]
    );
    assert_eq!(pieces(call(), "/choices/0/delta/tool_calls/0/id").await?, ["call_1"]);
    assert_eq!(pieces(call(), reason).await?, ["tool_calls"]);
    Ok(())
}

#[tokio::test]
async fn one_connection_serves_requests_in_order() -> Result<()> {
    let upstream = start(Script::error(429, &json!({"error": {"message": "slow down"}}))).await?;
    let mut refused = Connection::open(upstream.address()).await?.send(&completion()).await?;
    assert_eq!(refused.status, 429);
    assert_eq!(soon(json::value(&mut refused)).await??["error"]["message"], "slow down");
    let second =
        refused.into_connection().await?.send(&completion().header("X-Which", "second")).await?;
    let mut stream = second.events()?;
    assert_eq!(soon(stream.collect_data()).await??.1, BodyEnd::Clean);

    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests.iter().all(|request| request.connection == 0 && request.body["stream"] == true)
    );
    assert_eq!(requests[1].headers.get("x-which"), Some("second"));
    assert_eq!((upstream.open_connections(), upstream.scripts_left()), (1, 0));
    drop(stream);
    soon(upstream.wait_open(0)).await?;
    Ok(())
}

#[tokio::test]
async fn other_requests_have_plain_responses() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.models(vec!["a".into(), "b".into()]);
    let mut listed = send(upstream.address(), &Request::get("/v1/models")).await?;
    let list = soon(json::value(&mut listed)).await??;
    assert_eq!((listed.status, &list["data"][1]["id"]), (200, &json!("b")));
    assert_eq!((upstream.model_requests(), upstream.requests().len()), (1, 0));

    let whole = Request::post("/v1/chat/completions", &json!({"model": "lab-model"}));
    assert_eq!(send(upstream.address(), &whole).await?.status, 400);
    assert_eq!(send(upstream.address(), &Request::get("/v2")).await?.status, 404);
    assert_eq!(upstream.requests()[1].path, "/v2");
    assert!(upstream.base_url().ends_with("/v1"));

    let mut connection = Connection::open(upstream.address()).await?;
    connection.write_raw(b"what\r\nis this\r\n\r\n").await?;
    assert_eq!(soon(connection.read_response(&whole)).await??.status, 400);
    Ok(())
}

#[tokio::test]
async fn the_client_distinguishes_cuts() -> Result<()> {
    let start_of_text = || Script::text(&["Hel", "lo"]).first(2);
    let (data, end, error) = play(start_of_text().fin()).await?;
    assert_eq!((data.len(), end, error), (2, BodyEnd::Truncated, None));
    let (data, end, error) = play(start_of_text().rst()).await?;
    assert_eq!((data.len(), end, error), (2, BodyEnd::Truncated, Some(ErrorKind::ConnectionReset)));
    let (data, end, _) = play(start_of_text()).await?;
    assert_eq!((data.len(), end), (2, BodyEnd::Clean));
    let (data, _, _) = play(start_of_text().raw("data: cut off")).await?;
    assert_eq!(data.len(), 2, "an event needs a blank line");
    Ok(())
}

#[tokio::test]
async fn the_upstream_sees_how_a_client_leaves() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.default_script(Script::text(&["Hel", "lo"]).first(2).stall());
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = ask(&upstream).await?;
        soon(stream.next()).await??.context("the first event")?;
        streams.push(stream);
    }
    assert_eq!(upstream.open_connections(), 3);
    streams.pop().context("the third")?.abandon().reset()?;
    let reset_at = soon(upstream.wait_closed(2)).await?;
    drop(streams.pop());
    let dropped_at = soon(upstream.wait_closed(1)).await?;
    let mut half = streams.pop().context("the first")?;
    half.connection().half_close().await?;
    let half_closed_at = soon(upstream.wait_closed(0)).await?;
    assert!(reset_at <= dropped_at && dropped_at <= half_closed_at);
    soon(upstream.wait_open(0)).await?;
    // What was sent before the half-close can still be read.
    let (rest, end) = soon(half.collect_data()).await??;
    assert_eq!((rest.len(), end), (1, BodyEnd::Truncated));
    Ok(())
}

#[tokio::test]
async fn a_client_can_leave_before_the_head_ends() -> Result<()> {
    for script in [Script::no_head(), Script::endless_headers()] {
        let upstream = start(script).await?;
        let mut connection = Connection::open(upstream.address()).await?;
        connection.write(&completion()).await?;
        soon(upstream.wait_requests(1)).await?;
        drop(connection);
        soon(upstream.wait_closed(0)).await?;
    }
    let upstream = start(Script::endless_headers()).await?;
    let mut connection = Connection::open(upstream.address()).await?;
    connection.write(&completion()).await?;
    for _ in 0..3 {
        assert!(!soon(connection.read_raw()).await??.is_empty());
    }
    let upstream = start(Script::headers_only()).await?;
    let response = soon(send(upstream.address(), &completion())).await??;
    assert_eq!(response.status, 200);
    drop(response);
    soon(upstream.wait_closed(0)).await?;
    Ok(())
}

#[tokio::test]
async fn a_wait_delays_the_following_steps() -> Result<()> {
    let gate = Arc::new(Notify::new());
    let upstream =
        start(Script::new().content("a").comment().wait_for(&gate).content("b").done()).await?;
    let mut stream = ask(&upstream).await?;
    let first = soon(stream.next()).await??.context("an event before the gate")?;
    assert_eq!(first.json()?["choices"][0]["delta"]["content"], "a");
    gate.notify_one();
    let (events, end) = soon(stream.collect()).await??;
    assert_eq!((events.len(), end, stream.heartbeats()), (2, BodyEnd::Clean, 1));
    assert!(first.arrived <= events[0].arrived);
    let connection = stream.into_response().into_connection().await?;
    assert_eq!(connection.send(&completion()).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn ndjson_is_split_into_lines() -> Result<()> {
    let script = Script::status(
        200,
        &[("content-type", "application/x-ndjson")],
        "{\"a\":1}\n\n[]\r\ncut off",
    );
    let upstream = start(script).await?;
    let mut stream = send(upstream.address(), &completion()).await?.events()?;
    let (data, end) = soon(stream.collect_data()).await??;
    assert_eq!(
        (data, end, stream.heartbeats()),
        (vec!["{\"a\":1}".into(), "[]".into()], BodyEnd::Clean, 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_reader_that_stalls_can_leave() -> Result<()> {
    // More than the sockets' buffers, so that the upstream is still writing when the client leaves.
    let upstream = start(Script::new().raw(vec![b':'; 32 << 20])).await?;
    let response =
        Connection::open_narrow(upstream.address(), 4096).await?.send(&completion()).await?;
    response.abandon().reset()?;
    soon(upstream.wait_closed(0)).await?;
    Ok(())
}

#[tokio::test]
async fn dropping_the_upstream_closes_its_sockets() -> Result<()> {
    let upstream = start(Script::headers_only()).await?;
    let mut stream = ask(&upstream).await?;
    drop(upstream);
    assert_eq!(soon(stream.end()).await??, BodyEnd::Truncated);
    Ok(())
}

/// The raw bytes of a response through a proxy, up to the cut.
async fn raw_response(proxy: &FaultProxy) -> Result<(Vec<u8>, Option<ErrorKind>)> {
    let mut connection = Connection::open(proxy.address()).await?;
    let mut all = Vec::new();
    if let Err(error) = connection.write(&completion().header("host", "lab")).await {
        return Ok((all, error.downcast_ref::<std::io::Error>().map(std::io::Error::kind)));
    }
    loop {
        match soon(connection.read_raw()).await? {
            Ok(bytes) if bytes.is_empty() => return Ok((all, None)),
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) => return Ok((all, Some(error.kind()))),
        }
    }
}

#[tokio::test]
async fn the_proxy_cuts_at_the_byte() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.default_script(Script::text(&["Hel", "lo"]).first(2).fin());
    let proxy = FaultProxy::start(upstream.address()).await?;
    let (whole, error) = raw_response(&proxy).await?;
    assert_eq!(error, None);
    for bytes in (0..whole.len()).step_by(37) {
        for (cut, expected) in [(Cut::Fin, None), (Cut::Rst, Some(ErrorKind::ConnectionReset))] {
            proxy.cut_after_bytes(bytes as u64, cut);
            let (part, error) = raw_response(&proxy).await?;
            assert_eq!(part, &whole[..bytes], "cut by {cut:?} after {bytes}");
            // A cut before the request was read is always a reset.
            assert!(bytes == 0 || error == expected, "cut by {cut:?} after {bytes}: {error:?}");
        }
    }
    assert_eq!(raw_response(&proxy).await?, (whole, None), "a cut applies to one connection");
    Ok(())
}

#[tokio::test]
async fn the_proxy_resets_and_stalls() -> Result<()> {
    let upstream = Upstream::start().await?;
    upstream.default_script(Script::text(&["Hel", "lo"]).first(2).stall());
    let proxy = FaultProxy::start(upstream.address()).await?;
    let ask = async || -> Result<Response> { soon(send(proxy.address(), &completion())).await? };
    let mut stream = ask().await?.events()?;
    soon(stream.next()).await??.context("an event before the cut")?;
    proxy.cut_now_rst();
    assert_eq!(soon(stream.end()).await??, BodyEnd::Truncated);
    assert_eq!(stream.response().cut_by(), Some(ErrorKind::ConnectionReset));
    soon(upstream.wait_closed(0)).await?;

    upstream.default_script(Script::text(&["Hel", "lo"]));
    proxy.stall_downstream();
    let mut connection = Connection::open(proxy.address()).await?;
    connection.write(&completion()).await?;
    soon(upstream.wait_requests(2)).await?;
    proxy.resume_downstream();
    let mut stream = soon(connection.read_response(&completion())).await??.events()?;
    assert_eq!(soon(stream.collect_data()).await??.1, BodyEnd::Clean);
    assert_eq!(proxy.connections(), 2);

    drop(stream);
    soon(upstream.wait_open(0)).await?;
    Ok(())
}

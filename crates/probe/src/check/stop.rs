//! How long a stop takes: from the request that stops a response to its last byte, and, where the
//! server tells, to the close of its connection to the model.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client::now;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Check, CheckReport};
use crate::dialect::Dialect;
use crate::finding::Finding;
use crate::reader::{SeenEvent, StreamEnd, StreamReader};
use crate::subject::Subject;
use crate::target::{document, error_message};
use crate::text::{milliseconds, text};

/// A stop that takes longer is one that users notice.
const SLOW: Duration = Duration::from_secs(2);

/// A long response of the demo model of a Weir, which costs nothing.
const LONG_DEMO: &str = "/slow 100";

/// A long response of any other model.
const LONG: &str = "Write a story of a thousand words about a lighthouse.";

/// Stops a response in the middle.
pub(crate) async fn run(subject: &Subject<'_>) -> Result<CheckReport> {
    if subject.target.dialect != Dialect::Responses {
        let title = subject.target.dialect.title();
        return Ok(CheckReport::not_made(
            Check::Stop,
            text!(
                "{title} is stopped by closing the connection; whether the model stops then cannot be seen from outside",
                "{title} 只能靠断开连接来停止；模型是否随之停止，从外部看不到"
            ),
        ));
    }
    (subject.progress)(&text!(
        "stop: a response stopped in the middle",
        "停止：在中途停止一个回答"
    ));
    let model = subject.target.model.clone().unwrap_or_default();
    let prompt = if model == "demo" { LONG_DEMO } else { LONG };
    let body = json!({ "model": model, "input": prompt, "stream": true });
    let fields = [("accept", "text/event-stream"), ("content-type", "application/json")];
    let place = &subject.target.place;
    let request = subject
        .ask
        .credentials
        .request(Dialect::Responses, "POST", &place.target(), &fields)
        .body(body.to_string());
    let mut reader = StreamReader::open(place, &request).await?;
    if reader.status != 200 {
        let (status, message) = (reader.status, error_message(&reader.text().await?));
        let why =
            text!("the response was refused: {status}{message}", "回答被拒绝：{status}{message}");
        return Ok(CheckReport::not_made(Check::Stop, why));
    }
    let Some(id) = first_text(&mut reader, subject.meter.longest).await? else {
        let why = text!("the response had no text to stop", "回答没有可停止的文本");
        return Ok(CheckReport::not_made(Check::Stop, why));
    };
    stop(subject, reader, &id).await
}

async fn stop(subject: &Subject<'_>, mut reader: StreamReader, id: &str) -> Result<CheckReport> {
    let path = subject.target.place.path.trim_end_matches('/');
    let stop_path = format!("{path}/{id}/cancel");
    let fields = [("content-type", "application/json")];
    let request =
        subject.ask.credentials.request(Dialect::Responses, "POST", &stop_path, &fields).body("{}");
    let stopped_at = now();
    let stopping = async {
        let mut response =
            StreamReader::open(&subject.target.place.with_path(&stop_path), &request).await?;
        let took = stopped_at.elapsed();
        Ok::<_, anyhow::Error>((response.status, response.text().await?, took))
    };
    let reading = reader.collect(stopped_at.duration_since(reader.started) + SLOW * 5);
    let (stopping, events) = futures_util::future::join(stopping, reading).await;
    let ((status, body, returned), events) = (stopping.context("the request that stops")?, events?);
    if status != 200 {
        let message = error_message(&body);
        return Ok(CheckReport::not_made(
            Check::Stop,
            text!("the stop was refused: {status}{message}", "停止请求被拒绝：{status}{message}"),
        ));
    }
    let silent = silence(&reader, &events, stopped_at);
    let upstream = upstream_close(subject, id).await;
    Ok(report(returned, silent, reader.end, upstream))
}

/// How long after the stop the last byte came.
fn silence(reader: &StreamReader, events: &[SeenEvent], stopped_at: Instant) -> Duration {
    let stopped = stopped_at.duration_since(reader.started);
    let last = events.last().map_or(stopped, |event| event.at);
    last.max(reader.phases.end.unwrap_or_default()).saturating_sub(stopped)
}

fn report(
    returned: Duration,
    silent: Duration,
    end: Option<StreamEnd>,
    upstream: Option<Duration>,
) -> CheckReport {
    let has_ended = end == Some(StreamEnd::Complete);
    let in_words = (milliseconds(silent), milliseconds(returned));
    let (silent_words, returned_words) = in_words;
    let mut lines = vec![text!(
        "from the stop to silence {silent_words}; the stop returned after {returned_words}",
        "从停止到静默 {silent_words}；停止请求在 {returned_words} 后返回"
    )];
    lines.push(match upstream.map(milliseconds) {
        Some(upstream) => text!(
            "to the close of the connection to the model {upstream}",
            "到关闭与模型的连接 {upstream}"
        ),
        None => text!(
            "when the connection to the model closed is not told by this server",
            "这个服务器没有说明何时关闭与模型的连接"
        ),
    });
    let mut findings = Vec::new();
    if has_ended && silent > SLOW {
        findings.push(Finding::problem(
            "stop_slow",
            text!(
                "The stop took {silent_words}: users take the button for broken.",
                "停止用了 {silent_words}：用户会以为按钮坏了。"
            ),
        ));
    }
    if end != Some(StreamEnd::Complete) {
        findings.push(Finding::problem(
            "stop_ignored",
            text!("The stream did not end after the stop.", "发出停止之后，流没有结束。"),
        ));
    }
    let in_ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let facts = json!({
        "silent_ms": in_ms(silent),
        "returned_ms": in_ms(returned),
        "upstream_closed_ms": upstream.map(in_ms),
        "ended": has_ended,
    });
    CheckReport::made(Check::Stop, facts, lines, findings)
}

/// Reads up to the first text, and gives the response's id.
async fn first_text(reader: &mut StreamReader, longest: Duration) -> Result<Option<String>> {
    let mut id = reader.headers.get("weir-response-id").map(str::to_owned);
    let reading = async {
        while let Some(event) = reader.next().await? {
            let value: Value = serde_json::from_slice(&event.fields.data).unwrap_or_default();
            if let Some(found) = value["response"]["id"].as_str() {
                id.get_or_insert_with(|| found.to_owned());
            }
            if Dialect::Responses.text(&value).is_some() {
                return Ok(true);
            }
        }
        Ok::<_, anyhow::Error>(false)
    };
    let has_text = timeout(longest, reading).await.unwrap_or(Ok(false))?;
    Ok(id.filter(|_| has_text))
}

/// How long after the stop the server closed its connection to the model, where its lens tells:
/// `upstream.closed_after_stop_ms` of `GET /v1/lens/responses/{id}`.
async fn upstream_close(subject: &Subject<'_>, id: &str) -> Option<Duration> {
    let weir = subject.target.weir.as_ref()?;
    let path = format!("{}/v1/lens/responses/{id}", weir.prefix);
    let found =
        document(&subject.target.place, subject.ask, Dialect::Responses, &path).await.ok()?;
    let closed_ms = found["upstream"]["closed_after_stop_ms"].as_f64()?;
    (closed_ms >= 0.0).then(|| Duration::from_secs_f64(closed_ms / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_judged_by_the_silence_after_it() {
        let codes = |silent, end| {
            let report = report(Duration::from_millis(5), Duration::from_millis(silent), end, None);
            report.findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert!(codes(20, Some(StreamEnd::Complete)).is_empty());
        assert_eq!(codes(3000, Some(StreamEnd::Complete)), ["stop_slow"]);
        assert_eq!(codes(9000, Some(StreamEnd::Stopped)), ["stop_ignored"]);
    }
}

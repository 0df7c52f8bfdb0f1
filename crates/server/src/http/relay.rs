//! What a proxy in between does to a body, done here on request, for the lab: `relay_bytes` gathers
//! it until there are as many, `relay_ms` for as long, and `relay_delay_ms` passes everything on
//! that much later. A browser has no proxy of its own to try.
//!
//! WebSockets are left out on purpose: a proxy buffers responses of HTTP, and passes an upgraded
//! connection through.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use http::{Method, StatusCode, Uri, header};
use protocol::fault::{Fault, FaultKind};
use tokio::time::{Instant, sleep_until};

use super::auth::Authenticated;
use super::label::own_query;
use crate::app::App;
use crate::error::FaultResponse;
use crate::query;
use crate::sources::SourceGuard;

/// As much as proxies hold of a response before they write to a file or pass it on.
const MOST_BYTES: u64 = 256 << 10;
const LONGEST_MS: u64 = 10_000;
/// A delayed body waits here; beyond this, it is no longer read.
const MOST_WAITING: usize = 256 << 10;

/// What is done to a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RelayPlan {
    /// It is passed on in pieces of this size.
    bytes: Option<usize>,
    /// It is passed on this long after its first byte that waits.
    period: Option<Duration>,
    /// Each piece is passed on this much later.
    delay: Duration,
}

/// The layer around routes whose responses may be relayed.
pub(crate) async fn relay(State(app): State<App>, request: Request, next: Next) -> Response {
    let plan = match plan(request.uri()) {
        Ok(Some(plan)) if request.method() != Method::CONNECT => plan,
        Ok(_) => return next.run(request).await,
        Err(fault) => return FaultResponse(fault).into_response(),
    };
    if !app.config.lens.source {
        let message = "Relays are switched off here (lens.source).";
        let fault = Fault::new(FaultKind::NotFound, "source_off", message);
        return FaultResponse(fault).into_response();
    }
    let (parts, body) = request.into_parts();
    // The handler refuses a request without a caller.
    let counted = Authenticated::of(&parts).map(|one| app.sources.take(&one.caller.owner)).ok();
    let counted = match counted.transpose() {
        Ok(counted) => counted,
        Err(fault) => return FaultResponse(fault).into_response(),
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    match counted {
        Some(counted) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            relayed(response, plan, counted)
        }
        Some(_) | None => response,
    }
}

fn plan(uri: &Uri) -> Result<Option<RelayPlan>, Fault> {
    let query = own_query(uri).unwrap_or_default();
    let number = |name: &str, most: u64| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| query::parse(name, value, 1..=most)).transpose()
    };
    let plan = RelayPlan {
        bytes: number("relay_bytes", MOST_BYTES)?
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        period: number("relay_ms", LONGEST_MS)?.map(Duration::from_millis),
        delay: number("relay_delay_ms", LONGEST_MS)?.map_or(Duration::ZERO, Duration::from_millis),
    };
    Ok((plan != RelayPlan::default()).then_some(plan))
}

fn relayed(response: Response, plan: RelayPlan, counted: SourceGuard) -> Response {
    let (mut parts, body) = response.into_parts();
    // The length is the same, but a proxy that gathers a stream does not know it either.
    parts.headers.remove(header::CONTENT_LENGTH);
    let relay = Relay::new(body, plan);
    let body = Body::from_stream(unfold((relay, counted), |(mut relay, counted)| async move {
        relay.next().await.map(|bytes| (bytes, (relay, counted)))
    }));
    Response::from_parts(parts, body)
}

/// A body on its way through the relay.
struct Relay {
    body: Option<BodyDataStream>,
    plan: RelayPlan,
    gathered: BytesMut,
    /// When the gathered bytes are passed on, however few they are.
    due: Option<Instant>,
    /// Passed on at these times.
    waiting: VecDeque<(Instant, Bytes)>,
    waiting_bytes: usize,
    failed: Option<axum::Error>,
}

impl Relay {
    fn new(body: Body, plan: RelayPlan) -> Self {
        Self {
            body: Some(body.into_data_stream()),
            plan,
            gathered: BytesMut::new(),
            due: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            failed: None,
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        loop {
            let first = self.waiting.front().map(|(at, _)| *at);
            if first.is_none() && self.body.is_none() {
                return self.failed.take().map(Err);
            }
            let (now, has_room) = (Instant::now(), self.waiting_bytes < MOST_WAITING);
            let (body, due) = (&mut self.body, self.due);
            let read = async {
                match body {
                    Some(body) => body.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(first.unwrap_or(now)), if first.is_some() => {
                    let (_, bytes) = self.waiting.pop_front()?;
                    self.waiting_bytes -= bytes.len();
                    return Some(Ok(bytes));
                }
                read = read, if has_room => match read {
                    Some(Ok(bytes)) => self.gather(&bytes),
                    end => {
                        self.failed = end.and_then(Result::err);
                        self.body = None;
                        self.pass_on();
                    }
                },
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => self.pass_on(),
            }
        }
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        let RelayPlan { bytes: size, period, .. } = self.plan;
        if size.is_none() && period.is_none() {
            return self.pass_on();
        }
        if let Some(size) = size {
            while self.gathered.len() >= size {
                let full = self.gathered.split_to(size).freeze();
                self.wait(full);
            }
        }
        if self.gathered.is_empty() {
            self.due = None;
        } else if let Some(period) = period {
            self.due.get_or_insert_with(|| Instant::now() + period);
        }
    }

    /// Passes on what is gathered.
    fn pass_on(&mut self) {
        self.due = None;
        let gathered = self.gathered.split().freeze();
        if !gathered.is_empty() {
            self.wait(gathered);
        }
    }

    fn wait(&mut self, bytes: Bytes) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back((Instant::now() + self.plan.delay, bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::iter;
    use tokio::time::sleep;

    use super::*;

    /// A body of pieces, one every ten milliseconds from the start on.
    fn body(pieces: &'static [&'static str]) -> Body {
        Body::from_stream(iter(pieces).then(|piece| async move {
            sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes()))
        }))
    }

    async fn check(query: &str, pieces: &'static [&'static str], expected: &[(u128, &str)]) {
        let uri: Uri = format!("/v1/responses?{query}").parse().unwrap();
        let mut relay = Relay::new(body(pieces), plan(&uri).unwrap().unwrap());
        let (started, mut seen) = (Instant::now(), Vec::new());
        while let Some(bytes) = relay.next().await {
            let text = String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            seen.push((started.elapsed().as_millis(), text));
        }
        let seen: Vec<(u128, &str)> = seen.iter().map(|(at, text)| (*at, text.as_str())).collect();
        assert_eq!(seen, expected, "{query}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_gathered_by_size_by_time_and_delayed() {
        let pieces: &[&str] = &["ab", "cd", "ef", "g"];
        check("relay_bytes=4", pieces, &[(20, "abcd"), (40, "efg")]).await;
        check("relay_bytes=1000", pieces, &[(40, "abcdefg")]).await;
        check("relay_ms=15", pieces, &[(25, "abcd"), (40, "efg")]).await;
        let delayed = [(110, "ab"), (120, "cd"), (130, "ef"), (140, "g")];
        check("relay_delay_ms=100", pieces, &delayed).await;
        check("relay_bytes=4&relay_delay_ms=5", pieces, &[(25, "abcd"), (45, "efg")]).await;
    }

    #[test]
    fn plans_are_bounded_and_never_a_message() {
        let read = |uri: &str| plan(&uri.parse().unwrap()).map_err(|fault| fault.param.unwrap());
        assert_eq!(read("/v1/responses"), Ok(None));
        assert_eq!(read("/chat?message=relay&relay_ms=5"), Ok(None));
        assert!(read("/createSse?relay_ms=5").unwrap().is_some());
        assert_eq!(read("/v1/responses?relay_ms=0"), Err("relay_ms".to_owned()));
        assert_eq!(read("/v1/responses?relay_bytes=300000"), Err("relay_bytes".to_owned()));
    }
}

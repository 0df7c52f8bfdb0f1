//! Holds the head of a stream until the upstream's first result, so that an early refusal keeps its
//! status and SDKs try again.

use std::time::Duration;

use engine::feed::Feed;
use engine::response::fault::log_fault;
use http::HeaderMap;
use protocol::event::EventKind;
use protocol::fault::Fault;

use crate::config::Config;
use crate::listen::ConnectionHandle;

/// Whether the head of a stream may have the status 200.
pub(super) enum HoldOutcome {
    /// The response has started.
    Stream,
    /// The response failed before any output, so the status can still report it.
    Failed,
}

/// Holds the head until the entry at `first_output` exists, or `patience` is over, or the client
/// half-closes, which only a sign of life distinguishes from leaving.
pub(super) async fn hold(
    feed: &mut Feed,
    first_output: u64,
    connection: Option<&ConnectionHandle>,
    patience: Duration,
) -> Result<HoldOutcome, Fault> {
    if patience.is_zero() {
        return Ok(HoldOutcome::Stream);
    }
    let signal = async {
        match connection {
            Some(connection) => connection.signal().await,
            None => std::future::pending().await,
        }
    };
    let first = tokio::select! {
        biased;
        first = feed.peek(first_output) => first,
        _ = signal => return Ok(HoldOutcome::Stream),
        () = tokio::time::sleep(patience) => return Ok(HoldOutcome::Stream),
    };
    match first.map_err(log_fault)? {
        Some(entry) if entry.kind == EventKind::Error => Ok(HoldOutcome::Failed),
        Some(_) | None => Ok(HoldOutcome::Stream),
    }
}

/// How long the head of this stream may be held: `server.hold`, or less where the request prefers
/// less (`Prefer: wait=0`, RFC 7240 §4.3), for clients that need the response's id at once
/// to show or cancel it.
pub(super) fn patience(config: &Config, headers: &HeaderMap) -> Duration {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let requested = lines.flat_map(|line| line.split(',')).find_map(|preference| {
        let (name, seconds) = preference.split(';').next()?.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| seconds.trim().trim_matches('"').parse().ok())?
    });
    requested.map_or(config.hold, |seconds| config.hold.min(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_may_prefer_a_shorter_hold() {
        let config = Config { hold: Duration::from_secs(5), ..Config::default() };
        for (lines, expected) in [
            (&[][..], 5),
            (&["wait=0"], 0),
            (&["respond-async, Wait = 2; x=y"], 2),
            (&["return=minimal", "wait=\"1\""], 1),
            (&["wait=60"], 5),
            (&["wait=soon"], 5),
            (&["wait"], 5),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("prefer", HeaderValue::from_static(line));
            }
            assert_eq!(patience(&config, &headers), Duration::from_secs(expected), "{lines:?}");
        }
    }
}

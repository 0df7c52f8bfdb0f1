//! The clock of a Weir, compared with ours over the network, so that its calibrated source shows how
//! long each event was under way.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dialect::{Credentials, Dialect};
use crate::place::Place;
use crate::reader::StreamReader;

/// How often the clocks are compared; the quickest comparison counts.
const TIMES: usize = 4;

/// What the server's clock showed at one instant of ours.
#[derive(Clone, Copy, Debug)]
pub struct ServerClock {
    /// Microseconds since 1970, by the server.
    server_us: i64,
    /// The middle of the request that asked for it.
    at: Instant,
    /// How far it may be off: half of what that request took.
    pub error: Duration,
}

impl ServerClock {
    /// Compares the clocks.
    ///
    /// # Errors
    /// The server has no calibrated source, or refuses it.
    pub async fn compare(place: &Place, credentials: &Credentials, prefix: &str) -> Result<Self> {
        let path = format!("{prefix}/v1/lens/source?events=0");
        let place = place.with_path(&path);
        let request =
            credentials.request(Dialect::Source, "GET", &path, &[("accept", "application/json")]);
        let mut best = None::<Self>;
        for _ in 0..TIMES {
            let mut response = StreamReader::open(&place, &request).await?;
            ensure!(response.status == 200, "there is no calibrated source: {}", response.status);
            let took = response.phases.head;
            let document: Value = serde_json::from_str(&response.text().await?)?;
            let server_us = document["now_us"].as_i64().context("the source tells no time")?;
            let clock = Self { server_us, at: response.started + took / 2, error: took / 2 };
            if best.is_none_or(|best| clock.error < best.error) {
                best = Some(clock);
            }
        }
        best.context("the clocks were not compared")
    }

    /// A time of the server in microseconds from `started`.
    pub fn since(&self, sent_us: i64, started: Instant) -> i64 {
        let microseconds =
            |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let from_start = if let Some(later) = self.at.checked_duration_since(started) {
            microseconds(later)
        } else {
            -microseconds(started.duration_since(self.at))
        };
        from_start.saturating_add(sent_us.saturating_sub(self.server_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_server_become_ours() {
        let at = client::now();
        let clock = ServerClock { server_us: 1_000_000, at, error: Duration::ZERO };
        assert_eq!(clock.since(1_000_500, at), 500);
        assert_eq!(clock.since(1_000_500, at + Duration::from_micros(200)), 300);
        assert_eq!(clock.since(999_000, at), -1000);
    }
}

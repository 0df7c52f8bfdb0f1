//! The server's record of a cell's connections, from its lens, read over a separate connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::bytes::{BothDirections, ByteKinds};
use super::captured::count;
use super::numbers::{ByteBreakdown, KernelCounts};
use super::session::Session;
use client::Request;
use client::now;

/// The longest wait until the server has noticed that connections have ended.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The interval of polling.
const STEP: Duration = Duration::from_millis(5);

/// The server's latest records of some connections, by the client's port.
#[derive(Debug, Default)]
pub struct ServerView {
    records: BTreeMap<u16, Value>,
    /// Whether the server has no lens, or denies access to it.
    is_missing: bool,
}

impl ServerView {
    /// For tests: these records, by the client's port.
    #[cfg(test)]
    pub(super) fn of(records: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self { records: records.into_iter().collect(), is_missing: false }
    }

    /// Reads the records once, and keeps those of these ports.
    pub async fn look(&mut self, control: &mut Session, ports: &BTreeSet<u16>) -> Result<()> {
        if self.is_missing {
            return Ok(());
        }
        let mut answer = control.send(Request::get("/v1/lens/connections")).await?;
        self.is_missing = answer.status() != 200;
        let body = answer.body().await?;
        control.end(answer).await?;
        if self.is_missing {
            return Ok(());
        }
        let list: Value = serde_json::from_slice(&body)?;
        // The newest come first, so the newest record of a reused port is inserted last.
        for record in list["data"].as_array().into_iter().flatten().rev() {
            let peer = record["peer"].as_str().and_then(|peer| peer.parse::<SocketAddr>().ok());
            if let Some(port) = peer.map(|peer| peer.port()).filter(|port| ports.contains(port)) {
                self.records.insert(port, record.clone());
            }
        }
        Ok(())
    }

    /// Reads the records until those of all ports are there and closed.
    pub async fn wait(&mut self, control: &mut Session, ports: &BTreeSet<u16>) -> Result<()> {
        let begin = now();
        loop {
            self.look(control, ports).await?;
            // The counts may grow while the socket is open; an older server does not report whether
            // it is.
            let is_over = |port| {
                self.records
                    .get(port)
                    .is_some_and(|record| record["close"].is_object() && record["open"] != true)
            };
            if self.is_missing || ports.iter().all(is_over) || begin.elapsed() > TIMEOUT {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Whether the server has records.
    pub fn is_there(&self) -> bool {
        !self.is_missing
    }

    /// The number of recorded connections.
    pub fn known(&self) -> usize {
        self.records.len()
    }

    /// The bytes of one connection by kind.
    pub fn bytes(&self, port: u16) -> Option<BothDirections> {
        let record = self.records.get(&port)?;
        Some(BothDirections {
            up: ByteKinds::of_lens(&record["received"])?,
            down: ByteKinds::of_lens(&record["sent"])?,
        })
    }

    /// The contents of the bodies on all of them.
    pub fn bodies(&self) -> ByteBreakdown {
        let sum = |name: &str| {
            self.records.values().filter_map(|record| record["said"][name].as_u64()).sum()
        };
        ByteBreakdown {
            events: sum("events"),
            framing: sum("framing"),
            dialect: sum("dialect"),
            text: sum("text"),
        }
    }

    /// The kernel's counts for all of them.
    pub fn kernel(&self) -> KernelCounts {
        let sum = |name: &str| {
            self.records.values().filter_map(|record| record["tcp"][name].as_u64()).sum()
        };
        KernelCounts {
            rtt_ms: self
                .records
                .values()
                .filter_map(|record| record["tcp"]["rtt_ms"].as_f64())
                .next_back(),
            segments_sent: sum("segments_sent"),
            segments_received: sum("segments_received"),
            retransmissions: sum("retransmissions"),
        }
    }

    /// How they were closed, and by which side.
    pub fn closed(&self) -> BTreeMap<String, u64> {
        let mut closed = BTreeMap::new();
        for record in self.records.values() {
            let close = &record["close"];
            let text = |name: &str| close[name].as_str().unwrap_or("?").to_owned();
            count(
                &mut closed,
                if close.is_null() {
                    "open".to_owned()
                } else {
                    format!("{} {}", text("by"), text("how"))
                },
            );
        }
        closed
    }
}

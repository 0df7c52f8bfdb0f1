//! What the server's lens says of a cell's connections, asked by the client over a connection of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::bytes::{BothWays, Kinds};
use super::numbers::{Kernel, Said};
use super::session::Session;
use super::wire::count;
use crate::client::Request;
use crate::runtime::now;

/// A server needs a moment to see that a connection is over.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at what it says.
const STEP: Duration = Duration::from_millis(5);

/// The server's records of some connections, by the client's port; the latest of each.
#[derive(Debug, Default)]
pub struct ServerView {
    records: BTreeMap<u16, Value>,
    /// Another server may have no lens, or not one for us.
    is_missing: bool,
}

impl ServerView {
    /// These records, by the client's port.
    #[cfg(test)]
    pub(super) fn of(records: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self { records: records.into_iter().collect(), is_missing: false }
    }

    /// Asks once, and takes what is there of these ports.
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
        // The newest come first: the last of a port that was used again is the one.
        for record in list["data"].as_array().into_iter().flatten().rev() {
            let peer = record["peer"].as_str().and_then(|peer| peer.parse::<SocketAddr>().ok());
            if let Some(port) = peer.map(|peer| peer.port()).filter(|port| ports.contains(port)) {
                self.records.insert(port, record.clone());
            }
        }
        Ok(())
    }

    /// Asks until all of them are there and over.
    pub async fn wait(&mut self, control: &mut Session, ports: &BTreeSet<u16>) -> Result<()> {
        let begin = now();
        loop {
            self.look(control, ports).await?;
            // While the socket is there its counts may grow; an older server does not say whether it is.
            let is_over = |port| self.records.get(port).is_some_and(|record| record["close"].is_object() && record["open"] != true);
            if self.is_missing || ports.iter().all(is_over) || begin.elapsed() > PATIENCE {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Whether the server tells anything.
    pub fn is_there(&self) -> bool {
        !self.is_missing
    }

    /// How many of them it knows.
    pub fn known(&self) -> usize {
        self.records.len()
    }

    /// Bytes of one connection by kind.
    pub fn bytes(&self, port: u16) -> Option<BothWays> {
        let record = self.records.get(&port)?;
        Some(BothWays { up: Kinds::of_lens(&record["received"])?, down: Kinds::of_lens(&record["sent"])? })
    }

    /// What was said on all of them.
    pub fn said(&self) -> Said {
        let sum = |name: &str| self.records.values().filter_map(|record| record["said"][name].as_u64()).sum();
        Said { events: sum("events"), framing: sum("framing"), dialect: sum("dialect"), text: sum("text") }
    }

    /// What the kernel says of all of them.
    pub fn kernel(&self) -> Kernel {
        let sum = |name: &str| self.records.values().filter_map(|record| record["tcp"][name].as_u64()).sum();
        Kernel {
            rtt_ms: self.records.values().filter_map(|record| record["tcp"]["rtt_ms"].as_f64()).next_back(),
            segments_sent: sum("segments_sent"),
            segments_received: sum("segments_received"),
            retransmissions: sum("retransmissions"),
        }
    }

    /// Who closed them, and how.
    pub fn closed(&self) -> BTreeMap<String, u64> {
        let mut closed = BTreeMap::new();
        for record in self.records.values() {
            let close = &record["close"];
            let text = |name: &str| close[name].as_str().unwrap_or("?").to_owned();
            count(&mut closed, if close.is_null() { "open".to_owned() } else { format!("{} {}", text("by"), text("how")) });
        }
        closed
    }
}

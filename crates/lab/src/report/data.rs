//! What a report contains.

use serde::Serialize;

use crate::bilingual::Bilingual;
use crate::claims::evidence::Evidence;
use crate::claims::verdict::Verdict;
use crate::numbers::Measured;
use crate::plan::{Dialect, Transport, Version};

/// The report of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The program and its version.
    pub program: String,
    /// The time, in seconds since 1970.
    pub at: u64,
    /// The machine: its system and number of processors.
    pub machine: String,
    /// What connected client and server.
    pub place: Bilingual,
    /// The conversation: turns, tokens, pace.
    pub conversation: Bilingual,
    /// What is missing, and why.
    pub notes: Vec<Bilingual>,
    /// The cells.
    pub cells: Vec<Measured>,
    /// The evidence for the verdicts.
    pub evidence: Evidence,
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
    /// Pictures of packets, by name; not in the JSON document.
    #[serde(skip)]
    pub ladders: Vec<Ladder>,
}

/// A picture of one connection's packets.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The file name without its extension.
    pub name: String,
    /// What it shows.
    pub title: Bilingual,
    /// The picture, in English and Chinese.
    pub pictures: [String; 2],
    /// The same for narrow screens.
    pub narrow: [String; 2],
    /// Whether it has the names of textbooks and the states of both ends.
    pub is_for_teaching: bool,
}

impl Report {
    /// Which parties have counted bytes, and that they agree.
    pub fn who_counted(&self) -> Bilingual {
        let measured: Vec<&Measured> =
            self.cells.iter().filter(|measured| measured.failed.is_none()).collect();
        let (all, server) =
            (measured.len(), measured.iter().filter(|measured| measured.bodies.is_some()).count());
        let wire = measured.iter().filter(|measured| measured.wire.is_some()).count();
        Bilingual::new(
            format!(
                "Bytes were counted by the client in {all} cells, by the server in {server}, and in the packets in {wire}; wherever several count, they agree to the byte."
            ),
            format!(
                "字节由客户端在 {all} 个单元格中计数，由服务器在 {server} 个中计数，由抓包在 {wire} 个中计数；凡多方计数之处，逐字节一致。"
            ),
        )
    }

    /// Where the counts differ.
    pub fn disagreements(&self) -> impl Iterator<Item = String> {
        let of = |measured: &Measured| {
            let cell = measured.cell.map(|cell| cell.to_string()).unwrap_or_default();
            measured
                .disagreements
                .iter()
                .map(move |what| format!("{cell}: {what}"))
                .collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(of)
    }

    /// The cells of the charts: Open Responses without TLS, and some with it.
    pub fn charted(&self) -> Vec<&Measured> {
        let wanted = |measured: &&Measured| {
            measured.cell.is_some_and(|cell| {
                let is_kept = matches!(cell.version, Version::Http11 | Version::Http2);
                let is_stream = matches!(cell.transport, Transport::Sse | Transport::Websocket);
                cell.dialect == Dialect::Responses
                    && (!cell.tls && (is_kept || is_stream) || cell.tls && is_kept && is_stream)
            })
        };
        let measured = || self.cells.iter().filter(|measured| measured.failed.is_none());
        let chosen: Vec<&Measured> = measured().filter(wanted).collect();
        if chosen.is_empty() { measured().take(16).collect() } else { chosen }
    }
}

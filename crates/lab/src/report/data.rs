//! What a report contains.

use serde::Serialize;

use crate::bilingual::Bilingual;
use crate::claims::evidence::Evidence;
use crate::claims::verdict::Verdict;
use crate::load::MachineLoad;
use crate::numbers::Measured;
use crate::plan::{Cell, Dialect, Transport, Version};

/// The report of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The program and its version.
    pub program: String,
    /// The time, in seconds since 1970.
    pub at: u64,
    /// The machine: its system and number of processors.
    pub machine: Bilingual,
    /// What else the machine did meanwhile.
    pub load: MachineLoad,
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
    /// The cell whose connection it is, if it is that of one.
    pub cell: Option<Cell>,
    /// The picture for the page, narrow enough for a phone, in English and Chinese.
    pub narrow: [String; 2],
}

/// How many pictures a report shows if its cells are none of the usual ones.
const OTHER_LADDERS: usize = 6;

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
                "字节由客户端在 {all} 个组合中计数，由服务器在 {server} 个中计数，由抓包在 {wire} 个中计数；凡多方计数之处，逐字节一致。"
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

    /// The cells of the charts: Open Responses and the classic API without TLS, and some with it.
    pub fn charted(&self) -> Vec<&Measured> {
        let wanted = |measured: &&Measured| {
            measured.cell.is_some_and(|cell| {
                let is_kept = matches!(cell.version, Version::Http11 | Version::Http2);
                let is_stream = matches!(cell.transport, Transport::Sse | Transport::Websocket);
                match cell.dialect {
                    Dialect::Responses => {
                        !cell.tls && (is_kept || is_stream) || cell.tls && is_kept && is_stream
                    }
                    Dialect::Classic => is_kept && !cell.tls,
                    Dialect::ChatCompletions => false,
                }
            })
        };
        let measured = || self.cells.iter().filter(|measured| measured.failed.is_none());
        let chosen: Vec<&Measured> = measured().filter(wanted).collect();
        if chosen.is_empty() { measured().take(16).collect() } else { chosen }
    }

    /// Whether the classic API, that of the Java demo, was measured.
    pub fn has_demo(&self) -> bool {
        self.cells.iter().any(|measured| {
            measured.failed.is_none()
                && measured.cell.is_some_and(|cell| cell.dialect == Dialect::Classic)
        })
    }

    /// The verdicts on techniques, or those on the Java demo.
    pub fn verdicts_on(&self, subject: Subject) -> impl Iterator<Item = &Verdict> {
        self.verdicts
            .iter()
            .filter(move |verdict| verdict.is_about_demo == (subject == Subject::Demo))
    }
}

/// What a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A technique.
    Technique,
    /// One program, the Java demo.
    Demo,
}

/// The pictures that a report shows, of those of all cells.
pub fn shown_ladders(all: Vec<Ladder>) -> Vec<Ladder> {
    if all.iter().any(|ladder| ladder.cell.is_some_and(is_shown)) {
        let is_wanted = |ladder: &Ladder| ladder.cell.is_none_or(is_shown);
        return all.into_iter().filter(is_wanted).collect();
    }
    let mut others = 0;
    all.into_iter()
        .filter(|ladder| {
            others += usize::from(ladder.cell.is_some());
            ladder.cell.is_none() || others <= OTHER_LADDERS
        })
        .collect()
}

/// Whether the report shows the packets of a cell if it was measured.
fn is_shown(cell: Cell) -> bool {
    match (cell.dialect, cell.transport, cell.version, cell.tls) {
        (
            Dialect::Responses,
            Transport::Sse,
            Version::Http10 | Version::Http11 | Version::Http2,
            false,
        )
        | (Dialect::Responses, Transport::Sse, Version::Http11, true)
        | (Dialect::Responses, Transport::Json, Version::Http11, false)
        | (Dialect::Responses | Dialect::Classic, Transport::Websocket, Version::Http11, false)
        | (Dialect::Classic, Transport::Sse, Version::Http11, false) => true,
        (Dialect::Responses | Dialect::ChatCompletions | Dialect::Classic, ..) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cells;

    fn shown(dialects: &[Dialect], versions: &[Version], tls: &[bool]) -> Vec<String> {
        let all = cells(dialects, &Transport::ALL, versions, tls).into_iter().map(|cell| Ladder {
            name: cell.to_string(),
            title: Bilingual::new("", ""),
            cell: Some(cell),
            narrow: [String::new(), String::new()],
        });
        shown_ladders(all.collect()).into_iter().map(|ladder| ladder.name).collect()
    }

    #[test]
    fn the_classic_api_has_its_ladders() {
        let all = shown(&Dialect::ALL, &Version::ALL, &[false, true]);
        assert_eq!(all.len(), 8);
        assert!(all.contains(&"classic/sse/h1.1".to_owned()), "{all:?}");
        let alone = shown(&[Dialect::Classic], &Version::ALL, &[false, true]);
        assert_eq!(alone, ["classic/sse/h1.1", "classic/websocket/h1.1"]);
    }

    #[test]
    fn other_cells_have_ladders_if_they_are_all_there_is() {
        let others = shown(&[Dialect::ChatCompletions], &Version::ALL, &[true]);
        assert_eq!(others.len(), OTHER_LADDERS);
        assert_eq!(shown(&[Dialect::Classic], &[Version::Http2], &[true]).len(), 2);
    }
}

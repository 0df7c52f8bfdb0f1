//! What is left behind a comparison: a table for the terminal, a page, a document for programs, and an article.

mod article;
mod chart;
mod page;
mod table;
mod words;
mod xml;

use lens::ladder::words::Language;
use serde::Serialize;

pub use article::article;
pub use chart::{bytes_chart, delay_chart, strip_chart};
pub use page::{charted, page};
pub use table::table;
pub use words::Words;

use super::claims::{Bilingual, Verdict, evidence::Evidence};
use super::numbers::Measured;

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// By which program.
    pub program: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// On which machine: the system, and how many processors.
    pub machine: String,
    /// What the client and the server stood on.
    pub place: Bilingual,
    /// What was asked: turns, tokens, pace.
    pub conversation: Bilingual,
    /// What is missing, and why.
    pub notes: Vec<Bilingual>,
    /// The cells.
    pub cells: Vec<Measured>,
    /// What the claims are judged by.
    pub evidence: Evidence,
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
    /// Pictures of packets, by name; not in the document for programs.
    #[serde(skip)]
    pub ladders: Vec<Ladder>,
}

/// A picture of one connection's packets.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The file's name without its end.
    pub name: String,
    /// What it shows.
    pub title: Bilingual,
    /// The picture, in English and Chinese.
    pub pictures: [String; 2],
}

impl Report {
    /// Who has counted bytes, and that they agree.
    pub fn who_counted(&self) -> Bilingual {
        let measured: Vec<&Measured> = self.cells.iter().filter(|measured| measured.failed.is_none()).collect();
        let (all, server) = (measured.len(), measured.iter().filter(|measured| measured.said.is_some()).count());
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

    /// Where the parties that count did not agree.
    pub fn disagreements(&self) -> impl Iterator<Item = String> {
        let of = |measured: &Measured| {
            let cell = measured.cell.map(|cell| cell.to_string()).unwrap_or_default();
            measured.disagreements.iter().map(move |what| format!("{cell}: {what}")).collect::<Vec<_>>()
        };
        self.cells.iter().flat_map(of)
    }
}

/// One of the languages.
fn pick(text: &Bilingual, language: Language) -> &str {
    language.pick(&text.en, &text.zh)
}

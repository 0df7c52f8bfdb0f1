//! The files of a comparison: the report, pictures, and the packets for Wireshark.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lab::bilingual::Bilingual;
use lab::captured::ReadConnection;
use lab::claims::packets::PacketSet;
use lab::claims::verdict::{LadderLink, Verdict};
use lab::numbers::Measured;
use lab::plan::Cell;
use lab::report::article::article;
use lab::report::chart::{Format, bytes_chart, delay_chart, strip_chart};
use lab::report::data::{Ladder, Report, shown_ladders};
use lab::report::handshake::handshake_page;
use lab::report::labels::Labels;
use lab::report::page::page;
use lens::flow::side::Side;
use lens::ladder::words::Language;
use lens::ladder::{Annotations, LadderOptions, draw};

use super::capture_file::{Authentication, CaptureFile};

/// A longer ladder of a cell omits its middle.
const MAX_SEGMENTS: usize = 60;

/// The same for a connection of an experiment.
const EXPERIMENT_SEGMENTS: usize = 40;

/// In the report pictures stand side by side, and on a phone one below the other: they are as wide
/// as that, and as short as a page can bear.
const REPORT_WIDTH: u32 = 372;
const REPORT_SEGMENTS: usize = 24;

/// What is drawn of a connection.
struct Drawn {
    name: String,
    title: Bilingual,
    annotations: Annotations,
    segments: usize,
    /// The cell whose first connection it is.
    cell: Option<Cell>,
}

impl Drawn {
    /// A connection of a set: by its own name, or else by its number, from 0, with a `title`.
    fn of_experiment(
        set: &PacketSet,
        read: &ReadConnection<'_>,
        index: usize,
        title: impl Fn(usize) -> Bilingual,
    ) -> Self {
        let port = read.connection.addresses.client.port();
        let (name, title, annotations) =
            if let Some(named) = set.cited.names.iter().find(|named| named.port == port) {
                (named.name.clone(), named.title.clone(), named.annotations)
            } else {
                let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
                let name = format!("{}{number}", set.name.replace(['/', '+', ' '], "-"));
                (name, title(index + 1), Annotations::None)
            };
        Self { name, title, annotations, segments: EXPERIMENT_SEGMENTS, cell: None }
    }
}

/// The output directory, and the capture that is written during the comparison.
pub(super) struct ComparisonFiles {
    directory: PathBuf,
    capture: Option<CaptureFile>,
    ladders: Vec<Ladder>,
    /// The ladders of the connections that each ruling cites, by the number of its claim.
    links: BTreeMap<u32, Vec<LadderLink>>,
}

impl ComparisonFiles {
    /// Creates the directory, and a capture file in it if packets are captured.
    pub(super) fn create(
        directory: &Path,
        interface: Option<&str>,
        authentication: Authentication,
    ) -> Result<Self> {
        let ladders = directory.join("ladders");
        fs::create_dir_all(&ladders)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        // Files of an earlier run do not belong to this one.
        let path = directory.join("capture.pcapng");
        let old = fs::read_dir(&ladders)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "svg"));
        for old in old.chain([path.clone()]).filter(|old| old.is_file()) {
            fs::remove_file(&old).with_context(|| format!("cannot replace {}", old.display()))?;
        }
        let capture = match interface {
            Some(name) => {
                let file =
                    private(&path).with_context(|| format!("cannot write {}", path.display()))?;
                Some(CaptureFile::new(file, name, authentication)?)
            }
            None => None,
        };
        Ok(Self {
            directory: directory.to_owned(),
            capture,
            ladders: Vec::new(),
            links: BTreeMap::new(),
        })
    }

    /// Writes the packets of a cell's conversation, and draws its first connection.
    pub(super) fn cell(&mut self, cell: Cell, packets: &[PacketSet]) -> Result<()> {
        for (index, set) in packets.iter().enumerate() {
            let reads = set.captured.read();
            let first = reads.first().filter(|_| index == 0);
            if let Some(read) = first {
                let drawn = Drawn {
                    name: set.name.replace(['/', '+'], "-"),
                    title: Bilingual::new(
                        Labels(Language::English).title(cell),
                        Labels(Language::Chinese).title(cell),
                    ),
                    annotations: Annotations::None,
                    segments: MAX_SEGMENTS,
                    cell: Some(cell),
                };
                self.ladder(read, &drawn)?;
            }
            self.packets(set, &reads, |number| {
                let what = set.name.rsplit(' ').next().filter(|_| set.name.contains(' '));
                let (en, zh) = match what {
                    Some("mid-stream") => (", a request while it streams", "，流进行时再发请求"),
                    _ => ("", ""),
                };
                let order = if number == 1 { String::new() } else { format!(" ({number})") };
                Bilingual::new(
                    format!("{}{en}{order}", Labels(Language::English).title(cell)),
                    format!("{}{zh}{order}", Labels(Language::Chinese).title(cell)),
                )
            })?;
        }
        Ok(())
    }

    /// Writes the packets of an experiment.
    pub(super) fn experiment(&mut self, set: &PacketSet) -> Result<()> {
        self.packets(set, &set.captured.read(), |number| {
            Bilingual::new(
                format!("{}, connection {number}", set.name),
                format!("{}，连接 {number}", set.name),
            )
        })
    }

    /// Writes packets, and draws the connections that rulings cite. `title` is that of a connection
    /// without a name of its own.
    fn packets(
        &mut self,
        set: &PacketSet,
        reads: &[ReadConnection<'_>],
        title: impl Fn(usize) -> Bilingual,
    ) -> Result<()> {
        if let Some(capture) = &mut self.capture {
            capture.write(set, reads)?;
        }
        for (index, read) in reads.iter().enumerate() {
            let mut claims: Vec<u32> = Vec::new();
            for citation in
                set.cited.citations.iter().filter(|citation| citation.connection == read.id)
            {
                if !claims.contains(&citation.claim) {
                    claims.push(citation.claim);
                }
            }
            if claims.is_empty() {
                continue;
            }
            let drawn = Drawn::of_experiment(set, read, index, &title);
            // That of a cell is there already.
            if !self.directory.join(format!("ladders/{}.en.svg", drawn.name)).exists() {
                self.ladder(read, &drawn)?;
            }
            for claim in claims {
                let link = LadderLink { name: drawn.name.clone(), title: drawn.title.clone() };
                self.links.entry(claim).or_default().push(link);
            }
        }
        Ok(())
    }

    /// Draws a connection. Some of the pictures are also in the report.
    fn ladder(&mut self, read: &ReadConnection<'_>, drawn: &Drawn) -> Result<()> {
        let pictures = |width, segments| {
            [Language::English, Language::Chinese].map(|language| {
                let options = LadderOptions {
                    language,
                    width,
                    vantage: Side::Client,
                    segments,
                    annotations: drawn.annotations,
                };
                draw(read.connection, &read.conversation, &options)
            })
        };
        let width = LadderOptions::default().width;
        for (end, picture) in ["en", "zh"].iter().zip(&pictures(width, drawn.segments)) {
            self.write(&format!("ladders/{}.{end}.svg", drawn.name), picture)?;
        }
        let narrow = pictures(REPORT_WIDTH, REPORT_SEGMENTS);
        if drawn.annotations == Annotations::Textbook {
            for (end, picture) in ["en", "zh"].iter().zip(&narrow) {
                self.write(&format!("ladders/{}.narrow.{end}.svg", drawn.name), picture)?;
            }
        }
        if drawn.cell.is_some() || drawn.annotations == Annotations::Textbook {
            let (name, title) = (drawn.name.clone(), drawn.title.clone());
            self.ladders.push(Ladder { name, title, cell: drawn.cell, narrow });
        }
        Ok(())
    }

    /// Adds to each verdict the packets that it rests on.
    pub(super) fn cite(&self, verdicts: &mut [Verdict]) {
        let Some(capture) = &self.capture else { return };
        let mut cited = capture.cited();
        for verdict in verdicts {
            let Some(claim) = verdict.number().parse::<u32>().ok() else { continue };
            let Some(mut packets) = cited.remove(&claim).filter(|cited| !cited.frames.is_empty())
            else {
                continue;
            };
            packets.filter = format!("frame.comment contains \"claim {claim}:\"");
            packets.ladders = self.links.get(&claim).cloned().unwrap_or_default();
            verdict.packets = Some(packets);
        }
    }

    /// The pictures of packets for the report.
    pub(super) fn ladders(&mut self) -> Vec<Ladder> {
        shown_ladders(std::mem::take(&mut self.ladders))
    }

    /// Writes the report, and returns the paths of interest to the user.
    pub(super) fn report(&self, report: &Report) -> Result<Vec<PathBuf>> {
        self.write("report.json", &serde_json::to_string_pretty(report)?)?;
        self.write("report.html", &page(report))?;
        let charted: Vec<&Measured> = report.charted();
        for language in [Language::English, Language::Chinese] {
            let end = language.pick("en", "zh");
            for (name, chart) in [
                ("arrivals", strip_chart(&charted, language, Format::Wide)),
                ("bytes", bytes_chart(&charted, language, Format::Wide)),
                ("delays", delay_chart(&charted, language, Format::Wide)),
            ] {
                self.write(&format!("ladders/{name}.{end}.svg"), &chart)?;
            }
            let article = article(report, language, "ladders");
            self.write(language.pick("transports.md", "transports.zh.md"), &article)?;
            let handshake = handshake_page(report, language, "ladders");
            let name = language.pick("handshake-and-close.md", "handshake-and-close.zh.md");
            self.write(name, &handshake)?;
        }
        let mut names = vec!["report.html", "report.json", "ladders"];
        if self.capture.is_some() {
            names.push("capture.pcapng");
        }
        Ok(names.into_iter().map(|name| self.directory.join(name)).collect())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        private(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A new file that only this user can read, since it contains questions and answers.
fn private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

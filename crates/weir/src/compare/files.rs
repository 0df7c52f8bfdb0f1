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
use lab::plan::{Cell, Dialect, Transport, Version};
use lab::report::article::article;
use lab::report::chart::{bytes_chart, delay_chart, strip_chart};
use lab::report::data::{Ladder, Report};
use lab::report::labels::Labels;
use lab::report::page::page;
use lens::flow::side::Side;
use lens::ladder::words::Language;
use lens::ladder::{Annotations, Options, draw};

use super::capture_file::CaptureFile;

/// A longer ladder of a cell omits its middle.
const MAX_SEGMENTS: usize = 60;

/// The same for a connection of an experiment.
const EXPERIMENT_SEGMENTS: usize = 40;

/// The width of ladders in pixels.
const WIDE: u32 = 960;

/// The width of ladders for a telephone.
const NARROW: u32 = 370;

/// What is drawn of a connection.
struct Drawn {
    name: String,
    title: Bilingual,
    annotations: Annotations,
    segments: usize,
}

/// The output directory, and the capture that is written during the comparison.
pub(super) struct ComparisonFiles {
    directory: PathBuf,
    capture: Option<CaptureFile>,
    ladders: Vec<Ladder>,
    /// The ladders of the connections that each ruling cites, by the number of its claim.
    links: BTreeMap<u32, Vec<LadderLink>>,
}

/// Whether the client sends an API key, which must not be in any file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    /// With a key: only the headers of the client's packets are kept, and no TLS secrets.
    Key,
    /// Without a key.
    None,
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
                        title(cell, Language::English),
                        title(cell, Language::Chinese),
                    ),
                    annotations: Annotations::None,
                    segments: MAX_SEGMENTS,
                };
                self.ladder(read, &drawn, is_shown(cell))?;
            }
            self.packets(set, &reads, |number| {
                let what = set.name.rsplit(' ').next().filter(|_| set.name.contains(' '));
                let (en, zh) = match what {
                    Some("mid-stream") => (", a request while it streams", "，流进行时再发请求"),
                    _ => ("", ""),
                };
                let order = if number == 1 { String::new() } else { format!(" ({number})") };
                Bilingual::new(
                    format!("{}{en}{order}", title(cell, Language::English)),
                    format!("{}{zh}{order}", title(cell, Language::Chinese)),
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
            let port = read.connection.addresses.client.port();
            let named = set.cited.names.iter().find(|named| named.port == port);
            let drawn = match named {
                Some(named) => Drawn {
                    name: named.name.clone(),
                    title: named.title.clone(),
                    annotations: named.annotations,
                    segments: EXPERIMENT_SEGMENTS,
                },
                None => {
                    let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
                    Drawn {
                        name: format!("{}{number}", set.name.replace(['/', '+', ' '], "-")),
                        title: title(index + 1),
                        annotations: Annotations::None,
                        segments: EXPERIMENT_SEGMENTS,
                    }
                }
            };
            // That of a cell is there already.
            if !self.directory.join(format!("ladders/{}.en.svg", drawn.name)).exists() {
                self.ladder(read, &drawn, drawn.annotations == Annotations::Textbook)?;
            }
            for claim in claims {
                let link = LadderLink { name: drawn.name.clone(), title: drawn.title.clone() };
                self.links.entry(claim).or_default().push(link);
            }
        }
        Ok(())
    }

    /// Draws a connection. Some of the pictures are also in the report.
    fn ladder(&mut self, read: &ReadConnection<'_>, drawn: &Drawn, is_shown: bool) -> Result<()> {
        let picture = |language, width| {
            let options = Options {
                language,
                width,
                vantage: Side::Client,
                segments: drawn.segments,
                annotations: drawn.annotations,
            };
            draw(read.connection, &read.conversation, &options)
        };
        let pictures =
            |width| [Language::English, Language::Chinese].map(|language| picture(language, width));
        let (wide, narrow) = (pictures(WIDE), pictures(NARROW));
        for (end, picture) in ["en", "zh"].iter().zip(&wide) {
            self.write(&format!("ladders/{}.{end}.svg", drawn.name), picture)?;
        }
        if drawn.annotations == Annotations::Textbook {
            for (end, picture) in ["en", "zh"].iter().zip(&narrow) {
                self.write(&format!("ladders/{}.{end}.narrow.svg", drawn.name), picture)?;
            }
        }
        if is_shown {
            self.ladders.push(Ladder {
                name: drawn.name.clone(),
                title: drawn.title.clone(),
                pictures: wide,
                narrow,
                is_for_teaching: drawn.annotations == Annotations::Textbook,
            });
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
        std::mem::take(&mut self.ladders)
    }

    /// Writes the report, and returns the paths of interest to the user.
    pub(super) fn report(&self, report: &Report) -> Result<Vec<PathBuf>> {
        self.write("report.json", &serde_json::to_string_pretty(report)?)?;
        self.write("report.html", &page(report))?;
        let charted: Vec<&Measured> = report.charted();
        for language in [Language::English, Language::Chinese] {
            let end = language.pick("en", "zh");
            self.write(&format!("ladders/arrivals.{end}.svg"), &strip_chart(&charted, language))?;
            self.write(&format!("ladders/bytes.{end}.svg"), &bytes_chart(&charted, language))?;
            self.write(&format!("ladders/delays.{end}.svg"), &delay_chart(&charted, language))?;
            let article = article(report, language, "ladders");
            self.write(language.pick("transports.md", "transports.zh.md"), &article)?;
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

/// Whether the report shows the packets of a cell.
fn is_shown(cell: Cell) -> bool {
    let is_one_of = match (cell.transport, cell.version, cell.tls) {
        (Transport::Sse, Version::Http10 | Version::Http11 | Version::Http2, false)
        | (Transport::Json | Transport::Websocket, Version::Http11, false)
        | (Transport::Sse, Version::Http11, true) => true,
        (
            Transport::Json
            | Transport::LongPoll
            | Transport::Ndjson
            | Transport::Sse
            | Transport::Websocket,
            ..,
        ) => false,
    };
    cell.dialect == Dialect::Responses && is_one_of
}

fn title(cell: Cell, language: Language) -> String {
    Labels(language).cell(cell)
}

//! The files of a comparison: the report, pictures, and the packets for Wireshark.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lab::bilingual::Bilingual;
use lab::captured::{CapturedConnections, ReadConnection};
use lab::numbers::Measured;
use lab::plan::Cell;
use lab::report::article::article;
use lab::report::chart::{Format, bytes_chart, delay_chart, strip_chart};
use lab::report::data::{Ladder, Report, shown_ladders};
use lab::report::labels::Labels;
use lab::report::page::page;
use lens::capture::captured::CapturedPacket;
use lens::flow::side::Side;
use lens::ladder::words::{Language, contents, remarks};
use lens::ladder::{LadderOptions, draw};
use lens::packet::link::LinkType;
use lens::pcapng::{InterfaceId, PacketBlock, PcapngWriter, SectionInfo};

/// A longer ladder omits its middle.
const MAX_SEGMENTS: usize = 60;

/// In the report pictures stand side by side, and on a phone one below the other: they are as wide
/// as that, and as short as a page can bear.
const REPORT_WIDTH: u32 = 372;
const REPORT_SEGMENTS: usize = 24;

/// The output directory, and the capture that is written during the comparison.
pub(super) struct ComparisonFiles {
    directory: PathBuf,
    capture: Option<Capture>,
    ladders: Vec<Ladder>,
    has_key: bool,
}

/// The capture file, with an interface for each link layer.
struct Capture {
    writer: PcapngWriter<BufWriter<File>>,
    name: String,
    interfaces: Vec<(LinkType, InterfaceId)>,
}

impl Capture {
    fn interface(&mut self, link: LinkType) -> Result<InterfaceId> {
        if let Some((_, interface)) = self.interfaces.iter().find(|(known, _)| *known == link) {
            return Ok(*interface);
        }
        let interface = self.writer.interface(link, &self.name, 0)?;
        self.interfaces.push((link, interface));
        Ok(interface)
    }
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
                let section = SectionInfo {
                    hardware: std::env::consts::ARCH,
                    system: std::env::consts::OS,
                    application: concat!("weir ", env!("CARGO_PKG_VERSION")),
                    comment: "weir compare: each packet says which cell it belongs to, and what it holds",
                };
                Some(Capture {
                    writer: PcapngWriter::new(BufWriter::new(file), &section)?,
                    name: name.to_owned(),
                    interfaces: Vec::new(),
                })
            }
            None => None,
        };
        Ok(Self {
            directory: directory.to_owned(),
            capture,
            ladders: Vec::new(),
            has_key: authentication == Authentication::Key,
        })
    }

    /// Writes the packets of a cell.
    pub(super) fn packets(
        &mut self,
        cell: Cell,
        caught: &CapturedConnections,
        key_lines: &str,
    ) -> Result<()> {
        let reads = caught.read();
        if let Some(capture) = &mut self.capture {
            if !key_lines.is_empty() && !self.has_key {
                capture.writer.tls_keys(key_lines)?;
            }
            let ids: Vec<u64> = caught.flows.iter().map(|(id, _)| id.0).collect();
            for (packet, connection, number) in &caught.packets {
                let read =
                    ids.iter().position(|id| id == connection).and_then(|index| reads.get(index));
                let comment =
                    format!("{cell}{}", read.map(|read| about(read, *number)).unwrap_or_default());
                let comments = [comment.as_str()];
                let mut shown = PacketBlock::of(packet, &comments);
                if self.has_key {
                    shown.bytes =
                        &shown.bytes[..kept(read, *number, packet).min(shown.bytes.len())];
                }
                let interface = capture.interface(packet.link)?;
                capture.writer.packet(interface, &shown)?;
            }
            capture.writer.flush()?;
        }
        if let Some(read) = reads.first() {
            self.ladder(cell, read)?;
        }
        Ok(())
    }

    /// Draws the first connection of a cell: a file, and a smaller picture for the report.
    fn ladder(&mut self, cell: Cell, read: &ReadConnection<'_>) -> Result<()> {
        let pictures = |width: u32, segments: usize| {
            [Language::English, Language::Chinese].map(|language| {
                let options = LadderOptions { width, language, vantage: Side::Client, segments };
                draw(read.connection, &read.conversation, &options)
            })
        };
        let name = cell.to_string().replace(['/', '+'], "-");
        for (end, picture) in
            ["en", "zh"].iter().zip(&pictures(LadderOptions::default().width, MAX_SEGMENTS))
        {
            self.write(&format!("ladders/{name}.{end}.svg"), picture)?;
        }
        let title = Bilingual::new(
            Labels(Language::English).title(cell),
            Labels(Language::Chinese).title(cell),
        );
        let narrow = pictures(REPORT_WIDTH, REPORT_SEGMENTS);
        self.ladders.push(Ladder { name, title, cell: Some(cell), narrow });
        Ok(())
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

/// The number of bytes of a packet that are kept if there is a key: all of the server's, and the
/// headers of the client's.
fn kept(read: Option<&ReadConnection<'_>>, number: u64, packet: &CapturedPacket) -> usize {
    let segment =
        read.and_then(|read| read.connection.segments().get(usize::try_from(number).ok()?));
    match segment {
        Some(segment) if segment.from == Side::Server => packet.bytes.len(),
        Some(segment) => {
            usize::try_from(segment.link_bytes + segment.network_bytes + segment.transport_bytes)
                .unwrap_or_default()
        }
        None => 0,
    }
}

/// The contents of a segment, and remarks on it.
fn about(read: &ReadConnection<'_>, number: u64) -> String {
    let segment =
        usize::try_from(number).ok().and_then(|index| read.connection.segments().get(index));
    let Some(segment) = segment else { return String::new() };
    let mut words = remarks(segment, Language::English);
    words.extend(contents(segment, &read.conversation.readings, Language::English));
    if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
}

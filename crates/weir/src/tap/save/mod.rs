//! The file of a tap. It is written at once and put in its place when it is whole.

mod har;
mod json;
mod pcapng;
mod segments;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum as _;

use super::recording::Recording;
use crate::chat::server::ChatServer;
use crate::cli::tap::{SaveFormat, TapArguments};
use pcapng::PacketSource;

/// What a tap is to save.
pub(super) struct Saving {
    path: PathBuf,
    format: SaveFormat,
}

/// A file that is open, and what it needs of the running tap.
pub(super) struct OpenSaving {
    path: PathBuf,
    format: SaveFormat,
    partial: PathBuf,
    file: File,
    packets: Option<PacketSource>,
}

impl Saving {
    /// The file that the arguments name; `None` if they name none.
    pub(super) fn of(arguments: &TapArguments) -> Result<Option<Self>> {
        let Some(path) = arguments.save.clone() else { return Ok(None) };
        let format = match arguments.format {
            Some(format) => format,
            None => by_ending(&path).ok_or_else(|| {
                anyhow!(
                    "--save {}: the format is not known; expected an ending .json, .har or .pcapng, or --format",
                    path.display()
                )
            })?,
        };
        Ok(Some(Self { path, format }))
    }

    /// Opens the file, so that one that cannot be written is known at once, and starts to capture
    /// packets if they are to be saved.
    pub(super) fn start(self, server: &ChatServer) -> Result<OpenSaving> {
        let Self { path, format } = self;
        let partial = partial(&path);
        let file = private(&partial)
            .with_context(|| format!("--save {}: cannot write", path.display()))?;
        let packets = (format == SaveFormat::Pcapng).then(|| PacketSource::start(server));
        Ok(OpenSaving { path, format, partial, file, packets })
    }
}

impl OpenSaving {
    /// Writes the recording. Returns a line about the file.
    pub(super) fn write(mut self, recording: &Recording) -> Result<String> {
        let written = self.fill(recording);
        let placed = written.and_then(|note| {
            self.file.flush()?;
            fs::rename(&self.partial, &self.path)?;
            Ok(note)
        });
        let note = placed.with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(format!("saved: {} ({}{note})", self.path.display(), self.format.name()))
    }

    fn fill(&mut self, recording: &Recording) -> Result<String> {
        let document = match self.format {
            SaveFormat::Json => json::document(recording),
            SaveFormat::Har => har::document(recording),
            SaveFormat::Pcapng => {
                let packets = self.packets.take().context("no packets were asked for")?;
                return packets.write(recording, &mut self.file);
            }
        };
        writeln!(self.file, "{document:#}")?;
        Ok(String::new())
    }
}

impl Drop for OpenSaving {
    fn drop(&mut self) {
        // After the file was put in its place there is nothing left to remove.
        drop(fs::remove_file(&self.partial));
    }
}

fn by_ending(path: &Path) -> Option<SaveFormat> {
    let ending = path.extension()?.to_str()?;
    SaveFormat::value_variants()
        .iter()
        .copied()
        .find(|format| format.name().eq_ignore_ascii_case(ending))
}

/// The name of a file while it is written, beside its place.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

/// A new file that only this user can read, since it contains what the model wrote.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_names_the_format() {
        for (path, expected) in [
            ("a.json", Some(SaveFormat::Json)),
            ("/b/a.HAR", Some(SaveFormat::Har)),
            ("a.b.pcapng", Some(SaveFormat::Pcapng)),
            ("a.pcap", None),
            ("har", None),
        ] {
            assert_eq!(by_ending(Path::new(path)), expected, "{path}");
        }
    }
}

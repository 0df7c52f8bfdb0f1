//! `weir store check|compact|backup|export|import`: maintains the data directory, mostly while a
//! server runs on it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use store::directory::DATABASE;
use store::lock::Lock;
use store::sqlite::tools::{self, Checked, Imported};

use super::output::{Printed, ProgressMeter};
use crate::config::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  weir store check                                    verify what is stored
  weir store backup weir-2026-11-23.db                a copy, while a server runs
  weir store export > responses.jsonl                 all finished responses, as JSON Lines
  weir store export --format markdown -o chats.md     the same for reading
  weir store import responses.jsonl                   into this data directory; the server must be stopped
  weir store compact                                  return the space of deleted data; the server must be stopped";

/// What to do with the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum StoreCommand {
    /// Verify stored data
    Check,
    /// Return the space of deleted data; the server must be stopped
    Compact,
    /// Copy the database and the hashes of the API keys, even while a server is running
    Backup {
        /// The file to create
        file: PathBuf,
    },
    /// Export all finished responses, even while a server is running
    Export {
        /// JSON Lines for `weir store import`, or Markdown for reading
        #[arg(long, value_enum, default_value = "jsonl")]
        format: ExportFormat,
        /// The file to create [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Import an export; existing data stays as it is. The server must be stopped
    Import {
        /// The JSON Lines; - is standard input
        file: PathBuf,
    },
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// Everything, for `weir store import`.
    Jsonl,
    /// What was said, for people.
    Markdown,
}

/// Runs the command.
pub(crate) fn run(settings: &Settings, command: &StoreCommand) -> Result<Printed> {
    let Some(directory) = settings.data.directory() else {
        bail!("with --data :memory: nothing is stored; choose a directory");
    };
    let database = directory.join(DATABASE);
    if !matches!(command, StoreCommand::Import { .. }) && !database.exists() {
        bail!("there is no {}: nothing has been stored there yet", database.display());
    }
    match command {
        StoreCommand::Check => check(&database),
        StoreCommand::Compact => compact(directory, &database),
        StoreCommand::Backup { file } => backup(&database, file),
        StoreCommand::Export { format, output } => export(&database, *format, output.as_deref()),
        StoreCommand::Import { file } => import(directory, &database, file),
    }
}

fn check(database: &Path) -> Result<Printed> {
    let mut meter = ProgressMeter::new("checking");
    let Checked { answers, items, logs, entries, problems } =
        tools::check(database, |at| meter.show(at.done, at.total))?;
    meter.done();
    let looked_at =
        format!("{answers} responses, {items} items, {logs} logs with {entries} events");
    if problems.is_empty() {
        return Ok(Printed {
            out: format!("{}: intact ({looked_at})\n", database.display()),
            hints: String::new(),
        });
    }
    let hint = "Keep a copy of the file; weir store export then saves what can still be read.";
    bail!("{} is damaged ({looked_at}):\n  {}\n{hint}", database.display(), problems.join("\n  "));
}

fn compact(directory: &Path, database: &Path) -> Result<Printed> {
    let _alone = Lock::take(directory)?;
    let mut meter = ProgressMeter::new("compacting");
    let compacted = tools::compact(database, |at| meter.show(at.done, at.total))?;
    meter.done();
    let (before, after) = (megabytes(compacted.before), megabytes(compacted.after));
    Ok(Printed {
        out: format!("{}: {before} before, {after} now\n", database.display()),
        hints: String::new(),
    })
}

fn backup(database: &Path, file: &Path) -> Result<Printed> {
    let bytes = tools::backup(database, file)?;
    let hints = "A complete weir.db, with the hashes of the API keys. To restore it, stop the server, replace weir.db with it and delete \
                 weir.db-wal. The keys in it are used only if there is no keys.json.\n";
    Ok(Printed {
        out: format!("{}: {}\n", file.display(), megabytes(bytes)),
        hints: hints.to_owned(),
    })
}

fn export(database: &Path, format: ExportFormat, output: Option<&Path>) -> Result<Printed> {
    let mut meter = ProgressMeter::new("exporting");
    let progress = |at: tools::read::ToolProgress| meter.show(at.done, at.total);
    let count = match output {
        Some(path) => {
            let mut file = BufWriter::new(
                make(path).with_context(|| format!("cannot make {}", path.display()))?,
            );
            let count = write(database, format, &mut file, progress)?;
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            count
        }
        None => write(database, format, &mut BufWriter::new(io::stdout().lock()), progress)?,
    };
    meter.done();
    Ok(Printed { out: String::new(), hints: format!("Exported {count} responses.\n") })
}

fn write(
    database: &Path,
    format: ExportFormat,
    out: &mut impl Write,
    progress: impl FnMut(tools::read::ToolProgress),
) -> Result<u64> {
    Ok(match format {
        ExportFormat::Jsonl => tools::export(database, out, progress)?,
        ExportFormat::Markdown => tools::export_markdown(database, out, progress)?,
    })
}

/// A new file that only its owner can read, since it contains conversations.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn import(directory: &Path, database: &Path, file: &Path) -> Result<Printed> {
    store::directory::prepare(directory)?;
    let _alone = Lock::take(directory)?;
    let mut meter = ProgressMeter::new("importing");
    let progress = |at: tools::read::ToolProgress| meter.show(at.done, at.total);
    let imported = if file == Path::new("-") {
        tools::import(database, io::stdin().lock(), progress)?
    } else {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        tools::import(database, BufReader::new(opened), progress)?
    };
    meter.done();
    let Imported { answers, heads, skipped } = imported;
    let out = format!(
        "imported {answers} responses and {heads} heads of conversations; {skipped} existed already\n"
    );
    Ok(Printed { out, hints: String::new() })
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

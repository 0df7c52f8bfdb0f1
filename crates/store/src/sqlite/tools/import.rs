//! Import of an export in JSON Lines. Existing rows stay unchanged.

use std::io::BufRead;
use std::path::Path;

use bytes::Bytes;
use engine::store::{ConversationHead, StoreError};
use protocol::entry::Entry;
use protocol::id::{ItemId, Owner, ResponseId};
use rusqlite::{Connection, OptionalExtension};

use super::error::ToolError;
use super::export_line::{self, ExportLine, ExportedResponse, ExportedSide, ExportedState};
use super::read::ToolProgress;
use crate::Durability;
use crate::sqlite::failure::{JobFailure, insert_error};
use crate::sqlite::job::WriteTransaction;
use crate::sqlite::state::RecordState as RowState;
use crate::sqlite::tree::{self, Written};
use crate::sqlite::writer::count;
use crate::sqlite::{chunk, claims, logs, open};

/// Lines in one transaction: a server that uses the same file waits for its end, some milliseconds.
const BATCH: usize = 64;

/// Bytes from which a transaction takes no further line.
const BATCH_BYTES: usize = 1 << 20;

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Imported responses.
    pub answers: u64,
    /// Imported heads.
    pub heads: u64,
    /// Lines that were skipped because their content exists.
    pub skipped: u64,
}

/// Reads an export into the database at `path`, which is created if missing. Each line is imported
/// whole or not at all; existing content is skipped, so that an interrupted import can be repeated.
///
/// # Errors
/// [`ToolError`]; the lines before the one it names are imported.
pub fn import(
    path: &Path,
    mut from: impl BufRead,
    mut progress: impl FnMut(ToolProgress),
) -> Result<Imported, ToolError> {
    let connection = open::open(path, Durability::Process)?;
    let mut imported = Imported::default();
    let mut lines = Lines { number: 0, text: String::new() };
    let header = lines.next(&mut from)?.map(|line| lines.read(line)).transpose()?;
    match header {
        Some(ExportLine::Header(header))
            if header.format == export_line::FORMAT && header.version == export_line::VERSION => {}
        Some(ExportLine::Header(header)) => {
            let what = format!(
                "this is version {} of '{}'; this weir reads version {}",
                header.version,
                header.format,
                export_line::VERSION
            );
            return Err(ToolError::Line { line: 1, what });
        }
        Some(ExportLine::Answer(_) | ExportLine::Head(_)) | None => {
            return Err(ToolError::Line { line: 1, what: "an export begins with a header".into() });
        }
    }
    while batch(path, &connection, &mut lines, &mut from, &mut imported)? {
        progress(ToolProgress {
            done: imported.answers + imported.heads + imported.skipped,
            total: None,
        });
    }
    progress(ToolProgress {
        done: imported.answers + imported.heads + imported.skipped,
        total: None,
    });
    Ok(imported)
}

/// The lines of an export, counted.
struct Lines {
    number: u64,
    text: String,
}

impl Lines {
    /// The length of the next line, which is then in `text`; `None` at the end.
    fn next(&mut self, from: &mut impl BufRead) -> Result<Option<usize>, ToolError> {
        self.text.clear();
        self.number += 1;
        let length = from.read_line(&mut self.text)?;
        Ok((length > 0).then_some(length))
    }

    fn read(&self, _length: usize) -> Result<ExportLine, ToolError> {
        serde_json::from_str(&self.text).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, what: String) -> ToolError {
        ToolError::Line { line: self.number, what }
    }
}

/// Imports some lines in one transaction. Returns whether there may be more.
fn batch(
    path: &Path,
    connection: &Connection,
    lines: &mut Lines,
    from: &mut impl BufRead,
    imported: &mut Imported,
) -> Result<bool, ToolError> {
    let failed = |source| ToolError::sqlite(path, source);
    let (mut more, mut read, mut bytes) = (true, Vec::new(), 0);
    // Read before the transaction: a slow input blocks no other writer.
    let mut broken = None;
    while more && read.len() < BATCH && bytes < BATCH_BYTES {
        match lines.next(from)? {
            None => more = false,
            Some(length) => match lines.read(length) {
                Ok(line) => {
                    bytes += length;
                    read.push((lines.number, line));
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            },
        }
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let put = put_all(path, connection, read, imported);
    connection.execute_batch("COMMIT").map_err(failed)?;
    put?;
    broken.map_or(Ok(more), Err)
}

fn put_all(
    path: &Path,
    connection: &Connection,
    read: Vec<(u64, ExportLine)>,
    imported: &mut Imported,
) -> Result<(), ToolError> {
    let failed = |source| ToolError::sqlite(path, source);
    for (number, line) in read {
        let mut change = WriteTransaction::new(connection);
        connection.execute_batch("SAVEPOINT line").map_err(failed)?;
        let done = put(&mut change, &line).and_then(|is_new| {
            count(connection, change.item_bytes, change.log_bytes)?;
            Ok(is_new)
        });
        if done.is_err() {
            connection.execute_batch("ROLLBACK TO line").map_err(failed)?;
        }
        connection.execute_batch("RELEASE line").map_err(failed)?;
        match (done, line) {
            (Ok(true), ExportLine::Head(_)) => imported.heads += 1,
            (Ok(true), ExportLine::Answer(_) | ExportLine::Header(_)) => imported.answers += 1,
            (Ok(false), _) => imported.skipped += 1,
            (Err(JobFailure::Sqlite(source)), _) => return Err(failed(source)),
            (Err(failure @ (JobFailure::Expected(_) | JobFailure::Damaged(_))), _) => {
                return Err(ToolError::Line { line: number, what: failure.to_string() });
            }
        }
    }
    Ok(())
}

/// Returns whether it was new.
fn put(change: &mut WriteTransaction<'_>, line: &ExportLine) -> Result<bool, JobFailure> {
    match line {
        ExportLine::Header(_) => {
            Err(JobFailure::Damaged("a header is only allowed in the first line"))
        }
        ExportLine::Answer(answer) => put_answer(change, answer),
        ExportLine::Head(head) => {
            let owner = Owner::new(&head.owner);
            if claims::head(change.connection, &owner, &head.name)?.is_some() {
                return Ok(false);
            }
            let to =
                ConversationHead { response: ResponseId::new(&head.answer), used_at: head.used_at };
            claims::set_head(change.connection, &owner, &head.name, Some(&to))?;
            Ok(true)
        }
    }
}

fn put_answer(
    change: &mut WriteTransaction<'_>,
    answer: &ExportedResponse,
) -> Result<bool, JobFailure> {
    let connection = change.connection;
    if is_there(connection, answer)? {
        return Ok(false);
    }
    let state = match answer.state {
        ExportedState::Ended => RowState::Ended,
        ExportedState::Expired => RowState::Expired,
        ExportedState::Deleted => RowState::Deleted,
    };
    let parent = item_number(connection, answer.parent.as_deref())?;
    let add = "INSERT INTO answers (id, owner, state, readable, parent, ended_at, place) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let row = (
        &answer.id,
        &answer.owner,
        state as i64,
        answer.readable,
        parent,
        answer.ended_at,
        answer.place,
    );
    connection.prepare_cached(add)?.execute(row).map_err(insert_error)?;
    let number = connection.last_insert_rowid();
    for item in &answer.items {
        let side = if item.side == ExportedSide::Input {
            tree::ItemSide::Input
        } else {
            tree::ItemSide::Output
        };
        if let Some(json) = &item.json {
            tree::read(json.get())?;
        }
        let written = Written {
            id: ItemId::new(&item.id),
            json: item.json.as_ref().map(|json| json.get().to_owned()),
        };
        let parent = item_number(connection, item.parent.as_deref())?;
        tree::insert_items(change, number, side, parent, vec![written])?;
    }
    let head = item_number(connection, answer.head.as_deref())?;
    connection
        .prepare_cached("UPDATE answers SET head = ?2 WHERE number = ?1")?
        .execute((number, head))?;
    put_rest(change, answer)?;
    Ok(true)
}

/// Inserts what belongs to a response besides its row and its items.
fn put_rest(
    change: &mut WriteTransaction<'_>,
    answer: &ExportedResponse,
) -> Result<(), JobFailure> {
    let Some(id) = answer.id.as_ref().map(ResponseId::new) else { return Ok(()) };
    let connection = change.connection;
    for claim in &answer.claims {
        let request = unhex(&claim.request)
            .ok_or(JobFailure::Damaged("the hash of a claim is not hexadecimal"))?;
        let add = "INSERT INTO claims (owner, key, request, answer) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        connection.prepare_cached(add)?.execute((
            &answer.owner,
            &claim.key,
            request,
            id.as_str(),
        ))?;
    }
    if let Some(events) = &answer.events {
        let entry = |(position, data): (u64, &String)| {
            Entry::read(position, Bytes::copy_from_slice(data.as_bytes()))
        };
        let entries = (0..).zip(events).map(entry).collect::<Option<Vec<_>>>();
        let entries = entries.ok_or(JobFailure::Damaged("an event is not valid"))?;
        let chunks = chunk::pack(&entries).ok_or(JobFailure::Damaged("an event is too long"))?;
        logs::put(change, &id, entries.len(), &chunks)?;
    }
    Ok(())
}

/// A deleted response has no id: it exists if one of its items does.
fn is_there(connection: &Connection, answer: &ExportedResponse) -> Result<bool, JobFailure> {
    if let Some(id) = &answer.id {
        let mut find = connection.prepare_cached("SELECT 1 FROM answers WHERE id = ?1")?;
        return Ok(find.exists([id])?);
    }
    let mut find = connection.prepare_cached("SELECT 1 FROM items WHERE id = ?1")?;
    answer.items.iter().try_fold(false, |is_there, item| Ok(is_there || find.exists([&item.id])?))
}

/// The number of an item that has to exist.
fn item_number(connection: &Connection, id: Option<&str>) -> Result<Option<i64>, JobFailure> {
    let Some(id) = id else { return Ok(None) };
    let mut find = connection.prepare_cached("SELECT number FROM items WHERE id = ?1")?;
    let found = find.query_row([id], |row| row.get(0)).optional()?;
    found.map(Some).ok_or(JobFailure::Expected(StoreError::Missing))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<Vec<_>>>()?;
    (digits.len() == 64).then(|| {
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect()
    })
}

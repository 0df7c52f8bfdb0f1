//! The rows of finished logs.

use engine::store::StoreError;
use protocol::entry::Entry;
use protocol::id::ResponseId;
use rusqlite::{Connection, OptionalExtension, Row};

use super::chunk::LogChunk;
use super::failure::JobFailure;
use super::job::WriteTransaction;
use super::tree::weight;

/// Archives a log. Idempotent.
pub(super) fn put(
    change: &mut WriteTransaction<'_>,
    id: &ResponseId,
    entries: usize,
    chunks: &[LogChunk],
) -> Result<(), JobFailure> {
    let connection = change.connection;
    if find(connection, id)?.is_some() {
        return Ok(());
    }
    let bytes = chunks.iter().map(|chunk| weight(chunk.data.len())).sum::<i64>();
    let mut add =
        connection.prepare_cached("INSERT INTO logs (id, entries, bytes) VALUES (?1, ?2, ?3)")?;
    add.execute((id.as_str(), weight(entries), bytes))?;
    let log = connection.last_insert_rowid();
    let mut add = connection.prepare_cached(
        "INSERT INTO chunks (log, first, raw_bytes, crc32, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for chunk in chunks {
        add.execute((log, chunk.first, weight(chunk.raw_bytes), chunk.crc32, &chunk.data))?;
    }
    change.log_bytes += bytes;
    Ok(())
}

/// The number of a log and how many entries it has.
pub(super) fn find(
    connection: &Connection,
    id: &ResponseId,
) -> Result<Option<(i64, u64)>, JobFailure> {
    let mut find = connection.prepare_cached("SELECT number, entries FROM logs WHERE id = ?1")?;
    Ok(find.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Entries from `position` on: the first in any case, then those that fit `budget` with it.
pub(super) fn read(
    connection: &Connection,
    id: &ResponseId,
    position: u64,
    budget: usize,
) -> Result<Vec<Entry>, JobFailure> {
    let (log, count) = find(connection, id)?.ok_or(StoreError::Missing)?;
    let (mut entries, mut left) = (Vec::<Entry>::new(), budget);
    let mut next = position;
    while next < count {
        for entry in chunk(connection, log, next)?
            .unpack()?
            .into_iter()
            .skip_while(|entry| entry.position < next)
        {
            if !entries.is_empty() && entry.data.len() > left {
                return Ok(entries);
            }
            left = left.saturating_sub(entry.data.len());
            entries.push(entry);
        }
        let read = entries.last().map_or(next, |entry| entry.position + 1);
        if read == next {
            return Err(JobFailure::Damaged("a log has a gap"));
        }
        if left == 0 {
            break;
        }
        next = read;
    }
    Ok(entries)
}

/// The chunk that holds `position`.
fn chunk(connection: &Connection, log: i64, position: u64) -> Result<LogChunk, JobFailure> {
    let find = "SELECT first, raw_bytes, crc32, data FROM chunks WHERE log = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1";
    let found = connection.prepare_cached(find)?.query_row((log, position), row).optional()?;
    found.ok_or(JobFailure::Damaged("a log has a gap"))
}

/// A chunk from `first, raw_bytes, crc32, data`.
pub(super) fn row(row: &Row<'_>) -> rusqlite::Result<LogChunk> {
    let raw_bytes = usize::try_from(row.get::<_, u32>(1)?).unwrap_or(usize::MAX);
    Ok(LogChunk { first: row.get(0)?, raw_bytes, crc32: row.get(2)?, data: row.get(3)? })
}

/// Deletes a log.
pub(super) fn remove(change: &mut WriteTransaction<'_>, id: &ResponseId) -> Result<(), JobFailure> {
    let connection = change.connection;
    let mut find = connection.prepare_cached("SELECT number, bytes FROM logs WHERE id = ?1")?;
    let found = find
        .query_row([id.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((number, bytes)) = found else { return Ok(()) };
    connection.prepare_cached("DELETE FROM chunks WHERE log = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM logs WHERE number = ?1")?.execute([number])?;
    change.log_bytes -= bytes;
    change.deletes = true;
    Ok(())
}

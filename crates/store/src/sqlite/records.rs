//! The rows of responses: inserted at the start, completed, and deleted.

use engine::store::{Expired, RecordEnd, RecordLookup, Removal, ResponseRecord, StoreError};
use protocol::id::{ItemId, Owner, ResponseId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::claims;
use super::failure::{JobFailure, insert_error};
use super::job::WriteTransaction;
use super::logs;
use super::state::RecordState;
use super::times;
use super::tree::{self, ItemSide, Written};

/// How many expired ids are kept, so that their owners get a 410 and not a 404.
pub(super) const TOMBSTONES: i64 = 100_000;

/// The columns of a record, without its items.
const COLUMNS: &str = "SELECT answers.number, answers.id, answers.owner, answers.state, answers.readable, parents.id, heads.id, \
                       answers.ended_at FROM answers LEFT JOIN items parents ON parents.number = answers.parent \
                       LEFT JOIN items heads ON heads.number = answers.head";

/// One row of [`COLUMNS`].
struct Columns {
    number: i64,
    id: String,
    owner: String,
    state: i64,
    readable: bool,
    parent: Option<String>,
    head: Option<String>,
    ended_at: Option<u64>,
}

/// Inserts a running response.
pub(super) fn insert(
    change: &mut WriteTransaction<'_>,
    record: &ResponseRecord,
    input: Vec<Written>,
) -> Result<(), JobFailure> {
    let (number, parent) = reserve(change, record)?;
    let head = match tree::insert_items(change, number, ItemSide::Input, parent, input)? {
        Some(head) => Some(head),
        None => tree::number(change.connection, record.head.as_ref())?,
    };
    show(change, number, record, head)
}

/// Inserts the row of a response without an id, which no lookup finds. Returns its number and that
/// of the item it continues.
pub(super) fn reserve(
    change: &mut WriteTransaction<'_>,
    record: &ResponseRecord,
) -> Result<(i64, Option<i64>), JobFailure> {
    let connection = change.connection;
    let parent = tree::number(connection, record.parent.as_ref())?;
    let add = "INSERT INTO answers (owner, state, readable, parent) VALUES (?1, ?2, ?3, ?4)";
    let row = (record.owner.as_str(), RecordState::Running as i64, record.readable, parent);
    connection.prepare_cached(add)?.execute(row)?;
    Ok((connection.last_insert_rowid(), parent))
}

/// Sets the id of a response, and the item where the next turn continues.
pub(super) fn show(
    change: &mut WriteTransaction<'_>,
    number: i64,
    record: &ResponseRecord,
    head: Option<i64>,
) -> Result<(), JobFailure> {
    let connection = change.connection;
    let there = "SELECT number FROM answers WHERE id = ?1 AND state = ?2";
    let tombstone = connection
        .prepare_cached(there)?
        .query_row((record.id.as_str(), RecordState::Expired as i64), |row| row.get(0))
        .optional()?;
    if let Some(tombstone) = tombstone {
        delete_tombstone(connection, tombstone)?;
    }
    let show = "UPDATE answers SET id = ?2, head = ?3 WHERE number = ?1";
    connection
        .prepare_cached(show)?
        .execute((number, record.id.as_str(), head))
        .map_err(insert_error)?;
    Ok(())
}

/// Ends a response. Idempotent.
pub(super) fn finish(
    change: &mut WriteTransaction<'_>,
    id: &ResponseId,
    output: Vec<Written>,
    end: &RecordEnd,
) -> Result<(), JobFailure> {
    let connection = change.connection;
    let find = "SELECT number, head, state FROM answers WHERE id = ?1 AND state <= ?2";
    let found = connection
        .prepare_cached(find)?
        .query_row((id.as_str(), RecordState::Ended as i64), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))
        });
    let (number, head, state) = found.optional()?.ok_or(StoreError::Missing)?;
    if state == RecordState::Ended as i64 {
        return Ok(());
    }
    let head = tree::insert_items(change, number, ItemSide::Output, head, output)?;
    let update = "UPDATE answers SET state = ?2, head = ?3, ended_at = ?4, \
               place = (SELECT COALESCE(max(place), 0) + 1 FROM answers WHERE state = 1 AND ended_at = ?4) WHERE number = ?1";
    connection.prepare_cached(update)?.execute((
        number,
        RecordState::Ended as i64,
        head,
        end.ended_at,
    ))?;
    match &end.times {
        Some(recorded) => times::insert(connection, number, recorded),
        None => Ok(()),
    }
}

/// Deletes a response and the items that nothing else holds.
pub(super) fn remove(
    change: &mut WriteTransaction<'_>,
    id: &ResponseId,
    removal: Removal,
) -> Result<(), JobFailure> {
    let connection = change.connection;
    claims::release(connection, id)?;
    // With its log, so that no log remains without a record that leads to it.
    logs::remove(change, id)?;
    let find = "SELECT number, parent, head FROM answers WHERE id = ?1 AND state <= ?2";
    let mut find = connection.prepare_cached(find)?;
    let found = find.query_row((id.as_str(), RecordState::Ended as i64), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    });
    let Some((number, parent, head)) = found.optional()? else { return Ok(()) };
    match removal {
        Removal::Deleted => {
            tree::delete_text(change, number)?;
            reduce_to_places(connection, number)?;
        }
        Removal::Forgotten => reduce_to_places(connection, number)?,
        Removal::Expired => expire(connection, number)?,
    }
    tree::prune(change, head)?;
    tree::prune(change, parent)?;
    tree::delete_leaf(connection, number)?;
    change.deletes = true;
    Ok(())
}

/// Reduces a response to its items' places in the tree.
fn reduce_to_places(connection: &Connection, number: i64) -> Result<(), JobFailure> {
    let update = "UPDATE answers SET id = NULL, state = ?2, parent = NULL, head = NULL, ended_at = NULL, place = NULL WHERE number = ?1";
    connection.prepare_cached(update)?.execute((number, RecordState::Deleted as i64))?;
    Ok(())
}

/// Marks a response as removed by retention, and deletes the oldest of those marks if there are too
/// many.
fn expire(connection: &Connection, number: i64) -> Result<(), JobFailure> {
    let last = "SELECT COALESCE(max(place), 0) FROM answers WHERE state = 2";
    let place: i64 = connection.prepare_cached(last)?.query_row([], |row| row.get(0))?;
    let expire = "UPDATE answers SET state = 2, parent = NULL, head = NULL, ended_at = NULL, place = ?2 WHERE number = ?1";
    connection.prepare_cached(expire)?.execute((number, place + 1))?;
    let old = "SELECT number FROM answers WHERE state = 2 AND place <= ?1 ORDER BY place LIMIT 2";
    let mut old = connection.prepare_cached(old)?;
    let old: Vec<i64> =
        old.query_map([place + 1 - TOMBSTONES], |row| row.get(0))?.collect::<Result<_, _>>()?;
    old.into_iter().try_for_each(|number| delete_tombstone(connection, number))
}

/// Deletes the tombstone of an expired response.
fn delete_tombstone(connection: &Connection, number: i64) -> Result<(), JobFailure> {
    reduce_to_places(connection, number)?;
    tree::delete_leaf(connection, number)
}

/// The state of the response `id`.
pub(super) fn find(connection: &Connection, id: &ResponseId) -> Result<RecordLookup, JobFailure> {
    let mut find = connection.prepare_cached(&format!("{COLUMNS} WHERE answers.id = ?1"))?;
    let Some(columns) = find.query_row([id.as_str()], columns).optional()? else {
        return Ok(RecordLookup::Missing);
    };
    if columns.state <= RecordState::Ended as i64 {
        return record(connection, columns).map(RecordLookup::Record);
    }
    let mut count = connection.prepare_cached("SELECT count(*) FROM items WHERE answer = ?1")?;
    let items_left = count.query_row([columns.number], |row| row.get(0))?;
    Ok(RecordLookup::Expired(Expired { owner: Owner::new(columns.owner), items_left }))
}

/// Responses without an end.
pub(super) fn unfinished(connection: &Connection) -> Result<Vec<ResponseRecord>, JobFailure> {
    let mut find = connection.prepare_cached(&format!(
        "{COLUMNS} WHERE answers.state = 0 AND answers.id IS NOT NULL ORDER BY answers.number"
    ))?;
    let found: Vec<Columns> = find.query_map([], columns)?.collect::<Result<_, _>>()?;
    found.into_iter().map(|columns| record(connection, columns)).collect()
}

/// Ended responses, oldest end first.
pub(super) fn oldest_ended(
    connection: &Connection,
    owner: Option<&Owner>,
    limit: usize,
) -> Result<Vec<ResponseRecord>, JobFailure> {
    let order = "ORDER BY answers.ended_at, answers.place LIMIT ?1";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found: Vec<Columns> = match owner {
        None => {
            let mut find =
                connection.prepare_cached(&format!("{COLUMNS} WHERE answers.state = 1 {order}"))?;
            find.query_map([limit], columns)?.collect::<Result<_, _>>()?
        }
        Some(owner) => {
            let mut find = connection.prepare_cached(&format!(
                "{COLUMNS} WHERE answers.state = 1 AND answers.owner = ?2 {order}"
            ))?;
            find.query_map((limit, owner.as_str()), columns)?.collect::<Result<_, _>>()?
        }
    };
    found.into_iter().map(|columns| record(connection, columns)).collect()
}

/// The stored bytes of each caller, largest first.
pub(super) fn stored_by_caller(connection: &Connection) -> Result<Vec<(Owner, u64)>, JobFailure> {
    let mut find = connection
        .prepare_cached("SELECT owner, bytes FROM shares WHERE bytes > 0 ORDER BY bytes DESC")?;
    let stored = find
        .query_map([], |row| Ok((Owner::new(row.get::<_, String>(0)?), row.get::<_, i64>(1)?)))?;
    stored
        .map(|row| {
            row.map(|(owner, bytes)| (owner, u64::try_from(bytes).unwrap_or(0)))
                .map_err(JobFailure::from)
        })
        .collect()
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        number: row.get(0)?,
        id: row.get(1)?,
        owner: row.get(2)?,
        state: row.get(3)?,
        readable: row.get(4)?,
        parent: row.get(5)?,
        head: row.get(6)?,
        ended_at: row.get(7)?,
    })
}

fn record(connection: &Connection, columns: Columns) -> Result<ResponseRecord, JobFailure> {
    let mut find = connection
        .prepare_cached("SELECT id, side FROM items WHERE answer = ?1 ORDER BY number")?;
    let items = find.query_map([columns.number], |row| {
        Ok((ItemId::new(row.get::<_, String>(0)?), row.get::<_, i64>(1)?))
    })?;
    let (mut input, mut output) = (Vec::new(), Vec::new());
    for item in items {
        let (id, side) = item?;
        if side == ItemSide::Input as i64 { input.push(id) } else { output.push(id) }
    }
    Ok(ResponseRecord {
        id: ResponseId::new(columns.id),
        owner: Owner::new(columns.owner),
        readable: columns.readable,
        parent: columns.parent.map(ItemId::new),
        input,
        output,
        head: columns.head.map(ItemId::new),
        ended_at: columns.ended_at,
    })
}

//! The tree of items: extended by responses, pruned when nothing holds or continues a leaf.

use engine::store::{Most, StoreError};
use protocol::id::{ItemId, Owner};
use protocol::item::Item;
use rusqlite::{Connection, OptionalExtension};

use super::failure::{JobFailure, insert_error};
use super::job::WriteTransaction;
use super::state::RecordState;

/// Whether an item was input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemSide {
    Input = 0,
    Output = 1,
}

/// An item as it is stored.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) id: ItemId,
    /// `None` if only its place is left.
    pub(super) json: Option<String>,
}

impl Written {
    /// The length of its text.
    pub(super) fn bytes(&self) -> usize {
        self.json.as_ref().map_or(0, String::len)
    }
}

/// Serialises items, off the writer's thread, which has to be quick. Each item is dropped once it
/// is serialised, so that large ones are not in memory twice.
pub(super) fn written(items: Vec<Item>) -> Result<Vec<Written>, StoreError> {
    items
        .into_iter()
        .map(|item| write(&item))
        .collect::<Result<_, _>>()
        .map_err(|_not_json| StoreError::Unavailable)
}

fn write(item: &Item) -> Result<Written, serde_json::Error> {
    // Reserves all of it: a buffer that grows by doubling is in memory twice.
    let mut json = Vec::with_capacity(item.weight());
    serde_json::to_writer(&mut json, item)?;
    let json = String::from_utf8(json).map_err(serde::ser::Error::custom)?;
    Ok(Written { id: item.id().clone(), json: Some(json) })
}

/// Inserts `items`, each below the previous one, under `parent`. Returns the number of the last
/// one, or `parent`.
pub(super) fn insert_items(
    change: &mut WriteTransaction<'_>,
    answer: i64,
    side: ItemSide,
    mut parent: Option<i64>,
    items: Vec<Written>,
) -> Result<Option<i64>, JobFailure> {
    let connection = change.connection;
    let mut insert = connection.prepare_cached(
        "INSERT INTO items (id, answer, side, parent, json) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for item in items {
        change.item_bytes += weight(item.bytes());
        insert.raw_bind_parameter(1, item.id.as_str())?;
        insert.raw_bind_parameter(2, answer)?;
        insert.raw_bind_parameter(3, side as i64)?;
        insert.raw_bind_parameter(4, parent)?;
        insert.raw_bind_parameter(5, &item.json)?;
        // SQLite has copied it, and makes another copy for the row.
        drop(item);
        insert.raw_execute().map_err(insert_error)?;
        parent = Some(connection.last_insert_rowid());
    }
    Ok(parent)
}

/// Deletes the text of a response's items. They keep their places.
pub(super) fn delete_text(
    change: &mut WriteTransaction<'_>,
    answer: i64,
) -> Result<(), JobFailure> {
    let weigh = "SELECT COALESCE(sum(octet_length(json)), 0) FROM items WHERE answer = ?1";
    change.item_bytes -=
        change.connection.prepare_cached(weigh)?.query_row([answer], |row| row.get::<_, i64>(0))?;
    change
        .connection
        .prepare_cached("UPDATE items SET json = NULL WHERE answer = ?1")?
        .execute([answer])?;
    Ok(())
}

/// Deletes leaves that nothing holds, upward from `next`. An existing response holds its own items
/// and the one it continues.
pub(super) fn prune(
    change: &mut WriteTransaction<'_>,
    mut next: Option<i64>,
) -> Result<(), JobFailure> {
    let free = "SELECT parent, answer, COALESCE(octet_length(json), 0) FROM items WHERE number = ?1 \
                AND NOT EXISTS (SELECT 1 FROM items below WHERE below.parent = ?1) \
                AND NOT EXISTS (SELECT 1 FROM answers WHERE answers.parent = ?1) \
                AND NOT EXISTS (SELECT 1 FROM answers WHERE answers.number = items.answer AND state <= ?2)";
    let mut free = change.connection.prepare_cached(free)?;
    let mut cut = change.connection.prepare_cached("DELETE FROM items WHERE number = ?1")?;
    while let Some(number) = next.take() {
        let leaf = free.query_row((number, RecordState::Ended as i64), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        let Some((parent, answer, bytes)) = leaf.optional()? else { return Ok(()) };
        cut.execute([number])?;
        change.item_bytes -= bytes;
        delete_leaf(change.connection, answer)?;
        next = parent;
    }
    Ok(())
}

/// Deletes the row of a deleted response without items.
pub(super) fn delete_leaf(connection: &Connection, answer: i64) -> Result<(), JobFailure> {
    let delete_leaf = "DELETE FROM answers WHERE number = ?1 AND state = ?2 AND NOT EXISTS (SELECT 1 FROM items WHERE answer = ?1)";
    connection.prepare_cached(delete_leaf)?.execute((answer, RecordState::Deleted as i64))?;
    Ok(())
}

/// The number of an item.
pub(super) fn number(
    connection: &Connection,
    id: Option<&ItemId>,
) -> Result<Option<i64>, JobFailure> {
    let Some(id) = id else { return Ok(None) };
    let mut find = connection.prepare_cached("SELECT number FROM items WHERE id = ?1")?;
    Ok(find.query_row([id.as_str()], |row| row.get(0)).optional()?)
}

/// The conversation up to and including `head`, oldest first, unless it exceeds `most`.
pub(super) fn path(
    connection: &Connection,
    head: &ItemId,
    most: Most,
) -> Result<Vec<Item>, JobFailure> {
    path_from(connection, number(connection, Some(head))?, most)
}

/// The conversation up to and including the item of that number, unless it exceeds `most`.
pub(super) fn path_from(
    connection: &Connection,
    mut next: Option<i64>,
    mut most: Most,
) -> Result<Vec<Item>, JobFailure> {
    let mut find = connection.prepare_cached("SELECT parent, json FROM items WHERE number = ?1")?;
    let mut path = Vec::new();
    while let Some(number) = next {
        let found = find
            .query_row([number], |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<String>>(1)?))
            })
            .optional()?;
        let Some((parent, json)) = found else { break };
        // Checked before reading: the text takes slightly more memory than its stored length.
        most = most.without(json.as_ref().map_or(0, String::len))?;
        path.extend(json.as_deref().map(read).transpose()?);
        if parent.is_some_and(|parent| parent >= number) {
            return Err(JobFailure::Damaged("an item is its own ancestor"));
        }
        next = parent;
    }
    path.reverse();
    Ok(path)
}

/// One item of `owner`.
pub(super) fn item(
    connection: &Connection,
    owner: &Owner,
    id: &ItemId,
) -> Result<Option<Item>, JobFailure> {
    let find = "SELECT json FROM items JOIN answers ON answers.number = items.answer WHERE items.id = ?1 AND owner = ?2";
    let mut find = connection.prepare_cached(find)?;
    let found: Option<Option<String>> =
        find.query_row((id.as_str(), owner.as_str()), |row| row.get(0)).optional()?;
    found.flatten().as_deref().map(read).transpose()
}

/// An item from its row.
pub(super) fn read(json: &str) -> Result<Item, JobFailure> {
    serde_json::from_str(json)
        .map_err(|_error| JobFailure::Damaged("an item is not valid JSON of an item"))
}

/// A length as the difference to a total.
pub(super) fn weight(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

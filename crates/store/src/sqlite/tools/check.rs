//! Check: whether everything that is stored can be read and is consistent.

use std::path::Path;

use rusqlite::Connection;

use super::error::ToolError;
use super::export::last_answer;
use super::read::{STEP, ToolProgress, ask, reader};
use crate::sqlite::failure::JobFailure;
use crate::sqlite::{logs, tree};

/// The limit of reported problems; those of a badly damaged file could fill the memory.
const TOLD: usize = 100;

/// Checks the rows after a number. Returns the number of the last one, if there was any.
type Check = fn(&Connection, i64, &mut Checked) -> Result<Option<i64>, JobFailure>;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Checked responses, including the remains of deleted ones.
    pub answers: u64,
    /// Checked items.
    pub items: u64,
    /// Unpacked logs.
    pub logs: u64,
    /// The entries in them.
    pub entries: u64,
    /// The problems, as sentences; the first hundred.
    pub problems: Vec<String>,
}

/// Checks the whole database at `path`.
///
/// # Errors
/// [`ToolError`], if it cannot be checked at all.
pub fn check(path: &Path, mut progress: impl FnMut(ToolProgress)) -> Result<Checked, ToolError> {
    let connection = reader(path)?;
    let mut checked = Checked::default();
    let last = |table: &str| {
        let sql = format!("SELECT COALESCE(max(number), 0) FROM {table}");
        ask(path, &connection, |connection| {
            Ok(connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?)
        })
    };
    let ends = [last_answer(path, &connection)?, last("items")?, last("logs")?];
    let total = u64::try_from(ends.iter().sum::<i64>()).ok();
    checked.problems = ask(path, &connection, integrity)?;
    let checks: [Check; 3] = [answers, items, logs];
    let mut before = 0;
    for (check, end) in checks.into_iter().zip(ends) {
        let mut after = 0;
        while let Some(number) =
            ask(path, &connection, |connection| check(connection, after, &mut checked))?
        {
            after = number;
            progress(ToolProgress {
                done: u64::try_from(before + after.min(end)).unwrap_or(0),
                total,
            });
        }
        before += end;
    }
    let wrong = ask(path, &connection, totals)?;
    checked.problems.extend(wrong);
    checked.problems.truncate(TOLD);
    Ok(checked)
}

/// Reports SQLite's own integrity check.
fn integrity(connection: &Connection) -> Result<Vec<String>, JobFailure> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({TOLD})"))?;
    let found: Vec<String> = check.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(found
        .into_iter()
        .filter(|line| line != "ok")
        .map(|line| format!("the file: {line}"))
        .collect())
}

/// Checks some responses. Returns the number of the last one.
fn answers(
    connection: &Connection,
    after: i64,
    checked: &mut Checked,
) -> Result<Option<i64>, JobFailure> {
    let find = "SELECT number, id, (parent IS NULL OR EXISTS (SELECT 1 FROM items WHERE items.number = answers.parent)), \
                (head IS NULL OR EXISTS (SELECT 1 FROM items WHERE items.number = answers.head)), \
                (state != 1 OR ended_at IS NOT NULL), (state IN (0, 3) OR id IS NOT NULL) \
                FROM answers WHERE number > ?1 ORDER BY number LIMIT ?2";
    let mut find = connection.prepare_cached(find)?;
    let mut rows = find.query((after, STEP))?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        last = Some(row.get::<_, i64>(0)?);
        checked.answers += 1;
        let name = row
            .get::<_, Option<String>>(1)?
            .unwrap_or_else(|| format!("number {}", last.unwrap_or_default()));
        let fits = [
            "continues a missing item",
            "ends in a missing item",
            "has ended at no time",
            "has no id",
        ];
        for (column, wrong) in (2..).zip(fits) {
            if !row.get::<_, bool>(column)? {
                checked.report(|| format!("response {name} {wrong}"));
            }
        }
    }
    Ok(last)
}

/// Checks some items. Returns the number of the last one.
fn items(
    connection: &Connection,
    after: i64,
    checked: &mut Checked,
) -> Result<Option<i64>, JobFailure> {
    let find = "SELECT number, id, json, (parent IS NULL OR EXISTS (SELECT 1 FROM items above WHERE above.number = items.parent)), \
                COALESCE(parent < number, TRUE), EXISTS (SELECT 1 FROM answers WHERE answers.number = items.answer) \
                FROM items WHERE number > ?1 ORDER BY number LIMIT ?2";
    let mut find = connection.prepare_cached(find)?;
    let mut rows = find.query((after, STEP))?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        last = Some(row.get::<_, i64>(0)?);
        checked.items += 1;
        let id: String = row.get(1)?;
        let json: Option<String> = row.get(2)?;
        if json.is_some_and(|json| tree::read(&json).is_err()) {
            checked.report(|| format!("item {id} is not valid JSON of an item"));
        }
        let fits = ["continues a missing item", "is its own ancestor", "belongs to no response"];
        for (column, wrong) in (3..).zip(fits) {
            if !row.get::<_, bool>(column)? {
                checked.report(|| format!("item {id} {wrong}"));
            }
        }
    }
    Ok(last)
}

/// Checks some logs. Returns the number of the last one.
fn logs(
    connection: &Connection,
    after: i64,
    checked: &mut Checked,
) -> Result<Option<i64>, JobFailure> {
    let mut find = connection.prepare_cached(
        "SELECT number, id, entries, bytes FROM logs WHERE number > ?1 ORDER BY number LIMIT ?2",
    )?;
    let found = find.query_map((after, STEP), |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, u64>(2)?,
            row.get::<_, i64>(3)?,
        ))
    })?;
    let mut last = None;
    for log in found {
        let (number, id, entries, bytes) = log?;
        last = Some(number);
        checked.logs += 1;
        match unpack(connection, number) {
            Ok(found) if found == (entries, bytes, true) => checked.entries += entries,
            Ok((_, _, false)) => checked.report(|| format!("log {id} has no end")),
            Ok((found, _, true)) => checked.report(|| {
                format!("log {id} has {found} entries but {entries} in its row, or a wrong size")
            }),
            Err(failure) => checked.report(|| format!("log {id}: {failure}")),
        }
    }
    Ok(last)
}

/// The number of a log's entries, the size of its chunks, and whether the last entry is terminal.
fn unpack(connection: &Connection, log: i64) -> Result<(u64, i64, bool), JobFailure> {
    let mut find = connection.prepare_cached(
        "SELECT first, raw_bytes, crc32, data FROM chunks WHERE log = ?1 ORDER BY first",
    )?;
    let (mut entries, mut bytes, mut is_ended) = (0, 0, false);
    for chunk in find.query_map([log], logs::row)? {
        let chunk = chunk?;
        if chunk.first != entries {
            return Err(JobFailure::Damaged("a log has a gap"));
        }
        bytes += tree::weight(chunk.data.len());
        let unpacked = chunk.unpack()?;
        entries += unpacked.len() as u64;
        is_ended = unpacked.last().is_some_and(|entry| entry.kind.is_terminal());
    }
    Ok((entries, bytes, is_ended))
}

/// Checks the totals, in one transaction.
fn totals(connection: &Connection) -> Result<Option<String>, JobFailure> {
    let sums = "SELECT item_bytes, log_bytes, (SELECT COALESCE(sum(octet_length(json)), 0) FROM items), \
                (SELECT COALESCE(sum(bytes), 0) FROM logs) FROM totals";
    let (items, logs, items_found, logs_found): (i64, i64, i64, i64) =
        connection
            .query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let is_right = items == items_found && logs == logs_found;
    Ok((!is_right).then(|| {
        format!("the totals say {items} and {logs} bytes, the rows {items_found} and {logs_found}")
    }))
}

impl Checked {
    fn report(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < TOLD {
            self.problems.push(problem());
        }
    }
}

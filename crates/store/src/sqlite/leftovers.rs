//! Deletes the rows of large inputs that were never completed: they have no id yet.

use rusqlite::{Connection, OptionalExtension};

use super::failure::JobFailure;
use super::job::{Job, WriteTransaction};
use super::state::RecordState;
use super::steps::Step;
use super::tree;

/// How many items are deleted in one step.
const ITEMS: i64 = 512;

/// Responses that an earlier process did not complete.
struct Leftovers(Vec<i64>);

/// The job that deletes the leftovers, if there are any. Has to be called before the first write.
pub(super) fn of(connection: &Connection) -> Option<Box<dyn Job>> {
    // An unreadable database is reported by the first query; the next start tries again.
    let answers = find(connection).unwrap_or_default();
    if answers.is_empty() { None } else { Some(Box::new(Leftovers(answers))) }
}

fn find(connection: &Connection) -> Result<Vec<i64>, JobFailure> {
    let mut find =
        connection.prepare("SELECT number FROM answers WHERE state = 0 AND id IS NULL")?;
    Ok(find.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Deletes some items of an incomplete response, and its row with the last of them.
pub(super) fn delete_some(
    change: &mut WriteTransaction<'_>,
    answer: i64,
) -> Result<Step, JobFailure> {
    let connection = change.connection;
    change.deletes = true;
    let some = "DELETE FROM items WHERE number IN (SELECT number FROM items WHERE answer = ?1 ORDER BY number DESC LIMIT ?2) \
                RETURNING COALESCE(octet_length(json), 0)";
    let mut some = connection.prepare_cached(some)?;
    let bytes = some
        .query_map((answer, ITEMS), |row| row.get::<_, i64>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    change.item_bytes -= bytes.iter().sum::<i64>();
    if tree::weight(bytes.len()) == ITEMS {
        return Ok(Step::More);
    }
    let row =
        "DELETE FROM answers WHERE number = ?1 AND state = ?2 AND id IS NULL RETURNING parent";
    let row = connection
        .prepare_cached(row)?
        .query_row((answer, RecordState::Running as i64), |row| row.get(0))
        .optional()?;
    tree::prune(change, row.flatten())?;
    Ok(Step::Last)
}

impl Job for Leftovers {
    fn run(&mut self, change: &mut WriteTransaction<'_>) -> Result<(), JobFailure> {
        let Some(answer) = self.0.pop() else { return Ok(()) };
        if delete_some(change, answer)? == Step::More {
            self.0.push(answer);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, _is_committed: bool) -> Option<Box<dyn Job>> {
        if self.0.is_empty() { None } else { Some(self) }
    }
}

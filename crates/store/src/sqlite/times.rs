//! The rows of event times.

use engine::times::EventTimes;
use protocol::id::ResponseId;
use rusqlite::{Connection, OptionalExtension};

use super::failure::JobFailure;

/// Adds the times of the answer with this number.
pub(super) fn insert(
    connection: &Connection,
    number: i64,
    times: &EventTimes,
) -> Result<(), JobFailure> {
    let add = "INSERT OR REPLACE INTO event_times (answer, data) VALUES (?1, ?2)";
    connection.prepare_cached(add)?.execute((number, times.encode()))?;
    Ok(())
}

/// The times of a response.
pub(super) fn find(
    connection: &Connection,
    id: &ResponseId,
) -> Result<Option<EventTimes>, JobFailure> {
    let find = "SELECT data FROM event_times JOIN answers ON answers.number = event_times.answer WHERE answers.id = ?1";
    let mut find = connection.prepare_cached(find)?;
    let found = find.query_row([id.as_str()], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let damaged = JobFailure::Damaged("the times of events are not valid");
    found.map(|data| EventTimes::decode(&data).ok_or(damaged)).transpose()
}

//! Export as JSON Lines: every ended response, each after the one it continues.

use std::io::Write;
use std::path::Path;

use protocol::visible::visible_json;
use rusqlite::{Connection, Row};
use serde_json::value::RawValue;

use super::error::ToolError;
use super::export_line::{
    self, ExportHeader, ExportLine, ExportedClaim, ExportedHead, ExportedItem, ExportedResponse,
    ExportedSide,
};
use super::read::{STEP, ToolProgress, ask, reader};
use crate::sqlite::failure::JobFailure;
use crate::sqlite::state::RecordState;
use crate::sqlite::{logs, tree};

/// Writes everything that has ended to `out`: one line for each response, then one for each head of
/// a conversation. Running responses, and those that start meanwhile, are left out. Returns the
/// number of responses.
///
/// # Errors
/// [`ToolError`].
pub fn export(
    path: &Path,
    out: &mut impl Write,
    mut progress: impl FnMut(ToolProgress),
) -> Result<u64, ToolError> {
    let connection = reader(path)?;
    write(
        out,
        &ExportLine::Header(ExportHeader {
            format: export_line::FORMAT.into(),
            version: export_line::VERSION,
        }),
    )?;
    let last = last_answer(path, &connection)?;
    let (mut after, mut count) = (0, 0);
    loop {
        let step = ask(path, &connection, |connection| answers(connection, after, last))?;
        let Some((number, _)) = step.last() else { break };
        after = *number;
        count += step.len() as u64;
        for (_, answer) in step {
            write(out, &ExportLine::Answer(Box::new(answer)))?;
        }
        progress(ToolProgress {
            done: u64::try_from(after).unwrap_or(0),
            total: u64::try_from(last).ok(),
        });
    }
    let mut after = (String::new(), String::new());
    loop {
        let step = ask(path, &connection, |connection| heads(connection, &after))?;
        let Some(head) = step.last() else { break };
        after = (head.owner.clone(), head.name.clone());
        step.into_iter().try_for_each(|head| write(out, &ExportLine::Head(head)))?;
    }
    out.flush()?;
    Ok(count)
}

/// The number of the newest response, where a scan of all of them ends.
pub(super) fn last_answer(path: &Path, connection: &Connection) -> Result<i64, ToolError> {
    ask(path, connection, |connection| {
        Ok(connection
            .query_row("SELECT COALESCE(max(number), 0) FROM answers", [], |row| row.get(0))?)
    })
}

fn write(out: &mut impl Write, line: &ExportLine) -> Result<(), ToolError> {
    let json = serde_json::to_string(line).map_err(std::io::Error::from)?;
    // The error may be shown in a terminal.
    Ok(writeln!(out, "{}", visible_json(&json))?)
}

fn answers(
    connection: &Connection,
    after: i64,
    last: i64,
) -> Result<Vec<(i64, ExportedResponse)>, JobFailure> {
    let find = "SELECT answers.number, answers.id, answers.owner, answers.state, answers.readable, parents.id, heads.id, \
                answers.ended_at, answers.place FROM answers LEFT JOIN items parents ON parents.number = answers.parent \
                LEFT JOIN items heads ON heads.number = answers.head \
                WHERE answers.number > ?1 AND answers.number <= ?2 AND answers.state > 0 ORDER BY answers.number LIMIT ?3";
    let mut find = connection.prepare_cached(find)?;
    let mut answers =
        find.query_map((after, last, STEP), answer)?.collect::<Result<Vec<_>, _>>()?;
    for (number, answer) in &mut answers {
        answer.items = items(connection, *number)?;
        if let Some(id) = &answer.id {
            answer.claims = claims(connection, id)?;
            answer.events = events(connection, id)?;
        }
    }
    Ok(answers)
}

/// A response without the content of other tables.
fn answer(row: &Row<'_>) -> rusqlite::Result<(i64, ExportedResponse)> {
    let state = match row.get::<_, i64>(3)? {
        state if state == RecordState::Ended as i64 => export_line::ExportedState::Ended,
        state if state == RecordState::Expired as i64 => export_line::ExportedState::Expired,
        _ => export_line::ExportedState::Deleted,
    };
    let answer = ExportedResponse {
        id: row.get(1)?,
        owner: row.get(2)?,
        state,
        readable: row.get(4)?,
        parent: row.get(5)?,
        head: row.get(6)?,
        ended_at: row.get(7)?,
        place: row.get(8)?,
        claims: Vec::new(),
        items: Vec::new(),
        events: None,
    };
    Ok((row.get(0)?, answer))
}

fn items(connection: &Connection, answer: i64) -> Result<Vec<ExportedItem>, JobFailure> {
    let find = "SELECT items.id, items.side, parents.id, items.json FROM items \
                LEFT JOIN items parents ON parents.number = items.parent WHERE items.answer = ?1 ORDER BY items.number";
    let mut find = connection.prepare_cached(find)?;
    let mut rows = find.query([answer])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let side = if row.get::<_, i64>(1)? == tree::ItemSide::Input as i64 {
            ExportedSide::Input
        } else {
            ExportedSide::Output
        };
        let json = row.get::<_, Option<String>>(3)?.map(RawValue::from_string).transpose();
        let json =
            json.map_err(|_error| JobFailure::Damaged("an item is not valid JSON of an item"))?;
        items.push(ExportedItem { id: row.get(0)?, side, parent: row.get(2)?, json });
    }
    Ok(items)
}

fn claims(connection: &Connection, id: &str) -> Result<Vec<ExportedClaim>, JobFailure> {
    let mut find = connection
        .prepare_cached("SELECT key, request FROM claims WHERE answer = ?1 ORDER BY owner, key")?;
    let claims = find.query_map([id], |row| {
        Ok(ExportedClaim { key: row.get(0)?, request: hex(&row.get::<_, Vec<u8>>(1)?) })
    })?;
    Ok(claims.collect::<Result<_, _>>()?)
}

fn events(connection: &Connection, id: &str) -> Result<Option<Vec<String>>, JobFailure> {
    let id = protocol::id::ResponseId::new(id);
    if logs::find(connection, &id)?.is_none() {
        return Ok(None);
    }
    let text = |data: &[u8]| {
        String::from_utf8(data.to_vec())
            .map_err(|_error| JobFailure::Damaged("an entry of a log is not UTF-8"))
    };
    let entries = logs::read(connection, &id, 0, usize::MAX)?;
    entries.iter().map(|entry| text(&entry.data)).collect::<Result<_, _>>().map(Some)
}

fn heads(
    connection: &Connection,
    after: &(String, String),
) -> Result<Vec<ExportedHead>, JobFailure> {
    let find = "SELECT owner, name, answer, used_at FROM heads WHERE (owner, name) > (?1, ?2) ORDER BY owner, name LIMIT ?3";
    let mut find = connection.prepare_cached(find)?;
    let head = |row: &Row<'_>| {
        Ok(ExportedHead {
            owner: row.get(0)?,
            name: row.get(1)?,
            answer: row.get(2)?,
            used_at: row.get(3)?,
        })
    };
    Ok(find.query_map((&after.0, &after.1, STEP), head)?.collect::<Result<_, _>>()?)
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0')).collect()
}

//! Idempotency keys, and the heads of named conversations.

use engine::store::{Claimed, ConversationHead, IdempotencyClaim};
use protocol::id::{Owner, ResponseId};
use rusqlite::{Connection, OptionalExtension};

use super::failure::JobFailure;

/// The claim of an idempotency key.
pub(super) fn claimed(
    connection: &Connection,
    claim: &IdempotencyClaim,
) -> Result<Claimed, JobFailure> {
    let mut find = connection
        .prepare_cached("SELECT request, answer FROM claims WHERE owner = ?1 AND key = ?2")?;
    let found = find.query_row((claim.owner.as_str(), &claim.key), |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
    });
    Ok(match found.optional()? {
        Some((request, answer)) if request == claim.request => {
            Claimed::Same(ResponseId::new(answer))
        }
        Some(_) => Claimed::Other,
        None => Claimed::New,
    })
}

/// Claims a key for `id`, if it is new.
pub(super) fn claim(
    connection: &Connection,
    claim: &IdempotencyClaim,
    id: &ResponseId,
) -> Result<Claimed, JobFailure> {
    let claimed = claimed(connection, claim)?;
    if claimed == Claimed::New {
        let mut add = connection.prepare_cached(
            "INSERT INTO claims (owner, key, request, answer) VALUES (?1, ?2, ?3, ?4)",
        )?;
        add.execute((claim.owner.as_str(), &claim.key, &claim.request[..], id.as_str()))?;
    }
    Ok(claimed)
}

/// Releases the keys of a response.
pub(super) fn release(connection: &Connection, id: &ResponseId) -> Result<(), JobFailure> {
    connection.prepare_cached("DELETE FROM claims WHERE answer = ?1")?.execute([id.as_str()])?;
    Ok(())
}

/// The head of a conversation.
pub(super) fn head(
    connection: &Connection,
    owner: &Owner,
    name: &str,
) -> Result<Option<ConversationHead>, JobFailure> {
    let mut find = connection
        .prepare_cached("SELECT answer, used_at FROM heads WHERE owner = ?1 AND name = ?2")?;
    let head = |row: &rusqlite::Row<'_>| {
        Ok(ConversationHead {
            response: ResponseId::new(row.get::<_, String>(0)?),
            used_at: row.get(1)?,
        })
    };
    Ok(find.query_row((owner.as_str(), name), head).optional()?)
}

/// Moves the head of a conversation.
pub(super) fn set_head(
    connection: &Connection,
    owner: &Owner,
    name: &str,
    head: Option<&ConversationHead>,
) -> Result<(), JobFailure> {
    let Some(head) = head else {
        let delete = "DELETE FROM heads WHERE owner = ?1 AND name = ?2";
        connection.prepare_cached(delete)?.execute((owner.as_str(), name))?;
        return Ok(());
    };
    let put = "INSERT INTO heads (owner, name, answer, used_at) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO UPDATE SET answer = excluded.answer, used_at = excluded.used_at";
    connection.prepare_cached(put)?.execute((
        owner.as_str(),
        name,
        head.response.as_str(),
        head.used_at,
    ))?;
    Ok(())
}

/// Deletes the heads that were not used since `before`.
pub(super) fn expire_heads(connection: &Connection, before: u64) -> Result<(), JobFailure> {
    connection.prepare_cached("DELETE FROM heads WHERE used_at < ?1")?.execute([before])?;
    Ok(())
}

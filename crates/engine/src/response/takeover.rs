//! Takes over the log of a response whose turn is gone, and gives it its one end (promise 3).

use protocol::id::ResponseId;
use protocol::item::Item;
use protocol::response::Response;

use super::access::entries;
use super::builder::{End, ResponseBuilder};
use super::state::EngineState;
use crate::clock;
use crate::count::{self, Prompt};
use crate::log::{LogError, LogState};
use crate::storage::Backend;

/// Ends a response in place of its turn, with its text and its usage so far, under a new epoch.
///
/// # Errors
/// The log is missing, is not that of a response, or cannot be read or written.
pub(super) async fn take_over(
    shared: &EngineState,
    backend: &Backend,
    id: &ResponseId,
    end: &End,
    context: &[Item],
) -> Result<Response, LogError> {
    let reader = backend.log.open(id).await?;
    let mut writer = backend.log.take(id)?;
    // What is appended and not yet committed is part of the log as well: it will be committed, or
    // nothing after it will.
    let mut progress = reader.progress();
    let next = writer.next_position();
    drop(
        progress
            .wait_for(|progress| progress.committed >= next || progress.state == LogState::Failed)
            .await,
    );
    if progress.borrow().committed < next {
        return Err(LogError::Unavailable);
    }
    let mut builder =
        ResponseBuilder::resume(&entries(&*reader, 0, next).await?).ok_or(LogError::Gap)?;
    if builder.response().status.is_terminal() {
        return Ok(builder.response().clone());
    }
    let usage = if builder.has_output() && !context.is_empty() {
        let (response, context) = (builder.response().clone(), context.to_vec());
        shared
            .tasks
            .blocking(move || count::usage(&Prompt::from(&response), &context, &response.output))
            .await
    } else {
        None
    };
    // The caller has the reason.
    let _failure = builder.end(end, usage, clock::unix_seconds(), "");
    writer.append(&builder.take_entries())?;
    Ok(builder.response().clone())
}

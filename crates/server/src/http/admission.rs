//! Whether a caller may make one more request now: its rate, and how many connections it has.

use protocol::fault::Fault;
use protocol::id::Owner;

use crate::app::App;
use crate::listen::ConnectionHandle;

/// Counts a request of `owner` on this connection.
///
/// # Errors
/// 429 where the owner makes too many, or comes on too many connections.
pub(super) fn admit(
    app: &App,
    owner: &Owner,
    connection: Option<&ConnectionHandle>,
) -> Result<(), Fault> {
    let share = app.engine.share(owner);
    app.rates.take(owner, share)?;
    match (connection, share) {
        (Some(connection), Some(_)) => connection.count_caller(owner, || app.engine.connect(owner)),
        (None, _) | (_, None) => Ok(()),
    }
}

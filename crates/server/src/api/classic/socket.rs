//! A socket of the classic API: each message is a question, and its response is sent as several
//! messages.

use engine::response::options::StartOptions;
use protocol::dialect::classic::Classic;
use protocol::fault::Fault;
use protocol::request::Create;

use crate::app::App;
use crate::classic::CallerUid;
use crate::transport::websocket::{SocketApi, SocketTurn};

/// The classic API on a socket, whose questions name neither a model nor a conversation.
pub(super) struct ClassicSocket {
    pub(super) asker: CallerUid,
}

impl SocketApi for ClassicSocket {
    type Dialect = Classic;

    async fn terms(
        &self,
        app: &App,
        create: &mut Create,
        turn: SocketTurn,
    ) -> Result<StartOptions, Fault> {
        create.model = app.classic.model(&app.engine).await?;
        app.classic.complete(create);
        Ok(StartOptions { bytes: Some(turn.bytes), ..app.classic.terms(&self.asker, turn.trace) })
    }
}

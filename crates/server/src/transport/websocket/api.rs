//! What an API adds to the sockets of its dialect: how its turns start.

use std::marker::PhantomData;

use engine::response::options::{SocketContext, StartOptions};
use engine::shares::Reservation;
use protocol::dialect::SocketDialect;
use protocol::fault::Fault;
use protocol::request::Create;
use protocol::trace::TraceContext;

use crate::app::App;

/// An API on a socket.
pub(crate) trait SocketApi: Send + Sync + 'static {
    /// The vocabulary of its messages.
    type Dialect: SocketDialect;

    /// Completes the request of a turn, and gives the terms on which it starts.
    ///
    /// # Errors
    /// The turn cannot start.
    fn terms(
        &self,
        app: &App,
        create: &mut Create,
        turn: SocketTurn,
    ) -> impl Future<Output = Result<StartOptions, Fault>> + Send;
}

/// A turn that is about to start on a socket.
pub(crate) struct SocketTurn {
    pub(crate) socket: SocketContext,
    /// Whether the model is called.
    pub(crate) generate: bool,
    pub(crate) trace: Option<TraceContext>,
    /// The memory that was taken for its request.
    pub(crate) bytes: Reservation,
}

/// The API of a dialect whose requests are complete by themselves.
pub(crate) struct DialectSocket<D>(PhantomData<fn() -> D>);

impl<D> Default for DialectSocket<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<D: SocketDialect> SocketApi for DialectSocket<D> {
    type Dialect = D;

    async fn terms(
        &self,
        _app: &App,
        _create: &mut Create,
        turn: SocketTurn,
    ) -> Result<StartOptions, Fault> {
        let SocketTurn { socket, generate, trace, bytes } = turn;
        Ok(StartOptions {
            socket: Some(socket),
            warm_up: !generate,
            trace,
            bytes: Some(bytes),
            ..StartOptions::default()
        })
    }
}

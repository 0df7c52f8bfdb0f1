//! What the engine needs of an upstream model: a trait, its request and the events that come back.

pub mod call;
pub mod connection;
pub mod event;
pub mod exchange;
pub mod exchange_end;
pub mod failure;
pub mod models;
pub mod passthrough;
pub mod request;
pub mod route;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;

use self::call::Peer;
use self::event::ModelStream;
use self::failure::{FailureScope, ProviderFailure};
use self::passthrough::{PassthroughParts, PassthroughRequest};
use self::request::ModelRequest;

/// An upstream model.
pub trait Provider: Send + Sync + 'static {
    /// Sends a request. Resolves when the upstream has sent the head of a stream; dropping the
    /// future closes the connection.
    ///
    /// # Errors
    /// The upstream refused, could not be reached, or did not send a head in time.
    fn ask(
        &self,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>>;

    /// Checks before the call that the provider supports the request. Returns the fields, by path,
    /// that it ignores because they have no effect.
    ///
    /// # Errors
    /// The first field that is not supported and must not be ignored, by its path.
    fn check(&self, create: &Create) -> Result<Vec<String>, Fault>;

    /// Checks before a pass-through call that the provider supports it.
    ///
    /// # Errors
    /// The operation or a field of the request is not supported.
    fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        Err(passthrough::unsupported(request))
    }

    /// Makes a pass-through call. Resolves when the upstream has sent the head of a response;
    /// dropping the future closes the connection.
    ///
    /// # Errors
    /// As [`Self::serves`] and [`Self::ask`].
    fn pass(
        &self,
        request: PassthroughRequest,
    ) -> BoxFuture<'static, Result<PassthroughParts, ProviderFailure>> {
        ready(Err(ProviderFailure::new(
            passthrough::unsupported(&request.request),
            FailureScope::Unsupported,
        )))
        .boxed()
    }

    /// Whether the call can be repeated at once in another way, such as with another key, after a
    /// call for `model` failed.
    fn has_another_way(&self, _model: &str) -> bool {
        false
    }

    /// The peer; `None` if there is none and nothing is measured.
    fn peer(&self) -> Option<Peer> {
        None
    }
}

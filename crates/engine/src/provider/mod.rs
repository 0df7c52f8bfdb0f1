//! What the engine needs of an upstream model: a trait, its request and the events that come back.

pub mod call;
pub mod event;
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
use self::event::Words;
use self::failure::{Blame, Failure};
use self::passthrough::{Parts, PassthroughRequest};
use self::request::ModelRequest;

/// An upstream model.
pub trait Provider: Send + Sync + 'static {
    /// Asks the model. Resolves when the upstream has answered with a head that promises a stream; dropping the future
    /// closes the connection.
    ///
    /// # Errors
    /// The upstream's refusal, that it could not be reached, or that its head did not come in time.
    fn ask(&self, request: ModelRequest) -> BoxFuture<'static, Result<Words, Failure>>;

    /// Checks before the call that it can do what the request asks for. Gives the fields, by path, that it leaves out because
    /// they cannot matter.
    ///
    /// # Errors
    /// The first field that it cannot serve and must not leave out, by its path.
    fn check(&self, create: &Create) -> Result<Vec<String>, Fault>;

    /// Says before a pass-through call whether it can serve it.
    ///
    /// # Errors
    /// It has no such operation, or no word for a field of the request.
    fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        Err(passthrough::unsupported(request))
    }

    /// Makes a pass-through call. Resolves when the upstream has answered with a head that promises a response; dropping the
    /// future closes the connection.
    ///
    /// # Errors
    /// As [`Self::serves`] and [`Self::ask`].
    fn pass(&self, request: PassthroughRequest) -> BoxFuture<'static, Result<Parts, Failure>> {
        ready(Err(Failure::new(passthrough::unsupported(&request.request), Blame::Match))).boxed()
    }

    /// Whether it has another way to answer at once, such as another key, after a call for `model` that failed.
    fn has_another_way(&self, _model: &str) -> bool {
        false
    }

    /// Who is asked; `None` where nobody is, and there is nothing to measure.
    fn peer(&self) -> Option<Peer> {
        None
    }
}

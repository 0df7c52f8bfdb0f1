//! The interface of a listener to the layers above it: the settings of a connection, and a service
//! for each of its requests.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, Uri};
use lens::live::RequestSubject;
use tower::Service;

use crate::config::Config;

/// Makes the service of each request, so that requests on old connections get the settings in
/// force.
pub(crate) trait ServiceFactory: Clone + Send + Sync + 'static {
    /// Responds to one request.
    type Service: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Send
        + 'static;

    /// The settings for a connection that is accepted now.
    fn config(&self) -> Arc<Config>;

    /// The service for a request that has arrived now.
    fn service(&self) -> Self::Service;

    /// Makes the target of a request canonical, before anything looks at it.
    fn normalise(&self, uri: &mut Uri);

    /// What the connection's timeline shows of a request for this target.
    fn label<'a>(&self, uri: &'a Uri) -> Label<'a>;
}

/// What a timeline shows of a request beside its method and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label<'a> {
    /// To whom the request may be shown.
    pub subject: RequestSubject,
    /// The client's own name for the request.
    pub lane: Option<&'a str>,
}

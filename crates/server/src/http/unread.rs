//! Reads the rest of a request's body after its handler.
//!
//! A refusal often comes before the body: without this, the socket would be closed with unread
//! bytes, the kernel would turn that into a reset, and the reset would overtake the refusal on its
//! way to the client.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};

/// How much of a refused body is read. A larger one costs its client the connection.
const LIMIT: usize = 256 << 10;

/// How long reading it may take: the response waits for it.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Serves a request, and reads what is left of its body.
pub(crate) async fn read_out<F: Future<Output = Response>>(
    request: Request,
    serve: impl FnOnce(Request) -> F,
) -> Response {
    // A client that waits for a 100 (RFC 9110 §10.1.1) sends nothing after a refusal.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return serve(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = BorrowedBody(Arc::new(Mutex::new(body)));
    let response = serve(Request::from_parts(parts, Body::new(body.clone()))).await;
    // A body that is too large, too slow or broken is left unread.
    let _rest = tokio::time::timeout(TIMEOUT, Limited::new(body, LIMIT).collect()).await;
    response
}

/// A body that is returned when the handler drops it.
#[derive(Clone)]
struct BorrowedBody(Arc<Mutex<Body>>);

impl BorrowedBody {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for BorrowedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

//! The body of an HTTP/1.1 response, which polls its connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;

use super::http1::Http1Connection;
use super::idle::IdleConnections;

/// The body of a response, with its connection. At its end the connection becomes idle; dropping it
/// earlier closes the connection.
pub(super) struct Http1Body {
    /// `None` after the end.
    exchange: Option<(Incoming, Box<Http1Connection>)>,
    idle: Arc<IdleConnections>,
}

impl Http1Body {
    pub(super) fn new(
        incoming: Incoming,
        connection: Box<Http1Connection>,
        idle: Arc<IdleConnections>,
    ) -> Self {
        Self { exchange: Some((incoming, connection)), idle }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The body is cut off or malformed.
    pub(super) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<hyper::Result<Option<Bytes>>> {
        loop {
            let Some((incoming, connection)) = &mut self.exchange else {
                return Poll::Ready(Ok(None));
            };
            let waker = connection.waker().clone();
            let flag = &mut Context::from_waker(&waker);
            let mut frame = Pin::new(&mut *incoming).poll_frame(flag);
            if frame.is_pending() {
                let _over = connection.poll(context.waker());
                frame = Pin::new(&mut *incoming).poll_frame(flag);
            }
            if frame.is_pending() {
                connection.yield_if_woken(context);
            }
            match ready!(frame) {
                Some(Ok(frame)) => {
                    // Trailers are of no use to any wire.
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Some(Err(error)) => {
                    self.exchange = None;
                    return Poll::Ready(Err(error));
                }
                None => {
                    connection.complete();
                    self.release();
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// Keeps the connection for another request if the body is over, or if its rest has arrived.
    fn release(&mut self) {
        let Some((incoming, mut connection)) = self.exchange.take() else { return };
        drop(incoming);
        if connection.is_idle() {
            connection.complete();
            connection.keep();
            self.idle.put(connection);
        }
    }
}

impl Drop for Http1Body {
    fn drop(&mut self) {
        self.release();
    }
}

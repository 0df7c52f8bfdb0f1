//! One HTTP/1.1 connection: polled by the task that reads its response, with no task beside it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use engine::provider::connection::UpstreamConnection;
use engine::provider::exchange::UpstreamExchange;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use tokio::runtime::Handle;
use tokio::task::unconstrained;

use super::counted_stream::{CountedStream, SocketTraffic};
use super::driver::{DrivenStream, Driver};
use super::http1_exchange::Http1Exchange;
use super::new_connection::NewConnection;

/// An established connection. Dropping it closes the socket.
pub(super) struct Http1Connection {
    /// `None` while it is dropped.
    sender: Option<SendRequest<Full<Bytes>>>,
    /// `None` after its end.
    connection: Option<Connection<DrivenStream, Full<Bytes>>>,
    driver: Arc<Driver>,
    /// Sets a flag of the driver.
    waker: Waker,
    /// Where its socket is registered.
    runtime: Handle,
    facts: Arc<UpstreamConnection>,
    traffic: Arc<SocketTraffic>,
    /// The exchange that it is used for.
    exchange: Option<Http1Exchange>,
}

/// A request failed.
pub(super) struct Http1Error {
    pub(super) error: hyper::Error,
    /// The request, if none of it was sent.
    pub(super) unsent: Option<Request<Full<Bytes>>>,
}

impl Http1Connection {
    /// Speaks HTTP/1.1 on a stream that was opened on this runtime.
    pub(super) async fn new(opened: NewConnection) -> hyper::Result<Box<Self>> {
        let NewConnection { stream, facts } = opened;
        let (driver, traffic) = (Driver::new(), Arc::<SocketTraffic>::default());
        let stream = CountedStream::new(stream, Arc::clone(&traffic));
        let (sender, connection) =
            handshake(DrivenStream::new(stream, Arc::clone(&driver))).await?;
        let waker = Waker::from(Arc::clone(&driver));
        let runtime = Handle::current();
        let (sender, connection) = (Some(sender), Some(connection));
        Ok(Box::new(Self {
            sender,
            connection,
            driver,
            waker,
            runtime,
            facts,
            traffic,
            exchange: None,
        }))
    }

    /// The waker with which the body is polled, too.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Sends a request and waits for the response's head. Dropping the future and the connection
    /// closes it. What happens is recorded in `record`.
    ///
    /// # Errors
    /// The connection failed or was closed.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        record: &Arc<UpstreamExchange>,
    ) -> Result<Response<Incoming>, Box<Http1Error>> {
        record.connected(&self.facts);
        let body = request.body().size_hint().exact().unwrap_or_default();
        self.exchange = Some(Http1Exchange::start(record, &self.traffic, body));
        let received = self.exchange_heads(request).await;
        match &received {
            Ok(_) => self.exchange.iter().for_each(Http1Exchange::answered),
            // It is recorded on the connection that it is sent on.
            Err(failed) if failed.unsent.is_some() => self.exchange = None,
            Err(_) => {}
        }
        received
    }

    async fn exchange_heads(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Box<Http1Error>> {
        let Some(sender) = &mut self.sender else { unreachable!("taken only when dropped") };
        // Unconstrained: the flag would swallow the wake-up with which tokio's budget yields.
        let mut response = pin!(unconstrained(sender.try_send_request(request)));
        let received = poll_fn(|context| {
            let _over = self.poll(context.waker());
            let received = response.as_mut().poll(&mut Context::from_waker(&self.waker));
            if received.is_pending() {
                self.exchange.iter().for_each(Http1Exchange::sending);
                self.yield_if_woken(context);
            }
            received
        });
        received.await.map_err(|mut error| {
            let unsent = error.take_message();
            Box::new(Http1Error { error: error.into_error(), unsent })
        })
    }

    /// Moves bytes for a while. Ready when the connection is over.
    pub(super) fn poll(&mut self, task: &Waker) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        self.driver.arm(task);
        let over = Pin::new(connection).poll(&mut Context::from_waker(&self.waker));
        // Its error has been reported to the request, or concerns none.
        let _error: hyper::Result<()> = ready!(over);
        // Dropping it resolves a request that it did not take.
        self.connection = None;
        Poll::Ready(())
    }

    /// Polls the task again if the connection wants it.
    pub(super) fn yield_if_woken(&self, context: &Context<'_>) {
        if self.driver.is_woken() {
            context.waker().wake_by_ref();
        }
    }

    /// The whole response was received.
    pub(super) fn complete(&mut self) {
        self.exchange.iter_mut().for_each(Http1Exchange::complete);
    }

    /// The exchange has ended, and the connection stays open.
    pub(super) fn keep(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(None);
        }
    }

    /// Whether it can take another request, as far as is known without waiting.
    pub(super) fn is_idle(&mut self) -> bool {
        self.poll(Waker::noop()).is_pending()
            && self.sender.as_ref().is_some_and(SendRequest::is_ready)
    }
}

impl Drop for Http1Connection {
    fn drop(&mut self) {
        // Without a sender the connection shuts down, which notifies a TLS peer.
        self.sender = None;
        let _over = self.poll(Waker::noop());
        // The socket closes here.
        self.connection = None;
        let close = self.traffic.close();
        if let Some(exchange) = self.exchange.take() {
            exchange.end(Some(close));
        }
        self.facts.log_closed(close);
    }
}

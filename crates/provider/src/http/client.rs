//! Sends requests on the connections to one upstream: HTTP/1.1 connections or, if configured, a few
//! HTTP/2 connections.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use engine::provider::exchange::UpstreamExchange;
use http::Request;
use http::header::HeaderMap;
use http_body::Body;
use http_body_util::Full;

use super::address::Address;
use super::connect_error::{ConnectError, SendError};
use super::connector::Connector;
use super::http1::Http1Connection;
use super::http1_body::Http1Body;
use super::http2::{Http2Mode, Http2Pool, Lease, Opened};
use super::http2_body::Http2Body;
use super::http2_exchange::Http2Exchange;
use super::idle::IdleConnections;
use super::new_connection::NewConnection;
use super::request::OutgoingRequest;
use super::response::{Response, ResponseBody};
use crate::config::{UpstreamConfig, UpstreamConfigError};

/// How often a request that the server has refused to process is sent again (RFC 9113, section
/// 8.7).
const REFUSALS: usize = 2;

/// All connections to one upstream.
pub(super) struct Client {
    connector: Connector,
    http2: Http2Mode,
    lanes: Arc<Http2Pool>,
    idle: Arc<IdleConnections>,
    /// The server has chosen HTTP/1.1 although HTTP/2 was offered.
    prefers_http1: AtomicBool,
}

impl Client {
    /// The connections that `config` describes. Does not connect yet.
    pub(super) fn new(
        config: &UpstreamConfig,
        address: &Address,
        headers: &HeaderMap,
    ) -> Result<Self, UpstreamConfigError> {
        let http2 = match (config.connection.http2, address.is_https()) {
            (false, _) => Http2Mode::Never,
            (true, true) => Http2Mode::Offered,
            (true, false) => Http2Mode::Known,
        };
        Ok(Self {
            connector: Connector::new(config, address, http2, headers)?,
            http2,
            lanes: Arc::default(),
            idle: Arc::default(),
            prefers_http1: AtomicBool::new(false),
        })
    }

    /// Sends a request and waits for the response's head. What happens is recorded in `record`.
    ///
    /// # Errors
    /// There is no response.
    pub(super) async fn send(
        &self,
        request: OutgoingRequest,
        address: &Address,
        record: &Arc<UpstreamExchange>,
    ) -> Result<(Response, Lease), ConnectError> {
        let is_http1 = match self.http2 {
            Http2Mode::Never => true,
            Http2Mode::Offered => self.prefers_http1.load(Ordering::Relaxed),
            Http2Mode::Known => false,
        };
        if is_http1 {
            let response = self.send_http1(request, address, None, record).await?;
            return Ok((response, Lease::default()));
        }
        Box::pin(self.send_http2(request, address, record)).await
    }

    /// On an idle connection, or a new one: `opened` or another.
    async fn send_http1(
        &self,
        request: OutgoingRequest,
        address: &Address,
        mut opened: Option<NewConnection>,
        record: &Arc<UpstreamExchange>,
    ) -> Result<Response, ConnectError> {
        let mut request = match self.connector.forwarding_proxy() {
            None => request.into_http1(address),
            Some(proxy) => request.into_forwarded(address, proxy.auth.as_ref()),
        };
        // A server closes an idle connection whenever it likes, so a request that was not sent goes
        // to the next one.
        while opened.is_none()
            && let Some(mut connection) = self.idle.take()
        {
            match connection.send(request, record).await {
                Ok(response) => return Ok(self.response(response, connection, record)),
                Err(failed) => match failed.unsent {
                    Some(unsent) => request = unsent,
                    None => return Err(ConnectError::of(&SendError::Exchange(failed.error))),
                },
            }
        }
        let mut connection = Box::pin(self.connect_http1(opened.take()))
            .await
            .map_err(|error| ConnectError::of(&error))?;
        match connection.send(request, record).await {
            Ok(response) => Ok(self.response(response, connection, record)),
            Err(failed) => Err(ConnectError::of(&SendError::Exchange(failed.error))),
        }
    }

    async fn connect_http1(
        &self,
        opened: Option<NewConnection>,
    ) -> Result<Box<Http1Connection>, SendError> {
        let opened = match opened {
            Some(opened) => opened,
            None => self.connector.connect().await?,
        };
        Http1Connection::new(opened).await.map_err(SendError::Exchange)
    }

    fn response(
        &self,
        response: http::Response<hyper::body::Incoming>,
        connection: Box<Http1Connection>,
        record: &Arc<UpstreamExchange>,
    ) -> Response {
        let (head, incoming) = response.into_parts();
        let body = Http1Body::new(incoming, connection, Arc::clone(&self.idle));
        Response::new(head, ResponseBody::Http1(body), record)
    }

    async fn send_http2(
        &self,
        request: OutgoingRequest,
        address: &Address,
        record: &Arc<UpstreamExchange>,
    ) -> Result<(Response, Lease), ConnectError> {
        let (lane, lease) = self.lanes.take();
        let is_known = self.http2 == Http2Mode::Known;
        let auth = self.connector.forwarding_proxy().and_then(|proxy| proxy.auth.as_ref());
        let mut refusals = 0;
        let mut kept: Option<Request<Full<Bytes>>> = None;
        loop {
            let opened = lane.get(is_known, async || self.connector.connect().await).await?;
            let (mut sender, is_reused) = match opened {
                Opened::New(sender) => (sender, false),
                Opened::Reused(sender) => (sender, true),
                Opened::Http1(opened) => {
                    self.prefers_http1.store(true, Ordering::Relaxed);
                    let response = self.send_http1(request, address, Some(opened), record).await?;
                    return Ok((response, Lease::default()));
                }
            };
            let sent = kept.take().unwrap_or_else(|| request.clone().into_http2(address, auth));
            let length = sent.body().size_hint().exact().unwrap_or_default();
            let mut exchange = Http2Exchange::start(record, &sender.facts, length);
            let mut failed = match sender.requests.try_send_request(sent).await {
                Ok(response) => {
                    let (head, incoming) = response.into_parts();
                    let body = ResponseBody::Http2(Http2Body::new(incoming, exchange));
                    return Ok((Response::new(head, body, record), lease));
                }
                Err(failed) => failed,
            };
            kept = failed.take_message().filter(|_| is_reused);
            if kept.is_some() {
                exchange.dismiss();
                continue;
            }
            if refusals == REFUSALS || !is_refused(failed.error()) {
                exchange.failed(failed.error());
                return Err(ConnectError::of(&SendError::Exchange(failed.into_error())));
            }
            exchange.dismiss();
            refusals += 1;
        }
    }
}

/// Whether the server has not processed the request: it shuts down, or refused the stream (RFC 9113,
/// section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|error| {
        let reason = error.reason();
        error.is_remote()
            && ((error.is_go_away() && reason == Some(h2::Reason::NO_ERROR))
                || (error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM)))
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("http2", &self.http2).finish_non_exhaustive()
    }
}

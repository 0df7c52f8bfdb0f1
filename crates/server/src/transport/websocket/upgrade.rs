//! The opening handshake, over HTTP/1.1 (RFC 6455 §4.2) and over HTTP/2 (RFC 8441).

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use codec::websocket::deflate::Agreement;
use codec::websocket::handshake;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use protocol::fault::{Fault, FaultKind};

use super::api::SocketApi;
use super::session::WebSocketSession;
use crate::app::App;
use crate::http::context::RequestContext;
use crate::listen::{ConnectionHandle, Exchange, StallGauge};

/// Completes the handshake and runs a session of the API for the caller when the connection has
/// changed hands.
///
/// # Errors
/// 426 where this is no handshake, or one of another version; 400 where it is malformed.
pub(crate) fn open<A: SocketApi>(
    app: &App,
    api: A,
    context: RequestContext,
    request: Request,
) -> Result<Response, Fault> {
    let session = app.clone();
    accept(app, request, |io, agreement| {
        WebSocketSession::new(session, api, context, io, agreement).run()
    })
}

/// Completes the handshake, and runs what `session` makes of the socket.
pub(super) fn accept<WebSocketSession: Future<Output = ()> + Send + 'static>(
    app: &App,
    mut request: Request,
    session: impl FnOnce(TokioIo<Upgraded>, Option<Agreement>) -> WebSocketSession + Send + 'static,
) -> Result<Response, Fault> {
    let key = match request.version() {
        Version::HTTP_2 => check_http2(&request)?,
        _ => Some(check_http1(request.uri().path(), request.headers())?),
    };
    check_version(request.headers())?;
    if let Some(fault) = app.engine.draining() {
        return Err(fault);
    }
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(Fault::new(
            FaultKind::InvalidRequest,
            "upgrade_impossible",
            "This connection cannot become a WebSocket.",
        )
        .with_status(426));
    };
    // The connection is busy with the socket for as long as there is one, and the request is not
    // over before.
    let busy = request.extensions().get::<ConnectionHandle>().map(ConnectionHandle::start_response);
    let exchange = request.extensions().get::<Exchange>().cloned();
    let gauge = request.extensions().get::<Arc<StallGauge>>().cloned();
    let agreement = if app.config.websocket_deflate { agreement(request.headers()) } else { None };
    let offers = lines(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL);
    app.tasks.spawn("socket", async move {
        let _busy = (busy, exchange);
        match upgrade.await {
            Ok(upgraded) => session(TokioIo::new(upgraded), agreement).await,
            Err(error) => {
                tracing::debug!(%error, "a handshake was completed after the client had disconnected");
            }
        }
        // What is still unsent on an HTTP/2 stream waits for its reader: no longer than any other.
        if let Some(gauge) = gauge {
            gauge.gave();
        }
    });
    Ok(accepted(key, agreement, handshake::choose_subprotocol(&offers)))
}

fn check_http1(path: &str, headers: &HeaderMap) -> Result<String, Fault> {
    let names = |name: HeaderName, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    if !names(header::UPGRADE, "websocket") || !names(header::CONNECTION, "upgrade") {
        return Err(upgrade_required(&format!("GET {path} requires a WebSocket handshake.")));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if handshake::check_key(key) {
        return Ok(key.to_owned());
    }
    Err(Fault::invalid(
        "invalid_value",
        "Sec-WebSocket-Key",
        "A Sec-WebSocket-Key must be 16 bytes in base64.",
    ))
}

/// On HTTP/2 the stream itself is the handshake: an extended CONNECT for `websocket`, without a
/// key.
fn check_http2(request: &Request) -> Result<Option<String>, Fault> {
    let protocol =
        request.extensions().get::<hyper::ext::Protocol>().map(hyper::ext::Protocol::as_str);
    if request.method() == Method::CONNECT && protocol == Some("websocket") {
        return Ok(None);
    }
    Err(upgrade_required("On HTTP/2 a WebSocket is opened by an extended CONNECT (RFC 8441)."))
}

fn check_version(headers: &HeaderMap) -> Result<(), Fault> {
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version == handshake::VERSION)
    {
        return Ok(());
    }
    Err(upgrade_required("The WebSocket version must be 13."))
}

fn upgrade_required(message: &str) -> Fault {
    Fault::new(FaultKind::InvalidRequest, "upgrade_required", message)
        .with_status(426)
        .with_param("Upgrade")
}

/// The offers may come in many fields, which mean the same as one (RFC 6455, sections 9.1 and
/// 11.3.4).
fn lines(headers: &HeaderMap, name: &HeaderName) -> String {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>()
        .join(",")
}

fn agreement(headers: &HeaderMap) -> Option<Agreement> {
    Agreement::choose(&lines(headers, &header::SEC_WEBSOCKET_EXTENSIONS))
}

fn accepted(
    key: Option<String>,
    agreement: Option<Agreement>,
    subprotocol: Option<&str>,
) -> Response {
    let status = if key.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
    let mut response = status.into_response();
    let headers = response.headers_mut();
    if let Some(agreement) = agreement
        && let Ok(agreed) = HeaderValue::from_str(&agreement.header())
    {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    if let Some(subprotocol) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let Some(key) = key else { return response };
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&handshake::accept_key(&key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

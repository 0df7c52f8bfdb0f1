//! Responds to one request of either HTTP version: checks it, chooses the script and the format,
//! and plays it.

use std::io;

use client::http1::Headers;
use client::now;
use serde_json::{Value, json};

use super::check;
use super::check::findings::{CheckedRequest, Complaint};
use super::check::key::{key_of, misplaced_keys};
use super::check::request::{is_stream, model};
use super::encode;
use super::models;
use super::play::{PlayOptions, play, reply};
use super::response_writer::{After, ResponseWriter};
use super::state::{Access, OpenConnection, RecordedRequest};
use super::vendor::{RequestKind, Route, Vendor};
use super::vendor_error::{self, VendorError};

/// A request as it was received.
#[derive(Debug)]
pub(super) struct IncomingRequest {
    pub(super) method: String,
    /// The path with its query.
    pub(super) path: String,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) is_http2: bool,
}

/// Responds to a request. `note` receives its number, unless it lists models.
pub(super) async fn respond(
    writer: &mut ResponseWriter<'_>,
    connection: &OpenConnection,
    request: IncomingRequest,
    note: impl FnOnce(usize) + Send,
) -> io::Result<After> {
    let IncomingRequest { method, path, headers, body: bytes, is_http2 } = request;
    let (bare_path, query) = path.split_once('?').unwrap_or((&path, ""));
    let route = Route::of(&method, bare_path, &headers).map(|route| connection.adapt_route(route));
    let key = route.as_ref().and_then(|route| key_of(route, &headers)).map(str::to_owned);
    let misplaced = route
        .as_ref()
        .map(|route| misplaced_keys(route, query, &headers, &bytes))
        .unwrap_or_default();
    if let Some(route) = route.as_ref().filter(|route| route.kind == RequestKind::Models) {
        connection.complain_all(route.vendor, bare_path, &misplaced);
        let names = connection.list_models();
        if let Some(refusal) = refused_key(connection, route, bare_path, key.as_deref()) {
            return refuse(writer, route.vendor, &refusal).await;
        }
        reply(writer, 200, &models::list(route.vendor, &names)).await?;
        return Ok(After::KeepAlive);
    }

    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let vendor = route.as_ref().map(|route| route.vendor);
    let model = route.as_ref().and_then(|route| model(route, &body));
    let (number, arrived) = (connection.number(), now());
    note(connection.record(RecordedRequest {
        method: method.clone(),
        path: path.clone(),
        headers: headers.clone(),
        body: body.clone(),
        connection: number,
        arrived,
        is_http2,
        vendor,
        key: key.clone(),
        model: model.clone(),
    }));
    let Some(route) = route else {
        let message = format!("the fake has no {method} {path}");
        let error = json!({"message": message, "type": "invalid_request_error"});
        connection.complain_of(message);
        reply(writer, 404, &json!({"error": error})).await?;
        return Ok(After::KeepAlive);
    };
    connection.complain_all(route.vendor, bare_path, &misplaced);
    if let Some(refusal) = refused_key(connection, &route, bare_path, key.as_deref()) {
        return refuse(writer, route.vendor, &refusal).await;
    }
    let is_lenient = route.vendor == Vendor::OpenAi && !connection.is_strict();
    let checked = CheckedRequest { route: &route, query, headers: &headers, body: &body };
    let complaints: Vec<Complaint> = check::check(&checked)
        .into_iter()
        .filter(|complaint| !(is_lenient && complaint.only_strict))
        .collect();
    for complaint in &complaints {
        connection.complain(route.vendor, bare_path, &complaint.message);
    }
    if let Some(first) = complaints.first() {
        return refuse(writer, route.vendor, first).await;
    }
    let _counted = connection.count_stream(route.vendor);
    let script = connection.next_script(key.as_deref(), model.as_deref());
    let is_stream = is_stream(&route, &body);
    let encoder = encode::encoder(&route, &body, connection.is_strict());
    play(writer, script, PlayOptions { vendor: route.vendor, encoder, is_stream }).await
}

/// The error for the key of a request, if any. An unknown key is no complaint: a test may send it
/// on purpose.
fn refused_key(
    connection: &OpenConnection,
    route: &Route,
    path: &str,
    key: Option<&str>,
) -> Option<Complaint> {
    let (error, message) = match connection.access(route.vendor, key) {
        Access::Granted => return None,
        Access::UnknownKey => (VendorError::InvalidKey, VendorError::InvalidKey.message()),
        // Gemini reports a missing key as a missing permission.
        Access::NoKey if route.vendor == Vendor::Gemini => (
            VendorError::Permission,
            "Method doesn't allow unregistered callers (callers without established identity).",
        ),
        Access::NoKey => (VendorError::InvalidKey, "You didn't provide an API key."),
    };
    if connection.access(route.vendor, key) == Access::NoKey {
        connection.complain(route.vendor, path, message);
    }
    Some(Complaint { error, message: message.to_owned(), only_strict: false })
}

async fn refuse(
    writer: &mut ResponseWriter<'_>,
    vendor: Vendor,
    complaint: &Complaint,
) -> io::Result<After> {
    let error = complaint.error;
    let status = error.status(vendor);
    let body =
        vendor_error::body(vendor, error, status, None, Some(&complaint.message)).to_string();
    writer.complete(status, &vendor_error::fields(vendor, error, None), body.as_bytes()).await?;
    Ok(After::KeepAlive)
}

//! Answers one request, whichever HTTP it came by: looks at it, picks the script and the words, and plays.

use std::io;

use serde_json::{Value, json};

use super::check::{self, Asked, Complaint};
use super::models;
use super::outlet::Outlet;
use super::play::{After, Manner, play, reply};
use super::said::Trouble;
use super::state::{Access, Open, Recorded};
use super::trouble;
use super::vendor::{Goal, Route, Vendor};
use super::wire::speech;
use crate::runtime::now;
use crate::wire::Headers;

/// A request as it came.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) is_http2: bool,
}

/// `note` learns the number of the request, if it is one for an answer.
pub(super) async fn respond(outlet: &mut Outlet<'_>, open: &Open, request: Incoming, note: impl FnOnce(usize) + Send) -> io::Result<After> {
    let Incoming { method, path, headers, body: bytes, is_http2 } = request;
    let (bare_path, query) = path.split_once('?').unwrap_or((&path, ""));
    let route = Route::of(&method, bare_path, &headers).map(|route| open.at_home(route));
    let key = route.as_ref().and_then(|route| check::key_of(route, &headers)).map(str::to_owned);
    let misplaced = route.as_ref().map(|route| check::misplaced_keys(route, query, &headers, &bytes)).unwrap_or_default();
    if let Some(route) = route.as_ref().filter(|route| route.goal == Goal::Models) {
        open.complain_all(route.vendor, bare_path, &misplaced);
        let names = open.list_models();
        if let Some(refusal) = refused_key(open, route, bare_path, key.as_deref()) {
            return refuse(outlet, route.vendor, &refusal).await;
        }
        reply(outlet, 200, &models::list(route.vendor, &names)).await?;
        return Ok(After::KeepAlive);
    }

    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let vendor = route.as_ref().map(|route| route.vendor);
    let model = route.as_ref().and_then(|route| check::model(route, &body));
    let (connection, arrived) = (open.connection(), now());
    note(open.record(Recorded {
        method: method.clone(),
        path: path.clone(),
        headers: headers.clone(),
        body: body.clone(),
        connection,
        arrived,
        is_http2,
        vendor,
        key: key.clone(),
        model: model.clone(),
    }));
    let Some(route) = route else {
        let message = format!("the lab has no {method} {path}");
        let error = json!({"message": message, "type": "invalid_request_error"});
        open.complain_of(message);
        reply(outlet, 404, &json!({"error": error})).await?;
        return Ok(After::KeepAlive);
    };
    open.complain_all(route.vendor, bare_path, &misplaced);
    if let Some(refusal) = refused_key(open, &route, bare_path, key.as_deref()) {
        return refuse(outlet, route.vendor, &refusal).await;
    }
    let is_lenient = route.vendor == Vendor::OpenAi && !open.is_strict();
    let asked = Asked { route: &route, query, headers: &headers, body: &body };
    let complaints: Vec<Complaint> = check::check(&asked).into_iter().filter(|complaint| !(is_lenient && complaint.only_strict)).collect();
    for complaint in &complaints {
        open.complain(route.vendor, bare_path, &complaint.message);
    }
    if let Some(first) = complaints.first() {
        return refuse(outlet, route.vendor, first).await;
    }
    let _counted = open.count_stream(route.vendor);
    let script = open.next_script(key.as_deref(), model.as_deref());
    let is_stream = check::is_stream(&route, &body);
    let speech = speech(&route, &body, open.is_strict());
    play(outlet, script, Manner { vendor: route.vendor, speech, is_stream }).await
}

/// What is wrong with the key of a request. A key that is merely not known is for the test to judge, and no complaint.
fn refused_key(open: &Open, route: &Route, path: &str, key: Option<&str>) -> Option<Complaint> {
    let (trouble, message) = match open.access(route.vendor, key) {
        Access::Granted => return None,
        Access::UnknownKey => (Trouble::Key, Trouble::Key.message()),
        // Gemini lets strangers ask, and does not let them in.
        Access::NoKey if route.vendor == Vendor::Gemini => {
            (Trouble::Permission, "Method doesn't allow unregistered callers (callers without established identity).")
        }
        Access::NoKey => (Trouble::Key, "You didn't provide an API key."),
    };
    if open.access(route.vendor, key) == Access::NoKey {
        open.complain(route.vendor, path, message);
    }
    Some(Complaint { trouble, message: message.to_owned(), only_strict: false })
}

async fn refuse(outlet: &mut Outlet<'_>, vendor: Vendor, complaint: &Complaint) -> io::Result<After> {
    let trouble = complaint.trouble;
    let status = trouble.status(vendor);
    let body = trouble::body(vendor, trouble, status, None, Some(&complaint.message)).to_string();
    outlet.answer(status, &trouble::fields(vendor, trouble, None), body.as_bytes()).await?;
    Ok(After::KeepAlive)
}

//! Authentication: by key, by a browser's session, or for one stream by a ticket. Each request is
//! authenticated once, by a layer; handlers find the outcome in the request's extensions.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use codec::websocket::handshake::offered_key;
use engine::keys::{Caller, KeyDigest};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;

use super::forwarded::{self, Forwarded};
use crate::app::App;
use crate::credential::Credential;
use crate::grants::Grant;
use crate::listen::Exchange;
use crate::tickets::purpose::TicketTarget;

/// The caller of a request, and the grant that ends when the caller's credential does.
#[derive(Clone)]
pub(crate) struct Authenticated {
    pub(crate) caller: Caller,
    pub(crate) grant: Grant,
}

/// The caller of a request by key or session, and the credential. It opens nothing.
#[derive(Clone)]
pub(crate) struct Identified {
    pub(crate) caller: Caller,
    pub(crate) credential: Credential,
}

/// The outcome of an authentication, in a request's extensions. Public routes have none.
#[derive(Clone)]
struct Outcome<T>(Result<T, Fault>);

/// The owner of a response, in its extensions.
#[derive(Clone)]
pub(crate) struct ResponseOwner(pub(crate) Owner);

impl Authenticated {
    /// The authentication of a request, which from here on is visible in the lens only to its
    /// caller.
    ///
    /// # Errors
    /// 401 without a valid credential, where keys are configured; 403 from elsewhere, where none
    /// are.
    pub(crate) fn of(parts: &Parts) -> Result<Self, Fault> {
        let authenticated: Self = outcome(parts)?;
        claim(parts, &authenticated.caller);
        Ok(authenticated)
    }
}

impl Identified {
    /// The authentication of a request, which from here on is visible in the lens only to its
    /// caller.
    ///
    /// # Errors
    /// As [`Authenticated::of`].
    pub(crate) fn of(parts: &Parts) -> Result<Self, Fault> {
        let identified: Self = outcome(parts)?;
        claim(parts, &identified.caller);
        Ok(identified)
    }
}

fn outcome<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Fault> {
    let missing =
        || Fault::new(FaultKind::Server, "server_error", "this route has no authentication");
    parts.extensions.get::<Outcome<T>>().ok_or_else(missing)?.0.clone()
}

/// Shows a request to its caller in the lens.
fn claim(parts: &Parts, caller: &Caller) {
    if let Some(exchange) = parts.extensions.get::<Exchange>() {
        exchange.set_owner(caller.owner.as_str());
    }
}

/// The layer around routes for callers. It refuses nothing: the handler decides whether it needs a
/// caller.
pub(crate) async fn authenticate(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let outcome = enter(&app, &parts);
    let owner = outcome.as_ref().ok().map(|authenticated| authenticated.caller.owner.clone());
    parts.extensions.insert(Outcome(outcome));
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if let Some(owner) = owner {
        response.extensions_mut().insert(ResponseOwner(owner));
    }
    response
}

/// The layer around routes on which a ticket is not accepted.
pub(crate) async fn identify(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let outcome = identified(&app, &parts);
    parts.extensions.insert(Outcome(outcome));
    next.run(Request::from_parts(parts, body)).await
}

/// Whether a request for a page has a valid credential. Pages are public, so that no layer is
/// around them.
pub(crate) fn is_identified(app: &App, parts: &Parts) -> bool {
    let identified = identified(app, parts);
    if let Ok(Identified { caller, .. }) = &identified {
        claim(parts, caller);
    }
    identified.is_ok()
}

fn enter(app: &App, parts: &Parts) -> Result<Authenticated, Fault> {
    let credential = match ticket(parts.uri.query()).filter(|_| app.keys.configured()) {
        Some(ticket) => spend(app, ticket, parts)?,
        None => shown(app, parts)?,
    };
    let opened = Grant::open(&app.grants, &app.keys, &app.tickets, credential);
    let (grant, caller) = opened.ok_or_else(|| unknown(credential))?;
    Ok(Authenticated { caller, grant })
}

fn identified(app: &App, parts: &Parts) -> Result<Identified, Fault> {
    let credential = shown(app, parts)?;
    let caller = app.tickets.holder(&credential, &*app.keys).ok_or_else(|| unknown(credential))?;
    Ok(Identified { caller, credential })
}

fn spend(app: &App, ticket: &str, parts: &Parts) -> Result<Credential, Fault> {
    let Some(opening) = TicketTarget::of(parts) else {
        let message = "A ticket opens a WebSocket or a GET that streams, and nothing else: send the key in a header.";
        return Err(refused("invalid_ticket", message));
    };
    let unknown = || {
        refused(
            "invalid_ticket",
            "This ticket is not known, is for something else, is too old, or was used.",
        )
    };
    app.tickets.spend(ticket, &opening).ok_or_else(unknown)
}

fn shown(app: &App, parts: &Parts) -> Result<Credential, Fault> {
    if !app.keys.configured() {
        forwarded::check_keyless(&app.config, parts)?;
        return Ok(Credential::KEYLESS);
    }
    if let Some(key) = sent_key(&parts.headers)? {
        return Ok(Credential { key: Some(KeyDigest::of(&key)), session: None });
    }
    let session = session_cookie(parts).and_then(|session| app.tickets.of_session(session));
    session.ok_or_else(|| unknown(Credential::KEYLESS))
}

/// The refusal of a credential that is not valid.
fn unknown(credential: Credential) -> Fault {
    match credential {
        Credential { key: Some(_), session: None } => {
            refused("invalid_api_key", "This key is not known here.")
        }
        Credential { .. } => refused("missing_api_key", NO_KEY),
    }
}

const NO_KEY: &str = "This server wants a key: send it as 'Authorization: Bearer KEY', or in the header x-api-key. `weir key create` makes one.";

/// The headers in which the APIs of other vendors carry a key.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

fn refused(code: &str, message: &str) -> Fault {
    Fault::new(FaultKind::Authentication, code, message)
}

/// The key in any of a request's headers. Never in its URL, which is logged and kept in histories.
///
/// # Errors
/// 400 where two of them differ (RFC 6750 §3.1): the caller would be ambiguous.
fn sent_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    // The offers may come in many fields, which mean the same as one (RFC 6455 §11.3.4).
    let lines = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let offers = lines.collect::<Vec<_>>().join(",");
    let bearers = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(bearer)
        .map(|key| ("Authorization", key));
    let others = KEY_HEADERS.iter().flat_map(|name| {
        headers.get_all(*name).iter().filter_map(|value| Some((*name, value.to_str().ok()?)))
    });
    let offered = offered_key(&offers).map(|key| ("Sec-WebSocket-Protocol", key));
    let mut keys = bearers
        .chain(others)
        .chain(offered)
        .map(|(name, key)| (name, key.trim()))
        .filter(|(_, key)| !key.is_empty());
    let Some((name, key)) = keys.next() else { return Ok(None) };
    match keys.find(|(_, other)| *other != key) {
        None => Ok(Some(key.to_owned())),
        Some((other, _)) => {
            let message =
                format!("This request has two different keys, in {name} and in {other}: send one.");
            Err(Fault::new(FaultKind::InvalidRequest, "conflicting_api_keys", message)
                .with_param(other))
        }
    }
}

fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

/// The session's cookie (RFC 6265 §5.4). A cookie sent over HTTPS must also have been set over
/// HTTPS: there only the name counts that neither a page of a sibling domain nor one in clear can
/// set.
pub(crate) fn session_cookie(parts: &Parts) -> Option<&str> {
    let is_encrypted =
        parts.extensions.get::<Forwarded>().is_some_and(|forwarded| forwarded.is_encrypted);
    let expected = cookie_name(is_encrypted);
    let lines =
        parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies =
        lines.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, _)| *name == expected).map(|(_, value)| value)
}

/// The name of the session's cookie. Browsers accept one that starts with `__Host-` only from this
/// very host, by HTTPS and for all paths (RFC 6265bis §4.1.3.2).
pub(crate) fn cookie_name(is_encrypted: bool) -> &'static str {
    if is_encrypted { "__Host-weir_session" } else { "weir_session" }
}

fn ticket(query: Option<&str>) -> Option<&str> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == "ticket")
        .map(|(_, value)| value)
}

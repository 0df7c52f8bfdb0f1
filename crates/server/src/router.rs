//! Every route on one page.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::api::{
    chat_completions, classic, event_times, events, lens, metrics, models, operations, passthrough,
    responses, socket, source, tickets, upstreams,
};
use crate::app::App;
use crate::http::{auth, fallback, middleware, relay};
use crate::{pages, web};

/// Everything that the public listener serves.
pub(crate) fn router(app: App) -> Router {
    let routes = Router::new()
        .merge(public_routes())
        .merge(caller_routes(&app))
        .merge(ticket_routes(&app))
        .merge(if app.config.classic.enabled { classic_routes(&app) } else { Router::new() })
        .fallback(pages::serve)
        .method_not_allowed_fallback(fallback::no_such_method);
    middleware::wrap(routes, &app).with_state(app)
}

/// What the listener for operations serves.
pub(crate) fn operations(app: App) -> Router {
    let routes = Router::new()
        .route("/healthz", get(operations::healthz))
        .merge(monitoring_routes(&app))
        .fallback(fallback::not_for_operations)
        .method_not_allowed_fallback(fallback::no_such_method);
    middleware::wrap(routes, &app).with_state(app)
}

/// The public routes.
fn public_routes() -> Router<App> {
    Router::new()
        // For people who open a base URL.
        .route("/v1", get(operations::api))
        // The pages.
        .route("/", get(web::page))
        .route("/sign-in", get(web::sign_in))
        .route("/lab", get(web::lab))
        .route("/lab/", get(web::lab_without_slash))
        .route("/assets/{*path}", get(web::asset))
        // Operations.
        .route("/healthz", get(operations::healthz))
        .route("/openapi.json", get(operations::openapi))
}

/// The routes for callers.
fn caller_routes(app: &App) -> Router<App> {
    Router::new()
        // Open Responses.
        .route("/v1/responses", post(responses::create).get(socket::open).connect(socket::open))
        .route("/v1/responses/input_tokens", post(responses::input_tokens))
        .route("/v1/responses/compact", post(responses::compact))
        .route("/v1/responses/{id}", get(responses::retrieve).delete(responses::delete))
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route("/v1/responses/{id}/input_items", get(responses::input_items))
        // The same responses for browsers' EventSource, and by long poll.
        .route("/v1/responses/{id}/events", get(events::events))
        // An extension: when they were appended.
        .route("/v1/responses/{id}/event_times", get(event_times::event_times))
        // OpenAI's older API.
        .route("/v1/chat/completions", post(chat_completions::create))
        // Calls that pass through to upstreams.
        .route("/v1/embeddings", post(passthrough::embeddings))
        .route("/v1/completions", post(passthrough::completions))
        .route("/v1/moderations", post(passthrough::moderations))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        // The connections below.
        .route("/v1/lens/connections", get(lens::connections).delete(lens::reset::reset))
        .route("/v1/lens/connections.pcapng", get(lens::capture_file::capture_file))
        .route("/v1/lens/connections/{id}/ladder.svg", get(lens::ladder))
        .route("/v1/lens/responses/{id}", get(lens::responses::retrieve))
        .route("/v1/lens/source", get(source::open).connect(source::open))
        .route("/v1/upstreams", get(upstreams::list))
        .route_layer(from_fn_with_state(app.clone(), relay::relay))
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate))
        .merge(monitoring_routes(app))
}

/// The routes for monitors, some of them for admins only.
fn monitoring_routes(app: &App) -> Router<App> {
    Router::new()
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(metrics::metrics))
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate))
}

/// Tickets and sessions, which a browser's EventSource and WebSocket send instead of a key. A
/// ticket cannot make another.
fn ticket_routes(app: &App) -> Router<App> {
    Router::new()
        .route("/v1/tickets", post(tickets::create).delete(tickets::delete))
        .route_layer(from_fn_with_state(app.clone(), auth::identify))
}

/// The API of the Java demo of 2023, with its own rules for pages of other origins.
fn classic_routes(app: &App) -> Router<App> {
    Router::new()
        .route("/createSse", get(classic::create_sse))
        .route("/chat", post(classic::ask).get(classic::ask_by_query))
        .route("/closeSse", get(classic::close_sse))
        .route("/websocket/{uid}", get(classic::socket).connect(classic::socket))
        .route_layer(from_fn_with_state(app.clone(), relay::relay))
        .route_layer(from_fn_with_state(app.clone(), auth::authenticate))
        // Below the CORS layer, so that it sees preflights too.
        .method_not_allowed_fallback(fallback::no_such_method)
        .layer(from_fn_with_state(app.clone(), classic::cors))
}

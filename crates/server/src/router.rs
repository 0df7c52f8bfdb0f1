//! Every route on one page.

use axum::Router;
use axum::routing::{get, post};

use crate::api::{
    chat_completions, classic, events, lens, metrics, models, operations, passthrough, responses, socket, tickets, upstreams,
};
use crate::app::App;
use crate::{error, middleware, pages, web};

/// Everything that the public listener serves.
pub fn router(app: App) -> Router {
    let routes = Router::new()
        // Open Responses.
        .route("/v1/responses", post(responses::create).get(socket::open).connect(socket::open))
        .route("/v1/responses/input_tokens", post(responses::input_tokens))
        .route("/v1/responses/compact", post(responses::compact))
        .route("/v1/responses/{id}", get(responses::retrieve).delete(responses::delete))
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route("/v1/responses/{id}/input_items", get(responses::input_items))
        // The same answers for browsers' EventSource, and by long poll.
        .route("/v1/responses/{id}/events", get(events::events))
        // OpenAI's older API.
        .route("/v1/chat/completions", post(chat_completions::create))
        // What passes through to upstreams that have it.
        .route("/v1/embeddings", post(passthrough::embeddings))
        .route("/v1/completions", post(passthrough::completions))
        .route("/v1/moderations", post(passthrough::moderations))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve))
        // What a person sees who opens a base URL.
        .route("/v1", get(operations::api))
        // What a browser's EventSource and WebSocket show instead of a key.
        .route("/v1/tickets", post(tickets::create).delete(tickets::delete))
        // The pages.
        .route("/", get(web::page))
        .route("/sign-in", get(web::sign_in))
        .route("/lab", get(web::lab))
        .route("/lab/", get(web::lab_without_slash))
        .route("/assets/{*path}", get(web::asset))
        // What happens below.
        .route("/v1/lens/connections", get(lens::connections))
        .route("/v1/lens/connections/{id}/ladder.svg", get(lens::ladder))
        // Operations.
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/upstreams", get(upstreams::list))
        .route("/openapi.json", get(operations::openapi))
        .merge(if app.config.classic.enabled { classic_routes(&app) } else { Router::new() })
        .fallback(pages::serve)
        .method_not_allowed_fallback(error::no_such_method);
    middleware::wrap(routes, &app).with_state(app)
}

/// What the listener for operations serves.
pub(crate) fn operations(app: App) -> Router {
    let routes = Router::new()
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(error::not_for_operations)
        .method_not_allowed_fallback(error::no_such_method);
    middleware::wrap(routes, &app).with_state(app)
}

/// The API of the Java demo of 2023, with its own rules on whose pages may use it.
fn classic_routes(app: &App) -> Router<App> {
    Router::new()
        .route("/createSse", get(classic::create_sse))
        .route("/chat", post(classic::ask).get(classic::ask_by_query))
        .route("/closeSse", get(classic::close_sse))
        .route("/websocket/{uid}", get(classic::socket).connect(classic::socket))
        // Below the layer, so that it sees preflights too.
        .method_not_allowed_fallback(error::no_such_method)
        .layer(axum::middleware::from_fn_with_state(app.clone(), classic::cors))
}

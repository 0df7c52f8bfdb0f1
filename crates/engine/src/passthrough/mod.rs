//! Pass-through calls: embeddings, text completions and moderations. They use the same routes,
//! keys, retries and timeouts as responses, and are measured and traced like them; but they are not
//! logged or stored, and they end with their client.

pub mod call;
mod evidence;
mod record;
mod usage;

use std::sync::Arc;

use protocol::fault::Fault;
use protocol::id::Owner;
use protocol::passthrough::{Operation, Passthrough};
use protocol::trace::TraceContext;

use self::call::PassthroughCall;
use self::record::Record;
use crate::engine::Engine;
use crate::provider::route::Route;
use crate::shares::Reservation;

impl Engine {
    /// Prepares a pass-through call. It starts when it is polled; dropping it cancels it upstream.
    ///
    /// # Errors
    /// No upstream serves the model or the operation; a limit is reached.
    pub fn passthrough(
        &self,
        owner: &Owner,
        request: Passthrough,
        trace: Option<TraceContext>,
        bytes: Reservation,
    ) -> Result<PassthroughCall, Fault> {
        let route =
            self.shared.models.route(&request.model).ok_or_else(|| no_such_model(&request))?;
        let route = able(route, &request)?;
        let (running, place) = self.admit_passthrough(owner)?;
        let record = Record::new(&self.shared, owner, &route, &request, trace);
        Ok(PassthroughCall::new(
            Arc::clone(&self.shared),
            route,
            request,
            record,
            (running, place, bytes),
        ))
    }
}

/// The route without the targets that cannot serve the request.
///
/// # Errors
/// None is left: the first one's reason.
fn able(mut route: Route, request: &Passthrough) -> Result<Route, Fault> {
    let (mut targets, mut first) = (Vec::new(), None);
    for target in &*route.targets {
        match target.provider.serves(request) {
            Ok(()) => targets.push(target.clone()),
            Err(fault) => first = first.or(Some(fault)),
        }
    }
    match first {
        Some(fault) if targets.is_empty() => Err(fault),
        Some(_) | None => {
            route.targets = targets.into();
            Ok(route)
        }
    }
}

fn no_such_model(request: &Passthrough) -> Fault {
    let model = &request.model;
    let message = match (request.body.get("model"), request.operation) {
        (None, Operation::Moderations) => {
            format!(
                "No upstream serves '{model}', the default model of moderations: add OpenAI as an upstream, or a route."
            )
        }
        (None, Operation::Embeddings | Operation::Completions) | (Some(_), _) => {
            format!("The model '{model}' does not exist. GET /v1/models lists those that do.")
        }
    };
    Fault::invalid("model_not_found", "model", message).with_status(404)
}

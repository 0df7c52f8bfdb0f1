//! Delivers responses: negotiates the frame, waits for the end or streams, and watches the client's
//! side meanwhile.

mod breaking;
pub(crate) mod calibrated;
mod client;
mod deliver;
mod framing;
mod json;
mod negotiate;
mod passthrough;
mod source;
pub(crate) mod websocket;

pub(crate) use deliver::Delivery;
pub(crate) use json::{Failed, JsonOutcome, client_left, tell_lens, wait_for_end};
pub(crate) use negotiate::stream_frame;
pub(crate) use passthrough::{EventDelivery, respond_events};
pub(crate) use source::Source;

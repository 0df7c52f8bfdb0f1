//! Carries answers: negotiates the frame, waits for the end or streams, and watches the client's side meanwhile.

mod breaking;
mod classic;
mod json;
mod negotiate;
mod passthrough;
mod stream;
pub(crate) mod websocket;

pub(crate) use classic::{Source, Telling, Turn, tell};
pub(crate) use json::{Ending, FIRST_OUTPUT, Failed, client_left, response_in, tell_lens, wait_for_end};
pub(crate) use negotiate::stream_frame;
pub(crate) use passthrough::{EventDelivery, respond_events};
pub(crate) use stream::{Delivery, StreamFrame, respond};

//! The dialect on a socket: its own client events, and an envelope for refusals.

use super::client_event::{read_client_event, refusal};
use super::render::Responses;
use crate::dialect::message::Message;
use crate::dialect::socket::{ClientEvent, SocketDialect, SocketRules, StreamId};
use crate::fault::Fault;

impl SocketDialect for Responses {
    const RULES: SocketRules = SocketRules {
        messages: "events",
        interleaves_errors: true,
        reads_json: true,
        resumes: true,
    };

    fn read_message(message: &[u8]) -> Result<ClientEvent<Self>, (StreamId, Fault)> {
        read_client_event(message)
    }

    fn unstarted() -> Self {
        Self
    }

    fn refuse(stream: &StreamId, fault: &Fault, messages: &mut Vec<Message>) {
        messages.push(Message { data: refusal(stream, fault).into(), ..Message::default() });
    }

    fn fail(&mut self, stream: &StreamId, fault: &Fault, messages: &mut Vec<Message>) {
        Self::refuse(stream, fault, messages);
    }

    fn revoke(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        Self::refuse(&StreamId::default(), fault, messages);
    }
}

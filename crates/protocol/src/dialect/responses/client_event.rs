//! What a client says on a socket: `response.create`, `response.cancel`, `response.resume`, and the envelope of a refusal.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::read_create;
use crate::fault::Fault;
use crate::id::ResponseId;
use crate::read::{Node, Object};
use crate::request::Create;

/// The longest name of a lane, in characters.
const LONGEST_NAME: usize = 256;

/// A queue of turns on a socket. Turns of one lane follow each other; lanes run side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lane(Option<Arc<str>>);

impl Lane {
    /// The lane's name (`stream_id`); the sequential lane has none.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name().unwrap_or("(sequential)"))
    }
}

/// One message of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// Answer this.
    Create {
        /// Where.
        lane: Lane,
        /// The request.
        create: Box<Create>,
        /// Whether the model is asked; otherwise only an id comes back to go on from.
        generate: bool,
    },
    /// Stop an answer: the one named, or the one that runs on the lane.
    Cancel {
        /// Where.
        lane: Lane,
        /// Which.
        response_id: Option<ResponseId>,
    },
    /// Read an answer from a position on.
    Resume {
        /// Where.
        lane: Lane,
        /// Which.
        response_id: ResponseId,
        /// Behind which event.
        starting_after: Option<u64>,
    },
}

/// Reads one message. A refusal says on which lane, as far as that could be read.
///
/// # Errors
/// The first field that is wrong, by its path.
pub fn read_client_event(message: &[u8]) -> Result<ClientEvent, (Lane, Fault)> {
    let message = message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message);
    let value: Value = serde_json::from_slice(message).map_err(|error| {
        let fault = Fault::new(crate::fault::FaultKind::InvalidRequest, "invalid_json", format!("The message is not JSON: {error}."));
        (Lane::default(), fault)
    })?;
    let root = Node::root(&value).object().map_err(|fault| (Lane::default(), fault))?;
    let lane = read_lane(&root).map_err(|fault| (Lane::default(), fault))?;
    read_event(&value, &root, &lane).map_err(|fault| (lane, fault))
}

fn read_lane(root: &Object<'_>) -> Result<Lane, Fault> {
    let Some(name) = root.get("stream_id") else { return Ok(Lane::default()) };
    let text = name.string()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(is_name) {
        let message = format!("A 'stream_id' has 1 to {LONGEST_NAME} letters, digits, '_', '.' or '-'.");
        return Err(Fault::invalid("invalid_stream_id", "stream_id", message));
    }
    Ok(Lane(Some(text.into())))
}

fn read_event(value: &Value, root: &Object<'_>, lane: &Lane) -> Result<ClientEvent, Fault> {
    let lane = lane.clone();
    match root.require("type")?.word(&["response.create", "response.cancel", "response.resume"])?.as_str() {
        "response.create" => {
            let generate = root.boolean("generate")?.unwrap_or(true);
            if root.boolean("background")? == Some(true) {
                let message = "A socket has no 'background': a stored answer runs on by itself when the socket closes.";
                return Err(Fault::invalid("invalid_value", "background", message));
            }
            Ok(ClientEvent::Create { lane, create: Box::new(read_create(value)?), generate })
        }
        "response.cancel" => Ok(ClientEvent::Cancel { lane, response_id: root.string("response_id")?.map(ResponseId::new) }),
        _ => Ok(ClientEvent::Resume {
            lane,
            response_id: ResponseId::new(root.require("response_id")?.string()?),
            starting_after: root.read("starting_after", |node| node.integer(0..=u64::MAX))?,
        }),
    }
}

/// The envelope of a refusal on a socket (Open Responses `WebSocketErrorEvent`).
pub fn refusal(lane: &Lane, fault: &Fault) -> String {
    let mut envelope = json!({ "type": "error", "status": fault.status });
    if let (Some(name), Value::Object(fields)) = (lane.name(), &mut envelope) {
        fields.insert("stream_id".into(), name.into());
    }
    envelope["error"] = fault.object();
    envelope.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, code: &str, param: &str) {
        let refused = read_client_event(message.as_bytes()).map_err(|(_, fault)| (fault.code, fault.param.unwrap_or_default()));
        assert_eq!(refused.map(|_| ()), Err((code.to_owned(), param.to_owned())), "{message}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("{", "invalid_json", "");
        check("[]", "invalid_type", "");
        check("{}", "missing_required_parameter", "type");
        check(r#"{"type":"response.explode"}"#, "invalid_value", "type");
        check(r#"{"type":"response.create","model":"demo"}"#, "missing_required_parameter", "input");
        check(r#"{"type":"response.create","model":"demo","input":"x","background":true}"#, "invalid_value", "background");
        check(r#"{"type":"response.create","stream_id":"a b"}"#, "invalid_stream_id", "stream_id");
        check(r#"{"type":"response.create","stream_id":""}"#, "invalid_stream_id", "stream_id");
        check(r#"{"type":"response.resume"}"#, "missing_required_parameter", "response_id");
        check(r#"{"type":"response.resume","response_id":"r","starting_after":-1}"#, "invalid_value", "starting_after");
    }

    #[test]
    fn a_refusal_names_its_lane() {
        let refused = read_client_event(br#"{"type":"response.create","stream_id":"a","model":5}"#);
        let Err((lane, fault)) = refused else { return assert!(refused.is_err()) };
        let envelope: Value = serde_json::from_str(&refusal(&lane, &fault)).unwrap_or_default();
        assert_eq!((envelope["status"].as_u64(), envelope["stream_id"].as_str()), (Some(400), Some("a")));
        assert_eq!(envelope["error"]["param"], "model");
    }

    #[test]
    fn a_create_on_a_socket_is_a_create() {
        let read = read_client_event(br#"{"type":"response.create","model":"demo","input":"hi","generate":false,"stream_id":"x.1"}"#);
        let Ok(ClientEvent::Create { lane, create, generate }) = read else { return assert!(read.is_ok()) };
        assert_eq!((lane.name(), generate, create.extra.len()), (Some("x.1"), false, 0));
    }
}

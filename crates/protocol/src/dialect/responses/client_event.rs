//! The messages of a client on a socket: `response.create`, `response.cancel`, `response.resume`,
//! and the envelope of a refusal.

use serde_json::{Value, json};

use super::render::Responses;
use super::request::read_create;
use crate::dialect::socket::{self, ClientEvent, StreamId};
use crate::fault::Fault;
use crate::id::ResponseId;
use crate::read::{RequestObject, RequestValue};

/// The longest name of a stream, in characters.
const LONGEST_NAME: usize = 256;

/// Reads one message. A refusal names its stream, as far as that could be read.
///
/// # Errors
/// The first field that is wrong, by its path.
pub fn read_client_event(message: &[u8]) -> Result<ClientEvent<Responses>, (StreamId, Fault)> {
    let on_default = |fault| (StreamId::default(), fault);
    let value = socket::parse(message).map_err(on_default)?;
    let root = RequestValue::root(&value).object().map_err(on_default)?;
    let stream = read_stream_id(&root).map_err(on_default)?;
    read_event(&value, &root, &stream).map_err(|fault| (stream, fault))
}

fn read_stream_id(root: &RequestObject<'_>) -> Result<StreamId, Fault> {
    let Some(name) = root.get("stream_id") else { return Ok(StreamId::default()) };
    let text = name.string()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(is_name) {
        let message =
            format!("A 'stream_id' has 1 to {LONGEST_NAME} letters, digits, '_', '.' or '-'.");
        return Err(Fault::invalid("invalid_stream_id", "stream_id", message));
    }
    Ok(StreamId::named(&text))
}

fn read_event(
    value: &Value,
    root: &RequestObject<'_>,
    stream: &StreamId,
) -> Result<ClientEvent<Responses>, Fault> {
    let (stream, dialect) = (stream.clone(), Box::new(Responses));
    match root
        .require("type")?
        .word(&["response.create", "response.cancel", "response.resume"])?
        .as_str()
    {
        "response.create" => {
            let generate = root.boolean("generate")?.unwrap_or(true);
            if root.boolean("background")? == Some(true) {
                let message = "'background' does not apply to a socket: a stored response continues when the socket closes.";
                return Err(Fault::invalid("invalid_value", "background", message));
            }
            Ok(ClientEvent::Create {
                stream,
                create: Box::new(read_create(value)?),
                dialect,
                generate,
            })
        }
        "response.cancel" => Ok(ClientEvent::Cancel {
            stream,
            response_id: root.string("response_id")?.map(ResponseId::new),
        }),
        _ => Ok(ClientEvent::Resume {
            stream,
            response_id: ResponseId::new(root.require("response_id")?.string()?),
            starting_after: root.read("starting_after", |node| node.integer(0..=u64::MAX))?,
            dialect,
        }),
    }
}

/// The envelope of a refusal on a socket (Open Responses `WebSocketErrorEvent`).
pub(super) fn refusal(stream: &StreamId, fault: &Fault) -> String {
    let mut envelope = json!({ "type": "error", "status": fault.status });
    if let (Some(name), Value::Object(fields)) = (stream.name(), &mut envelope) {
        fields.insert("stream_id".into(), name.into());
    }
    envelope["error"] = fault.object();
    envelope.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, code: &str, param: &str) {
        let refused = read_client_event(message.as_bytes())
            .map_err(|(_, fault)| (fault.code, fault.param.unwrap_or_default()));
        assert_eq!(refused.map(|_| ()), Err((code.to_owned(), param.to_owned())), "{message}");
    }

    #[test]
    fn errors_name_the_field() {
        check("{", "invalid_json", "");
        check("[]", "invalid_type", "");
        check("{}", "missing_required_parameter", "type");
        check(r#"{"type":"response.explode"}"#, "invalid_value", "type");
        check(
            r#"{"type":"response.create","model":"demo"}"#,
            "missing_required_parameter",
            "input",
        );
        check(
            r#"{"type":"response.create","model":"demo","input":"x","background":true}"#,
            "invalid_value",
            "background",
        );
        check(r#"{"type":"response.create","stream_id":"a b"}"#, "invalid_stream_id", "stream_id");
        check(r#"{"type":"response.create","stream_id":""}"#, "invalid_stream_id", "stream_id");
        check(r#"{"type":"response.resume"}"#, "missing_required_parameter", "response_id");
        check(
            r#"{"type":"response.resume","response_id":"r","starting_after":-1}"#,
            "invalid_value",
            "starting_after",
        );
    }

    #[test]
    fn a_refusal_names_its_stream() {
        let refused = read_client_event(br#"{"type":"response.create","stream_id":"a","model":5}"#);
        let Err((stream, fault)) = refused else { return assert!(refused.is_err()) };
        let envelope: Value = serde_json::from_str(&refusal(&stream, &fault)).unwrap_or_default();
        assert_eq!(
            (envelope["status"].as_u64(), envelope["stream_id"].as_str()),
            (Some(400), Some("a"))
        );
        assert_eq!(envelope["error"]["param"], "model");
    }

    #[test]
    fn a_create_on_a_socket_is_a_create() {
        let read = read_client_event(br#"{"type":"response.create","model":"demo","input":"hi","generate":false,"stream_id":"x.1"}"#);
        let Ok(ClientEvent::Create { stream, create, generate, .. }) = read else {
            return assert!(read.is_ok());
        };
        assert_eq!((stream.name(), generate, create.extra.len()), (Some("x.1"), false, 0));
    }
}

//! Reads the body of `POST /chat` and makes a neutral request of a question.

use serde_json::Value;

use crate::fault::Fault;
use crate::item::{Item, Message, Part, Role};
use crate::request::{Create, InputItem};

/// The question in `{"msg":"…"}`. Unknown fields are ignored, as in the demo.
///
/// # Errors
/// The question is missing, not a text, or blank.
pub fn read_question(body: &Value) -> Result<String, Fault> {
    let Some(fields) = body.as_object() else {
        return Err(Fault::invalid(
            "invalid_type",
            "msg",
            "The body must be a JSON object: {\"msg\": \"…\"}.",
        ));
    };
    match fields.get("msg") {
        Some(Value::String(text)) if text.trim().is_empty() => {
            Err(Fault::invalid("invalid_value", "msg", "The question is blank."))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        None | Some(Value::Null) => Err(Fault::invalid(
            "missing_required_parameter",
            "msg",
            "Missing required parameter: 'msg'.",
        )),
        Some(_) => {
            Err(Fault::invalid("invalid_type", "msg", "Invalid type for 'msg': expected a string."))
        }
    }
}

/// A question to `model`. It sets no limits and no temperature: the upstream's defaults fit its
/// models, and a fixed `max_tokens` would be refused when the context has grown.
pub fn create(model: &str, question: String) -> Create {
    let message = Message::new(Role::User, vec![Part::input_text(question)]);
    Create {
        input: vec![InputItem::Item(Item::Message(message))],
        stream: true,
        ..Create::new(model)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: &Value, expected: Result<&str, &str>) {
        let read = read_question(body);
        let read = read.as_deref().map_err(|fault| fault.code.as_str());
        assert_eq!(read, expected, "{body}");
    }

    #[test]
    fn a_question_is_a_text_that_is_not_blank() {
        check(&json!({ "msg": "hello" }), Ok("hello"));
        check(&json!({ "msg": " 你好 ", "uid": 7 }), Ok(" 你好 "));
        check(&json!({ "msg": " \n" }), Err("invalid_value"));
        check(&json!({ "msg": null }), Err("missing_required_parameter"));
        check(&json!({ "message": "hello" }), Err("missing_required_parameter"));
        check(&json!({ "msg": ["hello"] }), Err("invalid_type"));
        check(&json!("hello"), Err("invalid_type"));
    }
}

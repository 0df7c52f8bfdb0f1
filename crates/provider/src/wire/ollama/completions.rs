//! Text completions with Ollama's OpenAI-compatible endpoint.

use engine::provider::passthrough::PassthroughRequest;
use protocol::fault::Fault;
use protocol::passthrough::{EmbeddingInputs, Operation, Passthrough};
use serde_json::Value;

use super::super::passthrough::Passage;
use crate::wire::outgoing::Outgoing;
use crate::wire::passthrough::document::document;

const VENDOR: &str = "Ollama";

/// Rejects fields that Ollama would silently ignore although they affect the response.
///
/// # Errors
/// The first such field.
pub(super) fn check(request: &Passthrough) -> Result<(), Fault> {
    prompt(request)?;
    let value = |name: &str| request.body.read::<Value>(name);
    for name in ["n", "best_of"] {
        if value(name).is_some_and(|count| count != 1) {
            return Err(unsupported(name, "gives one choice"));
        }
    }
    if value("echo").is_some_and(|echo| echo != false) {
        return Err(unsupported("echo", "does not repeat the prompt"));
    }
    if value("logit_bias").is_some_and(|bias| bias.as_object().is_none_or(|bias| !bias.is_empty()))
    {
        return Err(unsupported("logit_bias", "does not support token biases"));
    }
    Ok(())
}

/// The call.
///
/// # Errors
/// As [`check`].
pub(super) fn pass(request: &PassthroughRequest) -> Result<Passage, Fault> {
    let mut body = request.request.body.clone();
    body.set("model", request.model());
    body.set("prompt", &prompt(&request.request)?);
    let outgoing =
        Outgoing::raw(&["v1", "completions"], body.to_bytes()).streamed_if(request.request.stream);
    let operation = Operation::Completions;
    Ok(Passage::one(outgoing, move |body, callee| {
        document(body, operation.result(), operation, callee)
    }))
}

/// The single text that Ollama accepts. OpenAI's clients may send it as a list.
fn prompt(request: &Passthrough) -> Result<String, Fault> {
    match request.inputs()? {
        EmbeddingInputs::Texts(mut texts) if texts.len() == 1 => Ok(texts.remove(0)),
        EmbeddingInputs::Texts(_) => Err(unsupported("prompt", "accepts one prompt at a time")),
        EmbeddingInputs::Tokens(_) => Err(unsupported(
            "prompt",
            "accepts text only, because tokens depend on a model's vocabulary",
        )),
    }
}

fn unsupported(name: &str, what: &str) -> Fault {
    Fault::invalid("unsupported_value", name, format!("{VENDOR}, which serves this model, {what}."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::provider::call::UpstreamCall;
    use serde_json::json;

    use super::*;

    fn request(body: &Value) -> PassthroughRequest {
        let request =
            Passthrough::read(Operation::Completions, body.to_string().as_bytes()).unwrap();
        PassthroughRequest {
            request: Arc::new(request),
            model: None,
            call: UpstreamCall::default(),
        }
    }

    #[test]
    fn the_body_is_passed_on_with_one_prompt() {
        let body = json!({ "model": "m", "prompt": ["def f("], "suffix": "return", "stream": true, "odd": 1, "n": 1, "echo": false });
        let passage = pass(&request(&body)).unwrap();
        let outgoing = &passage.outgoing[0];
        let sent: Value = serde_json::from_slice(outgoing.raw.as_ref().unwrap()).unwrap();
        let mut expected = body;
        expected["prompt"] = json!("def f(");
        assert_eq!(
            (outgoing.path.join("/").as_str(), outgoing.accept, sent),
            ("v1/completions", "text/event-stream", expected)
        );
    }

    #[test]
    fn ignored_fields_are_named() {
        for (name, value) in [
            ("prompt", json!(["a", "b"])),
            ("prompt", json!([1, 2])),
            ("n", json!(2)),
            ("best_of", json!(3)),
            ("echo", json!(true)),
            ("logit_bias", json!({"1": 2})),
        ] {
            let mut body = json!({ "model": "m", "prompt": "a" });
            body[name] = value;
            let fault = check(&request(&body).request).unwrap_err();
            assert_eq!(
                (fault.code.as_str(), fault.param.as_deref()),
                ("unsupported_value", Some(name))
            );
        }
    }
}

//! The built-in model `demo`: not a language model, but deterministic, free, and able to fail on
//! request.

mod command;
mod content;
mod facts;
mod passthrough;
mod pieces;
mod plan;
mod play;
mod scene;
mod schema;
mod script;
mod talk;
mod tool;

use engine::provider::Provider;
use engine::provider::call::Peer;
use engine::provider::event::ModelStream;
use engine::provider::failure::{CONTEXT_LENGTH, FailureScope, ProviderFailure};
use engine::provider::passthrough::{PassthroughParts, PassthroughRequest};
use engine::provider::request::ModelRequest;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use protocol::fault::{Fault, FaultKind};
use protocol::item::{CustomToolCallOutput, FunctionCallOutput, FunctionOutput, Item, Part};
use protocol::passthrough::Passthrough;
use protocol::request::{Create, Tool};

use crate::wire::fault::unknown_parameter;

/// The model's name.
pub const MODEL: &str = "demo";

/// Its context window, in bytes.
const MAX_CONTEXT_BYTES: usize = 256 << 10;

/// The most stop texts, and the longest one.
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 256;

/// Parameters of OpenAI and well-known servers that cannot affect prepared responses.
const IGNORED: [&str; 18] = [
    "logit_bias",
    "prediction",
    "prompt_cache_retention",
    "prompt_cache_options",
    "web_search_options",
    "moderation",
    "context_management",
    "chat_template_kwargs",
    "enable_thinking",
    "thinking",
    "top_k",
    "min_p",
    "repetition_penalty",
    "repeat_penalty",
    "best_of",
    "usage",
    "options",
    "keep_alive",
];

/// The demo model.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    tokens_per_second: f64,
}

impl Demo {
    /// A demo with this output speed; 0 means unlimited.
    pub fn new(tokens_per_second: f64) -> Self {
        Self { tokens_per_second }
    }
}

impl Provider for Demo {
    fn ask(
        &self,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        if let Err(fault) = check_context(&request.context) {
            return ready(Err(ProviderFailure::new(fault, FailureScope::Unsupported))).boxed();
        }
        let (call, tokens_per_second) = (request.call.clone(), self.tokens_per_second);
        let plan = move || {
            plan::plan(&request)
                .map(|script| play::words(script, &request.create, tokens_per_second))
        };
        let failed = || {
            Fault::new(FaultKind::Server, "server_error", "the demo model failed on this request")
        };
        async move { call.work(plan).await.unwrap_or_else(|| Err(failed())).map_err(told) }.boxed()
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        let mut ignored = Vec::new();
        for name in create.extra.keys() {
            match name.as_str() {
                // Every seed gives the same response, which is all that a seed promises.
                "stop" | "seed" => {}
                known if IGNORED.contains(&known) => ignored.push(name.clone()),
                _ => return Err(unknown_parameter(&create.model, name)),
            }
        }
        let stops = play::stop_texts(create.extra.get("stop"));
        if stops.len() > MAX_STOPS || stops.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            let message = format!(
                "The demo model takes at most {MAX_STOPS} texts of {MAX_STOP_BYTES} bytes in 'stop'."
            );
            return Err(Fault::invalid("invalid_value", "stop", message));
        }
        let has_logprobs = create.top_logprobs.is_some()
            || create.include.iter().any(|word| word == "message.output_text.logprobs");
        if has_logprobs {
            ignored.push("logprobs".to_owned());
        }
        let hosted =
            create.tools.iter().enumerate().filter(|(_, tool)| matches!(tool, Tool::Hosted(_)));
        ignored.extend(hosted.map(|(index, _)| format!("tools[{index}]")));
        Ok(ignored)
    }

    fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        passthrough::check(request)
    }

    fn pass(
        &self,
        request: PassthroughRequest,
    ) -> BoxFuture<'static, Result<PassthroughParts, ProviderFailure>> {
        ready(passthrough::pass(&request, self.tokens_per_second)).boxed()
    }

    fn peer(&self) -> Option<Peer> {
        Some(Peer { system: "weir.demo".into(), address: None })
    }
}

/// Limits the context like a small model. Responses are made of it, so this limits them too.
///
/// # Errors
/// The conversation is longer.
fn check_context(context: &[Item]) -> Result<(), Fault> {
    let in_parts = |item: &Item| item.parts().filter_map(Part::text).map(str::len).sum::<usize>();
    let length = |item: &Item| match item {
        Item::FunctionCallOutput(FunctionCallOutput {
            output: FunctionOutput::Text(text), ..
        })
        | Item::CustomToolCallOutput(CustomToolCallOutput {
            output: FunctionOutput::Text(text),
            ..
        }) => text.len(),
        Item::Compaction(compaction) => compaction.summary.len(),
        item => in_parts(item),
    };
    let bytes: usize = context.iter().map(length).sum();
    if bytes <= MAX_CONTEXT_BYTES {
        return Ok(());
    }
    let message = format!(
        "This model's maximum context length is {MAX_CONTEXT_BYTES} bytes of text, and the conversation has {bytes}."
    );
    Err(Fault::invalid(CONTEXT_LENGTH, "input", message))
}

/// A requested failure, which a retry would repeat.
fn told(fault: Fault) -> ProviderFailure {
    ProviderFailure::new(fault, FailureScope::Request)
}

#[cfg(test)]
mod tests;

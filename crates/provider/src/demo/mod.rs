//! The built-in model `demo`: no language model, but deterministic, free, and able to misbehave when told to.

mod command;
mod content;
mod facts;
mod passthrough;
mod pieces;
mod play;
mod scene;
mod schema;
mod script;
mod talk;
mod tool;

use engine::provider::passthrough::{Parts, PassthroughRequest};
use engine::provider::{Blame, Failure, ModelRequest, Peer, Provider, Words};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::{Create, Tool};

use crate::wire::fault::unknown_parameter;

/// The name under which it is asked.
pub const MODEL: &str = "demo";

/// Parameters that OpenAI and well-known servers take, and that cannot matter to answers that were written beforehand.
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
    /// A demo with this pace; 0 is as fast as it can.
    pub fn new(tokens_per_second: f64) -> Self {
        Self { tokens_per_second }
    }
}

impl Provider for Demo {
    fn ask(&self, request: ModelRequest) -> BoxFuture<'static, Result<Words, Failure>> {
        let words = script::plan(&request).map(|script| play::words(script, &request.create, self.tokens_per_second));
        ready(words.map_err(told)).boxed()
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        let mut ignored = Vec::new();
        for name in create.extra.keys() {
            match name.as_str() {
                // Every seed gives the same answer, which is all that a seed promises.
                "stop" | "seed" => {}
                known if IGNORED.contains(&known) => ignored.push(name.clone()),
                _ => return Err(unknown_parameter(&create.model, name)),
            }
        }
        let has_logprobs = create.top_logprobs.is_some() || create.include.iter().any(|word| word == "message.output_text.logprobs");
        if has_logprobs {
            ignored.push("logprobs".to_owned());
        }
        let hosted = create.tools.iter().enumerate().filter(|(_, tool)| matches!(tool, Tool::Hosted(_)));
        ignored.extend(hosted.map(|(index, _)| format!("tools[{index}]")));
        Ok(ignored)
    }

    fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        passthrough::check(request)
    }

    fn pass(&self, request: PassthroughRequest) -> BoxFuture<'static, Result<Parts, Failure>> {
        ready(passthrough::pass(&request, self.tokens_per_second)).boxed()
    }

    fn peer(&self) -> Option<Peer> {
        Some(Peer { system: "weir.demo".into(), address: None })
    }
}

/// A failure of the demo: it was told to fail, and would again.
fn told(fault: Fault) -> Failure {
    Failure::new(fault, Blame::Request)
}

#[cfg(test)]
mod tests;

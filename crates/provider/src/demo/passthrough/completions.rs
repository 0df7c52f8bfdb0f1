//! A text that continues any prompt, and says that it is meaningless.

use engine::clock;
use engine::provider::passthrough::{PassthroughPart, PassthroughParts};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use protocol::fault::Fault;
use protocol::fields::JsonFields;
use protocol::passthrough::{EmbeddingInputs, Passthrough};
use serde_json::{Value, json};

use super::super::MODEL;
use super::super::pieces::Pieces;
use super::super::play::{WordPace, stop_texts};
use super::{check_fields, number};

/// The text after every prompt.
const TEXT: &str = " … This text is of Weir's built-in demo model. It does not know what a prompt says, so these words go on from any, and mean nothing.";

/// The most choices of one response.
const MOST_CHOICES: u64 = 128;

/// Supported fields. Some steer sampling, which does not exist here.
const KNOWN: &[&str] = &[
    "model",
    "prompt",
    "suffix",
    "max_tokens",
    "n",
    "best_of",
    "echo",
    "stop",
    "stream",
    "stream_options",
    "logprobs",
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "user",
];

/// The planned choices.
pub(super) struct CompletionPlan {
    choices: Vec<Choice>,
}

/// One choice.
struct Choice {
    /// The prompt, if it is to be repeated.
    echo: String,
    pieces: Vec<String>,
    finish_reason: &'static str,
}

impl CompletionPlan {
    pub(super) fn of(request: &Passthrough) -> Result<Self, Fault> {
        check_fields(request, KNOWN)?;
        if number(request, "logprobs", 0, 5)?.is_some_and(|count| count > 0) {
            return Err(Fault::invalid(
                "unsupported_value",
                "logprobs",
                "The demo model has no log probabilities.",
            ));
        }
        let (limit, copies) = (
            number(request, "max_tokens", 0, u64::MAX)?,
            number(request, "n", 1, MOST_CHOICES)?.unwrap_or(1),
        );
        let prompts = match request.inputs()? {
            EmbeddingInputs::Texts(texts) => texts,
            EmbeddingInputs::Tokens(tokens) => {
                tokens.iter().map(|tokens| format!("({} tokens)", tokens.len())).collect()
            }
        };
        if prompts.is_empty() || prompts.len() as u64 * copies > MOST_CHOICES {
            let message = format!(
                "The demo model takes up to {MOST_CHOICES} prompts, or fewer of which it makes several choices."
            );
            return Err(Fault::invalid("invalid_value", "prompt", message));
        }
        let echo: bool = request.body.read("echo").unwrap_or_default();
        let stop: Option<Value> = request.body.read("stop");
        let (pieces, finish_reason) = pieces(&stop_texts(stop.as_ref()), limit);
        let choice = |prompt: &String| Choice {
            echo: if echo { prompt.clone() } else { String::new() },
            pieces: pieces.clone(),
            finish_reason,
        };
        Ok(Self {
            choices: prompts
                .iter()
                .flat_map(|prompt| (0..copies).map(move |_| choice(prompt)))
                .collect(),
        })
    }

    /// The complete response.
    pub(super) fn whole(&self) -> JsonFields {
        let choice = |(index, choice): (usize, &Choice)| {
            let text = format!("{}{}", choice.echo, choice.pieces.concat());
            json!({ "text": text, "index": index, "logprobs": null, "finish_reason": choice.finish_reason })
        };
        response(&self.choices.iter().enumerate().map(choice).collect::<Vec<_>>())
    }

    /// The streamed response, word by word.
    pub(super) fn stream(self, tokens_per_second: f64) -> PassthroughParts {
        let events = self.choices.into_iter().enumerate().flat_map(|(index, choice)| {
            let said = move |text: &str| json!({ "text": text, "index": index, "logprobs": null, "finish_reason": null });
            let last = json!({ "text": "", "index": index, "logprobs": null, "finish_reason": choice.finish_reason });
            let echo = Some(choice.echo).filter(|echo| !echo.is_empty());
            echo.into_iter().chain(choice.pieces).map(move |text| said(&text)).chain([last])
        });
        let playing = (events, WordPace::new(tokens_per_second));
        unfold(playing, |(mut events, mut pace)| async move {
            let choice = events.next()?;
            pace.wait().await;
            Some((Ok(PassthroughPart::Event(response(&[choice]))), (events, pace)))
        })
        .boxed()
    }
}

/// The pieces of the text up to a stop text or the limit, and the finish reason.
fn pieces(stops: &[String], limit: Option<u64>) -> (Vec<String>, &'static str) {
    let end = stops.iter().filter_map(|stop| TEXT.find(stop.as_str())).min().unwrap_or(TEXT.len());
    let mut pieces: Vec<String> = Pieces::new(&TEXT[..end]).collect();
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let is_cut = pieces.len() > limit;
    pieces.truncate(limit);
    (pieces, if is_cut { "length" } else { "stop" })
}

fn response(choices: &[Value]) -> JsonFields {
    let mut response = JsonFields::default();
    response.set("id", "cmpl-demo");
    response.set("object", "text_completion");
    response.set("created", &clock::unix_seconds());
    response.set("model", MODEL);
    response.set("choices", choices);
    response
}

//! Probes an upstream and reports what does not work, for operators. Probes bypass the breaker and the queue, and do
//! not affect them.

use std::sync::Arc;
use std::time::Duration;

use engine::provider::call::Call;
use engine::provider::event::Word;
use engine::provider::models::ModelListing;
use engine::provider::request::ModelRequest;
use protocol::id::ItemId;
use protocol::item::{Item, Message, Part, Role};
use protocol::request::Create;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use tokio::time::{Instant, timeout};

use super::trouble::{Answered, Refusal, Trouble};
use super::{Shared, Upstream};
use crate::http::{self, Lease, Unreached};
use crate::tools::Lifter;
use crate::wire::fault::Callee;
use crate::wire::outgoing::Outgoing;

/// A slower model list would delay every page that shows it.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);

/// Larger than any known list; OpenRouter's is half a megabyte.
const MAX_LISTING_BYTES: usize = 8 << 20;

/// The output limit of a probe: OpenAI accepts no smaller one.
const ANSWER_TOKENS: u64 = 16;

impl Upstream {
    /// Lists its models, with the first usable key.
    ///
    /// # Errors
    /// Why the models could not be listed.
    pub async fn probe(&self) -> Result<Vec<ModelListing>, Trouble> {
        let listed = timeout(LISTING_TIMEOUT, self.shared.list_models()).await;
        listed.unwrap_or(Err(Trouble::Unreached(Unreached::Silent(LISTING_TIMEOUT))))
    }

    /// Sends `model` a short request and reads the response to its end.
    ///
    /// # Errors
    /// Why there was no complete response.
    pub async fn probe_answer(&self, model: &str, patience: Duration) -> Result<Answered, Trouble> {
        let answered = timeout(patience, self.shared.answer(model)).await;
        answered.unwrap_or(Err(Trouble::Unreached(Unreached::Silent(patience))))
    }
}

impl Shared {
    async fn list_models(&self) -> Result<Vec<ModelListing>, Trouble> {
        let Heard { mut response, mut lease, .. } = self.hear(&self.wire.list()).await?;
        let is_page = says_page(&response);
        let mut body = Vec::new();
        let read = http::read_body(&mut response, &mut body, MAX_LISTING_BYTES).await;
        read.map_err(|_| Trouble::Unreached(Unreached::Closed))?;
        lease.ended();
        self.wire.read_list(&body, &self.name).ok_or(Trouble::Misunderstood { is_page: is_page || looks_like_page(&body) })
    }

    async fn answer(&self, model: &str) -> Result<Answered, Trouble> {
        let outgoing = self.wire.ask(&question(model)).map_err(Trouble::Unsaid)?;
        let begun = Instant::now();
        // Held until the response has been read.
        let Heard { mut response, callee, lease: _lease } = self.hear(&outgoing).await?;
        if says_page(&response) {
            return Err(Trouble::Misunderstood { is_page: true });
        }
        let mut reader = self.wire.reader(callee.clone(), Lifter::default());
        let (mut first_token, mut is_ended) = (None, false);
        loop {
            while let Some(word) = reader.next_word() {
                match word.map_err(Trouble::Failed)? {
                    Word::Finish(_) => {
                        let total = begun.elapsed();
                        return Ok(Answered { first_token: first_token.unwrap_or(total), total });
                    }
                    Word::KeepAlive | Word::Usage(_) => {}
                    Word::Text { .. }
                    | Word::Annotation(_)
                    | Word::Reasoning(_)
                    | Word::ReasoningSummary(_)
                    | Word::ReasoningBreak
                    | Word::ReasoningEnd { .. }
                    | Word::Refusal(_)
                    | Word::ToolCall(_)
                    | Word::Item(_)
                    | Word::ReasoningExtra(_)
                    | Word::Extra(_) => {
                        first_token.get_or_insert(begun.elapsed());
                    }
                }
            }
            if is_ended || reader.is_over() {
                return Err(Trouble::Failed(callee.plain("upstream_truncated", "ended its answer without a reason")));
            }
            match response.chunk().await {
                Ok(Some(bytes)) => reader.push(&bytes),
                Ok(None) => {
                    reader.finish();
                    is_ended = true;
                }
                Err(_) => return Err(Trouble::Failed(callee.cut())),
            }
        }
    }

    /// Sends a request with any key. An error status is an error.
    async fn hear(&self, outgoing: &Outgoing) -> Result<Heard, Trouble> {
        let key = self.pool.some_key();
        let callee = self.callee(key);
        let (mut response, lease) = self.http.send(outgoing, self.shown(key), None).await.map_err(Trouble::Unreached)?;
        if response.status().is_success() {
            return Ok(Heard { response, callee, lease });
        }
        let (status, is_page) = (response.status().as_u16(), says_page(&response));
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(|text| text.split(['?', '#']).next().unwrap_or_default().to_owned());
        let failure = self.refusal(&mut response, &callee, |_, failure| failure).await;
        Err(Trouble::Refused(Box::new(Refusal { status, failure, location, is_page })))
    }
}

/// A response with a success status.
struct Heard {
    response: Response,
    callee: Callee,
    lease: Lease,
}

fn says_page(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn looks_like_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn question(model: &str) -> ModelRequest {
    let create = Create { store: false, stream: true, max_output_tokens: Some(ANSWER_TOKENS), ..Create::new(model) };
    let content = vec![Part::input_text("Say hi.")];
    let message = Item::Message(Message { id: ItemId::new("msg_probe"), ..Message::new(Role::User, content) });
    ModelRequest { create: Arc::new(create), model: None, context: [message].into(), call: Call::default() }
}

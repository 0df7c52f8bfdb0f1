//! Probes an upstream and reports what does not work, for operators. Probes bypass the breaker and
//! the queue, and do not affect them.

use std::sync::Arc;
use std::time::Duration;

use engine::provider::call::UpstreamCall;
use engine::provider::event::ModelEvent;
use engine::provider::models::ModelListing;
use engine::provider::request::ModelRequest;
use hyper::header::{CONTENT_TYPE, LOCATION};
use protocol::id::ItemId;
use protocol::item::{Item, Message, Part, Role};
use protocol::request::Create;
use tokio::time::{Instant, timeout};

use super::trouble::{Answered, Refusal, Trouble};
use super::{Upstream, UpstreamInner};
use crate::http::{self, ConnectError, Lease, Response};
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
        listed.unwrap_or(Err(Trouble::Connect(ConnectError::Silent(LISTING_TIMEOUT))))
    }

    /// Sends `model` a short request and reads the response to its end.
    ///
    /// # Errors
    /// Why there was no complete response.
    pub async fn probe_answer(&self, model: &str, patience: Duration) -> Result<Answered, Trouble> {
        let answered = timeout(patience, self.shared.answer(model)).await;
        answered.unwrap_or(Err(Trouble::Connect(ConnectError::Silent(patience))))
    }
}

impl UpstreamInner {
    async fn list_models(&self) -> Result<Vec<ModelListing>, Trouble> {
        let ProbeResponse { mut response, mut lease, .. } =
            self.send_probe(&self.wire.list()).await?;
        let is_page = is_html(&response);
        let mut body = Vec::new();
        let read = http::read_body(&mut response, &mut body, MAX_LISTING_BYTES).await;
        read.map_err(|_| Trouble::Connect(ConnectError::Closed))?;
        lease.ended();
        self.wire
            .read_list(&body, &self.name)
            .ok_or(Trouble::Unparsed { is_page: is_page || looks_like_html(&body) })
    }

    async fn answer(&self, model: &str) -> Result<Answered, Trouble> {
        let outgoing = self.wire.ask(&question(model)).map_err(Trouble::Unsupported)?;
        let begun = Instant::now();
        // Held until the response has been read.
        let ProbeResponse { mut response, callee, lease: _lease } =
            self.send_probe(&outgoing).await?;
        if is_html(&response) {
            return Err(Trouble::Unparsed { is_page: true });
        }
        let mut reader = self.wire.reader(callee.clone(), Lifter::default());
        let (mut first_token, mut is_ended) = (None, false);
        loop {
            while let Some(word) = reader.next_event() {
                match word.map_err(Trouble::Failed)? {
                    ModelEvent::Finish(_) => {
                        let total = begun.elapsed();
                        return Ok(Answered { first_token: first_token.unwrap_or(total), total });
                    }
                    ModelEvent::KeepAlive | ModelEvent::Usage(_) => {}
                    ModelEvent::Text { .. }
                    | ModelEvent::Annotation(_)
                    | ModelEvent::Reasoning(_)
                    | ModelEvent::ReasoningSummary(_)
                    | ModelEvent::ReasoningBreak
                    | ModelEvent::ReasoningEnd { .. }
                    | ModelEvent::Refusal(_)
                    | ModelEvent::ToolCall(_)
                    | ModelEvent::Item(_)
                    | ModelEvent::ReasoningExtra(_)
                    | ModelEvent::Extra(_) => {
                        first_token.get_or_insert(begun.elapsed());
                    }
                }
            }
            if is_ended || reader.is_over() {
                return Err(Trouble::Failed(
                    callee
                        .plain("upstream_truncated", "ended its response without a finish reason"),
                ));
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
    async fn send_probe(&self, outgoing: &Outgoing) -> Result<ProbeResponse, Trouble> {
        let key = self.pool.some_key();
        let (callee, call) = (self.callee(key), UpstreamCall::of_server(Arc::clone(&self.name)));
        let sent = self.http.send(outgoing, self.shown(key), &call).await;
        let (mut response, lease) = sent.map_err(Trouble::Connect)?;
        call.answered(response.status().as_u16());
        if response.status().is_success() {
            return Ok(ProbeResponse { response, callee, lease });
        }
        let (status, is_page) = (response.status().as_u16(), is_html(&response));
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location =
            location.map(|text| text.split(['?', '#']).next().unwrap_or_default().to_owned());
        let failure = self.refusal(&mut response, &callee, |_, failure| failure).await;
        Err(Trouble::Refused(Box::new(Refusal { status, failure, location, is_page })))
    }
}

/// A response with a success status.
struct ProbeResponse {
    response: Response,
    callee: Callee,
    lease: Lease,
}

fn is_html(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn question(model: &str) -> ModelRequest {
    let create = Create {
        store: false,
        stream: true,
        max_output_tokens: Some(ANSWER_TOKENS),
        ..Create::new(model)
    };
    let content = vec![Part::input_text("Say hi.")];
    let message = Item::Message(Message {
        id: ItemId::new("msg_probe"),
        ..Message::new(Role::User, content)
    });
    ModelRequest {
        create: Arc::new(create),
        model: None,
        context: [message].into(),
        call: UpstreamCall::default(),
    }
}

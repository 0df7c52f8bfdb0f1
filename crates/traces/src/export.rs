//! Takes spans out of the queue and sends them in batches.

use std::sync::Arc;
use std::time::Duration;

use engine::tasks::Tasks;
use engine::trace::Span;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::config::{Config, TraceConfigError};
use crate::otlp;
use crate::queue::SpanQueue;

/// The most spans of one request.
const BATCH: usize = 512;

/// How long the first span of a request waits for more.
const DELAY: Duration = Duration::from_secs(1);

/// How long a request may take; OTLP's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The pauses before a request is tried again. Then its spans are dropped: newer ones wait.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The receiving end of the queue.
#[derive(Debug)]
pub struct Export {
    client: Client,
    endpoint: String,
    service: String,
    queue: Arc<SpanQueue>,
    waiting: mpsc::Receiver<Span>,
    is_failing: bool,
}

/// The outcome of a request.
enum Sent {
    Taken,
    /// It failed, but may be repeated.
    NotNow(String),
    /// It was refused for good.
    Refused(String),
}

impl Export {
    /// An export to the endpoint of `config`. Nothing is connected yet.
    ///
    /// # Errors
    /// A header that cannot be sent.
    pub fn new(config: Config) -> Result<(Arc<SpanQueue>, Self), TraceConfigError> {
        let mut headers = HeaderMap::new();
        for (name, value) in config.headers {
            let header =
                HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value.reveal()).ok());
            let Some((name, mut value)) = header else {
                return Err(TraceConfigError::Header { name });
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = Client::builder()
            .default_headers(headers)
            .timeout(TIMEOUT)
            // A redirect could carry the key in the headers elsewhere.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| TraceConfigError::Client(error.without_url()))?;
        let (queue, waiting) = SpanQueue::new();
        let export = Self {
            client,
            endpoint: config.endpoint,
            service: config.service,
            queue: Arc::clone(&queue),
            waiting,
            is_failing: false,
        };
        Ok((queue, export))
    }

    /// Sends spans until `tasks` stop, and then what is left.
    pub async fn run(mut self, tasks: Tasks) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = tasks.stopping() => break,
                _ = self.waiting.recv_many(&mut batch, BATCH) => {}
            }
            self.gather(&mut batch, &tasks).await;
            self.deliver(batch, &tasks).await;
        }
        self.waiting.close();
        let mut batch = Vec::new();
        while self.waiting.recv_many(&mut batch, BATCH).await > 0 {
            self.deliver(std::mem::take(&mut batch), &tasks).await;
        }
    }

    /// Waits a moment for more.
    async fn gather(&mut self, batch: &mut Vec<Span>, tasks: &Tasks) {
        let mut over = std::pin::pin!(sleep(DELAY));
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                biased;
                () = tasks.stopping() => return,
                () = &mut over => return,
                _ = self.waiting.recv_many(batch, room) => {}
            }
        }
    }

    /// Sends spans, again after a pause where that may help.
    async fn deliver(&mut self, batch: Vec<Span>, tasks: &Tasks) {
        let document = otlp::document(&self.service, &batch).to_string();
        let count = batch.len() as u64;
        drop(batch);
        let mut pauses = PAUSES.into_iter();
        let why = loop {
            let why = match self.send(document.clone()).await {
                Sent::Taken => {
                    self.queue.exported.add(count);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("traces are taken again");
                    }
                    return;
                }
                Sent::Refused(why) => break why,
                Sent::NotNow(why) => why,
            };
            let Some(pause) = pauses.next() else { break why };
            tokio::select! {
                biased;
                () = tasks.stopping() => break why,
                () = sleep(pause) => {}
            }
        };
        self.queue.dropped.add(count);
        // Once for each period of failures.
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(spans = count, why, "traces are not taken, and were dropped");
        }
    }

    async fn send(&self, document: String) -> Sent {
        match self.client.post(&self.endpoint).body(document).send().await {
            Ok(response) if response.status().is_success() => Sent::Taken,
            Ok(response) => match response.status().as_u16() {
                // The statuses after which OTLP allows a retry.
                status @ (429 | 502 | 503 | 504) => Sent::NotNow(status.to_string()),
                status => Sent::Refused(status.to_string()),
            },
            Err(error) => Sent::NotNow(error.without_url().to_string()),
        }
    }
}

//! Any server that speaks OpenAI's chat completions.

mod chunk;
mod fault;
mod listing;
mod peer;
mod request;
mod retry_after;
mod stream;

use std::error::Error;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::provider::{Call, ModelListing, ModelRequest, Peer, Provider, Word, Words};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, unfold};
use protocol::fault::{Fault, FaultKind};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url, redirect};

use self::fault::{Reported, Upstream};
use self::listing::Listing;
use self::request::Family;
use self::stream::Reader;
use crate::config::{BuildError, UpstreamConfig};

/// What is read of an error's body: more is no error message.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// How long the body of an error may take: its status already says the most.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The body's end comes right behind `[DONE]`. Who reads it can use the connection again and saves a handshake;
/// the answer's end waits for it, so it must not be long.
const LAST_CHUNK_TIMEOUT: Duration = Duration::from_millis(100);

/// A list of models that takes longer would hold up everyone who opens the page.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);

/// A list of models is smaller; OpenRouter's has half a megabyte.
const MAX_LISTING_BYTES: usize = 8 << 20;

/// One upstream. Clones share connections and the list of models.
#[derive(Clone, Debug)]
pub struct OpenAi {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    completions: Url,
    models: Url,
    upstream: Upstream,
    family: Family,
    peer: Peer,
    listing: Listing,
}

impl OpenAi {
    /// The upstream that `config` describes. Nothing is connected yet.
    ///
    /// # Errors
    /// An address or a key that cannot be used.
    pub fn new(config: &UpstreamConfig) -> Result<Self, BuildError> {
        let base = base_url(config)?;
        let host = base.host_str().unwrap_or_default().to_owned();
        let client = client(config, &host)?
            .build()
            .map_err(|source| BuildError::Client { upstream: config.name.clone(), source: source.without_url() })?;
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                completions: below(&base, &["chat", "completions"]),
                models: below(&base, &["models"]),
                upstream: Upstream { name: config.name.as_str().into(), key: config.api_key.clone() },
                family: Family::of_host(&host),
                peer: peer::of(&base, &config.name),
                listing: Listing::default(),
            }),
        })
    }

    /// The models it lists. It is asked once a minute at most; while it does not answer, the list is empty.
    pub async fn list(&self) -> Vec<ModelListing> {
        self.shared.listing.get(self.shared.fetch_listing()).await
    }

    /// Whether it has said that it has this model. While it was not asked, it has not.
    pub fn has_listed(&self, model: &str) -> bool {
        self.shared.listing.has(model)
    }
}

impl Provider for OpenAi {
    fn ask(&self, request: ModelRequest) -> BoxFuture<'static, Result<Words, Fault>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let body = request::body(&request, shared.family)?;
            let call = request.call.clone();
            drop(request);
            let response = shared.post(&body, &call).await?;
            call.answered(response.status().as_u16());
            if !response.status().is_success() {
                return Err(shared.refusal(response).await);
            }
            Ok(words(response, shared.upstream.clone()))
        }
        .boxed()
    }

    /// Servers differ in what they know and say it themselves; what Weir could not give back is known by none.
    fn knows(&self, parameter: &str) -> bool {
        !["n", "functions", "function_call", "audio", "modalities", "messages", "stream_options"].contains(&parameter)
    }

    fn peer(&self) -> Option<Peer> {
        Some(self.shared.peer.clone())
    }
}

impl Shared {
    async fn post(&self, body: &serde_json::Value, call: &Call) -> Result<Response, Fault> {
        let mut request =
            self.client.post(self.completions.clone()).header(CONTENT_TYPE, "application/json").header(ACCEPT, "text/event-stream");
        if let Some(trace) = &call.trace {
            request = request.header("traceparent", trace.traceparent());
            if let Some(state) = &trace.state {
                request = request.header("tracestate", &**state);
            }
        }
        request.body(body.to_string()).send().await.map_err(|error| unreachable(&self.upstream, &error))
    }

    /// Reads what the upstream says against the request.
    async fn refusal(&self, mut response: Response) -> Fault {
        let status = response.status().as_u16();
        let retry_after = retry_after::read(response.headers());
        let mut body = Vec::new();
        // What could be read until the deadline, the limit or an error is enough: the status says the most.
        let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, read_body(&mut response, &mut body, MAX_ERROR_BYTES)).await;
        self.upstream.refusal(status, Reported::from_body(&body), retry_after)
    }

    async fn fetch_listing(&self) -> Option<Vec<ModelListing>> {
        let fetch = async {
            let mut response = self.client.get(self.models.clone()).send().await.ok()?.error_for_status().ok()?;
            let mut body = Vec::new();
            read_body(&mut response, &mut body, MAX_LISTING_BYTES).await.ok()?;
            listing::read(&body, &self.upstream.name)
        };
        let models = tokio::time::timeout(LISTING_TIMEOUT, fetch).await.ok().flatten();
        if models.is_none() {
            tracing::debug!(upstream = %self.upstream.name, "the upstream gave no list of models");
        }
        models
    }
}

async fn read_body(response: &mut Response, body: &mut Vec<u8>, limit: usize) -> Result<(), reqwest::Error> {
    while let Some(bytes) = response.chunk().await? {
        body.extend_from_slice(&bytes[..bytes.len().min(limit - body.len())]);
        if body.len() == limit {
            break;
        }
    }
    Ok(())
}

/// The words of an answer. All that one read gave is yielded before the next read; dropping it closes the connection.
fn words(response: Response, upstream: Upstream) -> Words {
    let answer = Answer { response: Some(response), reader: Reader::new(upstream.clone()), upstream, is_cut: false };
    unfold(answer, |mut answer| async move { answer.next().await.map(|word| (word, answer)) }).boxed()
}

/// The words in a body that came in these pieces: the parser alone, without HTTP. For measurements.
#[doc(hidden)]
pub fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, mut hear: impl FnMut(Result<Word, Fault>)) {
    let mut reader = Reader::new(Upstream { name: "measured".into(), key: None });
    for piece in pieces {
        reader.push(piece);
        std::iter::from_fn(|| reader.next_word()).for_each(&mut hear);
    }
    reader.finish();
    std::iter::from_fn(|| reader.next_word()).for_each(hear);
}

struct Answer {
    /// `None` when nothing more is read; that closes the connection, or gives it back if the body has ended.
    response: Option<Response>,
    reader: Reader,
    upstream: Upstream,
    /// The body broke off, which is still to be said.
    is_cut: bool,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Word, Fault>> {
        loop {
            if let Some(word) = self.reader.next_word() {
                if word.is_err() {
                    self.response = None;
                    self.is_cut = false;
                }
                return Some(word);
            }
            if mem::take(&mut self.is_cut) {
                return Some(Err(stream::cut(&self.upstream)));
            }
            let mut response = self.response.take()?;
            if self.reader.is_over() {
                let _ = tokio::time::timeout(LAST_CHUNK_TIMEOUT, response.chunk()).await;
                return None;
            }
            self.read(response).await;
        }
    }

    /// Reads once. At the end of the body the connection is given back.
    async fn read(&mut self, mut response: Response) {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                self.reader.push(&bytes);
                self.response = Some(response);
            }
            Ok(None) => self.reader.finish(),
            Err(_) => {
                self.reader.finish();
                self.is_cut = true;
            }
        }
    }
}

fn base_url(config: &UpstreamConfig) -> Result<Url, BuildError> {
    let invalid = |reason: String| BuildError::Address { upstream: config.name.clone(), reason };
    let base = Url::parse(&config.base_url).map_err(|error| invalid(error.to_string()))?;
    match base.scheme() {
        "http" | "https" if base.has_host() => Ok(base),
        _ => Err(invalid("it must begin with http:// or https://".to_owned())),
    }
}

/// `base` with more segments; its query stays (Azure's `api-version`).
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

fn client(config: &UpstreamConfig, host: &str) -> Result<reqwest::ClientBuilder, BuildError> {
    let mut headers = HeaderMap::new();
    // Compression between servers holds back small events until its block is full.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(key) = &config.api_key {
        let mut bearer =
            HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| BuildError::Key { upstream: config.name.clone() })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    let client = Client::builder()
        // A cancelled HTTP/2 stream is a reset, and many of them make servers close the connection of all others.
        .http1_only()
        .tcp_nodelay(true)
        .connect_timeout(config.timeouts.connect)
        // A redirect would turn the POST into a GET, or carry the prompt to an address nobody configured.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers);
    // Proxies from the environment are for the world outside, not for a model on this machine.
    Ok(if is_loopback(host) { client.no_proxy() } else { client })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Says in plain words why there was no answer at all. The URL stays out: it may hold a password.
fn unreachable(upstream: &Upstream, error: &reqwest::Error) -> Fault {
    let name = &upstream.name;
    let fault = |code: &str, what: &str| Fault::new(FaultKind::Upstream, code, format!("The upstream '{name}' {what}."));
    if error.is_connect() && error.is_timeout() {
        return fault("upstream_connect_timeout", "did not take the connection in time").with_status(504);
    }
    if !error.is_connect() {
        return fault("upstream_unreachable", "closed the connection before it answered");
    }
    fault("upstream_unreachable", connect_failure(error))
}

fn connect_failure(error: &reqwest::Error) -> &'static str {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        let io_error = cause.downcast_ref::<io::Error>();
        match io_error.map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return "cannot be reached: nothing listens at its address",
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
                return "cannot be reached: there is no way to its network";
            }
            // rustls reports its errors under these; TCP's own handshake has neither.
            Some(io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                return "cannot be reached: no TLS connection could be made (is its certificate valid, and does it speak https at all?)";
            }
            _ => {}
        }
        // The source of an I/O error that wraps another is that one's source: the wrapped one itself is only here.
        let wrapped = io_error.and_then(io::Error::get_ref);
        source = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    if error.is_dns() { "cannot be reached: its host name is unknown" } else { "cannot be reached" }
}

//! The events of a response from its server, across connections.

use std::time::{Duration, Instant};

use client::{Stream, now};
use engine::clock;
use tokio::time::{sleep, timeout};

use super::recording::Exchange;
use crate::chat::event::{EventMeaning, NumberedEvent, ResponseEnd, ServerMessage};
use crate::chat::server::{ChatError, ChatServer, refusal};
use crate::cli::output;

/// A connection silent for this long is considered lost: the server sends a heartbeat every 15
/// seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a lost connection is opened again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before a connection is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// The events of one response from a position on.
pub(super) struct EventSource {
    server: ChatServer,
    id: String,
    next: u64,
    stream: Option<Stream>,
    /// When the connection was lost, until the next event.
    lost: Option<Instant>,
    /// The number of events so far.
    events: usize,
    exchanges: Vec<Exchange>,
}

impl EventSource {
    /// Nothing is asked yet.
    pub(super) fn new(server: ChatServer, id: &str, from: u64) -> Self {
        Self {
            server,
            id: id.to_owned(),
            next: from,
            stream: None,
            lost: None,
            events: 0,
            exchanges: Vec::new(),
        }
    }

    /// The next event, and whether it is the last one. A lost connection is replaced.
    pub(super) async fn next(&mut self) -> Result<(NumberedEvent, bool), ChatError> {
        loop {
            match self.read().await {
                Ok(event) => {
                    self.lost = None;
                    self.events += 1;
                    self.next = event.position + 1;
                    let is_last = is_last(&event);
                    return Ok((event, is_last));
                }
                Err(error) => self.lose(error).await?,
            }
        }
    }

    /// Closes the connection. Returns the server, and the exchanges with it.
    pub(super) fn close(mut self) -> (ChatServer, Vec<Exchange>) {
        self.hang_up();
        (self.server, self.exchanges)
    }

    async fn read(&mut self) -> Result<NumberedEvent, ChatError> {
        if self.stream.is_none() {
            self.stream = Some(self.open().await?);
        }
        let Some(stream) = &mut self.stream else {
            return Err(ChatError::Hopeless("there is no stream".to_owned()));
        };
        loop {
            let event = match next_message(stream).await? {
                ServerMessage::Event(event) => *event,
                ServerMessage::Nothing => continue,
                ServerMessage::Error(status @ 400..500, what) => {
                    return Err(ChatError::Refused(status, what));
                }
                ServerMessage::Error(_, what) => return Err(ChatError::Broken(what)),
            };
            if event.position == self.next {
                return Ok(event);
            }
            if event.position > self.next {
                let what = format!("event {} is missing", self.next);
                return Err(ChatError::Hopeless(what));
            }
        }
    }

    async fn open(&mut self) -> Result<Stream, ChatError> {
        let (started, opened) = (clock::now(), now());
        let after = self.next.checked_sub(1);
        let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
        let path = format!("/v1/responses/{}?stream=true{after}", self.id);
        let request = self.server.request("GET", &path).header("accept", "text/event-stream");
        let broken = |error: anyhow::Error| ChatError::Broken(format!("{error:#}"));
        let (mut connection, info) = self.server.connect_tapped().await?;
        connection.write(&request).await.map_err(broken)?;
        let sent = now();
        let reading = timeout(SILENCE, connection.read_response(&request));
        let mut response = reading.await.map_err(|_| silent())?.map_err(broken)?;
        if response.status != 200 {
            return Err(refusal(&mut response).await);
        }
        let headers = response.headers.iter();
        self.exchanges.push(Exchange {
            started,
            opened,
            request,
            sent,
            answered: now(),
            status: response.status,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            info,
            ended: None,
            first: self.events,
        });
        let address = self.server.address();
        response.events().map_err(|error| ChatError::Hopeless(format!("{address}: {error:#}")))
    }

    /// Waits before the connection is opened again.
    ///
    /// # Errors
    /// Opening it again would not help, or has not helped for too long.
    async fn lose(&mut self, error: ChatError) -> Result<(), ChatError> {
        self.hang_up();
        let may_pass = match &error {
            ChatError::Broken(_) | ChatError::Refused(500 | 502 | 503 | 504, _) => true,
            ChatError::Refused(..) | ChatError::Hopeless(_) => false,
        };
        if !may_pass || self.exchanges.is_empty() {
            return Err(error);
        }
        if self.lost.is_none() {
            output::complain(&format_args!("weir tap: {error}; connecting again"));
        }
        if self.lost.get_or_insert_with(now).elapsed() > PATIENCE {
            return Err(error);
        }
        sleep(PAUSE).await;
        Ok(())
    }

    fn hang_up(&mut self) {
        if self.stream.take().is_some()
            && let Some(exchange) = self.exchanges.last_mut()
        {
            exchange.ended = Some(now());
        }
    }
}

/// The next message of a stream that has not ended.
async fn next_message(stream: &mut Stream) -> Result<ServerMessage, ChatError> {
    loop {
        let heartbeats = stream.heartbeats();
        match timeout(SILENCE, stream.next()).await {
            Ok(Ok(Some(event))) => return Ok(ServerMessage::read(event.data)),
            Ok(Ok(None)) => {
                let what = "the connection closed before the response ended".to_owned();
                return Err(ChatError::Broken(what));
            }
            Ok(Err(error)) => return Err(ChatError::Broken(format!("{error:#}"))),
            Err(_) if stream.heartbeats() > heartbeats => {}
            Err(_) => return Err(silent()),
        }
    }
}

fn is_last(event: &NumberedEvent) -> bool {
    match event.meaning() {
        EventMeaning::End(
            ResponseEnd::Whole
            | ResponseEnd::Stopped
            | ResponseEnd::Incomplete(_)
            | ResponseEnd::Failed(_),
        ) => true,
        EventMeaning::Text(_)
        | EventMeaning::Refusal(_)
        | EventMeaning::Reasoning(_)
        | EventMeaning::Call(..)
        | EventMeaning::Other => false,
    }
}

fn silent() -> ChatError {
    ChatError::Broken(format!("no data from the server for {} seconds", SILENCE.as_secs()))
}

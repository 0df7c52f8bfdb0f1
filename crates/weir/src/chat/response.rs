//! One response, from the question to its end, across broken connections: it is resumed by
//! position, so that no event is lost or repeated.

use std::sync::Arc;
use std::time::Duration;

use engine::tasks::Tasks;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{self, ResponseConnection};
use super::event::{EventMeaning, NumberedEvent, ResponseEnd, ServerMessage};
use super::server::{ChatError, ChatServer};
use super::transport::ChatTransport;

/// How long to retry a lost connection before giving up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first pause between two attempts; it doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long the server may take to confirm a cancellation.
const STOPPING: Duration = Duration::from_secs(10);

/// The response to read.
#[derive(Clone, Debug)]
pub(crate) enum ResponseRequest {
    /// A new response, to this request.
    New(Value),
    /// An existing response, from its start.
    Old(String),
}

/// Progress of a response.
#[derive(Debug)]
pub(crate) enum News {
    Event(Box<NumberedEvent>),
    /// A note for the user: the connection was lost, or is back.
    Note(String),
    /// Nothing follows.
    Lost(ChatError),
}

/// A reader of a response. Dropping it does not stop the response.
pub(crate) struct ResponseHandle {
    pub(crate) news: mpsc::Receiver<News>,
    stop: Arc<Notify>,
}

impl ResponseHandle {
    /// Sends the request, and reads the response in a task of its own.
    pub(crate) fn start(
        tasks: &Tasks,
        server: &Arc<ChatServer>,
        transport: ChatTransport,
        question: ResponseRequest,
        idempotency_key: String,
    ) -> Self {
        let (sender, news) = mpsc::channel(256);
        let stop = Arc::new(Notify::new());
        let reader = Reader {
            server: Arc::clone(server),
            transport,
            id: if let ResponseRequest::Old(id) = &question { Some(id.clone()) } else { None },
            question,
            idempotency_key,
            position: None,
            is_asked: false,
            is_stopping: false,
            opened: None,
            stop: Arc::clone(&stop),
            news: sender,
        };
        tasks.spawn("answer", reader.run());
        Self { news, stop }
    }

    /// Asks the server to cancel the response. Its end arrives as news.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }
}

struct Reader {
    server: Arc<ChatServer>,
    transport: ChatTransport,
    question: ResponseRequest,
    idempotency_key: String,
    id: Option<String>,
    position: Option<u64>,
    /// Whether the question may have reached the server.
    is_asked: bool,
    is_stopping: bool,
    /// When the connection was established.
    opened: Option<Instant>,
    stop: Arc<Notify>,
    news: mpsc::Sender<News>,
}

/// Why reading from one connection ended.
enum Break {
    /// The response has ended, or its reader is gone.
    Done,
    Trouble(ChatError),
}

impl Reader {
    async fn run(mut self) {
        let mut since = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut is_lost = false;
        loop {
            let before = self.position;
            let trouble = match self.read(&mut is_lost).await {
                Break::Done => return,
                Break::Trouble(trouble) => trouble,
            };
            let has_stood =
                self.opened.take().is_some_and(|opened| opened.elapsed() > LONGEST_PAUSE);
            if self.position != before || has_stood {
                (since, pause) = (Instant::now(), FIRST_PAUSE);
            }
            let Some(why) = self.may_retry(trouble, since).await else { return };
            if !is_lost {
                is_lost = true;
                let after = self
                    .position
                    .map(|position| format!(" after event {position}"))
                    .unwrap_or_default();
                self.tell(News::Note(format!("Connection lost{after} ({why}); reconnecting…")))
                    .await;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.news.closed() => return,
                () = self.stop.notified() => self.is_stopping = true,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The reason for another attempt; an error where a retry cannot help.
    async fn may_retry(&self, trouble: ChatError, since: Instant) -> Option<String> {
        let hint = |what: &str| match &self.id {
            Some(id) => {
                format!("{what}\nThe response may still be running: weir chat --resume {id}")
            }
            None => what.to_owned(),
        };
        let lost = match trouble {
            // A WebSocket has no Idempotency-Key: a repeated request might run twice.
            ChatError::Broken(what)
                if self.id.is_none()
                    && (!self.is_asked || self.transport == ChatTransport::Websocket) =>
            {
                ChatError::Broken(what)
            }
            ChatError::Broken(what) if since.elapsed() > PATIENCE => ChatError::Broken(hint(&what)),
            ChatError::Broken(what) => return Some(what),
            // A server that is starting or stopping responds with these.
            ChatError::Refused(status @ (500 | 502 | 503 | 504), what)
                if self.position.is_some() && since.elapsed() <= PATIENCE =>
            {
                return Some(format!("{what} ({status})"));
            }
            ChatError::Refused(404, what) if self.position.is_some() => {
                ChatError::Refused(404, format!("{what} The server no longer has this response."))
            }
            other => other,
        };
        self.tell(News::Lost(lost)).await;
        None
    }

    async fn read(&mut self, is_lost: &mut bool) -> Break {
        let server = Arc::clone(&self.server);
        let news = self.news.clone();
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = news.closed() => return Break::Done,
        };
        let mut line = match opened {
            Ok(line) => line,
            Err(trouble) => return Break::Trouble(trouble),
        };
        self.opened = Some(Instant::now());
        if self.is_stopping
            && let Err(trouble) = self.cancel(&mut line).await
        {
            return Break::Trouble(trouble);
        }
        let stop = Arc::clone(&self.stop);
        loop {
            let message = tokio::select! {
                biased;
                () = news.closed() => return Break::Done,
                () = stop.notified() => {
                    self.is_stopping = true;
                    match self.cancel(&mut line).await {
                        Ok(()) => continue,
                        Err(trouble) => return Break::Trouble(trouble),
                    }
                }
                message = line.next(&server) => message,
            };
            let heard = match message {
                Ok(Some(data)) => ServerMessage::read(data),
                Ok(None) => {
                    return Break::Trouble(ChatError::Broken(
                        "the connection closed before the response ended".to_owned(),
                    ));
                }
                Err(trouble) => return Break::Trouble(trouble),
            };
            match heard {
                ServerMessage::Nothing => {}
                ServerMessage::Error(status @ 400..500, what) => {
                    return Break::Trouble(ChatError::Refused(status, what));
                }
                ServerMessage::Error(_, what) => return Break::Trouble(ChatError::Broken(what)),
                ServerMessage::Event(event) => {
                    if std::mem::take(is_lost) {
                        self.tell(News::Note("Reconnected.".to_owned())).await;
                    }
                    match self.take(event, &mut line).await {
                        Ok(true) => return Break::Done,
                        Ok(false) => {}
                        Err(trouble) => return Break::Trouble(trouble),
                    }
                }
            }
        }
    }

    async fn open(&mut self) -> Result<ResponseConnection, ChatError> {
        if let Some(id) = &self.id {
            return connection::resume(&self.server, self.transport, id, self.position).await;
        }
        let ResponseRequest::New(body) = &self.question else {
            return Err(ChatError::Hopeless("there is nothing to resume".to_owned()));
        };
        let opened =
            connection::ask(&self.server, self.transport, body, &self.idempotency_key).await;
        self.is_asked = self.is_asked
            || !matches!(&opened, Err(ChatError::Broken(what)) if what.starts_with("cannot reach"));
        let (line, id) = opened?;
        self.id = id;
        Ok(line)
    }

    /// Passes an event on. Returns whether it was the last.
    async fn take(
        &mut self,
        event: Box<NumberedEvent>,
        line: &mut ResponseConnection,
    ) -> Result<bool, ChatError> {
        let expected = self.position.map_or(0, |position| position + 1);
        if event.position < expected {
            return Ok(false);
        }
        if event.position > expected {
            return Err(ChatError::Broken(format!("event {expected} is missing")));
        }
        self.position = Some(event.position);
        let is_first_name = self.id.is_none();
        if let (None, Some(id)) = (&self.id, event.response_id()) {
            self.id = Some(id.to_owned());
        }
        let is_last = matches!(
            event.meaning(),
            EventMeaning::End(
                ResponseEnd::Whole
                    | ResponseEnd::Stopped
                    | ResponseEnd::Incomplete(_)
                    | ResponseEnd::Failed(_)
            )
        );
        self.tell(News::Event(event)).await;
        if is_first_name && self.is_stopping && !is_last {
            self.cancel(line).await?;
        }
        Ok(is_last)
    }

    /// Cancels the response if its id is known; otherwise as soon as it is.
    async fn cancel(&self, line: &mut ResponseConnection) -> Result<(), ChatError> {
        let Some(id) = &self.id else { return Ok(()) };
        if line.cancel().await? {
            return Ok(());
        }
        let request = self.server.request("POST", &format!("/v1/responses/{id}/cancel"));
        match timeout(STOPPING, self.server.json(&request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => {
                Err(ChatError::Broken("the server did not cancel the response in time".to_owned()))
            }
        }
    }

    async fn tell(&self, news: News) {
        // The reader may be gone.
        let _ = self.news.send(news).await;
    }
}

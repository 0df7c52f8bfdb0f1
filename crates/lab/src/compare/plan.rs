//! What is compared: a cell is one dialect on one transport over one version of HTTP, in clear or through TLS.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Which words (`design.md`: a dialect).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Open Responses.
    Responses,
    /// OpenAI's chat completions.
    ChatCompletions,
    /// The API of the Java demo.
    Classic,
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One JSON document at the end.
    Json,
    /// Requests that wait for the next events, one after the other.
    LongPoll,
    /// A line of JSON for each event.
    Ndjson,
    /// Server-sent events.
    Sse,
    /// A WebSocket: a message for each event.
    Websocket,
}

/// What is spoken below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Version {
    /// HTTP/1.0: the end of an answer is the connection's.
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1: the connection stays.
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/1.1 with `Connection: close`; for WebSockets a socket for each question.
    #[serde(rename = "1.1-close")]
    Http11Close,
    /// HTTP/2, in clear by prior knowledge (RFC 9113, section 3.3). A WebSocket is a stream of it (RFC 8441).
    #[serde(rename = "2")]
    Http2,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Cell {
    /// Which words.
    pub dialect: Dialect,
    /// How they travel.
    pub transport: Transport,
    /// Over which version of HTTP.
    pub version: Version,
    /// Whether through TLS.
    pub tls: bool,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Responses, Self::ChatCompletions, Self::Classic];

    /// As it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::ChatCompletions => "chat_completions",
            Self::Classic => "classic",
        }
    }
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Json, Self::LongPoll, Self::Ndjson, Self::Sse, Self::Websocket];

    /// As it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::LongPoll => "long-poll",
            Self::Ndjson => "ndjson",
            Self::Sse => "sse",
            Self::Websocket => "websocket",
        }
    }
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http10, Self::Http11, Self::Http11Close, Self::Http2];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http11Close => "1.1-close",
            Self::Http2 => "2",
        }
    }
}

impl Cell {
    /// Whether there is such a thing. The classic API has a stream and a socket; chat completions have neither a socket nor a
    /// position from which a poll could go on; a WebSocket needs HTTP/1.1 at least (RFC 6455, section 4.1).
    pub fn exists(self) -> bool {
        let in_dialect = match self.dialect {
            Dialect::Responses => true,
            Dialect::ChatCompletions => !matches!(self.transport, Transport::LongPoll | Transport::Websocket),
            Dialect::Classic => matches!(self.transport, Transport::Sse | Transport::Websocket),
        };
        in_dialect && !(self.transport == Transport::Websocket && self.version == Version::Http10)
    }
}

/// `responses/sse/h1.1+tls`
impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "+tls" } else { "" };
        write!(formatter, "{}/{}/h{}{tls}", self.dialect.name(), self.transport.name(), self.version.name())
    }
}

/// What to compare, and by which conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cells, in the order in which they are measured.
    pub cells: Vec<Cell>,
    /// The question of each turn, from the second on in the same conversation.
    pub questions: Vec<String>,
    /// The model that is asked.
    pub model: String,
    /// The pause between two tokens, where the model's pace can be set.
    pub pace: Option<Duration>,
    /// A question whose answer goes on for many tokens: for what is to happen in the middle of it.
    pub long_question: String,
}

/// All cells that exist of these, dialect by dialect, in clear before TLS.
pub fn cells(dialects: &[Dialect], transports: &[Transport], versions: &[Version], tls: &[bool]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &dialect in dialects {
        for &tls in tls {
            for &transport in transports {
                let all = versions.iter().map(|&version| Cell { dialect, transport, version, tls });
                cells.extend(all.filter(|cell| cell.exists()));
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_left_out() {
        let all = cells(&Dialect::ALL, &Transport::ALL, &Version::ALL, &[false, true]);
        assert_eq!(all.len(), 38 + 24 + 14);
        let named: Vec<String> = all.iter().map(Cell::to_string).collect();
        assert_eq!(named.first().map(String::as_str), Some("responses/json/h1.0"));
        assert!(named.contains(&"classic/websocket/h2+tls".to_owned()) && !named.contains(&"responses/websocket/h1.0".to_owned()));
        assert!(!named.iter().any(|name| name.starts_with("chat_completions/websocket")));
    }
}

//! What is compared. A cell is one dialect on one transport over one version of HTTP, with or
//! without TLS.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Open Responses.
    Responses,
    /// OpenAI's chat completions.
    ChatCompletions,
    /// The classic API, that of the Java demo.
    Classic,
}

/// How an answer is transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One JSON document at the end.
    Json,
    /// Long polling: requests that wait for the next events.
    LongPoll,
    /// NDJSON: a line for each event.
    Ndjson,
    /// Server-sent events.
    Sse,
    /// A WebSocket: a message for each event.
    Websocket,
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Version {
    /// HTTP/1.0: the end of the connection ends the response.
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1: the connection is kept.
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/1.1 with `Connection: close`; for WebSockets a socket for each question.
    #[serde(rename = "1.1-close")]
    Http11Close,
    /// HTTP/2, without TLS by prior knowledge (RFC 9113, section 3.3). A WebSocket is a stream of
    /// it (RFC 8441).
    #[serde(rename = "2")]
    Http2,
}

/// A combination to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Cell {
    /// The API.
    pub dialect: Dialect,
    /// The transport.
    pub transport: Transport,
    /// The version of HTTP.
    pub version: Version,
    /// Whether with TLS.
    pub tls: bool,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Responses, Self::ChatCompletions, Self::Classic];

    /// Its name in arguments and output.
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
    pub const ALL: [Self; 5] =
        [Self::Json, Self::LongPoll, Self::Ndjson, Self::Sse, Self::Websocket];

    /// Its name in arguments and output.
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

    /// Its name in arguments.
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
    /// Whether the combination exists. The classic API has a stream and a socket; chat completions
    /// have neither a socket nor positions for polling; a WebSocket needs at least HTTP/1.1 (RFC
    /// 6455, section 4.1).
    pub fn exists(self) -> bool {
        let in_dialect = match self.dialect {
            Dialect::Responses => true,
            Dialect::ChatCompletions => {
                !matches!(self.transport, Transport::LongPoll | Transport::Websocket)
            }
            Dialect::Classic => matches!(self.transport, Transport::Sse | Transport::Websocket),
        };
        in_dialect && !(self.transport == Transport::Websocket && self.version == Version::Http10)
    }
}

/// `responses/sse/h1.1+tls`
impl fmt::Display for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "+tls" } else { "" };
        write!(
            formatter,
            "{}/{}/h{}{tls}",
            self.dialect.name(),
            self.transport.name(),
            self.version.name()
        )
    }
}

/// What to compare, and with which conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The cells, in order of the report.
    pub cells: Vec<Cell>,
    /// How often each is measured.
    pub runs: usize,
    /// The questions of the conversation.
    pub questions: Vec<String>,
    /// The model.
    pub model: String,
    /// The pause between two tokens, if the model's pace is known.
    pub pace: Option<Duration>,
    /// A question with a long answer, for experiments in the middle of it.
    pub long_question: String,
}

/// All existing cells of these, by dialect, without TLS first.
pub fn cells(
    dialects: &[Dialect],
    transports: &[Transport],
    versions: &[Version],
    tls: &[bool],
) -> Vec<Cell> {
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
    fn combinations_that_do_not_exist_are_left_out() {
        let all = cells(&Dialect::ALL, &Transport::ALL, &Version::ALL, &[false, true]);
        assert_eq!(all.len(), 38 + 24 + 14);
        let named: Vec<String> = all.iter().map(Cell::to_string).collect();
        assert_eq!(named.first().map(String::as_str), Some("responses/json/h1.0"));
        assert!(
            named.contains(&"classic/websocket/h2+tls".to_owned())
                && !named.contains(&"responses/websocket/h1.0".to_owned())
        );
        assert!(!named.iter().any(|name| name.starts_with("chat_completions/websocket")));
    }
}

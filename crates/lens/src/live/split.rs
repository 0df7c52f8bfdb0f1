//! Assigns a kind to every byte of a connection, from both directions together: the framing of a
//! response depends on its request.

use super::bytes::{ByteCounts, ByteKind};
use super::http1::{Http1, Switch};
use super::http2::Http2;
use super::websocket::WebSocket;

/// How an HTTP/2 connection starts (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Splits both directions of one connection.
#[derive(Debug)]
pub struct ByteClassifier {
    /// What the client sent.
    up: ByteCounts,
    /// What the server sent.
    down: ByteCounts,
    spoken: Spoken,
}

#[derive(Debug)]
enum Spoken {
    /// Not known yet: what the client sent so far, which is a prefix of the preface.
    Unknown(Vec<u8>),
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    WebSocket(Box<WebSocket>),
    /// A tunnel, or bytes that cannot be parsed: all of it is body.
    Opaque,
}

impl Default for ByteClassifier {
    fn default() -> Self {
        Self {
            up: ByteCounts::default(),
            down: ByteCounts::default(),
            spoken: Spoken::Unknown(Vec::new()),
        }
    }
}

impl ByteClassifier {
    /// The next bytes that the client sent.
    pub fn up(&mut self, bytes: &[u8]) {
        if let Spoken::Unknown(held) = &mut self.spoken {
            held.extend_from_slice(bytes);
            if held.len() < PREFACE.len() && PREFACE.starts_with(held) {
                return;
            }
            let held = std::mem::take(held);
            self.spoken = if held.starts_with(PREFACE) {
                Spoken::Http2(Box::default())
            } else {
                Spoken::Http1(Box::default())
            };
            return self.up(&held);
        }
        match &mut self.spoken {
            Spoken::Unknown(_) => {}
            Spoken::Http1(http) => http.up(bytes, &mut self.up),
            Spoken::Http2(http) => http.up(bytes, &mut self.up),
            Spoken::WebSocket(socket) => socket.up(bytes, &mut self.up),
            Spoken::Opaque => self.up.add(ByteKind::Body, bytes.len()),
        }
    }

    /// The next bytes that the server sent.
    pub fn down(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if matches!(self.spoken, Spoken::Unknown(_)) {
            // A server that sends first refuses the connection in HTTP/1, or sends its SETTINGS of
            // HTTP/2 (RFC 9113, section 3.4), which start with the length of a frame.
            let spoken = if bytes[0] == b'H' {
                Spoken::Http1(Box::default())
            } else {
                Spoken::Http2(Box::default())
            };
            let Spoken::Unknown(held) = std::mem::replace(&mut self.spoken, spoken) else { return };
            self.up(&held);
        }
        match &mut self.spoken {
            Spoken::Unknown(_) => {}
            Spoken::Http1(http) => {
                if let Some((switch, rest)) = http.down(bytes, &mut self.down) {
                    self.switch(switch, rest);
                }
            }
            Spoken::Http2(http) => http.down(bytes, &mut self.down),
            Spoken::WebSocket(socket) => socket.down(bytes, &mut self.down),
            Spoken::Opaque => self.down.add(ByteKind::Body, bytes.len()),
        }
    }

    /// What the client sent so far, by kind. What could still be HTTP/2's preface is framing.
    pub fn sent_up(&self) -> ByteCounts {
        let mut up = self.up;
        match &self.spoken {
            Spoken::Unknown(held) => up.add(ByteKind::Framing, held.len()),
            // Not known yet of what: it comes right when the server has decided.
            Spoken::Http1(http) => up.add(ByteKind::Framing, http.withheld()),
            Spoken::Http2(_) | Spoken::WebSocket(_) | Spoken::Opaque => {}
        }
        up
    }

    /// What the server sent so far, by kind.
    pub fn sent_down(&self) -> ByteCounts {
        self.down
    }

    /// The connection switches its protocol; `rest` is already in the new one.
    fn switch(&mut self, switch: Switch, rest: &[u8]) {
        self.spoken = match switch {
            Switch::Stay(held) => {
                self.up(&held);
                return self.down(rest);
            }
            Switch::WebSocket(held) => {
                let mut socket = WebSocket::default();
                socket.up(&held, &mut self.up);
                Spoken::WebSocket(Box::new(socket))
            }
            Switch::Opaque(held) => {
                self.up.add(ByteKind::Body, held.len());
                Spoken::Opaque
            }
        };
        self.down(rest);
    }
}

#[cfg(test)]
mod tests;

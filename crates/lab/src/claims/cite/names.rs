//! The names of the connections of experiments, which are those of their ladders' files.

/// The client closes first, in three segments.
pub(crate) const THREE: &str = "close-three";
/// The client closes first, in four segments.
pub(crate) const FOUR: &str = "close-four";
/// The client sends its FIN before the answer.
pub(crate) const HALF: &str = "close-half";
/// The server closes first.
pub(crate) const SERVER: &str = "close-server";
/// A WebSocket.
pub(crate) const SOCKET: &str = "close-websocket";
/// The client resets.
pub(crate) const RESET: &str = "close-reset";

/// The ends that the report draws, in its order.
pub(crate) const CLOSES: [&str; 6] = [FOUR, THREE, HALF, SERVER, SOCKET, RESET];

/// Whether a connection is kept: its name, and what it shows in English and Chinese.
pub(crate) const PERSISTENCE: [(&str, &str, &str); 4] = [
    ("persistence-1.0", "HTTP/1.0: the server closes", "HTTP/1.0：服务器关闭连接"),
    (
        "persistence-1.0-keep-alive",
        "HTTP/1.0 with Connection: keep-alive: it stays",
        "HTTP/1.0 加 Connection: keep-alive：连接保持",
    ),
    ("persistence-1.1", "HTTP/1.1: it stays", "HTTP/1.1：连接保持"),
    (
        "persistence-1.1-close",
        "HTTP/1.1 with Connection: close: the server closes",
        "HTTP/1.1 加 Connection: close：服务器关闭连接",
    ),
];

/// Without `Host`, with two, and without over HTTP/1.0.
pub(crate) const HOST: [&str; 3] = ["host-missing", "host-twice", "host-1.0"];

/// Three answers on one connection of HTTP/2.
pub(crate) const MULTIPLEXED: &str = "multiplexed-h2";
/// Three answers over HTTP/1.1.
pub(crate) const PARALLEL: [&str; 3] = ["parallel-h1.1-1", "parallel-h1.1-2", "parallel-h1.1-3"];
/// Two requests of HTTP/1.1 without waiting.
pub(crate) const PIPELINED: &str = "pipelined-h1.1";

/// One lost segment: HTTP/2, the connection of HTTP/1.1 with the loss, and the other.
pub(crate) const LOSS: [&str; 3] = ["loss-h2", "loss-h1.1", "loss-h1.1-other"];

/// The cut stream, and the one that resumes it.
pub(super) const RESUMED: [&str; 2] = ["resume-cut", "resume-last-event-id"];

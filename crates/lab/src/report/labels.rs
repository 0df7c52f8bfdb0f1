//! The names of columns and kinds, and how each number was obtained.

use lens::ladder::words::Language;

use crate::plan::{Cell, Dialect, Transport, Version};

/// Names in one language.
#[derive(Clone, Copy, Debug)]
pub struct Labels(pub Language);

impl Labels {
    /// A transport.
    pub fn transport(self, transport: Transport) -> &'static str {
        match transport {
            Transport::Json => self.0.pick("JSON at the end", "JSON（一次返回）"),
            Transport::LongPoll => self.0.pick("long poll", "长轮询"),
            Transport::Ndjson => "NDJSON",
            Transport::Sse => "SSE",
            Transport::Websocket => "WebSocket",
        }
    }

    /// The version of HTTP of a cell.
    pub fn version(self, cell: Cell) -> &'static str {
        match (cell.transport, cell.version) {
            (_, Version::Http10) => "HTTP/1.0",
            (_, Version::Http11) => "HTTP/1.1",
            (Transport::Websocket, Version::Http11Close) => {
                self.0.pick("HTTP/1.1 · one each", "HTTP/1.1 · 每问一个")
            }
            (_, Version::Http11Close) => self.0.pick("HTTP/1.1 · close", "HTTP/1.1 · 短连接"),
            (_, Version::Http2) => "HTTP/2",
        }
    }

    /// A dialect.
    pub fn dialect(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Responses => "Open Responses",
            Dialect::ChatCompletions => "Chat Completions",
            Dialect::Classic => {
                self.0.pick("Classic API (the Java demo's)", "经典 API（Java 示例）")
            }
        }
    }

    /// A cell in one line, without its dialect.
    pub fn cell(self, cell: Cell) -> String {
        let tls = if cell.tls { " · TLS" } else { "" };
        format!("{} · {}{tls}", self.transport(cell.transport), self.version(cell))
    }

    /// A cell in one line, with its dialect unless it is Open Responses.
    pub fn title(self, cell: Cell) -> String {
        let name = self.cell(cell);
        match cell.dialect {
            Dialect::Responses => name,
            Dialect::ChatCompletions | Dialect::Classic => {
                format!("{}{}{name}", self.dialect(cell.dialect), self.0.pick(": ", "："))
            }
        }
    }
}

/// A column of the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its header, in English and Chinese.
    pub(super) head: (&'static str, &'static str),
    /// Its header in a terminal, and how soon it gives way to others there, the highest first;
    /// `None` if it is never shown there.
    pub(super) short: Option<(&'static str, u8)>,
    /// How the number was obtained.
    pub(super) how: (&'static str, &'static str),
}

/// The columns of the tables, in order.
pub(super) const COLUMNS: [Column; 13] = [
    Column {
        head: ("conn.", "连接"),
        short: Some(("conn.", 0)),
        how: ("TCP connections that the client opened", "客户端打开的 TCP 连接数"),
    },
    Column {
        head: ("requests", "请求"),
        short: Some(("req.", 2)),
        how: ("requests that the client sent", "客户端发送的请求数"),
    },
    Column {
        head: ("SYN/FIN/RST", "SYN/FIN/RST"),
        short: Some(("SYN/FIN/RST", 4)),
        how: (
            "segments of both sides with these flags, captured; in parentheses, how many segments were retransmitted, with or without these flags",
            "双方带有这些标志的报文段，抓包所得；括号内为重传的报文段数（无论是否带有这些标志）",
        ),
    },
    Column {
        head: ("TCP ms", "TCP 毫秒"),
        short: None,
        how: (
            "from SYN to ACK, captured at the client, or else the client's clock around connect; median (connections)",
            "从 SYN 到 ACK，在客户端抓包；无抓包时为客户端对 connect 计时；中位数（连接数）",
        ),
    },
    Column {
        head: ("TLS ms", "TLS 毫秒"),
        short: Some(("TLS ms", 6)),
        how: (
            "the client's clock around the handshake: in full / resumed; medians (handshakes)",
            "客户端对握手计时：完整 / 恢复；中位数（握手数）",
        ),
    },
    Column {
        head: ("1st token ms", "首 token 毫秒"),
        short: Some(("1st ms", 0)),
        how: (
            "the client's clock, from asking to the first text; median (answers)",
            "客户端计时，从提问到第一段文本；中位数（回答数）",
        ),
    },
    Column {
        head: ("gap ms", "间隔毫秒"),
        short: None,
        how: (
            "between two tokens at the client; median / slowest (gaps); with 200 and more median / p99 / slowest",
            "客户端相邻 token 的间隔；中位数 / 最慢（间隔数）；不少于 200 个时为中位数 / p99 / 最慢",
        ),
    },
    Column {
        head: ("added ms", "附加延迟毫秒"),
        short: Some(("added ms", 0)),
        how: (
            "from the model's giving a token to its arrival, one clock for both; median / slowest (tokens); with 200 and more median / p99 / slowest",
            "从模型给出 token 到客户端收到，同一时钟；中位数 / 最慢（token 数）；不少于 200 个时为中位数 / p99 / 最慢",
        ),
    },
    Column {
        head: ("B/event", "字节/事件"),
        short: Some(("B/event", 1)),
        how: (
            "bytes of the stream from the end of one event to the end of the next, with what frames them, above TLS; median (events), mostly an event of one token",
            "流中一个事件结尾到下一个事件结尾的字节数（含成帧，TLS 之上）；中位数（事件数），多为一个 token 的事件",
        ),
    },
    Column {
        head: ("B/token", "字节/token"),
        short: Some(("B/token", 0)),
        how: (
            "all bytes to the client above TCP, over tokens: headers, the events at the beginning and at the end, and the text that these repeat are in it",
            "TCP 之上发给客户端的全部字节除以 token 数：包含头部、首尾事件及其中重复的文本",
        ),
    },
    Column {
        head: ("wire B/token", "线上字节/token"),
        short: Some(("wire B", 5)),
        how: (
            "bytes of all packets of both sides with Ethernet, IP and TCP, over tokens; captured",
            "双方全部数据包（含以太网、IP、TCP 头）除以 token 数；抓包所得",
        ),
    },
    Column {
        head: ("segm./token", "报文段/token"),
        short: None,
        how: (
            "segments of both sides over tokens; captured",
            "双方报文段数除以 token 数；抓包所得",
        ),
    },
    Column {
        head: ("CPU µs/token", "CPU 微秒/token"),
        short: Some(("CPU µs", 3)),
        how: (
            "processor time of the server's threads while it answered, by the kernel (schedstat); median (answers)",
            "回答期间服务器线程的处理器时间，由内核统计（schedstat）；中位数（回答数）",
        ),
    },
];

/// The columns of the experiments, which only the page and the summary have.
pub(super) const EXPERIMENT_COLUMNS: [Column; 2] = [
    Column {
        head: ("after a cut", "切断之后"),
        short: None,
        how: (
            "the connection is reset after 3 pieces of an answer, and the client goes on, if it can, by the means that is named: how many pieces were lost",
            "收到回答的 3 段后以 RST 切断连接，客户端以所列方式续读（如果可以）：丢失了多少段",
        ),
    },
    Column {
        head: ("while it streams", "流进行中"),
        short: None,
        how: (
            "the client sends something else while an answer streams: how many connections it opened for that",
            "回答进行时客户端再发送别的内容：为此新建了多少个连接",
        ),
    },
];

/// The kinds of bytes, in the order of the charts.
pub(super) const KINDS: [(&str, &str, &str); 6] = [
    ("text", "text of the model", "模型文本"),
    ("dialect", "JSON around it", "外围 JSON"),
    ("event", "event fields", "事件字段"),
    ("framing", "chunks and frames", "分块与帧"),
    ("head", "HTTP headers", "HTTP 头部"),
    ("tls", "TLS", "TLS"),
];

//! The conclusion: which transport to take, in five lines, each with what was measured.

use crate::bilingual::Bilingual;
use crate::numbers::Measured;
use crate::plan::{Cell, Dialect, Transport, Version};

/// A line of advice. The READMEs have the same five.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// The reader's situation, English and Chinese.
    pub have: (&'static str, &'static str),
    /// What to take.
    pub take: (&'static str, &'static str),
    /// The reason.
    pub because: (&'static str, &'static str),
    /// What the comparison measured of it.
    measured: fn(&[Measured]) -> Option<Bilingual>,
}

/// The advice.
pub const ADVICE: [Advice; 5] = [
    Advice {
        have: ("A page with one conversation", "网页，一次一个对话"),
        take: (
            "SSE: `fetch`, or `EventSource` on `…/events`",
            "SSE：`fetch`，或者 `…/events` 配合 `EventSource`",
        ),
        because: (
            "Plain HTTP; `EventSource` resumes by itself",
            "普通 HTTP；`EventSource` 自动断线续传",
        ),
        measured: page,
    },
    Advice {
        have: (
            "Many tabs, or a client that sends while it receives",
            "开很多标签页，或者一边接收一边发送",
        ),
        take: ("WebSocket", "WebSocket"),
        because: (
            "One connection for all turns; over HTTP/1.1 a browser opens only six",
            "一个长连接跑所有轮次；HTTP/1.1 下浏览器对同一主机只开六个连接",
        ),
        measured: tabs,
    },
    Advice {
        have: ("An SDK, a framework or an agent", "SDK、框架、智能体"),
        take: ("SSE (`stream: true`)", "SSE（`stream: true`）"),
        because: ("It is what they support", "它们本来就用这个"),
        measured: sdk,
    },
    Advice {
        have: (
            "A script, a mini-program, a client without an SSE parser",
            "脚本、小程序、没有 SSE 解析器的客户端",
        ),
        take: ("NDJSON", "NDJSON"),
        because: ("One event per line", "一行一个事件"),
        measured: script,
    },
    Advice {
        have: (
            "No use for partial text, or a proxy that buffers",
            "不需要中间结果，或者中间有会缓冲的代理",
        ),
        take: (
            "JSON, or long polling with `…/events?wait=10`",
            "JSON，或者用 `…/events?wait=10` 长轮询",
        ),
        because: ("Complete documents get through everywhere", "完整的文档在哪儿都能通过"),
        measured: document,
    },
];

impl Advice {
    /// The reason, with what was measured of it.
    pub(super) fn reason(&self, cells: &[Measured]) -> Bilingual {
        let (en, zh) = self.because;
        match (self.measured)(cells) {
            Some(measured) => Bilingual::new(
                format!("{en}. Measured: {}", measured.en),
                format!("{zh}。实测：{}", measured.zh),
            ),
            None => Bilingual::new(en, zh),
        }
    }
}

/// A cell of Open Responses over HTTP/1.1, without TLS if possible.
fn find(cells: &[Measured], dialect: Dialect, transport: Transport) -> Option<&Measured> {
    [false, true].into_iter().find_map(|tls| {
        let cell = Cell { dialect, transport, version: Version::Http11, tls };
        cells.iter().find(|measured| measured.failed.is_none() && measured.cell == Some(cell))
    })
}

fn responses(cells: &[Measured], transport: Transport) -> Option<&Measured> {
    find(cells, Dialect::Responses, transport)
}

fn page(cells: &[Measured]) -> Option<Bilingual> {
    let cut = responses(cells, Transport::Sse)?.cut.as_ref()?;
    let (missing, twice, whole) = (cut.missing?, cut.twice, cut.pieces_whole?);
    Some(Bilingual::new(
        format!("after a cut {missing} of {whole} tokens were lost, {twice} came twice"),
        format!("切断之后 {whole} 个 token 丢失 {missing} 个，重复 {twice} 个"),
    ))
}

fn tabs(cells: &[Measured]) -> Option<Bilingual> {
    let (sse, socket) =
        (responses(cells, Transport::Sse)?, responses(cells, Transport::Websocket)?);
    let new = |measured: &Measured| Some(measured.mid_stream.as_ref()?.new_connections);
    let (sse, own) = (new(sse)?, new(socket)?);
    Some(Bilingual::new(
        format!("to send while an answer streams took {own} new connections, with SSE {sse}"),
        format!("流进行中发送消息新建了 {own} 个连接，SSE 为 {sse} 个"),
    ))
}

fn sdk(cells: &[Measured]) -> Option<Bilingual> {
    let bytes =
        |dialect: Dialect| super::row::bytes_per_token(find(cells, dialect, Transport::Sse)?);
    let (responses, chat) = (bytes(Dialect::Responses)?, bytes(Dialect::ChatCompletions)?);
    Some(Bilingual::new(
        format!("{responses:.0} bytes a token in Open Responses, {chat:.0} in Chat Completions"),
        format!(
            "每个 token {responses:.0} 字节（Open Responses）、{chat:.0} 字节（Chat Completions）"
        ),
    ))
}

fn script(cells: &[Measured]) -> Option<Bilingual> {
    let bytes = |transport: Transport| Some(responses(cells, transport)?.event_bytes?.p50);
    let (lines, sse) = (bytes(Transport::Ndjson)?, bytes(Transport::Sse)?);
    Some(Bilingual::new(
        format!("{lines:.0} bytes an event, with SSE {sse:.0}"),
        format!("每个事件 {lines:.0} 字节，SSE 为 {sse:.0} 字节"),
    ))
}

fn document(cells: &[Measured]) -> Option<Bilingual> {
    let first = |transport: Transport| Some(responses(cells, transport)?.times.first_token_ms?.p50);
    let (json, sse) = (first(Transport::Json)?, first(Transport::Sse)?);
    Some(Bilingual::new(
        format!("the first text came after {json:.1} ms, with SSE after {sse:.1} ms"),
        format!("第一段文本在 {json:.1} 毫秒后到达，SSE 为 {sse:.1} 毫秒"),
    ))
}

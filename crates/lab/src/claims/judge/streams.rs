//! Claims about server-sent events and WebSocket.

use super::claim::Judge::{By, Standard};
use super::claim::{Claim, delay_words, many, right_if, yes};
use crate::bilingual::Bilingual;
use crate::claims::evidence::{Evidence, Exchanges};
use crate::claims::verdict::Ruling;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "4.7",
        says: ("Server-sent events make a connection each time.", "SSE 每次都会创建连接。"),
        truth: (
            "Each question is a request; the TCP connection is used again (RFC 9112, section 9.3).",
            "每个问题是一个请求；TCP 连接会被复用（RFC 9112 第 9.3 节）。",
        ),
        judge: By(each_time),
        example: None,
    },
    Claim {
        id: "4.10",
        says: (
            "On a WebSocket all turns are in one request.",
            "WebSocket 的多轮对话都在一个请求里。",
        ),
        truth: (
            "One GET that is answered by 101, then messages (RFC 6455, sections 1.2 and 4).",
            "一个 GET 加 101 应答，之后都是消息（RFC 6455 第 1.2、4 节）。",
        ),
        judge: By(one_request),
        example: None,
    },
    Claim {
        id: "4.20",
        says: (
            "WebSocket is full duplex on a TCP connection that stands, without a new one.",
            "WebSocket 在已建立的 TCP 连接上全双工通信，无需重新建立。",
        ),
        truth: (
            "RFC 6455. TCP was full duplex before; under HTTP/1.1 the connection is taken away from HTTP, and over HTTP/2 the socket is one stream beside others \
             (RFC 8441).",
            "RFC 6455。TCP 本来就是全双工；在 HTTP/1.1 下该连接不再属于 HTTP，在 HTTP/2 上套接字只是众多流之一（RFC 8441）。",
        ),
        judge: By(duplex),
        example: None,
    },
    Claim {
        id: "4.21",
        says: ("Server-sent events are push over HTTP.", "SSE 是基于 HTTP 的服务器推送。"),
        truth: (
            "WHATWG HTML, section 9.2. A definition, not a measurement.",
            "WHATWG HTML 第 9.2 节。这是定义，不是测量。",
        ),
        judge: Standard(Ruling::Right),
        example: None,
    },
    Claim {
        id: "4.22",
        says: ("Server-sent events go one way.", "SSE 是单向的。"),
        truth: (
            "The stream does. The client uses other requests: over HTTP/1.1 they need another connection while it streams, over HTTP/2 they do not.",
            "流是单向的。客户端通过其他请求说话：流进行时 HTTP/1.1 需要另一个连接，HTTP/2 不需要。",
        ),
        judge: By(one_way),
        example: None,
    },
    Claim {
        id: "4.23",
        says: (
            "Unlike WebSocket, server-sent events are based on HTTP.",
            "与 WebSocket 不同，SSE 基于 HTTP。",
        ),
        truth: (
            "The handshake of a WebSocket is HTTP, too (RFC 6455, section 1.7). A matter of words.",
            "WebSocket 的握手同样是 HTTP（RFC 6455 第 1.7 节）。措辞问题。",
        ),
        judge: Standard(Ruling::Imprecise),
        example: None,
    },
    Claim {
        id: "4.24",
        says: ("Server-sent events can carry only text.", "SSE 只能传输文本。"),
        truth: (
            "More sharply: UTF-8 and nothing else, always (WHATWG HTML, section 9.2.5).",
            "更准确地说：永远只能是 UTF-8（WHATWG HTML 第 9.2.5 节）。",
        ),
        judge: By(text),
        example: None,
    },
    Claim {
        id: "4.25",
        says: ("The content type is text/event-stream.", "Content-Type 是 text/event-stream。"),
        truth: (
            "Anything else, or another status than 200, fails a browser's connection for good; 204 tells it to stop (sections 9.2.1 and 9.2.3).",
            "其他类型或非 200 状态会使浏览器连接永久失败；204 让它停止重连（第 9.2.1、9.2.3 节）。",
        ),
        judge: By(media_type),
        example: None,
    },
    Claim {
        id: "4.26",
        says: (
            "A message is event: …, data: … and two line ends.",
            "消息格式是 event: …、data: … 和两个换行。",
        ),
        truth: (
            "event may be absent; id and retry are fields, too, in any order; several data lines are joined; comments begin with a colon; line ends are CR, LF or CRLF; \
             an event that is not finished is dropped (sections 9.2.5 and 9.2.6).",
            "event 可省略；还有 id 与 retry，次序任意；多行 data 以 LF 连接；冒号开头是注释；换行可为 CR、LF 或 CRLF；未完成的事件会被丢弃（第 9.2.5、9.2.6 节）。",
        ),
        judge: By(format),
        example: Some(|evidence| Some(evidence.format.as_ref()?.example.clone())),
    },
    Claim {
        id: "4.27",
        says: (
            "Server-sent events support long connections as WebSocket does.",
            "SSE 像 WebSocket 一样支持长连接。",
        ),
        truth: (
            "They need heartbeats against proxies (section 9.2.7), and have what WebSocket has not: reconnection with Last-Event-ID (sections 9.2.3 and 9.2.4).",
            "需要心跳以穿过代理（第 9.2.7 节），并且具有 WebSocket 没有的能力：带 Last-Event-ID 的自动重连（第 9.2.3、9.2.4 节）。",
        ),
        judge: By(resumption),
        example: None,
    },
    Claim {
        id: "4.28",
        says: (
            "Each exchange of server-sent events goes through a three-way handshake and a four-way close.",
            "SSE 的每次请求与响应都要经历三次握手和四次挥手。",
        ),
        truth: (
            "The answer ends with its last chunk, and the connection lives (RFC 9112, sections 7.1 and 9.3); in HTTP/2 only the stream ends. Within an answer there is no \
             handshake at all.",
            "响应以最后一个分块结束，连接仍在（RFC 9112 第 7.1、9.3 节）；HTTP/2 中只有流结束。一个响应之内根本没有握手。",
        ),
        judge: By(handshakes),
        example: None,
    },
    Claim {
        id: "4.29",
        says: ("Hence server-sent events are not really real-time.", "因此 SSE 不是真正的实时。"),
        truth: (
            "The path is TCP for both; per token they differ by the bytes of their framing (RFC 6455, section 5.2).",
            "两者走同样的 TCP 路径；每个 token 的差别只是几个成帧字节（RFC 6455 第 5.2 节）。",
        ),
        judge: By(delay),
        example: None,
    },
    Claim {
        id: "4.30",
        says: (
            "HTTP, server-sent events and WebSocket are three rivals to choose from.",
            "HTTP、SSE 与 WebSocket 是三种相互竞争、需要取舍的技术。",
        ),
        truth: (
            "Today's APIs send the same events over all of them: what carries them is a choice for each client.",
            "如今的 API 在各种传输上发送同样的事件：用哪种传输由每个客户端自行选择。",
        ),
        judge: By(sameness),
        example: None,
    },
];

/// One answer cannot tell what happens each time.
fn several(exchanges: Option<Exchanges>) -> Option<Exchanges> {
    exchanges.filter(|seen| seen.answers > 1)
}

fn each_time(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = several(evidence.sse)?;
    let ruling = match (seen.requests >= seen.answers, seen.connections >= seen.requests) {
        (false, _) => Ruling::Wrong,
        (true, true) => Ruling::Right,
        (true, false) => Ruling::HalfRight,
    };
    Some((ruling, and_demo(&exchanges(seen), evidence.demo_sse)))
}

/// The counts of a cell, in words.
fn exchanges(seen: Exchanges) -> Bilingual {
    Bilingual::new(
        format!(
            "{}: {}, {}.",
            many(seen.answers, "answer"),
            many(seen.requests, "request"),
            many(seen.connections, "connection")
        ),
        format!("{} 个回答：{} 个请求，{} 个连接。", seen.answers, seen.requests, seen.connections),
    )
}

/// The evidence, and that of the Java demo's API, unless it is the same.
fn and_demo(text: &Bilingual, demo: Option<Exchanges>) -> Bilingual {
    match demo {
        Some(demo) => {
            let demo = exchanges(demo);
            if text.en.starts_with(&demo.en) {
                return Bilingual::new(
                    format!("In the API of the Java demo: {}", text.en),
                    format!("Java 示例的 API：{}", text.zh),
                );
            }
            Bilingual::new(
                format!("{} In the API of the Java demo: {}", text.en, demo.en),
                format!("{}Java 示例的 API：{}", text.zh, demo.zh),
            )
        }
        None => text.clone(),
    }
}

fn one_request(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = several(evidence.websocket)?;
    let is_so = seen.requests == 1 && seen.connections == 1;
    let text = Bilingual::new(
        format!(
            "{} in {} messages: {}, {}.",
            many(seen.answers, "answer"),
            seen.events,
            many(seen.requests, "request"),
            many(seen.connections, "connection")
        ),
        format!(
            "{} 个回答、{} 条消息：{} 个请求，{} 个连接。",
            seen.answers, seen.events, seen.requests, seen.connections
        ),
    );
    right_if(is_so, text)
}

fn speaking(evidence: &Evidence) -> Option<Bilingual> {
    let seen = evidence.speaking?;
    let en =
        |(new, heard): (u64, bool)| format!("{new} new, answered before the end: {}", yes(heard).0);
    let zh = |(new, heard): (u64, bool)| format!("新建 {new} 个，结束前收到应答：{}", yes(heard).1);
    Some(Bilingual::new(
        format!(
            "New connections for a request while an answer streams. SSE over HTTP/1.1: {}; over HTTP/2: {}; WebSocket over HTTP/1.1: {}; over HTTP/2: {}.",
            en(seen.sse_http11),
            en(seen.sse_http2),
            en(seen.websocket_http11),
            en(seen.websocket_http2)
        ),
        format!(
            "回答进行时再发请求所需的连接。SSE（HTTP/1.1）：{}；SSE（HTTP/2）：{}；WebSocket（HTTP/1.1）：{}；WebSocket（HTTP/2）：{}。",
            zh(seen.sse_http11),
            zh(seen.sse_http2),
            zh(seen.websocket_http11),
            zh(seen.websocket_http2)
        ),
    ))
}

fn duplex(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.speaking?;
    let ruling = if seen.websocket_http11 == (0, true) && seen.websocket_http2 == (0, true) {
        Ruling::Right
    } else {
        Ruling::Wrong
    };
    Some((ruling, speaking(evidence)?))
}

fn one_way(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.speaking?;
    let ruling = if seen.sse_http11.0 > 0 { Ruling::Right } else { Ruling::Wrong };
    Some((ruling, speaking(evidence)?))
}

fn text(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.text?;
    let [(utf8_en, utf8_zh), (split_en, split_zh), (ends_en, ends_zh)] =
        [seen.is_utf8, seen.survives_any_split, seen.survives_line_ends].map(yes);
    let text = Bilingual::new(
        format!(
            "{} bytes of event streams, {} characters of more than one byte: all UTF-8: {utf8_en}; read byte by byte, the same: {split_en}; after a byte order mark and with other line ends, too: {ends_en}.",
            seen.bytes, seen.wide_characters
        ),
        format!(
            "{} 字节事件流，含 {} 个多字节字符：全部为 UTF-8：{utf8_zh}；逐字节读取结果相同：{split_zh}；带 BOM 或换用其他换行符亦同：{ends_zh}。",
            seen.bytes, seen.wide_characters
        ),
    );
    let is_so = seen.is_utf8 && seen.survives_any_split && seen.survives_line_ends;
    right_if(is_so, text)
}

fn media_type(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.media_type.as_ref()?;
    let is_type =
        seen.of_streams.split(';').next().is_some_and(|name| name.trim() == "text/event-stream");
    let is_so = is_type && seen.at_the_end == 204;
    let text = Bilingual::new(
        format!(
            "Streams are {}; a stream with nothing more to tell is answered by {}.",
            seen.of_streams, seen.at_the_end
        ),
        format!("流的类型是 {}；没有更多内容的流以 {} 应答。", seen.of_streams, seen.at_the_end),
    );
    right_if(is_so, text)
}

fn format(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.format.as_ref()?;
    let is_all =
        seen.with_event == seen.events && seen.with_id + seen.with_retry + seen.without_data == 0;
    let text = Bilingual::new(
        format!(
            "Of {} events of four streams {} have event:, {} id:, {} retry:; {} blocks dispatch nothing. One of them:",
            seen.events, seen.with_event, seen.with_id, seen.with_retry, seen.without_data
        ),
        format!(
            "四种流的 {} 个事件中，{} 个有 event:，{} 个有 id:，{} 个有 retry:；{} 个块不派发任何事件。其中一个：",
            seen.events, seen.with_event, seen.with_id, seen.with_retry, seen.without_data
        ),
    );
    Some((if is_all { Ruling::Right } else { Ruling::Imprecise }, text))
}

fn resumption(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.resumption?;
    let is_so = seen.missing == 0 && seen.twice == 0 && seen.before < seen.whole;
    let text = Bilingual::new(
        format!(
            "Cut by RST after {} of {} tokens and asked for again with Last-Event-ID: {} missing, {} twice.",
            seen.before, seen.whole, seen.missing, seen.twice
        ),
        format!(
            "在 {} / {} 个 token 处以 RST 切断，带 Last-Event-ID 续读：缺失 {}，重复 {}。",
            seen.before, seen.whole, seen.missing, seen.twice
        ),
    );
    right_if(is_so, text)
}

fn handshakes(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let Exchanges { answers, events, requests, connections, syn, fin, .. } = several(evidence.sse)?;
    let handshakes = syn.unwrap_or(connections);
    let ruling = if handshakes < requests { Ruling::Wrong } else { Ruling::Right };
    let (fin_en, fin_zh) = match fin {
        Some(fin) => (
            format!(", {fin} FIN before the last was over"),
            format!("，最后一个结束之前 {fin} 个 FIN"),
        ),
        None => (String::new(), String::new()),
    };
    let text = Bilingual::new(
        format!("{} of {events} events: {handshakes} SYN{fin_en}.", many(answers, "answer")),
        format!("{answers} 个回答、{events} 个事件：{handshakes} 个 SYN{fin_zh}。"),
    );
    Some((ruling, text))
}

/// Twice as late, and by more than a person could ever notice of one token, in milliseconds: that
/// would be another thing.
const LATER: (f64, f64) = (2.0, 5.0);

fn delay(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.delay?;
    let (sse, websocket) = (seen.sse, seen.websocket);
    let is_late = sse.calmest_ms > websocket.calmest_ms * LATER.0
        && sse.calmest_ms > websocket.calmest_ms + LATER.1;
    let [sse, websocket] = [&sse, &websocket].map(delay_words);
    let (json_en, json_zh) = match seen.json.as_ref().map(delay_words) {
        Some(json) => (
            format!("; a document at the end: {}", json.en),
            format!("；结束时一次性返回：{}", json.zh),
        ),
        None => (String::new(), String::new()),
    };
    let text = Bilingual::new(
        format!(
            "From the model to the client, in ms. SSE: {}; WebSocket: {}{json_en}.",
            sse.en, websocket.en
        ),
        format!("从模型到客户端（毫秒）。SSE：{}；WebSocket：{}{json_zh}。", sse.zh, websocket.zh),
    );
    right_if(is_late, text)
}

fn sameness(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.sameness?;
    let ruling =
        if seen.different == 0 && seen.transports > 1 { Ruling::WrongFrame } else { Ruling::Right };
    let text = Bilingual::new(
        format!(
            "One answer of {} events, read on {} transports: {} gave other bytes.",
            seen.events, seen.transports, seen.different
        ),
        format!(
            "同一个回答的 {} 个事件，用 {} 种传输读取：{} 种给出不同的字节。",
            seen.events, seen.transports, seen.different
        ),
    );
    Some((ruling, text))
}

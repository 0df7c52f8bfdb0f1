//! Claims about HTTP/1.0, 1.1 and 2.

use super::claim::Judge::By;
use super::claim::{Claim, delay_words, many, right_if, yes};
use crate::bilingual::Bilingual;
use crate::claims::evidence::{Evidence, Loss};
use crate::claims::verdict::Ruling;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "4.11",
        says: (
            "HTTP/1.0 keeps no connection unless asked to; HTTP/1.1 keeps it by default.",
            "HTTP/1.0 默认不保持连接，需要 Connection: Keep-Alive；HTTP/1.1 默认长连接。",
        ),
        truth: ("RFC 9112, section 9.3 and appendix C.2.2.", "RFC 9112 第 9.3 节、附录 C.2.2。"),
        judge: By(persistence),
        example: None,
    },
    Claim {
        id: "4.12",
        says: (
            "HTTP/1.1 brought PUT, DELETE, OPTIONS, TRACE and CONNECT.",
            "HTTP/1.1 新增 PUT、DELETE、OPTIONS、TRACE、CONNECT。",
        ),
        truth: (
            "PUT and DELETE are in RFC 1945 already, appendix D.1; today methods belong to no version, and anybody may register another (RFC 9110, sections 9 and 16.1). \
             A method that a path has not is 405 with Allow, one that nobody knows 501.",
            "PUT 与 DELETE 早已见于 RFC 1945 附录 D.1；如今方法与版本无关，而且可以注册新的方法（RFC 9110 第 9、16.1 节）。路径不支持的方法应答 405 并带 Allow，无人认识的方法应答 501。",
        ),
        judge: By(methods),
        example: None,
    },
    Claim {
        id: "4.13",
        says: (
            "HTTP/1.1 brought cache control: Cache-Control, ETag, If-None-Match.",
            "HTTP/1.1 引入缓存控制：Cache-Control、ETag、If-None-Match。",
        ),
        truth: (
            "These fields, yes (RFC 9111; RFC 9110, sections 8.8.3 and 13.1.2); HTTP/1.0 had Expires, Last-Modified, If-Modified-Since and Pragma. A stream is not cached.",
            "这些字段确实是（RFC 9111；RFC 9110 第 8.8.3、13.1.2 节）；HTTP/1.0 已有 Expires、Last-Modified、If-Modified-Since、Pragma。流不应被缓存。",
        ),
        judge: By(validator),
        example: None,
    },
    Claim {
        id: "4.14",
        says: (
            "Chunked transfer is there to send large data more efficiently.",
            "分块传输用于更高效地传输大数据。",
        ),
        truth: (
            "It frames content whose length is not known, and keeps the connection (RFC 9112, sections 6.3 and 7.1); it adds bytes, and HTTP/2 has none of it \
             (RFC 9113, section 8.2.2).",
            "它用于为长度未知的内容定界，同时保持连接（RFC 9112 第 6.3、7.1 节）；它增加字节，而 HTTP/2 中不存在（RFC 9113 第 8.2.2 节）。",
        ),
        judge: By(chunking),
        example: None,
    },
    Claim {
        id: "4.15",
        says: (
            "HTTP/1.0 has no Host; in HTTP/1.1 every request must have it.",
            "HTTP/1.0 没有 Host；HTTP/1.1 中每个请求都必须有。",
        ),
        truth: (
            "RFC 9112, section 3.2: 400 without one, and with two. HTTP/2 says :authority.",
            "RFC 9112 第 3.2 节：没有或有两个都应答 400。HTTP/2 使用 :authority。",
        ),
        judge: By(host),
        example: None,
    },
    Claim {
        id: "4.16",
        says: (
            "HTTP/2 multiplexes: no request waits for the answer before it.",
            "HTTP/2 多路复用，请求无需等待前一个响应。",
        ),
        truth: (
            "RFC 9113, section 5. HTTP/1.1 may send without waiting, too, but is answered in order (RFC 9112, section 9.3.2).",
            "RFC 9113 第 5 节。HTTP/1.1 也可不等待即发送（管线化），但应答必须按序（RFC 9112 第 9.3.2 节）。",
        ),
        judge: By(multiplexing),
        example: None,
    },
    Claim {
        id: "4.17",
        says: ("HTTP/2 is not fully asynchronous.", "HTTP/2 不是完全异步的。"),
        truth: (
            "Streams do not know each other; what they share is TCP, where a lost segment holds up all that follows it (RFC 9113, section 1), and flow control (5.2).",
            "各个流互相独立；它们共享的是 TCP：一个丢失的报文段会阻塞其后的所有数据（RFC 9113 第 1 节），以及流量控制（第 5.2 节）。",
        ),
        judge: By(loss),
        example: None,
    },
    Claim {
        id: "4.18",
        says: ("HTTP/2 is a lot faster.", "HTTP/2 显著提升速度。"),
        truth: (
            "It saves connections and their handshakes. A token of one stream comes neither sooner nor later.",
            "它节省连接与握手。单个流中每个 token 的延迟不变。",
        ),
        judge: By(parallel),
        example: None,
    },
    Claim {
        id: "4.19",
        says: (
            "A long connection is many requests on one TCP connection.",
            "长连接就是在一个 TCP 连接上发送多个请求。",
        ),
        truth: ("RFC 9112, section 9.3.", "RFC 9112 第 9.3 节。"),
        judge: By(long_connection),
        example: None,
    },
];

fn persistence(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.persistence?;
    let is_so = !seen.http10 && seen.http10_keep_alive && seen.http11 && !seen.http11_close;
    let kept = |kept: bool| if kept { ("stays", "保持") } else { ("closes", "关闭") };
    let [a, b, c, d] =
        [seen.http10, seen.http10_keep_alive, seen.http11, seen.http11_close].map(kept);
    let text = Bilingual::new(
        format!(
            "After an answer: 1.0 {}; 1.0 with keep-alive {}; 1.1 {}; 1.1 with close {}.",
            a.0, b.0, c.0, d.0
        ),
        format!(
            "应答之后：1.0 {}；1.0 加 keep-alive {}；1.1 {}；1.1 加 close {}。",
            a.1, b.1, c.1, d.1
        ),
    );
    right_if(is_so, text)
}

fn methods(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.methods.as_ref()?;
    let allowed = seen.allowed.as_deref().unwrap_or("?");
    let text = Bilingual::new(
        format!(
            "OPTIONS: {}, Allow: {allowed}. PUT: {}, over HTTP/1.0 {}. BREW, which nobody knows: {}.",
            seen.options, seen.put, seen.put_http10, seen.unknown
        ),
        format!(
            "OPTIONS：{}，Allow：{allowed}。PUT：{}，以 HTTP/1.0 发送：{}。无人认识的 BREW：{}。",
            seen.options, seen.put, seen.put_http10, seen.unknown
        ),
    );
    // A server that treats a method differently by version would make it a matter of the version.
    let ruling = if seen.put == seen.put_http10 { Ruling::Imprecise } else { Ruling::Right };
    Some((ruling, text))
}

fn validator(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.validator?;
    let works = seen.has_tag && seen.status == 304 && seen.second_bytes == 0;
    let text = Bilingual::new(
        format!(
            "The page: {} bytes and an ETag; with If-None-Match: status {}, {} bytes; the same request over HTTP/1.0: {}.",
            seen.first_bytes, seen.status, seen.second_bytes, seen.status_http10
        ),
        format!(
            "页面：{} 字节并带 ETag；加 If-None-Match 后：状态 {}，{} 字节；以 HTTP/1.0 发送同样的请求：{}。",
            seen.first_bytes, seen.status, seen.second_bytes, seen.status_http10
        ),
    );
    // A field that HTTP/1.0 is answered by as well is no matter of the version.
    let ruling = match (works, seen.status_http10) {
        (false, _) => Ruling::Wrong,
        (true, 304) => Ruling::Imprecise,
        (true, _) => Ruling::Right,
    };
    Some((ruling, text))
}

fn chunking(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.chunking?;
    // It costs bytes, and saves connections.
    let ruling =
        match (seen.http11 > seen.http10, seen.connections_http11 < seen.connections_http10) {
            (true, true) => Ruling::WrongReason,
            (true, false) => Ruling::Wrong,
            (false, _) => Ruling::Right,
        };
    let text = Bilingual::new(
        format!(
            "Around the same {} bytes of events: chunks add {} bytes, the end of the connection {}, frames of HTTP/2 {}. With chunks the answers took {}, \
             without them {}.",
            seen.body_bytes,
            seen.http11,
            seen.http10,
            seen.http2,
            many(seen.connections_http11, "connection"),
            many(seen.connections_http10, "connection")
        ),
        format!(
            "同样 {} 字节的事件：分块增加 {} 字节，以连接结束定界增加 {} 字节，HTTP/2 帧增加 {} 字节。但有分块时全部回答用了 {} 个连接，没有分块时用了 {} 个。",
            seen.body_bytes,
            seen.http11,
            seen.http10,
            seen.http2,
            seen.connections_http11,
            seen.connections_http10
        ),
    );
    Some((ruling, text))
}

fn host(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.host?;
    let is_so = seen.missing == 400 && seen.twice == 400 && (200..300).contains(&seen.http10);
    let text = Bilingual::new(
        format!(
            "HTTP/1.1 without Host: {}; with two: {}; HTTP/1.0 without: {}.",
            seen.missing, seen.twice, seen.http10
        ),
        format!(
            "HTTP/1.1 无 Host：{}；两个 Host：{}；HTTP/1.0 无 Host：{}。",
            seen.missing, seen.twice, seen.http10
        ),
    );
    right_if(is_so, text)
}

fn multiplexing(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.multiplexing?;
    let is_so = seen.connections == 1
        && seen.answers > 1
        && seen.switches >= seen.answers
        && seen.overtaken;
    let ((en, zh), (order_en, order_zh)) = (yes(seen.overtaken), yes(seen.pipelined_in_order));
    let text = Bilingual::new(
        format!(
            "{} answers on {}, between which the tokens changed {} times; a quick answer overtook a slow one: {en}. HTTP/1.1, sent without waiting: answered in \
             order: {order_en}.",
            seen.answers,
            many(seen.connections, "connection"),
            seen.switches
        ),
        format!(
            "{} 个回答共用 {} 个连接，token 在它们之间切换 {} 次；快的应答先于慢的返回：{zh}。HTTP/1.1 管线化：按序应答：{order_zh}。",
            seen.answers, seen.connections, seen.switches
        ),
    );
    right_if(is_so, text)
}

fn loss(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let streams = evidence.multiplexing?;
    let Loss {
        answers,
        stalled_http2,
        stalled_http11,
        longest_http2_ms,
        longest_other_ms,
        round_trip_ms,
        pace_ms,
    } = evidence.loss?;
    let is_tcp = streams.overtaken && stalled_http2 == answers && stalled_http11 < answers;
    let text = Bilingual::new(
        format!(
            "Without loss, streams do not wait for each other. With one lost segment, {stalled_http2} of {answers} answers stood still on one connection of HTTP/2, for up to \
             {longest_http2_ms:.0} ms; on a connection of HTTP/1.1 each, {stalled_http11} of {answers}: the longest gap of the other was {longest_other_ms:.0} ms. A round trip was \
             {round_trip_ms:.0} ms, the model's pace {pace_ms:.0} ms."
        ),
        format!(
            "无丢包时各流互不等待。丢失一个报文段时：同一个 HTTP/2 连接上 {stalled_http2}/{answers} 个回答停顿，最长 {longest_http2_ms:.0} 毫秒；各用一个 HTTP/1.1 连接时 \
             {stalled_http11}/{answers} 个，另一个的最长间隔为 {longest_other_ms:.0} 毫秒。往返 {round_trip_ms:.0} 毫秒，模型节奏 {pace_ms:.0} 毫秒。"
        ),
    );
    Some((if is_tcp { Ruling::Meaningless } else { Ruling::Wrong }, text))
}

/// Half of it would be a lot, if it were more than anybody could notice: in milliseconds.
const A_LOT: (f64, f64) = (0.5, 2.0);

fn parallel(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.parallel?;
    let (http11, http2) = (seen.added_http11, seen.added_http2);
    let is_faster = http2.calmest_ms < http11.calmest_ms * A_LOT.0
        && http2.calmest_ms + A_LOT.1 < http11.calmest_ms;
    let [first, second] = [&http11, &http2].map(delay_words);
    let text = Bilingual::new(
        format!(
            "{} answers at the same time: {} connections of HTTP/1.1, {} of HTTP/2. From the model to the client, one stream, in ms: HTTP/1.1 {}; HTTP/2 {}.",
            seen.answers, seen.connections_http11, seen.connections_http2, first.en, second.en
        ),
        format!(
            "同时 {} 个回答：HTTP/1.1 用 {} 个连接，HTTP/2 用 {} 个。单个流中从模型到客户端（毫秒）：HTTP/1.1 {}；HTTP/2 {}。",
            seen.answers, seen.connections_http11, seen.connections_http2, first.zh, second.zh
        ),
    );
    Some((if is_faster { Ruling::Right } else { Ruling::Depends }, text))
}

fn long_connection(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.sse.filter(|seen| seen.answers > 1)?;
    let is_so = seen.requests > seen.connections;
    let text = Bilingual::new(
        format!("{} on {}.", many(seen.requests, "request"), many(seen.connections, "connection")),
        format!("{} 个请求，{} 个连接。", seen.requests, seen.connections),
    );
    right_if(is_so, text)
}

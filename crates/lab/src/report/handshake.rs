//! A page for teaching: the handshake and the close, explained with packets that were captured.

use std::fmt::Write;

use lens::ladder::words::Language;

use super::data::{Ladder, Report};
use super::html::{each, pair};
use crate::claims::cite::names;

/// Sequence numbers in three sentences.
const SENTENCES: (&str, &str) = (
    "Each side numbers the bytes that it sends; the first number is random, and the SYN carries it. \
     An `ack` is the number of the byte that its sender expects next: everything before it has arrived. \
     SYN and FIN take one number each, as if they were a byte, so that they, too, can be acknowledged.",
    "双方各自为自己发送的字节编号；起始序号随机选取，由 SYN 告知对方。\
     `ack` 是期望收到的下一个字节的序号：表示此前的字节都已收到。\
     SYN 和 FIN 各占一个序号，就像一个字节，因此也能被确认。",
);

/// Each close: its picture, and a sentence.
const CLOSES: [(&str, &str, &str); 6] = [
    (
        names::FOUR,
        "The textbook's four waves. The client has nothing more to send (first wave); the server acknowledges that (second; here with a heartbeat, by which Weir checks whether the client still reads) and still has something to send; \
         when it is finished, it sends its own FIN (third), and the client acknowledges it (fourth). The side that closes first waits in TIME-WAIT, in case the last ACK is lost.",
        "教科书上的四次挥手。客户端不再发送数据（第一次）；服务器确认（第二次；这里随同一个心跳，Weir 借此探测是否还有人在读），而它还有数据要发；发完之后发送 FIN（第三次），客户端确认（第四次）。先关闭的一方停留在 TIME-WAIT，以防最后的 ACK 丢失。",
    ),
    (
        names::THREE,
        "What you mostly see instead: the server closes at once, so that its ACK and its FIN travel in one segment. No state is left out but FIN-WAIT-2.",
        "更常见的是三个报文段：服务器立即关闭，ACK 与 FIN 合在一个报文段里。除 FIN-WAIT-2 外，各状态都经过。",
    ),
    (
        names::HALF,
        "Half-closed: the client sends its FIN right after the question, and the whole answer still arrives. A FIN means \"I send no more\", not \"I am gone\".",
        "半关闭：客户端提问后立即发送 FIN，整个回答仍然到达。FIN 表示“我不再发送”，而不是“我离开了”。",
    ),
    (
        names::SERVER,
        "The server first: in HTTP/1.0 the end of the connection ends the response. Now the server holds TIME-WAIT, for each response.",
        "服务器先关闭：HTTP/1.0 以连接结束表示响应结束。此时 TIME-WAIT 由服务器承担，每个响应一次。",
    ),
    (
        names::SOCKET,
        "A WebSocket first agrees on the end in its own frames; then the server closes the connection, as RFC 6455 asks.",
        "WebSocket 先用自己的关闭帧商定结束，然后由服务器关闭连接，这是 RFC 6455 的要求。",
    ),
    (
        names::RESET,
        "A reset: the client is gone, and what was under way is lost. No acknowledgment, no TIME-WAIT.",
        "重置：客户端直接离开，途中的数据全部丢失。没有确认，也没有 TIME-WAIT。",
    ),
];

/// The page in a language; the pictures are in `pictures`.
pub fn handshake_page(report: &Report, language: Language, pictures: &str) -> String {
    let mut out = String::new();
    // Writing to a `String` cannot fail, here and below.
    let _ = write!(
        out,
        "<!-- {} -->\n# {}\n\n{}\n\n{}\n\n",
        language.pick("Made by scripts/transports; do not edit.", "由 scripts/transports 生成，请勿手改。"),
        language.pick("The handshake and the close, packet by packet", "逐包看三次握手与四次挥手"),
        language.pick(
            "[中文](handshake-and-close.zh.md). Every picture is a connection of a running server that `weir compare` captured: real packets, real numbers, times to scale. \
             To take them apart yourself, run `weir compare --quick` (Linux, no root) and open `weir-compare/capture.pcapng` in Wireshark.",
            "[English](handshake-and-close.md)。每张图都是 `weir compare` 从运行中的服务器抓到的一个连接：真实的数据包、真实的序号、按比例的时间。\
             想自己动手，运行 `weir compare --quick`（Linux，无需 root），再用 Wireshark 打开 `weir-compare/capture.pcapng`。",
        ),
        language.pick(SENTENCES.0, SENTENCES.1),
    );
    numbers(&mut out, report, language);
    for (name, english, chinese) in CLOSES {
        if let Some(ladder) = drawn(report, name) {
            close(&mut out, ladder, language, (language.pick(english, chinese), pictures));
        }
    }
    let _ = writeln!(
        out,
        "{}",
        language.pick(
            "More of what is said of HTTP, SSE and WebSocket, and what is so: [transports.md](transports.md).",
            "关于 HTTP、SSE 与 WebSocket 的更多说法与事实：[transports.zh.md](transports.zh.md)。",
        )
    );
    out
}

/// Whether there are pictures of closes.
pub(super) fn has_closes(report: &Report) -> bool {
    CLOSES.iter().any(|(name, ..)| drawn(report, name).is_some())
}

fn drawn<'a>(report: &'a Report, name: &str) -> Option<&'a Ladder> {
    report.ladders.iter().find(|ladder| ladder.name == name)
}

/// The closes for the report's page, with the three sentences.
pub(super) fn html(out: &mut String, report: &Report) {
    let sentences = |language: Language| {
        let text = language.pick(SENTENCES.0, SENTENCES.1);
        let mut html = String::new();
        for (index, part) in text.split('`').enumerate() {
            let (open, close) = if index % 2 == 1 { ("<code>", "</code>") } else { ("", "") };
            html.extend([open, part, close]);
        }
        html
    };
    let _ = writeln!(out, "<p>{}</p>\n<div class=\"ladders\">", each(sentences, "span"));
    for (name, english, chinese) in CLOSES {
        let Some(ladder) = drawn(report, name) else { continue };
        let [en, zh] = &ladder.narrow;
        let picture = each(|language| language.pick(en.clone(), zh.clone()), "div");
        let title = super::html::both(&ladder.title);
        let _ = writeln!(
            out,
            "<figure id=\"{name}\"><figcaption>{title}</figcaption><p class=\"soft\">{}</p>{picture}</figure>",
            pair((english, chinese))
        );
    }
    out.push_str("</div>\n");
}

/// The numbers of the handshake and of a FIN, as the rulings cite them.
fn numbers(out: &mut String, report: &Report, language: Language) {
    let cited: Vec<_> = report
        .verdicts
        .iter()
        .filter(|verdict| {
            ["1", "2", "3", "4", "6"].contains(&verdict.number()) && verdict.packets.is_some()
        })
        .collect();
    if cited.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "| {} | {} | {} |\n|---|---|---|\n",
        language.pick("Claim", "流行的说法"),
        language.pick("Captured", "抓包所见"),
        language.pick("Find it in Wireshark", "在 Wireshark 中查找"),
    );
    for verdict in cited {
        let filter = verdict.packets.as_ref().map_or("", |packets| packets.filter.as_str());
        let _ = writeln!(
            out,
            "| {} *{}* | {} | `{filter}` |",
            verdict.claim.pick(language),
            verdict.words.pick(language),
            verdict.evidence.pick(language)
        );
    }
    out.push('\n');
}

/// A close: for narrow screens there is a picture of its own.
fn close(out: &mut String, ladder: &Ladder, language: Language, (text, pictures): (&str, &str)) {
    let (end, name, title) = (language.pick("en", "zh"), &ladder.name, ladder.title.pick(language));
    let _ = write!(
        out,
        "## {title}\n\n{text}\n\n<picture><source media=\"(max-width: 700px)\" srcset=\"{pictures}/{name}.narrow.{end}.svg\">\
         <img alt=\"{title}\" src=\"{pictures}/{name}.{end}.svg\"></picture>\n\n"
    );
}

//! Claims about TCP's handshake and of its end.

use super::claim::Judge::{By, Standard};
use super::claim::{Claim, right_if, yes};
use crate::bilingual::Bilingual;
use crate::claims::evidence::Evidence;
use crate::claims::verdict::Ruling;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "4.1",
        says: (
            "The handshake begins with a SYN that carries the client's initial sequence number.",
            "握手以携带客户端初始序列号的 SYN 开始。",
        ),
        truth: ("RFC 9293, sections 3.4.1 and 3.5, figure 6.", "RFC 9293 第 3.4.1、3.5 节，图 6。"),
        judge: By(syn),
        example: None,
    },
    Claim {
        id: "4.2",
        says: (
            "The ack of SYN+ACK says that the client's number was received.",
            "SYN+ACK 中的 ack 表示收到了客户端的序号。",
        ),
        truth: (
            "It is the number expected next: the SYN takes one number itself (RFC 9293, section 3.4).",
            "它是期望的下一个序号：SYN 自身占用一个序号（RFC 9293 第 3.4 节）。",
        ),
        judge: By(syn_ack),
        example: None,
    },
    Claim {
        id: "4.3",
        says: (
            "The third segment carries the client's next number.",
            "第三个报文段携带客户端的下一个序号。",
        ),
        truth: (
            "RFC 9293, figure 6. It may carry data already, and with TCP Fast Open even the SYN may (RFC 7413).",
            "RFC 9293 图 6。它可以携带数据；使用 TCP Fast Open 时 SYN 也可以（RFC 7413）。",
        ),
        judge: By(third),
        example: None,
    },
    Claim {
        id: "4.4",
        says: (
            "A FIN's number is that of the last byte that was sent.",
            "FIN 的序号等于最后发送的数据的序号。",
        ),
        truth: (
            "It is the one after the last byte, and the FIN takes it; it carries ACK (RFC 9293, sections 3.4 and 3.6).",
            "是最后一个字节之后的序号，由 FIN 自己占用；FIN 带有 ACK（RFC 9293 第 3.4、3.6 节）。",
        ),
        judge: By(fin),
        example: None,
    },
    Claim {
        id: "4.5",
        says: (
            "A connection ends in four steps, FIN, ACK, FIN, ACK, and the client begins.",
            "连接以 FIN、ACK、FIN、ACK 四步结束，且由客户端先开始。",
        ),
        truth: (
            "That is one order of several: ACK and FIN merge into three segments, both sides may begin at once, RST ends it without any, and often the \
             server is first: RFC 6455, section 7.1.1, asks it to be, so that it holds TIME-WAIT (RFC 9293, section 3.6).",
            "这只是多种次序之一：ACK 与 FIN 可合并为三个报文段，双方可同时关闭，RST 直接中止；服务器常常先关闭，RFC 6455 第 7.1.1 节正要求如此，\
             以便由它持有 TIME-WAIT（RFC 9293 第 3.6 节）。",
        ),
        judge: By(endings),
        example: None,
    },
    Claim {
        id: "4.6",
        says: (
            "Before its own FIN a server may finish what it has to send.",
            "服务器可以在发送自己的 FIN 之前发完数据。",
        ),
        truth: (
            "Half-close, RFC 9293, section 3.6.1. For HTTP a client's FIN neither ends a request nor says that nobody reads (RFC 9112, section 9.6). \
             But a program that was ended sends the same FIN: before a JSON response starts, Weir takes it for that, unless server.fin_leaves_json is false; a stream goes on.",
            "半关闭，RFC 9293 第 3.6.1 节。对 HTTP 而言，客户端的 FIN 既不结束请求，也不表示无人接收（RFC 9112 第 9.6 节）。\
             但被终止的程序发送的 FIN 与此无异：在 JSON 响应开始之前，Weir 默认认为客户端已离开（server.fin_leaves_json 为 false 时除外）；流式响应则继续。",
        ),
        judge: By(half_close),
        example: None,
    },
    Claim {
        id: "4.8",
        says: (
            "The session is kept in the memory of the server's process.",
            "会话保存在服务器进程的内存中。",
        ),
        truth: (
            "Right of that program, which keeps only the last ten questions, for five minutes, and none of its own answers. Weir keeps both in a log that outlives the process.",
            "对那个程序是对的：它只保留最近十个问题，五分钟后丢弃，而且不保留自己的回答。Weir 把两者都写入日志，进程退出后仍在。",
        ),
        judge: Standard(Ruling::Right),
        example: None,
    },
    Claim {
        id: "4.9",
        says: (
            "The library takes the upstream's events one by one and passes them on.",
            "该库逐个接收上游事件并转发。",
        ),
        truth: (
            "So does Weir: a token leaves before the model gives the next one. What arrives late was held back by somebody on the way, mostly by a proxy's buffer.",
            "Weir 也是如此：模型给出下一个 token 之前，上一个已经发出。如果客户端很晚才收到，那是途中有人缓冲了数据，多半是代理。",
        ),
        judge: By(passing),
        example: None,
    },
];

fn passing(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.passing?;
    let text = Bilingual::new(
        format!(
            "One streamed answer: the model gave {} tokens, {} pieces of text arrived, {} of them before the model gave the next token.",
            seen.tokens, seen.pieces, seen.before_next
        ),
        format!(
            "一个流式回答：模型给出 {} 个 token，到达 {} 段文本，其中 {} 段在模型给出下一个 token 之前到达。",
            seen.tokens, seen.pieces, seen.before_next
        ),
    );
    // A busy machine may be late for some.
    right_if(seen.pieces > 1 && seen.before_next * 2 > seen.tokens, text)
}

fn syn(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.handshake?;
    let (en, zh) = yes(seen.first_is_syn);
    let text = Bilingual::new(
        format!("The first segment is a SYN: {en}; seq {}.", seen.client_initial),
        format!("第一个报文段是 SYN：{zh}；seq {}。", seen.client_initial),
    );
    right_if(seen.first_is_syn, text)
}

fn syn_ack(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.handshake?;
    let difference = seen.syn_ack_acknowledges.wrapping_sub(seen.client_initial);
    let ruling = match difference {
        0 => Ruling::Right,
        1 => Ruling::Imprecise,
        _ => Ruling::Wrong,
    };
    let text = Bilingual::new(
        format!(
            "SYN seq {}; SYN+ACK ack {}: {difference} more.",
            seen.client_initial, seen.syn_ack_acknowledges
        ),
        format!(
            "SYN seq {}；SYN+ACK ack {}：多 {difference}。",
            seen.client_initial, seen.syn_ack_acknowledges
        ),
    );
    Some((ruling, text))
}

fn third(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.handshake?;
    let is_next = seen.third_sequence == seen.client_initial.wrapping_add(1);
    let is_acknowledged = seen.third_acknowledges == seen.server_initial.wrapping_add(1);
    let text = Bilingual::new(
        format!(
            "SYN seq {}, then ACK seq {}, ack {} (the server's seq was {}), {} bytes.",
            seen.client_initial,
            seen.third_sequence,
            seen.third_acknowledges,
            seen.server_initial,
            seen.third_bytes
        ),
        format!(
            "SYN seq {}，随后 ACK seq {}，ack {}（服务器 seq {}），{} 字节。",
            seen.client_initial,
            seen.third_sequence,
            seen.third_acknowledges,
            seen.server_initial,
            seen.third_bytes
        ),
    );
    right_if(is_next && is_acknowledged, text)
}

fn fin(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.fin?;
    let ((en, zh), after) = (yes(seen.has_ack), seen.number.saturating_sub(seen.last_byte));
    let text = Bilingual::new(
        format!(
            "Relative to the initial number: last byte {}, FIN {} ({after} more), acknowledged by {}; the FIN carries ACK: {en}.",
            seen.last_byte, seen.number, seen.acknowledged_by
        ),
        format!(
            "相对初始序号：最后一个字节 {}，FIN {}（多 {after}），确认号 {}；FIN 带 ACK：{zh}。",
            seen.last_byte, seen.number, seen.acknowledged_by
        ),
    );
    right_if(seen.number == seen.last_byte, text)
}

fn endings(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.endings.as_ref()?;
    let is_the_only_one = seen.counts.keys().all(|ending| ending == "client first, 4 segments");
    let ruling = if is_the_only_one { Ruling::Right } else { Ruling::Imprecise };
    let english = seen
        .counts
        .iter()
        .map(|(ending, count)| format!("{ending}: {count}"))
        .collect::<Vec<_>>()
        .join("; ");
    let chinese = seen
        .counts
        .iter()
        .map(|(ending, count)| format!("{}：{count}", in_chinese(ending)))
        .collect::<Vec<_>>()
        .join("；");
    let (waits_en, waits_zh) = if seen.time_wait.is_empty() {
        (String::new(), String::new())
    } else {
        let english = seen
            .time_wait
            .iter()
            .map(|(side, count)| format!("{side} {count}"))
            .collect::<Vec<_>>()
            .join(", ");
        let chinese = seen
            .time_wait
            .iter()
            .map(|(side, count)| format!("{} {count} 个", in_chinese(side)))
            .collect::<Vec<_>>()
            .join("，");
        (
            format!(" Sockets in TIME-WAIT: {english}."),
            format!("处于 TIME-WAIT 的套接字：{chinese}。"),
        )
    };
    Some((
        ruling,
        Bilingual::new(format!("{english}.{waits_en}"), format!("{chinese}。{waits_zh}")),
    ))
}

/// An ending, or a side, in Chinese.
fn in_chinese(words: &str) -> String {
    [
        ("client first", "客户端先关闭"),
        ("server first", "服务器先关闭"),
        ("both at once", "双方同时关闭"),
        (", 3 segments", "，3 个报文段"),
        (", 4 segments", "，4 个报文段"),
        ("reset by the client", "客户端发送 RST"),
        ("reset by the server", "服务器发送 RST"),
        ("half-closed by the", "半关闭："),
        ("closing", "关闭中"),
        ("open", "未关闭"),
        ("client", "客户端"),
        ("server", "服务器"),
    ]
    .iter()
    .fold(words.to_owned(), |text, (english, chinese)| text.replace(english, chinese))
}

fn half_close(evidence: &Evidence) -> Option<(Ruling, Bilingual)> {
    let seen = evidence.half_close?;
    let (en, zh) = yes(seen.is_whole);
    let text = Bilingual::new(
        format!(
            "The client sent FIN after its question; {} bytes came after the FIN; the answer was whole: {en}.",
            seen.bytes_after_fin
        ),
        format!("客户端在提问后发送 FIN；此后到达 {} 字节；回答完整：{zh}。", seen.bytes_after_fin),
    );
    right_if(seen.bytes_after_fin > 0 && seen.is_whole, text)
}

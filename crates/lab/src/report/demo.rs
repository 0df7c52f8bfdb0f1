//! The part of the report about one program, the Java demo chatgpt-steam-output, whose API is the
//! classic one. A reader who has never seen it can leave it out.

use crate::bilingual::Bilingual;
use crate::claims::evidence::{Evidence, Exchanges};
use crate::numbers::DoneCounts;

/// The heading.
pub(super) const TITLE: (&str, &str) = (
    "One program: the Java demo chatgpt-steam-output",
    "一个具体程序：Java 示例 chatgpt-steam-output",
);

/// For whom it is.
pub(super) const SKIP: (&str, &str) = (
    "An article around this demo, from which many people learnt about SSE and WebSocket, is the source of most of the claims above. Never seen it? Skip this section. \
     `weir compare --dialect responses,chat_completions` leaves it out.",
    "上面的说法大多出自围绕这个示例的一篇文章，许多人由此了解 SSE 与 WebSocket。没见过这个示例？可以跳过本节；`weir compare --dialect responses,chat_completions` 会将其略去。",
);

/// What the cells of its API show, and where the folklore of a connection for each answer comes from.
pub(super) fn paragraphs(evidence: &Evidence) -> Vec<Bilingual> {
    let mut paragraphs = Vec::new();
    if let Some(sse) = evidence.demo_sse {
        paragraphs.push(exchanges("`/createSse` and `/chat`", "`/createSse` 与 `/chat`", sse));
    }
    if let Some(socket) = evidence.demo_websocket {
        paragraphs.push(exchanges("`/websocket/{uid}`", "`/websocket/{uid}`", socket));
    }
    paragraphs.push(Bilingual::new(
        "In a browser the article is half right about its own demo, and one can see why. Chromium asked five questions on the demo's SSE page, with the packets captured (observed apart from this run). On the demo's own \
         server 2 of the 5 streams tore their connection down (FIN, then RST), and the page needed 4 connections in all: the page closes its `EventSource` as soon as it has read `[DONE]`, and \
         that server sends the last chunk of the body in a later write. A response that is given up before its end cannot leave its connection to the next request, so the browser throws \
         the connection away. On Weir the same page had 5 streams and 5 POSTs on 2 connections, none of them torn down, since `[DONE]` and the last chunk are one write. On the WebSocket page \
         both servers had one connection for the socket. The connection for each answer is thus no property of SSE, but of a body that ends after the event that says so.",
        "就这个示例而言，文章在浏览器里对了一半，原因也看得出来。用 Chromium 在示例的 SSE 页面上问五个问题并抓包（另行观察，不属于本次运行）：在示例自己的服务器上，5 个流中有 2 个拆掉了连接（先 FIN 后 RST），页面总共用了 4 个连接。\
         因为页面一读到 `[DONE]` 就关闭 `EventSource`，而该服务器在之后的另一次写入中才发送响应体的最后一个分块。没有读完就放弃的响应无法把连接留给下一个请求，浏览器只能丢弃连接。\
         在 Weir 上，同一页面的 5 个流和 5 个 POST 共用 2 个连接，没有一个被拆掉：`[DONE]` 与最后一个分块在同一次写入中发出。WebSocket 页面在两个服务器上都只有一个连接。\
         所以“每个回答一个连接”不是 SSE 的性质，而是因为响应体结束得比宣告结束的事件晚。",
    ));
    if let Some(done) = evidence.demo_done {
        paragraphs.push(end_of_body(done));
    }
    paragraphs
}

fn exchanges(en: &str, zh: &str, seen: Exchanges) -> Bilingual {
    let Exchanges { answers, events, requests, connections, .. } = seen;
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let [a, r, c] = [answers, requests, connections].map(plural);
    Bilingual::new(
        format!(
            "Measured, {en}: {answers} answer{a} with {events} events took {requests} request{r} and {connections} connection{c}."
        ),
        format!(
            "实测，{zh}：{answers} 个回答、{events} 个事件，用了 {requests} 个请求、{connections} 个连接。"
        ),
    )
}

fn end_of_body(done: DoneCounts) -> Bilingual {
    let DoneCounts { streams, with_end_of_body } = done;
    Bilingual::new(
        format!(
            "Measured: in {with_end_of_body} of {streams} streams the end of the body was there by the time `[DONE]` was read."
        ),
        format!("实测：{streams} 个流中有 {with_end_of_body} 个在读到 `[DONE]` 时响应体已经结束。"),
    )
}

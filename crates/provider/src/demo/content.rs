//! The demo's longer texts.

/// The text of `/help`.
pub(super) const HELP: &str = "\
I am the built-in **demo** of Weir: no language model, and always the same. Say *hello*, ask for *code* or a *table*, \
tell me your name and ask for it later, or use a command:

| Command | What I do |
|---|---|
| `/echo TEXT` | say exactly TEXT |
| `/count N` | count from 1 to N |
| `/lorem N` | say N tokens of Latin |
| `/think TEXT` | think first, then answer |
| `/json` | answer in JSON |
| `/tool` | call the first tool that was offered |
| `/tool NAME ARGUMENTS` | call this one, with these arguments |
| `/refuse` | refuse, as a model does |
| `/slow N` | wait N milliseconds between two words |
| `/stall N` | say N words, then nothing more |
| `/fail N` | say N words, then fail |
| `/cut N` | say N words, then hang up |
| `/status CODE` | refuse at once: 400, 401, 429, 500 or 503 |
";

/// The tour.
pub(super) const TOUR: &str = r#"# Hello!

I am the built-in **demo model** of Weir. I am *no language model*: my answers were written beforehand. But they stream to you
exactly as a real model's would, token by token.

## What I can show

- **Markdown**, as it grows: headings, lists, tables, `code`
- **Memory**: tell me "my name is Ada", and later ask "what is my name?"
- **Tools**: offer one, and I will call it
- **Trouble**: `/stall`, `/fail` and `/cut` behave as bad networks do

```rust
fn main() {
    for token in ["one", "token", "at", "a", "time"] {
        println!("{token}");
    }
}
```

| Way | One direction | Both directions |
|---|---|---|
| SSE | yes | no |
| WebSocket | yes | yes |

> A weir keeps what comes, lets it flow on evenly, and is where one measures the flow.

我也会一点中文：你好，世界！

Type `/help` for all commands.
"#;

/// The tour in Chinese.
pub(super) const TOUR_CHINESE: &str = r#"# 你好！

我是 Weir 内置的**演示模型**。我*不是语言模型*：我的回答都是事先写好的，但它们会像真正的模型那样，逐字流式地到达你面前。

## 我能展示什么

- **Markdown**：标题、列表、表格和 `代码`，边生成边显示
- **记忆**：告诉我“我叫小明”，之后再问“我叫什么？”
- **工具**：提供一个工具，我就会调用它
- **故障**：`/stall`、`/fail` 和 `/cut` 可以模拟糟糕的网络

```js
for (const token of ["一次", "一个", "词元"]) {
  console.log(token);
}
```

| 方式 | 单向 | 双向 |
|---|---|---|
| SSE | 是 | 否 |
| WebSocket | 是 | 是 |

> 堰拦住来水，让它平稳地流下去，也是人们测量水流的地方。

输入 `/help` 查看全部命令。
"#;

/// The comparison of transports.
pub(super) const TRANSPORTS: &str = "\
Here is how an answer can travel (I am a demo; this text was written beforehand):

| | JSON | NDJSON | SSE | WebSocket |
|---|---|---|---|---|
| First token | after the last | at once | at once | at once |
| Direction | answer only | answer only | answer only | both |
| Built into browsers | `fetch` | `fetch` | `EventSource` | `WebSocket` |
| Reconnects by itself | no | no | yes | no |
| Goes through any proxy | yes | mostly | mostly | after an upgrade |
| Binary | no | no | no | yes |

**In short:** SSE is plain HTTP and enough for one answer to one question. A WebSocket pays off when both sides talk at any time, \
for example to stop an answer on the same connection.
";

/// The comparison of transports in Chinese.
pub(super) const TRANSPORTS_CHINESE: &str = "\
回答可以这样传输（我是演示模型，这段文字是事先写好的）：

| | JSON | NDJSON | SSE | WebSocket |
|---|---|---|---|---|
| 第一个词元 | 最后才到 | 立即 | 立即 | 立即 |
| 方向 | 仅下行 | 仅下行 | 仅下行 | 双向 |
| 浏览器接口 | `fetch` | `fetch` | `EventSource` | `WebSocket` |
| 自动重连 | 否 | 否 | 是 | 否 |

**简而言之：**SSE 就是普通的 HTTP，一问一答时足够了；双方随时都要说话时，WebSocket 更合适。
";

/// A code sample.
pub(super) const CODE: &str = r#"Two ways to read a stream (I am a demo; this text was written beforehand). In Rust:

```rust
/// Counts the events in a piece of an event stream.
fn count_events(stream: &str) -> usize {
    stream.split("\n\n").filter(|event| event.contains("data:")).count()
}
```

And in JavaScript:

```js
const response = await fetch("/v1/responses", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "demo", input: "Hello!", stream: true }),
});
for await (const bytes of response.body) {
  console.log(new TextDecoder().decode(bytes));
}
```
"#;

/// A code sample in Chinese.
pub(super) const CODE_CHINESE: &str = r#"下面是一段读取流的代码（我是演示模型，这段文字是事先写好的）：

```js
const response = await fetch("/v1/responses", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "demo", input: "你好", stream: true }),
});
for await (const bytes of response.body) {
  console.log(new TextDecoder().decode(bytes));
}
```
"#;

/// The words of `/lorem`, repeated as needed.
pub(super) const LOREM: &str = " Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore \
magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat. Duis aute \
irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur.";

//! The demo as seen by the engine.

use std::time::Duration;

use engine::provider::event::{Finish, ModelEvent, ToolCallDelta};
use engine::provider::request::SUMMARISE;
use futures_util::{FutureExt, StreamExt};
use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::Item;
use protocol::request::{Create, FunctionTool, TextConfig, TextFormat, Tool, ToolChoice, ToolMode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::sample;

async fn hear(create: Create, context: Vec<Item>) -> Vec<Result<ModelEvent, ProviderFailure>> {
    Demo::new(0.0).ask(sample::request(create, context)).await.unwrap().collect().await
}

async fn hear_text(context: Vec<Item>) -> String {
    text(&hear(sample::create(), context).await)
}

async fn run_command(command: &str) -> Vec<Result<ModelEvent, ProviderFailure>> {
    hear(sample::create(), vec![sample::user(command)]).await
}

fn text(words: &[Result<ModelEvent, ProviderFailure>]) -> String {
    words
        .iter()
        .filter_map(|word| {
            if let Ok(ModelEvent::Text { text, .. }) = word { Some(text.as_str()) } else { None }
        })
        .collect()
}

fn arguments(words: &[Result<ModelEvent, ProviderFailure>]) -> String {
    words
        .iter()
        .filter_map(|word| {
            if let Ok(ModelEvent::ToolCall(delta)) = word {
                Some(delta.arguments.as_str())
            } else {
                None
            }
        })
        .collect()
}

fn end(
    words: &[Result<ModelEvent, ProviderFailure>],
) -> Option<&Result<ModelEvent, ProviderFailure>> {
    words.last()
}

const STOP: Result<ModelEvent, ProviderFailure> = Ok(ModelEvent::Finish(Finish::Stop));

fn weather() -> Tool {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let description = Some("Get the current weather for a city".to_owned());
    Tool::Function(FunctionTool {
        description,
        parameters: Some(parameters),
        strict: None,
        ..sample::tool("get_weather")
    })
}

fn with_tools(tool_choice: ToolChoice) -> Create {
    Create { tools: vec![weather()], tool_choice, ..sample::create() }
}

#[tokio::test]
async fn it_responds_and_says_what_it_is() {
    for greeting in ["Hello!", "what can you do", "你好", "help"] {
        let words = run_command(greeting).await;
        assert_eq!(end(&words), Some(&STOP));
        let text = text(&words);
        assert!(text.contains("no language model") || text.contains("不是语言模型"), "{text}");
        assert!(text.contains("```") && text.contains("|---|") && text.contains("\n> "), "{text}");
    }
    assert!(
        hear_text(vec![sample::user("Compare SSE and WebSocket in a table")])
            .await
            .contains("| First token |")
    );
    assert!(hear_text(vec![sample::user("写一段代码")]).await.contains("```js"));
    let echo =
        hear_text(vec![sample::user("a"), sample::assistant("b"), sample::user("The sky is blue")])
            .await;
    assert!(echo.contains("> The sky is blue") && echo.contains("3 messages"), "{echo}");
}

#[tokio::test]
async fn it_recalls_facts() {
    let said = |texts: &[&str]| texts.iter().map(|text| sample::user(text)).collect::<Vec<_>>();
    assert_eq!(
        hear_text(said(&["Hi, my name is Ada.", "What is my name?"])).await,
        "Your name is Ada. You told me so earlier."
    );
    assert_eq!(
        hear_text(said(&["我叫小明", "我叫什么？"])).await,
        "你的名字是小明。你在前面告诉过我。"
    );
    assert_eq!(hear_text(said(&["What is my name?"])).await, "You have not told me your name yet.");
    let all =
        hear_text(said(&["Remember that the code is 4711", "我叫小明", "What do you remember?"]))
            .await;
    assert!(all.contains("- the code is 4711") && all.contains("- your name is 小明"), "{all}");
}

#[tokio::test]
async fn it_summarises_and_recalls_the_summary() {
    let said = |texts: &[&str]| texts.iter().map(|text| sample::user(text)).collect::<Vec<_>>();
    let facts =
        ["Hi, my name is Ada.", "请记住会议在三点", "Remember that my cat is called Tom", "Well?"];
    let summary = hear_text([said(&facts), said(&[SUMMARISE])].concat()).await;
    let expected = "Messages so far: 4. The user told:\n\n- my name is Ada\n- remember that 会议在三点\n- my cat is called Tom";
    assert_eq!(summary, expected);
    let compaction = |summary: &str| {
        Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: summary.into() })
    };
    let again =
        hear_text([said(&["Well?"]), vec![compaction(&summary)], said(&[SUMMARISE])].concat())
            .await;
    assert_eq!(again, expected.replace("4.", "1, after an earlier summary."));
    for (question, answer) in [
        ("What is my cat?", "Your cat is called Tom. You told me so earlier."),
        ("我叫什么？", "你的名字是Ada。你在前面告诉过我。"),
    ] {
        assert_eq!(hear_text([vec![compaction(&again)], said(&[question])].concat()).await, answer);
    }
    assert_eq!(
        hear_text(said(&["Hello", SUMMARISE])).await,
        "Messages so far: 1. The user told: nothing to remember"
    );
}

#[tokio::test]
async fn it_runs_commands() {
    let echo = run_command("/echo  Say, 你好  exactly\n this ").await;
    assert_eq!((text(&echo).as_str(), end(&echo)), ("Say, 你好  exactly\n this", Some(&STOP)));
    assert_eq!(text(&run_command("/count 12").await), "1 2 3 4 5 6 7 8 9 10 11 12");
    assert_eq!(run_command("/count 100000").await.len(), 100_001);
    assert_eq!(run_command("/lorem 500").await.len(), 501);
    let thought = run_command("/think life").await;
    assert!(matches!(&thought[0], Ok(ModelEvent::Reasoning(_))) && text(&thought).contains("life"));
    assert!(matches!(&run_command("/refuse").await[0], Ok(ModelEvent::Refusal(_))));
    assert!(serde_json::from_str::<Value>(&text(&run_command("/json").await)).unwrap().is_object());
    assert!(text(&run_command("/help").await).contains("/stall N"));
    assert!(text(&run_command("/unknown thing").await).contains("> /unknown thing"));
}

#[tokio::test]
async fn it_fails_on_request() {
    let failed = run_command("/fail 3").await;
    assert_eq!(
        (failed.len(), end(&failed).unwrap().as_ref().unwrap_err().fault.code.as_str()),
        (4, "demo_failure")
    );
    let cut = run_command("/cut 3").await;
    assert!(cut.len() == 3 && cut.iter().all(|word| matches!(word, Ok(ModelEvent::Text { .. }))));
    let mut stalled = Demo::new(0.0)
        .ask(sample::request(sample::create(), vec![sample::user("/stall 2")]))
        .await
        .unwrap();
    assert!(stalled.next().await.is_some() && stalled.next().await.is_some());
    assert!(stalled.next().now_or_never().is_none());
    for (code, status) in
        [("400", 400), ("401", 401), ("429", 429), ("500", 500), ("503", 503), ("teapot", 400)]
    {
        let request =
            sample::request(sample::create(), vec![sample::user(&format!("/status {code}"))]);
        let fault = Demo::new(0.0).ask(request).await.err().unwrap().fault;
        assert_eq!((fault.status, fault.retry_after), (status, (status == 429).then_some(7)));
    }
}

#[tokio::test]
async fn it_respects_length_and_stop() {
    let limited = |limit| Create { max_output_tokens: Some(limit), ..sample::create() };
    let words = hear(limited(3), vec![sample::user("/count 9")]).await;
    assert_eq!(
        (text(&words).as_str(), end(&words)),
        ("1 2 3", Some(&Ok(ModelEvent::Finish(Finish::Length))))
    );
    assert_eq!(end(&hear(limited(9), vec![sample::user("/count 9")]).await), Some(&STOP));
    let stopping = |stop: Value| Create {
        extra: [("stop".to_owned(), stop)].into_iter().collect(),
        ..sample::create()
    };
    let words = hear(stopping(json!(["never", " 5 6"])), vec![sample::user("/count 9")]).await;
    assert_eq!((text(&words).as_str(), end(&words)), ("1 2 3 4", Some(&STOP)));
    assert_eq!(
        text(&hear(stopping(json!("9 10")), vec![sample::user("/count 9")]).await),
        "1 2 3 4 5 6 7 8 9"
    );
    assert_eq!(
        text(&hear(stopping(json!("界")), vec![sample::user("/echo 你好世界啊")]).await),
        "你好世"
    );
}

#[tokio::test]
async fn it_calls_tools() {
    let auto = || with_tools(ToolChoice::Mode(ToolMode::Auto));
    let asked = vec![sample::user("What's the weather in Paris?")];
    let words = hear(auto(), asked.clone()).await;
    let first = ToolCallDelta {
        id: Some("call_1".into()),
        name: Some("get_weather".into()),
        ..ToolCallDelta::default()
    };
    assert_eq!(words[0], Ok(ModelEvent::ToolCall(first)));
    assert_eq!((arguments(&words).as_str(), end(&words)), (r#"{"city":"Paris"}"#, Some(&STOP)));
    assert!(words.len() > 4, "the arguments come in pieces");

    assert_eq!(arguments(&hear(auto(), vec![sample::user("Tell me a joke")]).await), "");
    assert_eq!(
        arguments(&hear(auto(), vec![sample::user("/tool in Rome")]).await),
        r#"{"city":"Rome"}"#
    );
    assert_eq!(
        arguments(&hear(auto(), vec![sample::user("北京的天气")]).await),
        r#"{"city":"北京"}"#
    );
    let named = ToolChoice::Tool(sample::named("get_weather"));
    assert_ne!(arguments(&hear(with_tools(named), vec![sample::user("Tell me a joke")]).await), "");
    assert_eq!(
        arguments(&hear(with_tools(ToolChoice::Mode(ToolMode::None)), asked.clone()).await),
        ""
    );

    let answered = [
        asked,
        vec![
            sample::call("call_1", "get_weather", "{}"),
            sample::output("call_1", "{\"sky\":\"clear\"}"),
        ],
    ]
    .concat();
    let words = hear(auto(), answered).await;
    assert!(
        text(&words).contains("`get_weather`") && text(&words).contains("> {\"sky\":\"clear\"}")
    );
}

#[tokio::test]
async fn it_follows_a_schema() {
    let schema = json!({ "type": "object", "properties": { "answer": { "type": "string" }, "sure": { "type": "boolean" } }, "required": ["answer", "sure"] });
    let format = TextFormat::JsonSchema {
        name: "n".into(),
        description: None,
        schema,
        strict: true,
        extra: Extra::default(),
    };
    let create =
        Create { text: TextConfig { format, ..TextConfig::default() }, ..sample::create() };
    let value: Value =
        serde_json::from_str(&text(&hear(create, vec![sample::user("Why?")]).await)).unwrap();
    assert_eq!(value, json!({ "answer": "Why?", "sure": true }));
    let format = TextFormat::JsonObject { extra: Extra::default() };
    let create =
        Create { text: TextConfig { format, ..TextConfig::default() }, ..sample::create() };
    assert!(
        serde_json::from_str::<Value>(&text(&hear(create, vec![sample::user("Why?")]).await))
            .unwrap()
            .is_object()
    );
}

#[tokio::test(start_paused = true)]
async fn it_keeps_its_speed() {
    let start = Instant::now();
    let request = sample::request(sample::create(), vec![sample::user("/count 101")]);
    let words: Vec<_> = Demo::new(50.0).ask(request).await.unwrap().collect().await;
    assert_eq!(words.len(), 102);
    let taken = start.elapsed();
    assert!(taken >= Duration::from_secs(2) && taken < Duration::from_millis(2100), "{taken:?}");
    let start = Instant::now();
    let request = sample::request(
        Create { max_output_tokens: Some(3), ..sample::create() },
        vec![sample::user("/slow 700")],
    );
    let _: Vec<_> = Demo::new(50.0).ask(request).await.unwrap().collect().await;
    assert_eq!(start.elapsed().as_millis() / 100, 14);
}

#[tokio::test]
async fn it_is_deterministic() {
    for said in ["hello", "/lorem 50", "code", "x y z"] {
        assert_eq!(run_command(said).await, run_command(said).await);
    }
}

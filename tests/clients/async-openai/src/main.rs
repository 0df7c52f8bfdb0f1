//! async-openai: both APIs, whole and streamed. Requests are written as JSON and read into its types.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::responses::ResponseStreamEvent;
use futures::StreamExt;
use serde_json::{Value, from_value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
type Check = Pin<Box<dyn Future<Output = Outcome<()>> + Send>>;

const TEXT: &str = "Hello, 世界!";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn client() -> Client<OpenAIConfig> {
    Client::with_config(OpenAIConfig::new().with_api_base(format!("{}/v1", variable("WEIR_URL"))).with_api_key("unused"))
}

fn expect(is_true: bool, found: impl Into<String>) -> Outcome<()> {
    if is_true { Ok(()) } else { Err(found.into().into()) }
}

fn chat(model: &str, text: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": text }] })
}

fn tool() -> Value {
    let parameters =
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"], "additionalProperties": false });
    json!({ "name": "get_weather", "description": "The weather in a city", "parameters": parameters })
}

async fn stream_chat(model: &str, text: &str, limit: usize) -> Outcome<String> {
    let mut stream = client().chat().create_stream(from_value(chat(model, text))?).await?.take(limit);
    let mut said = String::new();
    while let Some(chunk) = stream.next().await {
        said.extend(chunk?.choices.into_iter().filter_map(|choice| choice.delta.content));
    }
    Ok(said)
}

/// The events of a streamed response, up to the first that `is_last`.
async fn events(request: Value, is_last: fn(&ResponseStreamEvent) -> bool) -> Outcome<Vec<ResponseStreamEvent>> {
    let mut stream = client().responses().create_stream(from_value(request)?).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        let event = event?;
        let ends = is_last(&event);
        events.push(event);
        if ends {
            break;
        }
    }
    Ok(events)
}

fn never(_: &ResponseStreamEvent) -> bool {
    false
}

fn joined(events: &[ResponseStreamEvent], delta: fn(&ResponseStreamEvent) -> Option<&str>) -> String {
    events.iter().filter_map(delta).collect()
}

fn text_delta(event: &ResponseStreamEvent) -> Option<&str> {
    if let ResponseStreamEvent::ResponseOutputTextDelta(event) = event { Some(&event.delta) } else { None }
}

/// Whether the fake upstream saw its caller leave an endless response.
async fn left() -> Outcome<()> {
    let status = reqwest::get(format!("{}/left", variable("UPSTREAM_URL"))).await?.status();
    expect(status == 200, "the upstream was not left")
}

async fn chat_whole() -> Outcome<()> {
    let made = client().chat().create(from_value(chat("demo", &format!("/echo {TEXT}")))?).await?;
    expect(made.choices[0].message.content.as_deref() == Some(TEXT), format!("{made:?}"))
}

async fn chat_streamed() -> Outcome<()> {
    let said = stream_chat("demo", &format!("/echo {TEXT}"), usize::MAX).await?;
    expect(said == TEXT, said)
}

async fn chat_tools() -> Outcome<()> {
    let mut request = chat("demo", "/tool");
    request["tools"] = json!([{ "type": "function", "function": tool() }]);
    let made = serde_json::to_value(client().chat().create(from_value(request.clone())?).await?)?;
    let message = &made["choices"][0]["message"];
    let output = json!({ "role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "12 degrees" });
    request["messages"].as_array_mut().ok_or("no messages")?.extend([message.clone(), output]);
    let again = client().chat().create(from_value(request)?).await?;
    expect(format!("{again:?}").contains("12 degrees"), format!("{again:?}"))
}

async fn chat_failed() -> Outcome<()> {
    let failed = stream_chat("demo", "/fail 5", usize::MAX).await;
    expect(failed.is_err_and(|error| error.to_string().contains("The demo failed")), "no failure with its words")?;
    expect(stream_chat("demo", "/cut 5", usize::MAX).await.is_err(), "a stream that was cut passes for whole")
}

async fn chat_heartbeats() -> Outcome<()> {
    expect(!stream_chat("demo", "/slow 700", 3).await?.is_empty(), "no text")
}

async fn chat_abort() -> Outcome<()> {
    stream_chat("fake", "/endless", 1).await?;
    left().await
}

async fn responses_whole() -> Outcome<()> {
    let request = json!({ "model": "demo", "input": format!("/echo {TEXT}") });
    let made = client().responses().create(from_value(request)?).await?;
    expect(made.output_text().as_deref() == Some(TEXT), format!("{made:?}"))
}

async fn responses_streamed() -> Outcome<()> {
    let events = events(json!({ "model": "demo", "input": format!("/echo {TEXT}") }), never).await?;
    let said = joined(&events, text_delta);
    expect(said == TEXT, said)
}

async fn responses_tools() -> Outcome<()> {
    let mut tool = tool();
    tool["type"] = json!("function");
    let request = json!({ "model": "demo", "input": "/tool", "tools": [tool.clone()] });
    let first = serde_json::to_value(client().responses().create(from_value(request)?).await?)?;
    let calls = first["output"].as_array().into_iter().flatten();
    let call = calls.clone().find(|item| item["type"] == "function_call").ok_or("no call")?;
    let output = json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "12 degrees" });
    let request = json!({ "model": "demo", "input": [output], "previous_response_id": first["id"], "tools": [tool] });
    let again = client().responses().create(from_value(request)?).await?;
    expect(again.output_text().is_some_and(|text| text.contains("12 degrees")), format!("{again:?}"))
}

async fn responses_reasoning() -> Outcome<()> {
    let events = events(json!({ "model": "demo", "input": "/think rain" }), never).await?;
    let thoughts =
        joined(&events, |event| if let ResponseStreamEvent::ResponseReasoningTextDelta(event) = event { Some(&event.delta) } else { None });
    expect(thoughts.contains("rain"), thoughts)
}

async fn responses_reasoning_summary() -> Outcome<()> {
    let events = events(json!({ "model": "demo", "input": "/think rain", "reasoning": { "summary": "auto" } }), never).await?;
    let thoughts =
        joined(
            &events,
            |event| if let ResponseStreamEvent::ResponseReasoningSummaryTextDelta(event) = event { Some(&event.delta) } else { None },
        );
    expect(thoughts.contains("rain"), thoughts)
}

async fn responses_failed() -> Outcome<()> {
    for command in ["/fail 5", "/cut 5"] {
        let seen = events(json!({ "model": "demo", "input": command }), never).await;
        let is_failed = seen.map_or(true, |events| {
            events.iter().any(|event| matches!(event, ResponseStreamEvent::ResponseFailed(_) | ResponseStreamEvent::ResponseError(_)))
        });
        expect(is_failed, format!("{command} passes for whole"))?;
    }
    Ok(())
}

async fn responses_abort() -> Outcome<()> {
    let request = json!({ "model": "fake", "input": "/endless", "store": false });
    events(request, |event| text_delta(event).is_some()).await?;
    left().await
}

async fn embeddings() -> Outcome<()> {
    let made = client().embeddings().create(from_value(json!({ "model": "demo", "input": ["one", "two"] }))?).await?;
    expect(made.data.len() == 2 && !made.data[0].embedding.is_empty(), format!("{made:?}"))
}

#[tokio::main]
async fn main() {
    let mut checks: Vec<(&str, Check)> = vec![
        ("chat_whole", Box::pin(chat_whole())),
        ("chat_streamed", Box::pin(chat_streamed())),
        ("chat_tools", Box::pin(chat_tools())),
        ("chat_failed", Box::pin(chat_failed())),
        ("chat_heartbeats", Box::pin(chat_heartbeats())),
        ("chat_abort", Box::pin(chat_abort())),
        ("responses_whole", Box::pin(responses_whole())),
        ("responses_streamed", Box::pin(responses_streamed())),
        ("responses_tools", Box::pin(responses_tools())),
        ("responses_reasoning", Box::pin(responses_reasoning())),
        ("responses_reasoning_summary", Box::pin(responses_reasoning_summary())),
        ("responses_failed", Box::pin(responses_failed())),
        ("responses_abort", Box::pin(responses_abort())),
    ];
    println!("version async-openai 0.43.0");
    if variable("WEIR_PATHS").split(',').any(|path| path == "embeddings") {
        checks.push(("embeddings", Box::pin(embeddings())));
    } else {
        println!("skipped embeddings: no /v1/embeddings");
    }
    for (name, check) in checks {
        let outcome = tokio::time::timeout(Duration::from_secs(30), check).await.unwrap_or_else(|late| Err(late.into()));
        match outcome {
            Ok(()) => println!("passed {name}"),
            Err(error) => println!("failed {name}: {}", error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
}

//! Golden request bodies.

mod odd;

use protocol::compaction::Compaction;
use protocol::id::ItemId;
use protocol::item::{Item, Part, Role};
use protocol::request::{ReasoningConfig, TextConfig};

use super::*;
use crate::config::{Compat, ReasoningHistory};
use crate::sample;

fn style(family: ServerFamily) -> ChatFeatures {
    let preset = match family {
        ServerFamily::OpenAi => Preset::OpenAi,
        ServerFamily::Azure => Preset::Azure,
        ServerFamily::Compatible => Preset::Compatible,
    };
    ChatFeatures::new(family, preset, "https://north.example/v1", &Compat::default())
}

fn check_create(family: ServerFamily, create: Create, expected: &Value) {
    let request = sample::request(create, vec![sample::user("Hi")]);
    let mut body = body(&request, &style(family)).unwrap();
    let common = body.as_object_mut().unwrap();
    assert_eq!(common.remove("messages"), Some(json!([{ "role": "user", "content": "Hi" }])));
    assert_eq!(common.remove("model"), Some(json!("any")));
    assert_eq!(common.remove("stream"), Some(json!(true)));
    common.remove("stream_options");
    assert_eq!(&body, expected);
}

fn messages_of(family: ServerFamily, context: Vec<Item>) -> Result<Value, Fault> {
    let request = sample::request(sample::create(), context);
    body(&request, &style(family)).map(|mut body| body["messages"].take())
}

fn check_messages(family: ServerFamily, context: Vec<Item>, expected: &Value) {
    assert_eq!(&messages_of(family, context).unwrap(), expected);
}

#[test]
fn a_minimal_request_has_a_minimal_body() {
    let create = Create { instructions: Some("Be brief.".into()), ..sample::create() };
    let request = sample::request(create, vec![sample::user("Hi")]);
    let expected = json!({
        "model": "any",
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    assert_eq!(
        body(&request, &style(ServerFamily::Compatible)).unwrap().to_string(),
        expected.to_string()
    );
}

#[test]
fn calls_and_text_of_one_turn_are_one_message() {
    let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let context = vec![
        sample::user("Go"),
        sample::reasoning("hm"),
        sample::assistant("I call."),
        sample::call("a", "f", "{}"),
        sample::call("b", "f", ""),
        sample::assistant("Both."),
        sample::output("a", "1"),
        sample::output("b", "2"),
        sample::call("c", "f", "{}"),
        sample::output("c", "3"),
        sample::assistant("Done."),
    ];
    let expected = json!([
        { "role": "user", "content": "Go" },
        { "role": "assistant", "content": "I call.\n\nBoth.", "tool_calls": [call("a"), call("b")], "reasoning_content": "hm" },
        { "role": "tool", "tool_call_id": "a", "content": "1" },
        { "role": "tool", "tool_call_id": "b", "content": "2" },
        { "role": "assistant", "content": null, "tool_calls": [call("c")] },
        { "role": "tool", "tool_call_id": "c", "content": "3" },
        { "role": "assistant", "content": "Done." },
    ]);
    check_messages(ServerFamily::Compatible, context, &expected);
}

/// openai-python#3561: an incomplete call without an output made the next turn fail.
#[test]
fn an_abandoned_call_is_left_out() {
    check_messages(
        ServerFamily::OpenAi,
        vec![sample::cut_call(), sample::user("Go on")],
        &json!([{ "role": "user", "content": "Go on" }]),
    );
}

#[test]
fn content_parts_are_translated() {
    let image = sample::image("https://x/y.png", "low");
    let file = sample::file(Some("a.pdf"), Some("data:application/pdf;base64,AA=="), None);
    let text = Part::input_text("See:");
    let expected = json!([{ "role": "user", "content": [
        { "type": "text", "text": "See:" },
        { "type": "image_url", "image_url": { "url": "https://x/y.png", "detail": "low" } },
        { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" } },
    ] }]);
    check_messages(
        ServerFamily::Compatible,
        vec![sample::message(Role::User, vec![text, image, file])],
        &expected,
    );
    let refusal =
        || vec![sample::message(Role::Assistant, vec![Part::Refusal { refusal: "No.".into() }])];
    check_messages(
        ServerFamily::Compatible,
        refusal(),
        &json!([{ "role": "assistant", "content": "No." }]),
    );
    check_messages(
        ServerFamily::OpenAi,
        refusal(),
        &json!([{ "role": "assistant", "content": [{ "type": "refusal", "refusal": "No." }] }]),
    );
}

#[test]
fn unsupported_fields_are_named_errors() {
    let file = sample::file(None, None, Some("https://x/a.pdf"));
    let fault = messages_of(
        ServerFamily::OpenAi,
        vec![sample::user("Hi"), sample::message(Role::User, vec![file])],
    )
    .unwrap_err();
    assert_eq!(
        (fault.status, fault.param.as_deref()),
        (400, Some("input[1].content[0].file_data"))
    );
}

#[test]
fn only_openai_gets_the_developer_role() {
    let context = || vec![sample::message(Role::Developer, vec![Part::input_text("Be kind.")])];
    check_messages(
        ServerFamily::OpenAi,
        context(),
        &json!([{ "role": "developer", "content": "Be kind." }]),
    );
    check_messages(
        ServerFamily::Compatible,
        context(),
        &json!([{ "role": "system", "content": "Be kind." }]),
    );
}

#[test]
fn tools_and_choices() {
    let sent = |name: &str| {
        let function = json!({ "name": name, "description": "does it", "parameters": { "type": "object" }, "strict": true });
        json!({ "type": "function", "function": function })
    };
    let create = |tool_choice| Create {
        tools: ["a", "b"].map(|name| Tool::Function(sample::tool(name))).to_vec(),
        tool_choice,
        ..sample::create()
    };
    check_create(
        ServerFamily::Compatible,
        Create { parallel_tool_calls: Some(false), ..create(ToolChoice::Mode(ToolMode::Auto)) },
        &json!({ "tools": [sent("a"), sent("b")], "tool_choice": "auto", "parallel_tool_calls": false }),
    );
    check_create(
        ServerFamily::Compatible,
        create(ToolChoice::Tool(sample::named("b"))),
        &json!({ "tools": [sent("a"), sent("b")], "tool_choice": { "type": "function", "function": { "name": "b" } } }),
    );
    let allowed = sample::allowed("b", ToolMode::Required);
    check_create(
        ServerFamily::Compatible,
        create(allowed),
        &json!({ "tools": [sent("b")], "tool_choice": "required" }),
    );
    check_create(
        ServerFamily::Compatible,
        Create { parallel_tool_calls: Some(true), ..sample::create() },
        &json!({}),
    );
}

#[test]
fn every_parameter_is_translated_for_each_family() {
    let schema = json!({ "type": "object" });
    let create = || Create {
        text: TextConfig {
            format: TextFormat::JsonSchema {
                name: "n".into(),
                description: None,
                schema: schema.clone(),
                strict: true,
                extra: Extra::default(),
            },
            verbosity: Some("low".into()),
            ..TextConfig::default()
        },
        reasoning: Some(ReasoningConfig {
            effort: Some("high".into()),
            ..ReasoningConfig::default()
        }),
        temperature: Some(0.5),
        top_p: Some(0.25),
        presence_penalty: Some(1.0),
        frequency_penalty: Some(-1.0),
        top_logprobs: Some(2),
        max_output_tokens: Some(9),
        metadata: Map::from_iter([("a".to_owned(), json!("b"))]),
        store: true,
        service_tier: Some("flex".into()),
        safety_identifier: Some("u".into()),
        prompt_cache_key: Some("k".into()),
        extra: Map::from_iter([
            ("stop".to_owned(), json!(["x"])),
            ("stream".to_owned(), json!(false)),
            ("model".to_owned(), json!("other")),
        ]),
        ..sample::create()
    };
    let common = json!({
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema, "strict": true } },
        "verbosity": "low", "reasoning_effort": "high", "temperature": 0.5, "top_p": 0.25, "presence_penalty": 1.0,
        "frequency_penalty": -1.0, "logprobs": true, "top_logprobs": 2, "stop": ["x"],
    });
    let with = |more: Value| {
        let mut all = common.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    check_create(ServerFamily::Compatible, create(), &with(json!({ "max_tokens": 9 })));
    let account = json!({
        "max_completion_tokens": 9, "store": true, "metadata": { "a": "b" }, "service_tier": "flex",
        "safety_identifier": "u", "prompt_cache_key": "k",
    });
    check_create(ServerFamily::OpenAi, create(), &with(account));
}

#[test]
fn a_compaction_becomes_a_system_message() {
    let compaction =
        Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() });
    let asked = json!({ "role": "user", "content": "Why?" });
    let told =
        json!({ "role": "system", "content": "Summary of the conversation so far:\n\nAda asked." });
    check_messages(
        ServerFamily::OpenAi,
        vec![sample::user("Why?"), compaction.clone()],
        &json!([asked, told]),
    );
    check_messages(
        ServerFamily::Compatible,
        vec![sample::user("Why?"), compaction],
        &json!([told, asked]),
    );
}

#[test]
fn reasoning_is_sent_back_with_its_calls_if_configured() {
    let context = vec![
        sample::user("Hi"),
        sample::reasoning("Old."),
        sample::assistant("Hello."),
        sample::user("Look it up"),
        sample::reasoning("I need a tool."),
        sample::call("call_1", "find", "{}"),
        sample::output("call_1", "found"),
    ];
    let of = |preset, reasoning| {
        let style = ChatFeatures { preset, reasoning, ..style(ServerFamily::Compatible) };
        body(&sample::request(sample::create(), context.clone()), &style).unwrap()["messages"]
            .take()
    };
    let messages = of(Preset::Compatible, ReasoningHistory::WithCalls);
    assert_eq!(messages[3]["reasoning_content"], "I need a tool.");
    assert!(
        messages[3].get("reasoning").is_none() && messages[1].get("reasoning_content").is_none(),
        "{messages}"
    );
    assert!(of(Preset::Compatible, ReasoningHistory::Never)[3].get("reasoning_content").is_none());
    let messages = of(Preset::Vllm, ReasoningHistory::Always);
    assert_eq!(
        (&messages[1]["reasoning_content"], &messages[3]["reasoning"]),
        (&json!("Old."), &json!("I need a tool."))
    );
}

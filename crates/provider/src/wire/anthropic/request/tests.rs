//! Golden request bodies.

mod odd;

use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::{Item, Part, Reasoning, Role};
use protocol::request::{FunctionTool, ReasoningConfig, TextConfig, Tool};

use super::*;
use crate::sample;

fn body_of(create: Create, context: Vec<Item>) -> Result<Value, Fault> {
    body(&sample::request(create, context), HostedTools::Omit)
}

fn model(model: &str) -> Create {
    Create { model: model.into(), ..sample::create() }
}

/// Checks the fields beyond those of a minimal request.
fn check_create(create: Create, expected: &Value) {
    let mut body = body_of(create, vec![sample::user("Hi")]).unwrap();
    let common = body.as_object_mut().unwrap();
    for name in ["model", "max_tokens", "messages", "stream"] {
        assert!(common.remove(name).is_some(), "{name}");
    }
    assert_eq!(&body, expected);
}

fn check_messages(context: Vec<Item>, expected: &Value) {
    assert_eq!(&body_of(sample::create(), context).unwrap()["messages"], expected);
}

fn check_fault(create: &Create, code: &str, param: &str) {
    let fault = check(create, HostedTools::Omit).unwrap_err();
    assert_eq!(
        (fault.status, fault.code.as_str(), fault.param.as_deref()),
        (400, code, Some(param))
    );
}

fn thoughts(text: &str, encrypted: Option<&str>) -> Item {
    let content =
        if text.is_empty() { Vec::new() } else { vec![Part::ReasoningText { text: text.into() }] };
    let (id, encrypted_content) = (ItemId::new("rs_1"), encrypted.map(str::to_owned));
    Item::Reasoning(Reasoning {
        id,
        summary: Vec::new(),
        content,
        encrypted_content,
        extra: Extra::default(),
    })
}

fn user_blocks(blocks: &Value) -> Value {
    json!({ "role": "user", "content": blocks })
}

fn said(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[expect(clippy::unnecessary_wraps, reason = "in the API's own field")]
fn effort(effort: &str, summary: Option<&str>) -> Option<ReasoningConfig> {
    Some(ReasoningConfig {
        effort: Some(effort.into()),
        summary: summary.map(str::to_owned),
        extra: Extra::default(),
    })
}

fn format(format: TextFormat) -> TextConfig {
    TextConfig { format, ..TextConfig::default() }
}

#[test]
fn a_minimal_request_has_a_minimal_body() {
    let create = Create { instructions: Some("Be brief.".into()), ..model("claude-haiku-4-5") };
    let expected = json!({
        "model": "claude-haiku-4-5",
        "max_tokens": 64_000,
        "system": [{ "type": "text", "text": "Be brief." }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Hi" }] }],
        "stream": true,
    });
    assert_eq!(
        body_of(create, vec![sample::user("Hi")]).unwrap().to_string(),
        expected.to_string()
    );
}

#[test]
fn the_upstreams_model_name_is_used() {
    let mut request = sample::request(model("fast"), vec![sample::user("Hi")]);
    request.model = Some("claude-3-5-haiku-latest".into());
    let body = body(&request, HostedTools::Omit).unwrap();
    assert_eq!(
        (&body["model"], &body["max_tokens"]),
        (&json!("claude-3-5-haiku-latest"), &json!(8_192))
    );
}

#[test]
fn a_complete_tool_round_trip() {
    let context = vec![
        sample::user("Weather and time?"),
        thoughts("Two calls.", Some("anthropic.signature.EqQB")),
        sample::assistant("Let me see."),
        sample::call("toolu_1", "weather", "{\"city\":\"Paris\"}"),
        sample::call("functions.time:0", "time", ""),
        sample::output("toolu_1", "sunny"),
        sample::output("functions.time:0", "noon"),
        sample::assistant("Sunny noon."),
        sample::user("Thanks"),
    ];
    let expected = json!([
        user_blocks(&json!([said("Weather and time?")])),
        { "role": "assistant", "content": [
            { "type": "thinking", "thinking": "Two calls.", "signature": "EqQB" },
            said("Let me see."),
            { "type": "tool_use", "id": "toolu_1", "name": "weather", "input": { "city": "Paris" } },
            { "type": "tool_use", "id": "functions_time_0", "name": "time", "input": {} },
        ] },
        user_blocks(&json!([
            { "type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny" },
            { "type": "tool_result", "tool_use_id": "functions_time_0", "content": "noon" },
        ])),
        { "role": "assistant", "content": [said("Sunny noon.")] },
        user_blocks(&json!([said("Thanks")])),
    ]);
    check_messages(context, &expected);
}

#[test]
fn tool_results_come_first_in_their_message() {
    let context = vec![
        sample::user("Hi"),
        sample::call("a", "f", "{}"),
        sample::call("b", "f", "{\"cut"),
        sample::user("Be quick"),
        sample::output("a", "1"),
        sample::output("b", "2"),
        sample::user("please"),
    ];
    let expected = json!([
        user_blocks(&json!([said("Hi")])),
        { "role": "assistant", "content": [
            { "type": "tool_use", "id": "a", "name": "f", "input": {} },
            { "type": "tool_use", "id": "b", "name": "f", "input": { "INVALID_JSON": "{\"cut" } },
        ] },
        user_blocks(&json!([
            { "type": "tool_result", "tool_use_id": "a", "content": "1" },
            { "type": "tool_result", "tool_use_id": "b", "content": "2" },
            said("Be quick"),
            said("please"),
        ])),
    ]);
    check_messages(context, &expected);
}

#[test]
fn an_incomplete_call_is_left_out() {
    let expected = json!([user_blocks(&json!([said("Hi"), said("Go on")]))]);
    check_messages(vec![sample::user("Hi"), sample::cut_call(), sample::user("Go on")], &expected);
}

#[test]
fn images_and_files() {
    let image = |url: &str| sample::image(url, "auto");
    let file = sample::file;
    let parts = vec![
        Part::input_text("See:"),
        image("data:image/png;base64,AA=="),
        image("https://x/y.png"),
        file(Some("a.pdf"), Some("data:application/pdf;base64,JVBERg=="), None),
        file(None, Some("JVBERi0xLjQ="), None),
        file(None, None, Some("https://x/a.pdf")),
    ];
    let pdf =
        |data: &str| json!({ "type": "base64", "media_type": "application/pdf", "data": data });
    let expected = json!([user_blocks(&json!([
        said("See:"),
        { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } },
        { "type": "image", "source": { "type": "url", "url": "https://x/y.png" } },
        { "type": "document", "source": pdf("JVBERg=="), "title": "a.pdf" },
        { "type": "document", "source": pdf("JVBERi0xLjQ=") },
        { "type": "document", "source": { "type": "url", "url": "https://x/a.pdf" } },
    ]))]);
    check_messages(vec![sample::message(Role::User, parts)], &expected);

    let check = |part: Part, param: &str| {
        let context = vec![sample::user("Hi"), sample::message(Role::User, vec![part])];
        let fault = body_of(sample::create(), context).unwrap_err();
        assert_eq!(
            (fault.code.as_str(), fault.param.as_deref()),
            ("unsupported_value", Some(param))
        );
    };
    check(image("ftp://x/y.png"), "input[1].content[0].image_url");
    check(
        Part::InputImage { image_url: None, detail: "auto".into(), extra: Extra::default() },
        "input[1].content[0].image_url",
    );
    check(
        file(None, Some("data:application/zip;base64,AA=="), Some("https://x/a.zip")),
        "input[1].content[0].file_data",
    );
    check(file(None, None, None), "input[1].content[0].file_data");
    let system = vec![sample::message(Role::System, vec![image("https://x/y.png")])];
    assert_eq!(
        body_of(sample::create(), system).unwrap_err().param.as_deref(),
        Some("input[0].content[0]")
    );
}

#[test]
fn a_tool_result_may_contain_images() {
    let output = sample::output_parts(
        "a",
        vec![Part::input_text("Here:"), sample::image("data:image/png;base64,AA==", "auto")],
    );
    let messages =
        body_of(sample::create(), vec![sample::user("Hi"), sample::call("a", "f", ""), output])
            .unwrap();
    let expected = json!([said("Here:"), { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } }]);
    assert_eq!(messages["messages"][2]["content"][0]["content"], expected);
}

#[test]
fn reasoning_is_sent_back_to_its_vendor_only() {
    let context = vec![
        sample::user("Hi"),
        thoughts("", Some("anthropic.redacted.EmwK")),
        thoughts("", Some("anthropic.signature.Eosn")),
        thoughts("Somebody else's.", Some("gemini.signature.AAAA")),
        thoughts("Nobody's.", None),
        sample::assistant("Hello"),
        sample::user("Go on"),
        // Cut off after its reasoning.
        thoughts("Hm", Some("anthropic.signature.EqQB")),
        sample::user("Well?"),
    ];
    let expected = json!([
        user_blocks(&json!([said("Hi")])),
        { "role": "assistant", "content": [
            { "type": "redacted_thinking", "data": "EmwK" },
            { "type": "thinking", "thinking": "", "signature": "Eosn" },
            said("Hello"),
        ] },
        user_blocks(&json!([said("Go on"), said("Well?")])),
    ]);
    check_messages(context, &expected);
}

#[test]
fn system_messages_move_to_the_top() {
    let context = vec![
        Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() }),
        sample::message(Role::Developer, vec![Part::input_text("Be kind.")]),
        sample::user("Why?"),
        sample::message(Role::System, vec![Part::input_text(" ")]),
    ];
    let body =
        body_of(Create { instructions: Some("Be brief.".into()), ..sample::create() }, context)
            .unwrap();
    let expected = json!([
        said("Be brief."),
        said("Summary of the conversation so far:\n\nAda asked."),
        said("Be kind.")
    ]);
    assert_eq!(body["system"], expected);
    assert_eq!(body["messages"], json!([user_blocks(&json!([said("Why?")]))]));
}

#[test]
fn a_prefilled_assistant_message_does_not_end_with_white_space() {
    let expected = json!([user_blocks(&json!([said("Hi")])), { "role": "assistant", "content": [said("I think")] }]);
    check_messages(vec![sample::user("Hi"), sample::assistant("I think \n")], &expected);
}

#[test]
fn tools_and_choices() {
    let tool = |name: &str, parameters: Option<Value>, strict| {
        let description = parameters.as_ref().map(|_| "does it".into());
        Tool::Function(FunctionTool { description, parameters, strict, ..sample::tool(name) })
    };
    let create = |tool_choice, parallel_tool_calls| Create {
        tools: vec![
            tool("a", Some(json!({ "properties": {} })), Some(true)),
            tool("b", None, Some(false)),
        ],
        tool_choice,
        parallel_tool_calls,
        ..sample::create()
    };
    let a = json!({ "name": "a", "description": "does it", "input_schema": { "type": "object", "properties": {} }, "strict": true });
    let b = json!({ "name": "b", "input_schema": { "type": "object" } });
    let both = |choice: &Value| json!({ "tools": [a, b], "tool_choice": choice });
    check_create(
        create(ToolChoice::Mode(ToolMode::Auto), Some(true)),
        &both(&json!({ "type": "auto" })),
    );
    let one_by_one = both(&json!({ "type": "any", "disable_parallel_tool_use": true }));
    check_create(create(ToolChoice::Mode(ToolMode::Required), Some(false)), &one_by_one);
    check_create(
        create(ToolChoice::Mode(ToolMode::None), Some(false)),
        &both(&json!({ "type": "none" })),
    );
    check_create(
        create(ToolChoice::Tool(sample::named("b")), None),
        &both(&json!({ "type": "tool", "name": "b" })),
    );
    check_create(
        create(sample::allowed("b", ToolMode::Auto), None),
        &json!({ "tools": [b], "tool_choice": { "type": "auto" } }),
    );
    check_create(Create { parallel_tool_calls: Some(false), ..sample::create() }, &json!({}));
}

#[test]
fn efforts_of_adaptive_models() {
    let create = |reasoning| Create { reasoning, ..model("claude-opus-4-6") };
    let config = |effort: &str| json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": effort } });
    check_create(create(effort("minimal", None)), &config("low"));
    check_create(create(effort("xhigh", None)), &config("xhigh"));
    check_create(create(effort("none", None)), &json!({ "thinking": { "type": "disabled" } }));
    let shown = json!({ "type": "adaptive", "display": "summarized" });
    check_create(
        create(effort("high", Some("auto"))),
        &json!({ "thinking": shown, "output_config": { "effort": "high" } }),
    );
    let summary =
        Some(ReasoningConfig { summary: Some("auto".into()), ..ReasoningConfig::default() });
    check_create(create(summary), &json!({ "thinking": shown }));
}

#[test]
fn efforts_of_models_with_budgets() {
    let create = |reasoning, max_output_tokens| Create {
        reasoning,
        max_output_tokens,
        ..model("claude-sonnet-4-5")
    };
    let budget =
        |tokens: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": tokens } });
    check_create(create(effort("minimal", None), None), &budget(1_024));
    check_create(create(effort("medium", Some("auto")), None), &budget(8_192));
    check_create(create(effort("xhigh", None), None), &budget(32_000));
    check_create(create(effort("high", None), Some(10_000)), &budget(5_000));
    check_create(
        create(effort("none", None), Some(10)),
        &json!({ "thinking": { "type": "disabled" } }),
    );
    let fault =
        body_of(create(effort("low", None), Some(2_000)), vec![sample::user("Hi")]).unwrap_err();
    assert_eq!(
        (fault.code.as_str(), fault.param.as_deref()),
        ("unsupported_value", Some("max_output_tokens"))
    );
}

#[test]
fn structured_output() {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "integer" } }, "additionalProperties": false });
    let extra = Extra::default();
    let text = format(TextFormat::JsonSchema {
        name: "n".into(),
        description: None,
        schema: schema.clone(),
        strict: true,
        extra,
    });
    let expected =
        json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } });
    check_create(Create { text, ..sample::create() }, &expected);
    let text =
        format(TextFormat::JsonObject { extra: Extra::from_iter([("schema".to_owned(), schema)]) });
    check_create(Create { text, ..sample::create() }, &expected);
}

#[test]
fn every_parameter_is_translated() {
    let extra = Map::from_iter([
        ("stop".to_owned(), json!("x")),
        ("top_k".to_owned(), json!(5)),
        ("cache_control".to_owned(), json!({ "type": "ephemeral" })),
        ("model".to_owned(), json!("other")),
    ]);
    let create = Create {
        temperature: Some(0.5),
        top_p: Some(0.25),
        max_output_tokens: Some(9),
        service_tier: Some("default".into()),
        safety_identifier: Some("u".into()),
        metadata: Map::from_iter([("a".to_owned(), json!("b"))]),
        extra,
        ..sample::create()
    };
    let body = body_of(create, vec![sample::user("Hi")]).unwrap();
    let expected = json!({
        "model": "any", "max_tokens": 9, "messages": [user_blocks(&json!([said("Hi")]))], "stream": true,
        "temperature": 0.5, "top_p": 0.25, "top_k": 5, "stop_sequences": ["x"],
        "service_tier": "standard_only", "metadata": { "user_id": "u" }, "cache_control": { "type": "ephemeral" },
    });
    assert_eq!(body, expected);
}

#[test]
fn unsupported_fields_are_named_errors() {
    let create = sample::create;
    let extra = |name: &str, value: Value| Create {
        extra: Map::from_iter([(name.to_owned(), value)]),
        ..create()
    };
    check_fault(
        &Create { presence_penalty: Some(0.5), ..create() },
        "unsupported_parameter",
        "presence_penalty",
    );
    check_fault(
        &Create { frequency_penalty: Some(-0.5), ..create() },
        "unsupported_parameter",
        "frequency_penalty",
    );
    check_fault(
        &Create { top_logprobs: Some(2), ..create() },
        "unsupported_parameter",
        "top_logprobs",
    );
    let include = vec!["message.output_text.logprobs".to_owned()];
    check_fault(&Create { include, ..create() }, "unsupported_parameter", "top_logprobs");
    let text = format(TextFormat::JsonObject { extra: Extra::default() });
    check_fault(&Create { text, ..create() }, "unsupported_value", "text.format");
    check_fault(
        &Create { service_tier: Some("flex".into()), ..create() },
        "unsupported_value",
        "service_tier",
    );
    check_fault(
        &Create { reasoning: effort("huge", None), ..create() },
        "unsupported_value",
        "reasoning.effort",
    );
    for name in ["n", "logit_bias", "conversation", "prompt", "context_management"] {
        check_fault(&extra(name, json!(1)), "unknown_parameter", name);
    }
    check_fault(&extra("stop", json!(7)), "invalid_value", "stop");
    check_fault(&extra("top_k", json!("many")), "invalid_value", "top_k");
    let harmless = Create {
        presence_penalty: Some(0.0),
        top_logprobs: Some(0),
        temperature: Some(1.0),
        ..extra("stop", Value::Null)
    };
    assert_eq!(check(&harmless, HostedTools::Omit), Ok(vec![]));
}

#[test]
fn irrelevant_fields_are_left_out_with_a_warning() {
    let ignored = |create: Create, expected: &[&str]| {
        assert_eq!(check(&create, HostedTools::Omit).unwrap(), expected);
    };
    ignored(
        Create { extra: Map::from_iter([("seed".to_owned(), json!(7))]), ..sample::create() },
        &["seed"],
    );
    let text = TextConfig { verbosity: Some("low".into()), ..TextConfig::default() };
    ignored(Create { text, ..sample::create() }, &["text.verbosity"]);
    ignored(
        Create { truncation: Some("auto".into()), max_tool_calls: Some(3), ..sample::create() },
        &[],
    );
    let hot = || Create { temperature: Some(1.5), ..sample::create() };
    ignored(hot(), &["temperature"]);
    check_create(hot(), &json!({ "temperature": 1.0 }));
}

//! Golden request bodies.

mod odd;

use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::Item;
use protocol::request::{FunctionTool, ReasoningConfig, TextConfig, Tool, ToolChoice};

use super::*;
use crate::sample;

fn tools(names: &[&str]) -> Vec<Tool> {
    names.iter().map(|name| Tool::Function(sample::tool(name))).collect()
}

fn body_of(request: &ModelRequest) -> Result<Value, Fault> {
    body(request, SystemMessages::First, HostedTools::Omit)
}

fn messages_of(context: Vec<Item>) -> Result<Value, Fault> {
    body_of(&sample::request(sample::create(), context)).map(|mut body| body["messages"].take())
}

fn check_messages(context: Vec<Item>, expected: &Value) {
    assert_eq!(messages_of(context).unwrap(), *expected);
}

/// Checks the fields beyond those of a minimal request.
fn check_create(create: Create, expected: &Value) {
    let body = body_of(&sample::request(create, vec![sample::user("Hi")])).unwrap();
    let mut rest = body.as_object().unwrap().clone();
    rest.retain(|name, _| !["model", "messages", "stream"].contains(&name.as_str()));
    assert_eq!(Value::Object(rest), *expected);
}

#[test]
fn a_simple_chat_byte_for_byte() {
    let create = Create {
        instructions: Some("Be brief.".into()),
        metadata: Map::from_iter([("a".to_owned(), json!("b"))]),
        ..sample::create()
    };
    let request = ModelRequest {
        model: Some("qwen3:4b".into()),
        ..sample::request(create, vec![sample::user("Hi")])
    };
    let expected = json!({
        "model": "qwen3:4b",
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }],
        "stream": true,
    });
    assert_eq!(body_of(&request).unwrap().to_string(), expected.to_string());
}

#[test]
fn a_complete_tool_round_trip() {
    let call = |id: &str, name: &str, arguments: Value| {
        let function = json!({ "name": name, "arguments": arguments });
        json!({ "id": id, "type": "function", "function": function })
    };
    let context = vec![
        sample::user("Weather?"),
        sample::reasoning("Two calls."),
        sample::assistant("I look."),
        sample::call("a", "get_weather", "{\"city\":\"Paris\"}"),
        sample::call("b", "now", ""),
        sample::output("b", "noon"),
        sample::output("a", "22°C"),
        sample::reasoning("Once more."),
        sample::call("c", "now", "[1"),
        sample::output("c", "no such argument"),
        sample::assistant("Warm."),
        sample::user("Thanks"),
    ];
    let expected = json!([
        { "role": "user", "content": "Weather?" },
        {
            "role": "assistant", "content": "I look.", "thinking": "Two calls.",
            "tool_calls": [call("a", "get_weather", json!({ "city": "Paris" })), call("b", "now", json!({}))],
        },
        { "role": "tool", "content": "noon", "tool_name": "now", "tool_call_id": "b" },
        { "role": "tool", "content": "22°C", "tool_name": "get_weather", "tool_call_id": "a" },
        { "role": "assistant", "content": "", "thinking": "Once more.", "tool_calls": [call("c", "now", json!({ "arguments": "[1" }))] },
        { "role": "tool", "content": "no such argument", "tool_name": "now", "tool_call_id": "c" },
        { "role": "assistant", "content": "Warm." },
        { "role": "user", "content": "Thanks" },
    ]);
    check_messages(context, &expected);
}

/// openai-python#3561: an incomplete call without an output made the next turn fail.
#[test]
fn an_abandoned_call_is_left_out() {
    check_messages(
        vec![sample::reasoning("hm"), sample::cut_call(), sample::user("Go on")],
        &json!([{ "role": "user", "content": "Go on" }]),
    );
}

#[test]
fn reasoning_or_its_summary_is_sent_back() {
    let summary = vec![Part::SummaryText { text: "Counting".into() }];
    let content = vec![
        Part::ReasoningText { text: "One,".into() },
        Part::ReasoningText { text: "two.".into() },
    ];
    let thoughts = |summary: &[Part], content: &[Part]| {
        Item::Reasoning(Reasoning {
            id: ItemId::new("rs_1"),
            summary: summary.to_vec(),
            content: content.to_vec(),
            encrypted_content: None,
            extra: Extra::default(),
        })
    };
    let context = vec![
        thoughts(&summary, &content),
        sample::assistant("Two."),
        thoughts(&summary, &[]),
        sample::assistant("Yes."),
    ];
    check_messages(
        context,
        &json!([{ "role": "assistant", "content": "Two.\n\nYes.", "thinking": "One,\n\ntwo.\n\nCounting" }]),
    );
}

#[test]
fn images_are_base64() {
    let image = || sample::image("data:image/png;base64,iVBORw0=", "auto");
    let text = |text: &str| Part::input_text(text);
    let output = sample::output_parts("a", vec![text("See:"), image()]);
    let expected = json!([
        { "role": "user", "content": "What is it?\nLook:", "images": ["iVBORw0=", "iVBORw0="] },
        { "role": "tool", "content": "See:", "images": ["iVBORw0="], "tool_call_id": "a" },
    ]);
    check_messages(
        vec![
            sample::message(Role::User, vec![text("What is it?"), image(), text("Look:"), image()]),
            output,
        ],
        &expected,
    );
}

#[test]
fn developer_messages_and_compactions_become_system_messages() {
    let compaction =
        Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() });
    let developer = sample::message(Role::Developer, vec![Part::input_text("Be kind.")]);
    let refusal = sample::message(Role::Assistant, vec![Part::Refusal { refusal: "No.".into() }]);
    let expected = json!([
        { "role": "system", "content": "Summary of the conversation so far:\n\nAda asked.\n\nBe kind." },
        { "role": "assistant", "content": "No." },
    ]);
    check_messages(vec![compaction, developer, refusal], &expected);
}

#[test]
fn only_allowed_tools_are_offered() {
    let parameters = json!({ "type": "object" });
    let sent = |name: &str| json!({ "type": "function", "function": { "name": name, "description": "does it", "parameters": parameters } });
    let create =
        |tool_choice| Create { tools: tools(&["a", "b"]), tool_choice, ..sample::create() };
    check_create(
        create(ToolChoice::Mode(ToolMode::Auto)),
        &json!({ "tools": [sent("a"), sent("b")] }),
    );
    check_create(create(ToolChoice::Mode(ToolMode::None)), &json!({}));
    check_create(create(sample::allowed("b", ToolMode::Auto)), &json!({ "tools": [sent("b")] }));
    let bare = Tool::Function(FunctionTool {
        description: None,
        parameters: None,
        strict: None,
        ..sample::tool("c")
    });
    let parameters = json!({ "type": "object", "properties": {} });
    let expected = json!({ "tools": [{ "type": "function", "function": { "name": "c", "parameters": parameters } }] });
    check_create(
        Create { tools: vec![bare], parallel_tool_calls: Some(true), ..sample::create() },
        &expected,
    );
}

#[test]
fn structured_output_is_its_schema() {
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer" } } });
    let with = |format| Create {
        text: TextConfig { format, ..TextConfig::default() },
        ..sample::create()
    };
    let (name, extra) = ("pet".to_owned(), Extra::default());
    check_create(
        with(TextFormat::JsonSchema {
            name,
            description: None,
            schema: schema.clone(),
            strict: true,
            extra,
        }),
        &json!({ "format": schema }),
    );
    check_create(
        with(TextFormat::JsonObject { extra: Extra::default() }),
        &json!({ "format": "json" }),
    );
    // Several servers accept a schema here, and clients send it.
    let extra = Extra::from_iter([("schema".to_owned(), schema.clone())]);
    check_create(with(TextFormat::JsonObject { extra }), &json!({ "format": schema }));
}

#[test]
fn reasoning_efforts() {
    let check = |effort: Option<&str>, expected: Value| {
        let reasoning = Some(ReasoningConfig {
            effort: effort.map(str::to_owned),
            summary: Some("auto".into()),
            extra: Extra::default(),
        });
        check_create(Create { reasoning, ..sample::create() }, &expected);
    };
    check(None, json!({}));
    check(Some("none"), json!({ "think": false }));
    check(Some("minimal"), json!({ "think": "low" }));
    check(Some("medium"), json!({ "think": "medium" }));
    check(Some("xhigh"), json!({ "think": "high" }));
    check(Some("max"), json!({ "think": "high" }));
}

#[test]
fn every_parameter_is_translated() {
    let extra = json!({
        "stop": "x", "seed": 7, "top_k": 3, "think": true, "n": 2,
        "options": { "min_p": 0.1, "temperature": 0.9 },
    });
    let create = Create {
        temperature: Some(0.5),
        top_p: Some(0.25),
        presence_penalty: Some(1.0),
        frequency_penalty: Some(-1.0),
        top_logprobs: Some(2),
        max_output_tokens: Some(9),
        truncation: Some("disabled".into()),
        reasoning: Some(ReasoningConfig {
            effort: Some("low".into()),
            ..ReasoningConfig::default()
        }),
        extra: extra.as_object().cloned().unwrap(),
        ..sample::create()
    };
    let expected = json!({
        "think": true, "logprobs": true, "top_logprobs": 2, "truncate": false,
        "options": {
            "temperature": 0.9, "top_p": 0.25, "num_predict": 9, "presence_penalty": 1.0, "frequency_penalty": -1.0, "min_p": 0.1,
            "stop": ["x"], "seed": 7, "top_k": 3,
        },
    });
    check_create(create, &expected);
    let asked = Create { include: vec!["message.output_text.logprobs".into()], ..sample::create() };
    check_create(asked, &json!({ "logprobs": true }));
}

#[test]
fn unsupported_fields_are_named_errors() {
    let refused = |create: Create, param: &str| {
        let fault = check(&create, HostedTools::Omit).unwrap_err();
        assert_eq!(
            (fault.status, fault.code.as_str(), fault.param.as_deref()),
            (400, "unsupported_parameter", Some(param))
        );
    };
    let tools = || tools(&["a"]);
    refused(
        Create {
            tools: tools(),
            tool_choice: ToolChoice::Mode(ToolMode::Required),
            ..sample::create()
        },
        "tool_choice",
    );
    refused(
        Create {
            tools: tools(),
            tool_choice: ToolChoice::Tool(sample::named("a")),
            ..sample::create()
        },
        "tool_choice",
    );
    for parameter in
        ["n", "logit_bias", "messages", "stream", "conversation", "prompt", "num_ctx", "keep_alive"]
    {
        let create = Create {
            extra: Map::from_iter([(parameter.to_owned(), json!(1))]),
            ..sample::create()
        };
        let fault = check(&create, HostedTools::Omit).unwrap_err();
        assert_eq!(
            (fault.code.as_str(), fault.param.as_deref()),
            ("unknown_parameter", Some(parameter))
        );
    }
    assert!(knows("stop") && knows("seed"));

    let param = |part: Part, role| {
        let fault =
            messages_of(vec![sample::user("Hi"), sample::message(role, vec![part])]).unwrap_err();
        assert_eq!((fault.status, fault.code.as_str()), (400, "unsupported_value"));
        fault.param.unwrap()
    };
    let image = |url: &str| sample::image(url, "auto");
    assert_eq!(param(image("https://x/y.png"), Role::User), "input[1].content[0].image_url");
    assert_eq!(
        param(image("data:image/svg+xml,%3Csvg/%3E"), Role::User),
        "input[1].content[0].image_url"
    );
    let nowhere =
        Part::InputImage { image_url: None, detail: "auto".into(), extra: Extra::default() };
    assert_eq!(param(nowhere, Role::User), "input[1].content[0].image_url");
    assert_eq!(param(image("data:image/png;base64,AA=="), Role::Assistant), "input[1].content");
    let file = sample::file(None, Some("data:text/plain;base64,AA=="), None);
    assert_eq!(param(file, Role::User), "input[1].content[0]");
}

#[test]
fn irrelevant_fields_are_left_out_with_a_warning() {
    let ignored = |create: Create, expected: &[&str]| {
        assert_eq!(check(&create, HostedTools::Omit).unwrap(), expected);
    };
    ignored(
        Create { tools: tools(&["a"]), parallel_tool_calls: Some(false), ..sample::create() },
        &["parallel_tool_calls"],
    );
    ignored(Create { parallel_tool_calls: Some(false), ..sample::create() }, &[]);
    let verbosity =
        |word: &str| TextConfig { verbosity: Some(word.into()), ..TextConfig::default() };
    ignored(Create { text: verbosity("low"), ..sample::create() }, &["text.verbosity"]);
    ignored(Create { text: verbosity("medium"), ..sample::create() }, &[]);
    ignored(
        Create { extra: Map::from_iter([("user".to_owned(), json!("ada"))]), ..sample::create() },
        &["user"],
    );
    ignored(
        Create { truncation: Some("auto".into()), max_tool_calls: Some(3), ..sample::create() },
        &[],
    );
}

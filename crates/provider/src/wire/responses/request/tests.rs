//! Golden request bodies.

mod odd;

use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::{Item, Part, Reasoning, Role};
use protocol::request::{ReasoningConfig, TextConfig};

use super::*;
use crate::sample;

/// The body for the upstream `north`.
fn body_of(request: &ModelRequest, family: ServerFamily) -> Result<Value, Fault> {
    let system_messages = if family == ServerFamily::Compatible {
        SystemMessages::First
    } else {
        SystemMessages::InPlace
    };
    body(request, family, system_messages, "north")
}

fn said_to(role: &str, text: &str) -> Value {
    json!({ "type": "message", "role": role, "content": [{ "type": "input_text", "text": text }] })
}

fn answered(text: &str) -> Value {
    json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text }] })
}

fn input_of(family: ServerFamily, context: Vec<Item>) -> Result<Value, Fault> {
    body_of(&sample::request(sample::create(), context), family)
        .map(|mut body| body["input"].take())
}

fn check_input(context: Vec<Item>, expected: &Value) {
    assert_eq!(input_of(ServerFamily::OpenAi, context).unwrap(), *expected);
}

/// Checks the fields beyond those of a minimal request.
fn check_create(family: ServerFamily, create: Create, expected: &Value) {
    let body = body_of(&sample::request(create, vec![sample::user("Hi")]), family).unwrap();
    let mut rest = body.as_object().unwrap().clone();
    let usual = ["model", "input", "stream", "store", "include", "stream_options"];
    rest.retain(|name, _| !usual.contains(&name.as_str()));
    assert_eq!(Value::Object(rest), *expected);
}

#[test]
fn a_simple_chat_byte_for_byte() {
    let create = Create {
        instructions: Some("Be brief.".into()),
        store: true,
        background: true,
        ..sample::create()
    };
    let request = sample::request(create, vec![sample::user("Hi")]);
    let expected = json!({
        "model": "any",
        "instructions": "Be brief.",
        "input": [said_to("user", "Hi")],
        "stream": true,
        "store": false,
        "include": ["reasoning.encrypted_content"],
        "stream_options": { "include_obfuscation": false },
    });
    assert_eq!(body_of(&request, ServerFamily::OpenAi).unwrap().to_string(), expected.to_string());
    let mut expected = expected;
    expected.as_object_mut().unwrap().shift_remove("stream_options");
    assert_eq!(
        body_of(&request, ServerFamily::Compatible).unwrap().to_string(),
        expected.to_string()
    );
    // A deployment's name does not reveal whether the model reasons.
    expected.as_object_mut().unwrap().shift_remove("include");
    assert_eq!(body_of(&request, ServerFamily::Azure).unwrap().to_string(), expected.to_string());
}

#[test]
fn the_upstreams_name_for_the_model_is_used() {
    let request = ModelRequest {
        model: Some("gpt-4o".into()),
        ..sample::request(sample::create(), vec![sample::user("Hi")])
    };
    let body = body_of(&request, ServerFamily::OpenAi).unwrap();
    assert_eq!(body["model"], "gpt-4o");
    assert_eq!(body.get("include"), None, "a model without reasoning has none to encrypt");
}

#[test]
fn include_lists() {
    let include = |family, model: &str, create: Create| {
        let request = sample::request(Create { model: model.into(), ..create }, vec![]);
        body_of(&request, family).unwrap().get("include").cloned().unwrap_or_default()
    };
    let asking = || Create {
        include: vec![LOGPROBS.into(), "file_search_call.results".into()],
        ..sample::create()
    };
    let thoughtful = || Create { include: vec![ENCRYPTED_CONTENT.into()], ..sample::create() };
    assert_eq!(
        include(ServerFamily::OpenAi, "gpt-5.2", asking()),
        json!([ENCRYPTED_CONTENT, LOGPROBS, "file_search_call.results"])
    );
    assert_eq!(
        include(ServerFamily::OpenAi, "ft:gpt-4.1-mini:north", asking()),
        json!([LOGPROBS, "file_search_call.results"])
    );
    assert_eq!(include(ServerFamily::OpenAi, "gpt-5-chat-latest", sample::create()), Value::Null);
    assert_eq!(include(ServerFamily::OpenAi, "gpt-4o", thoughtful()), json!([ENCRYPTED_CONTENT]));
    assert_eq!(
        include(ServerFamily::Compatible, "gpt-4o", sample::create()),
        json!([ENCRYPTED_CONTENT])
    );
    assert_eq!(
        include(
            ServerFamily::OpenAi,
            "gpt-4o",
            Create { top_logprobs: Some(2), ..sample::create() }
        ),
        json!([LOGPROBS])
    );
}

#[test]
fn a_complete_tool_round_trip() {
    let context = vec![
        sample::user("Weather?"),
        sample::assistant("I look."),
        sample::call("a", "get_weather", "{\"city\":\"Paris\"}"),
        sample::call("b", "now", ""),
        sample::output("a", "22°C"),
        sample::output("b", "noon"),
        sample::assistant("Warm."),
    ];
    let expected = json!([
        said_to("user", "Weather?"),
        answered("I look."),
        { "type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{\"city\":\"Paris\"}" },
        { "type": "function_call", "call_id": "b", "name": "now", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "a", "output": "22°C" },
        { "type": "function_call_output", "call_id": "b", "output": "noon" },
        answered("Warm."),
    ]);
    check_input(context, &expected);
}

/// openai-python#3561: an incomplete call without an output made the next turn fail.
#[test]
fn an_abandoned_call_is_left_out() {
    check_input(
        vec![sample::cut_call(), sample::user("Go on")],
        &json!([said_to("user", "Go on")]),
    );
}

fn sealed_thoughts(id: &str, upstream: &str) -> Item {
    Item::Reasoning(Reasoning {
        id: ItemId::new("rs_weir"),
        summary: vec![
            Part::SummaryText { text: "Counting".into() },
            Part::SummaryText { text: "Checking".into() },
        ],
        content: vec![Part::ReasoningText { text: "hm".into() }],
        encrypted_content: Some(super::super::sealed::seal(upstream, id, "gAAA")),
        extra: Extra::default(),
    })
}

#[test]
fn reasoning_is_sent_back_with_the_upstreams_own_id() {
    let thoughts = |id: &str| {
        let summary = json!([{ "type": "summary_text", "text": "Counting" }, { "type": "summary_text", "text": "Checking" }]);
        json!({ "type": "reasoning", "id": id, "summary": summary, "encrypted_content": "gAAA" })
    };
    let context = vec![
        sample::user("Go"),
        sealed_thoughts("rs_1", "north"),
        sealed_thoughts("rs_2", "north"),
        sample::call("a", "f", "{}"),
        sample::output("a", "1"),
        sealed_thoughts("rs_3", "north"),
        sample::assistant("One."),
    ];
    let expected = json!([
        said_to("user", "Go"),
        thoughts("rs_1"),
        thoughts("rs_2"),
        { "type": "function_call", "call_id": "a", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "a", "output": "1" },
        thoughts("rs_3"),
        answered("One."),
    ]);
    check_input(context, &expected);
}

#[test]
fn reasoning_that_would_be_rejected_is_left_out() {
    let open = sample::reasoning("hm");
    let others = sealed_thoughts("rs_1", "south");
    check_input(vec![open, others, sample::assistant("One.")], &json!([answered("One.")]));
    // Nothing followed it: the response was cancelled.
    let cut = vec![
        sealed_thoughts("rs_1", "north"),
        sample::message(Role::Assistant, vec![]),
        sample::user("Again"),
    ];
    check_input(cut, &json!([said_to("user", "Again")]));
    check_input(
        vec![sample::user("Go"), sealed_thoughts("rs_1", "north")],
        &json!([said_to("user", "Go")]),
    );
}

#[test]
fn images_files_and_refusals() {
    let image = || sample::image("data:image/png;base64,AA==", "low");
    let data = sample::file(Some("a.pdf"), Some("data:application/pdf;base64,AA=="), None);
    let linked = sample::file(None, None, Some("https://x/b.pdf"));
    let text = || Part::input_text("See:");
    let output = sample::output_parts("a", vec![text(), image()]);
    let refusal = Part::Refusal { refusal: "No.".into() };
    let context = vec![
        sample::message(Role::User, vec![text(), image(), data, linked]),
        sample::message(Role::Assistant, vec![Part::output_text("Hm."), refusal]),
        output,
        sample::message(Role::Developer, vec![text()]),
    ];
    let sent_image = json!({ "type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low" });
    let expected = json!([
        { "type": "message", "role": "user", "content": [
            { "type": "input_text", "text": "See:" },
            sent_image,
            { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA==" },
            { "type": "input_file", "file_url": "https://x/b.pdf" },
        ] },
        { "type": "message", "role": "assistant", "content": [
            { "type": "output_text", "text": "Hm." },
            { "type": "refusal", "refusal": "No." },
        ] },
        { "type": "function_call_output", "call_id": "a", "output": [{ "type": "input_text", "text": "See:" }, sent_image] },
        said_to("developer", "See:"),
    ]);
    check_input(context, &expected);
}

#[test]
fn a_compaction_becomes_a_system_message() {
    let compaction =
        Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() });
    let told = said_to("system", "Summary of the conversation so far:\n\nAda asked.");
    check_input(vec![sample::user("Why?"), compaction], &json!([said_to("user", "Why?"), told]));
}

#[test]
fn tools_and_choices() {
    let parameters = json!({ "type": "object" });
    let sent = |name: &str| json!({ "type": "function", "name": name, "description": "does it", "parameters": parameters, "strict": true });
    let create = |tool_choice| Create {
        tools: ["a", "b"].map(|name| Tool::Function(sample::tool(name))).to_vec(),
        tool_choice,
        ..sample::create()
    };
    let check = |tool_choice: ToolChoice, expected: Value| {
        check_create(
            ServerFamily::OpenAi,
            create(tool_choice),
            &json!({ "tools": [sent("a"), sent("b")], "tool_choice": expected }),
        );
    };
    check(ToolChoice::Mode(ToolMode::Auto), json!("auto"));
    check(ToolChoice::Mode(ToolMode::None), json!("none"));
    check(ToolChoice::Mode(ToolMode::Required), json!("required"));
    check(ToolChoice::Tool(sample::named("b")), json!({ "type": "function", "name": "b" }));
    let allowed = |mode| sample::allowed("b", mode);
    let one = json!([{ "type": "function", "name": "b" }]);
    check(
        allowed(ToolMode::Required),
        json!({ "type": "allowed_tools", "mode": "required", "tools": one }),
    );
    check(allowed(ToolMode::None), json!("none"));
    let bare = Tool::Function(FunctionTool {
        description: None,
        parameters: None,
        strict: None,
        ..sample::tool("c")
    });
    check_create(
        ServerFamily::Compatible,
        Create {
            tools: vec![bare],
            parallel_tool_calls: Some(false),
            max_tool_calls: Some(3),
            ..sample::create()
        },
        &json!({
            "tools": [{ "type": "function", "name": "c", "parameters": null }],
            "tool_choice": "auto", "parallel_tool_calls": false, "max_tool_calls": 3,
        }),
    );
    check_create(
        ServerFamily::OpenAi,
        Create { parallel_tool_calls: Some(true), ..sample::create() },
        &json!({}),
    );
}

#[test]
fn structured_output() {
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer" } } });
    let (description, extra) = (Some("one".to_owned()), Extra::default());
    let format = TextFormat::JsonSchema {
        name: "pet".into(),
        description,
        schema: schema.clone(),
        strict: true,
        extra,
    };
    let text = TextConfig { format, verbosity: Some("low".into()), ..TextConfig::default() };
    let sent = json!({ "type": "json_schema", "name": "pet", "description": "one", "schema": schema, "strict": true });
    let expected = json!({ "text": { "format": sent, "verbosity": "low" } });
    check_create(ServerFamily::OpenAi, Create { text, ..sample::create() }, &expected);
    let text = TextConfig {
        format: TextFormat::JsonObject { extra: Extra::default() },
        ..TextConfig::default()
    };
    check_create(
        ServerFamily::OpenAi,
        Create { text, ..sample::create() },
        &json!({ "text": { "format": { "type": "json_object" } } }),
    );
}

#[test]
fn every_parameter_is_translated() {
    let create = || Create {
        reasoning: Some(ReasoningConfig {
            effort: Some("high".into()),
            summary: Some("auto".into()),
            extra: Extra::default(),
        }),
        temperature: Some(0.5),
        top_p: Some(0.25),
        presence_penalty: Some(0.0),
        frequency_penalty: Some(0.0),
        top_logprobs: Some(2),
        max_output_tokens: Some(9),
        truncation: Some("auto".into()),
        service_tier: Some("flex".into()),
        safety_identifier: Some("u".into()),
        prompt_cache_key: Some("k".into()),
        metadata: Map::from_iter([("a".to_owned(), json!("b"))]),
        store: true,
        extra: Map::from_iter([
            ("user".to_owned(), json!("ada")),
            ("top_k".to_owned(), json!(3)),
            ("store".to_owned(), json!(true)),
        ]),
        ..sample::create()
    };
    let common = json!({
        "reasoning": { "effort": "high", "summary": "auto" }, "temperature": 0.5, "top_p": 0.25, "top_logprobs": 2,
        "max_output_tokens": 9, "truncation": "auto", "service_tier": "flex", "safety_identifier": "u", "prompt_cache_key": "k",
        "user": "ada",
    });
    check_create(ServerFamily::OpenAi, create(), &common);
    let mut compatible = common;
    for (name, value) in
        [("presence_penalty", json!(0.0)), ("frequency_penalty", json!(0.0)), ("top_k", json!(3))]
    {
        compatible[name] = value;
    }
    check_create(ServerFamily::Compatible, create(), &compatible);
}

#[test]
fn unsupported_fields_are_named_errors() {
    let check = |create: &Create, family| check(create, family, HostedTools::Omit);
    let refused = |create: Create| check(&create, ServerFamily::OpenAi).unwrap_err();
    let fault = refused(Create { presence_penalty: Some(0.5), ..sample::create() });
    assert_eq!(
        (fault.status, fault.code.as_str(), fault.param.as_deref()),
        (400, "unsupported_parameter", Some("presence_penalty"))
    );
    let fault = refused(Create { frequency_penalty: Some(-0.5), ..sample::create() });
    assert_eq!(fault.param.as_deref(), Some("frequency_penalty"));
    assert_eq!(
        check(&Create { presence_penalty: Some(0.0), ..sample::create() }, ServerFamily::Azure),
        Ok(vec![])
    );
    assert_eq!(
        check(
            &Create { presence_penalty: Some(0.5), ..sample::create() },
            ServerFamily::Compatible
        ),
        Ok(vec![])
    );

    for parameter in
        ["stop", "seed", "logit_bias", "n", "background", "store", "include", "conversation"]
    {
        assert!(
            !knows(parameter, ServerFamily::OpenAi) && !knows(parameter, ServerFamily::Compatible),
            "{parameter}"
        );
    }
    assert!(
        knows("prompt_cache_retention", ServerFamily::OpenAi)
            && knows("user", ServerFamily::Azure)
            && knows("top_k", ServerFamily::Compatible)
    );
    assert!(!knows("top_k", ServerFamily::OpenAi));

    let param = |parts: Vec<Part>, role| {
        let fault =
            input_of(ServerFamily::OpenAi, vec![sample::user("Hi"), sample::message(role, parts)])
                .unwrap_err();
        assert_eq!((fault.status, fault.code.as_str()), (400, "unsupported_value"));
        fault.param.unwrap()
    };
    let image =
        || Part::InputImage { image_url: None, detail: "auto".into(), extra: Extra::default() };
    let file = sample::file(None, None, None);
    assert_eq!(param(vec![image()], Role::User), "input[1].content[0].image_url");
    assert_eq!(
        param(vec![Part::input_text("a"), file], Role::User),
        "input[1].content[1].file_data"
    );
    assert_eq!(param(vec![image()], Role::Assistant), "input[1].content[0]");
}

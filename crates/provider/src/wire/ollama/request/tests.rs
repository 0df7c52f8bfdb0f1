//! The golden bodies.

use protocol::compaction::Compaction;
use protocol::id::ItemId;
use protocol::item::ItemStatus;
use protocol::request::{AllowedTools, AllowedToolsWord, FunctionWord, NamedFunction, ReasoningConfig, TextConfig, ToolChoice};

use super::*;
use crate::sample;

fn tool_named(name: &str) -> FunctionTool {
    let parameters = Some(json!({ "type": "object" }));
    FunctionTool { kind: "function".into(), name: name.into(), description: Some("does it".into()), parameters, strict: Some(true) }
}

fn function(name: &str) -> NamedFunction {
    NamedFunction { kind: FunctionWord::Function, name: name.into() }
}

fn messages_of(context: Vec<Item>) -> Result<Value, Fault> {
    body(&sample::request(sample::create(), context)).map(|mut body| body["messages"].take())
}

fn check_messages(context: Vec<Item>, expected: &Value) {
    assert_eq!(messages_of(context).unwrap(), *expected);
}

/// Checks what a request adds to the simplest one.
fn check_create(create: Create, expected: &Value) {
    let body = body(&sample::request(create, vec![sample::user("Hi")])).unwrap();
    let mut rest = body.as_object().unwrap().clone();
    rest.retain(|name, _| !["model", "messages", "stream"].contains(&name.as_str()));
    assert_eq!(Value::Object(rest), *expected);
}

#[test]
fn a_simple_chat_to_the_byte() {
    let create =
        Create { instructions: Some("Be brief.".into()), metadata: Map::from_iter([("a".to_owned(), json!("b"))]), ..sample::create() };
    let request = ModelRequest { model: Some("qwen3:4b".into()), ..sample::request(create, vec![sample::user("Hi")]) };
    let expected = json!({
        "model": "qwen3:4b",
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hi" }],
        "stream": true,
    });
    assert_eq!(body(&request).unwrap().to_string(), expected.to_string());
}

#[test]
fn a_whole_round_of_tools() {
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

/// openai-python#3561: a call that was cut and never answered broke the next turn.
#[test]
fn an_abandoned_call_is_left_out() {
    let Item::FunctionCall(call) = sample::call("a", "f", "{\"ci") else { panic!() };
    let cut = Item::FunctionCall(FunctionCall { status: ItemStatus::Incomplete, ..call });
    check_messages(vec![sample::reasoning("hm"), cut, sample::user("Go on")], &json!([{ "role": "user", "content": "Go on" }]));
}

#[test]
fn thoughts_go_back_and_their_summaries_do_not() {
    let summary = vec![Part::SummaryText { text: "Counting".into() }];
    let content = vec![Part::ReasoningText { text: "One,".into() }, Part::ReasoningText { text: "two.".into() }];
    let thoughts = |summary: &[Part], content: &[Part]| {
        Item::Reasoning(Reasoning {
            id: ItemId::new("rs_1"),
            summary: summary.to_vec(),
            content: content.to_vec(),
            encrypted_content: None,
        })
    };
    let context = vec![thoughts(&summary, &content), sample::assistant("Two."), thoughts(&summary, &[]), sample::assistant("Yes.")];
    check_messages(context, &json!([{ "role": "assistant", "content": "Two.\n\nYes.", "thinking": "One,\n\ntwo." }]));
}

#[test]
fn images_are_base64() {
    let image = || Part::InputImage { image_url: Some("data:image/png;base64,iVBORw0=".into()), detail: "auto".into() };
    let text = |text: &str| Part::InputText { text: text.into() };
    let output = Item::FunctionCallOutput(FunctionCallOutput {
        id: ItemId::new("fco_1"),
        call_id: "a".into(),
        output: FunctionOutput::Parts(vec![text("See:"), image()]),
        status: ItemStatus::Completed,
    });
    let expected = json!([
        { "role": "user", "content": "What is it?\nLook:", "images": ["iVBORw0=", "iVBORw0="] },
        { "role": "tool", "content": "See:", "images": ["iVBORw0="], "tool_call_id": "a" },
    ]);
    check_messages(vec![sample::message(Role::User, vec![text("What is it?"), image(), text("Look:"), image()]), output], &expected);
}

#[test]
fn the_system_says_what_a_developer_or_a_compaction_says() {
    let compaction = Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() });
    let developer = sample::message(Role::Developer, vec![Part::InputText { text: "Be kind.".into() }]);
    let refusal = sample::message(Role::Assistant, vec![Part::Refusal { refusal: "No.".into() }]);
    let expected = json!([
        { "role": "system", "content": "Summary of the conversation so far:\n\nAda asked." },
        { "role": "system", "content": "Be kind." },
        { "role": "assistant", "content": "No." },
    ]);
    check_messages(vec![compaction, developer, refusal], &expected);
}

#[test]
fn tools_are_offered_as_far_as_they_are_allowed() {
    let parameters = json!({ "type": "object" });
    let sent = |name: &str| json!({ "type": "function", "function": { "name": name, "description": "does it", "parameters": parameters } });
    let create = |tool_choice| Create { tools: vec![tool_named("a"), tool_named("b")], tool_choice, ..sample::create() };
    check_create(create(ToolChoice::Mode(ToolMode::Auto)), &json!({ "tools": [sent("a"), sent("b")] }));
    check_create(create(ToolChoice::Mode(ToolMode::None)), &json!({}));
    let allowed = AllowedTools { kind: AllowedToolsWord::AllowedTools, tools: vec![function("b")], mode: ToolMode::Auto };
    check_create(create(ToolChoice::Allowed(allowed)), &json!({ "tools": [sent("b")] }));
    let bare = FunctionTool { description: None, parameters: None, strict: None, ..tool_named("c") };
    let parameters = json!({ "type": "object", "properties": {} });
    let expected = json!({ "tools": [{ "type": "function", "function": { "name": "c", "parameters": parameters } }] });
    check_create(Create { tools: vec![bare], parallel_tool_calls: Some(true), ..sample::create() }, &expected);
}

#[test]
fn structured_output_is_its_schema() {
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer" } } });
    let format = TextFormat::JsonSchema { name: "pet".into(), description: None, schema: schema.clone(), strict: true };
    check_create(Create { text: TextConfig { format, verbosity: None }, ..sample::create() }, &json!({ "format": schema }));
    let text = TextConfig { format: TextFormat::JsonObject, verbosity: Some("medium".into()) };
    check_create(Create { text, ..sample::create() }, &json!({ "format": "json" }));
}

#[test]
fn how_much_it_thinks() {
    let check = |effort: Option<&str>, expected: Value| {
        let reasoning = Some(ReasoningConfig { effort: effort.map(str::to_owned), summary: Some("auto".into()) });
        check_create(Create { reasoning, ..sample::create() }, &expected);
    };
    check(None, json!({}));
    check(Some("none"), json!({ "think": false }));
    check(Some("minimal"), json!({ "think": "low" }));
    check(Some("medium"), json!({ "think": "medium" }));
    check(Some("xhigh"), json!({ "think": "high" }));
    check(Some("max"), json!({ "think": "max" }));
}

#[test]
fn every_parameter_has_its_place() {
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
        reasoning: Some(ReasoningConfig { effort: Some("low".into()), summary: None }),
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
fn what_has_no_word_is_a_named_error() {
    let refused = |create: Create, param: &str| {
        let fault = check(&create).unwrap_err();
        assert_eq!((fault.status, fault.code.as_str(), fault.param.as_deref()), (400, "unsupported_parameter", Some(param)));
    };
    let tools = || vec![tool_named("a")];
    refused(Create { tools: tools(), tool_choice: ToolChoice::Mode(ToolMode::Required), ..sample::create() }, "tool_choice");
    refused(Create { tools: tools(), tool_choice: ToolChoice::Function(function("a")), ..sample::create() }, "tool_choice");
    refused(Create { tools: tools(), parallel_tool_calls: Some(false), ..sample::create() }, "parallel_tool_calls");
    let text = TextConfig { format: TextFormat::Text, verbosity: Some("low".into()) };
    refused(Create { text, ..sample::create() }, "text.verbosity");
    assert_eq!(check(&Create { parallel_tool_calls: Some(false), ..sample::create() }), Ok(()));

    for parameter in ["n", "logit_bias", "user", "messages", "stream"] {
        assert!(!knows(parameter), "{parameter}");
    }
    assert!(knows("stop") && knows("seed") && !knows("num_ctx") && !knows("keep_alive"));

    let param = |part: Part, role| {
        let fault = messages_of(vec![sample::user("Hi"), sample::message(role, vec![part])]).unwrap_err();
        assert_eq!((fault.status, fault.code.as_str()), (400, "unsupported_value"));
        fault.param.unwrap()
    };
    let image = |url: Option<&str>| Part::InputImage { image_url: url.map(str::to_owned), detail: "auto".into() };
    assert_eq!(param(image(Some("https://x/y.png")), Role::User), "input[1].content[0].image_url");
    assert_eq!(param(image(Some("data:image/svg+xml,%3Csvg/%3E")), Role::User), "input[1].content[0].image_url");
    assert_eq!(param(image(None), Role::User), "input[1].content[0].image_url");
    assert_eq!(param(image(Some("data:image/png;base64,AA==")), Role::Assistant), "input[1].content");
    let file = Part::InputFile { filename: None, file_data: Some("data:text/plain;base64,AA==".into()), file_url: None };
    assert_eq!(param(file, Role::User), "input[1].content[0]");
}

//! Golden request bodies.

mod odd;

use protocol::compaction::Compaction;
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::{Item, Part, Reasoning, Role};
use protocol::request::{FunctionTool, ReasoningConfig, TextConfig, Tool};

use super::*;
use crate::sample;

fn create() -> Create {
    Create { model: "gemini-2.5-flash".into(), ..sample::create() }
}

fn newer() -> Create {
    Create { model: "gemini-3-pro-preview".into(), ..sample::create() }
}

fn body_of(create: Create, context: Vec<Item>) -> Result<Value, Fault> {
    body(&sample::request(create, context), HostedTools::Omit)
}

/// Checks the fields beyond those of a minimal request.
fn check_create(create: Create, expected: &Value) {
    let mut body = body_of(create, vec![sample::user("Hi")]).unwrap();
    assert_eq!(
        body.as_object_mut().unwrap().remove("contents"),
        Some(json!([user(&json!([said("Hi")]))]))
    );
    assert_eq!(&body, expected);
}

fn check_contents(create: Create, context: Vec<Item>, expected: &Value) {
    assert_eq!(&body_of(create, context).unwrap()["contents"], expected);
}

fn check_fault(create: &Create, code: &str, param: &str) {
    let fault = check(create, HostedTools::Omit).unwrap_err();
    assert_eq!(
        (fault.status, fault.code.as_str(), fault.param.as_deref()),
        (400, code, Some(param))
    );
}

fn signed(encrypted: &str) -> Item {
    let content = vec![Part::ReasoningText { text: "Hm.".into() }];
    let (id, encrypted_content) = (ItemId::new("rs_1"), Some(encrypted.into()));
    Item::Reasoning(Reasoning {
        id,
        summary: Vec::new(),
        content,
        encrypted_content,
        extra: Extra::default(),
    })
}

fn user(parts: &Value) -> Value {
    json!({ "role": "user", "parts": parts })
}

fn model(parts: &Value) -> Value {
    json!({ "role": "model", "parts": parts })
}

fn said(text: &str) -> Value {
    json!({ "text": text })
}

fn response(id: &str, name: &str, response: &Value) -> Value {
    json!({ "functionResponse": { "id": id, "name": name, "response": response } })
}

#[expect(clippy::unnecessary_wraps, reason = "in the API's own field")]
fn effort(effort: &str) -> Option<ReasoningConfig> {
    Some(ReasoningConfig { effort: Some(effort.into()), ..ReasoningConfig::default() })
}

#[test]
fn a_minimal_request_has_a_minimal_body() {
    let create = Create { instructions: Some("Be brief.".into()), ..create() };
    let expected = json!({
        "systemInstruction": { "parts": [{ "text": "Be brief." }] },
        "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }],
    });
    assert_eq!(
        body_of(create, vec![sample::user("Hi")]).unwrap().to_string(),
        expected.to_string()
    );
}

#[test]
fn a_complete_tool_round_trip() {
    let context = vec![
        sample::user("Weather and time?"),
        sample::assistant("Let me see."),
        sample::call("a", "weather", "{\"city\":\"Paris\"}"),
        sample::call("b", "time", ""),
        sample::output("b", "noon"),
        sample::output("a", "{\"sky\":\"sunny\"}"),
        sample::user("Be brief"),
        sample::assistant("Sunny noon."),
        sample::user("Thanks"),
    ];
    let expected = json!([
        user(&json!([said("Weather and time?")])),
        model(&json!([
            said("Let me see."),
            { "functionCall": { "id": "a", "name": "weather", "args": { "city": "Paris" } } },
            { "functionCall": { "id": "b", "name": "time", "args": {} } },
        ])),
        user(&json!([
            response("b", "time", &json!({ "output": "noon" })),
            response("a", "weather", &json!({ "sky": "sunny" }))
        ])),
        user(&json!([said("Be brief")])),
        model(&json!([said("Sunny noon.")])),
        user(&json!([said("Thanks")])),
    ]);
    check_contents(create(), context, &expected);
}

#[test]
fn signatures_are_sent_back_in_their_part() {
    let context = vec![
        sample::user("Hi"),
        signed("gemini.signature.AAAA"),
        sample::call("a", "f", "{}"),
        sample::call("b", "f", "{}"),
        sample::output("a", "1"),
        sample::output("b", "2"),
        signed("anthropic.signature.EqQB"),
        sample::assistant("Done."),
        signed("gemini.signature.BBBB"),
        sample::user("Go on"),
        // Without any text.
        signed("gemini.signature.CCCC"),
        sample::user("Well?"),
    ];
    let expected = json!([
        user(&json!([said("Hi")])),
        model(&json!([
            { "functionCall": { "id": "a", "name": "f", "args": {} }, "thoughtSignature": "AAAA" },
            { "functionCall": { "id": "b", "name": "f", "args": {} } },
        ])),
        user(&json!([
            response("a", "f", &json!({ "output": "1" })),
            response("b", "f", &json!({ "output": "2" }))
        ])),
        model(&json!([said("Done."), { "text": "", "thoughtSignature": "BBBB" }])),
        user(&json!([said("Go on"), said("Well?")])),
    ]);
    check_contents(newer(), context, &expected);
}

#[test]
fn calls_of_other_models_are_marked_where_signatures_are_required() {
    let context = || {
        vec![
            sample::user("Hi"),
            sample::call("a", "f", ""),
            sample::call("b", "f", ""),
            sample::output("a", "1"),
        ]
    };
    let call = |id: &str| json!({ "functionCall": { "id": id, "name": "f", "args": {} } });
    let mut marked = call("a");
    marked["thoughtSignature"] = "skip_thought_signature_validator".into();
    let expected = |first: &Value| {
        let given = response("a", "f", &json!({ "output": "1" }));
        json!([
            user(&json!([said("Hi")])),
            model(&json!([first, call("b")])),
            user(&json!([given]))
        ])
    };
    check_contents(newer(), context(), &expected(&marked));
    check_contents(create(), context(), &expected(&call("a")));
}

#[test]
fn an_incomplete_call_is_left_out() {
    let context = vec![
        sample::user("Hi"),
        signed("gemini.signature.AAAA"),
        sample::cut_call(),
        sample::user("Go on"),
    ];
    check_contents(create(), context, &json!([user(&json!([said("Hi"), said("Go on")]))]));
}

#[test]
fn an_output_requires_its_call() {
    let fault = body_of(create(), vec![sample::user("Hi"), sample::output("a", "1")]).unwrap_err();
    assert_eq!(
        (fault.code.as_str(), fault.param.as_deref()),
        ("invalid_value", Some("input[1].call_id"))
    );
}

#[test]
fn images_and_files() {
    let image = |url: &str| sample::image(url, "auto");
    let file = |data: Option<&str>, url: Option<&str>| sample::file(Some("a"), data, url);
    let parts = vec![
        Part::input_text("See:"),
        image("data:image/png;base64,AA=="),
        image("https://x/y.JPG?size=1"),
        file(Some("data:text/csv;base64,AA=="), None),
        file(None, Some("https://x/a.pdf")),
        file(None, Some("https://x/files/7")),
    ];
    let expected = json!([user(&json!([
        said("See:"),
        { "inlineData": { "mimeType": "image/png", "data": "AA==" } },
        { "fileData": { "fileUri": "https://x/y.JPG?size=1", "mimeType": "image/jpeg" } },
        { "inlineData": { "mimeType": "text/csv", "data": "AA==" } },
        { "fileData": { "fileUri": "https://x/a.pdf", "mimeType": "application/pdf" } },
        { "fileData": { "fileUri": "https://x/files/7" } },
    ]))]);
    check_contents(create(), vec![sample::message(Role::User, parts)], &expected);

    let check = |part: Part, param: &str| {
        let fault = body_of(create(), vec![sample::message(Role::User, vec![part])]).unwrap_err();
        assert_eq!(
            (fault.code.as_str(), fault.param.as_deref()),
            ("unsupported_value", Some(param))
        );
    };
    check(image("ftp://x/y.png"), "input[0].content[0].image_url");
    check(file(None, None), "input[0].content[0].file_data");
    let system = vec![sample::message(Role::System, vec![image("https://x/y.png")])];
    assert_eq!(
        body_of(create(), system).unwrap_err().param.as_deref(),
        Some("input[0].content[0]")
    );
}

#[test]
fn a_tool_result_may_contain_images() {
    let output = sample::output_parts(
        "a",
        vec![Part::input_text("Here:"), sample::image("data:image/png;base64,AA==", "auto")],
    );
    let body =
        body_of(create(), vec![sample::user("Hi"), sample::call("a", "f", ""), output]).unwrap();
    let image = json!({ "inlineData": { "mimeType": "image/png", "data": "AA==" } });
    let expected =
        json!({ "id": "a", "name": "f", "response": { "output": "Here:" }, "parts": [image] });
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"], expected);
}

#[test]
fn system_messages_move_to_the_top() {
    let context = vec![
        Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() }),
        sample::message(Role::Developer, vec![Part::input_text("Be kind.")]),
        sample::user("Why?"),
    ];
    let body =
        body_of(Create { instructions: Some("Be brief.".into()), ..create() }, context).unwrap();
    let expected = json!([
        said("Be brief."),
        said("Summary of the conversation so far:\n\nAda asked."),
        said("Be kind.")
    ]);
    assert_eq!(body["systemInstruction"]["parts"], expected);
    assert_eq!(body["contents"], json!([user(&json!([said("Why?")]))]));
}

#[test]
fn tools_and_choices() {
    let tool = |name: &str, parameters: Option<Value>| {
        let description = parameters.as_ref().map(|_| "does it".into());
        Tool::Function(FunctionTool { description, parameters, ..sample::tool(name) })
    };
    let tools = || vec![tool("a", Some(json!({ "type": "object" }))), tool("b", None)];
    let with = |tool_choice| Create { tools: tools(), tool_choice, ..create() };
    let a = json!({ "name": "a", "description": "does it", "parametersJsonSchema": { "type": "object" } });
    let b = json!({ "name": "b" });
    let sent = |tools: &Value, choice: &Value| json!({ "tools": [{ "functionDeclarations": tools }], "toolConfig": { "functionCallingConfig": choice } });
    let both = json!([a, b]);
    check_create(with(ToolChoice::Mode(ToolMode::Auto)), &sent(&both, &json!({ "mode": "AUTO" })));
    check_create(
        with(ToolChoice::Mode(ToolMode::Required)),
        &sent(&both, &json!({ "mode": "ANY" })),
    );
    check_create(with(ToolChoice::Mode(ToolMode::None)), &sent(&both, &json!({ "mode": "NONE" })));
    let one = sent(&both, &json!({ "mode": "ANY", "allowedFunctionNames": ["b"] }));
    check_create(with(ToolChoice::Tool(sample::named("b"))), &one);
    check_create(
        with(sample::allowed("b", ToolMode::Required)),
        &sent(&json!([b]), &json!({ "mode": "ANY" })),
    );
}

#[test]
fn efforts_are_budgets_or_levels() {
    let check = |create: Create, word: &str, expected: &Value| {
        check_create(
            Create { reasoning: effort(word), ..create },
            &json!({ "generationConfig": { "thinkingConfig": expected } }),
        );
    };
    check(create(), "none", &json!({ "thinkingBudget": 0 }));
    check(create(), "low", &json!({ "thinkingBudget": 1_024, "includeThoughts": true }));
    check(create(), "xhigh", &json!({ "thinkingBudget": 24_576, "includeThoughts": true }));
    check(newer(), "minimal", &json!({ "thinkingLevel": "minimal", "includeThoughts": true }));
    check(newer(), "max", &json!({ "thinkingLevel": "high", "includeThoughts": true }));
    let summary =
        Some(ReasoningConfig { summary: Some("auto".into()), ..ReasoningConfig::default() });
    let expected = json!({ "generationConfig": { "thinkingConfig": { "includeThoughts": true } } });
    check_create(Create { reasoning: summary, ..newer() }, &expected);
    let fault = body_of(Create { reasoning: effort("none"), ..newer() }, vec![sample::user("Hi")])
        .unwrap_err();
    assert_eq!(
        (fault.code.as_str(), fault.param.as_deref()),
        ("unsupported_value", Some("reasoning.effort"))
    );
}

#[test]
fn structured_output() {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "integer" } } });
    let extra = Extra::default();
    let format = TextFormat::JsonSchema {
        name: "n".into(),
        description: None,
        schema: schema.clone(),
        strict: true,
        extra,
    };
    let text = |format| TextConfig { format, ..TextConfig::default() };
    let expected = json!({ "generationConfig": { "responseMimeType": "application/json", "responseJsonSchema": schema } });
    check_create(Create { text: text(format), ..create() }, &expected);
    let expected = json!({ "generationConfig": { "responseMimeType": "application/json" } });
    check_create(
        Create { text: text(TextFormat::JsonObject { extra: Extra::default() }), ..create() },
        &expected,
    );
}

#[test]
fn every_parameter_is_translated() {
    let extra = Map::from_iter([
        ("stop".to_owned(), json!(["x", "y"])),
        ("top_k".to_owned(), json!(5)),
        ("seed".to_owned(), json!(7)),
        ("safetySettings".to_owned(), json!([])),
        ("contents".to_owned(), json!("other")),
    ]);
    let create = Create {
        temperature: Some(1.5),
        top_p: Some(0.25),
        presence_penalty: Some(1.0),
        frequency_penalty: Some(-1.0),
        top_logprobs: Some(2),
        max_output_tokens: Some(9),
        service_tier: Some("flex".into()),
        extra,
        ..create()
    };
    let config = json!({
        "maxOutputTokens": 9, "temperature": 1.5, "topP": 0.25, "topK": 5, "seed": 7, "presencePenalty": 1.0,
        "frequencyPenalty": -1.0, "stopSequences": ["x", "y"], "responseLogprobs": true, "logprobs": 2,
    });
    check_create(
        create,
        &json!({ "generationConfig": config, "serviceTier": "flex", "safetySettings": [] }),
    );
}

#[test]
fn unsupported_fields_are_named_errors() {
    let extra = |name: &str, value: Value| Create {
        extra: Map::from_iter([(name.to_owned(), value)]),
        ..create()
    };
    check_fault(
        &Create { service_tier: Some("scale".into()), ..create() },
        "unsupported_value",
        "service_tier",
    );
    check_fault(
        &Create { reasoning: effort("huge"), ..create() },
        "unsupported_value",
        "reasoning.effort",
    );
    for name in ["n", "logit_bias", "conversation", "prompt", "context_management"] {
        check_fault(&extra(name, json!(1)), "unknown_parameter", name);
    }
    check_fault(&extra("stop", json!([7])), "invalid_value", "stop");
    check_fault(&extra("seed", json!("lucky")), "invalid_value", "seed");
    let known = Create { parallel_tool_calls: Some(false), ..extra("seed", json!(1)) };
    assert_eq!(check(&known, HostedTools::Omit), Ok(vec![]));
}

#[test]
fn irrelevant_fields_are_left_out_with_a_warning() {
    let ignored = |create: Create, expected: &[&str]| {
        assert_eq!(check(&create, HostedTools::Omit).unwrap(), expected);
    };
    let text = TextConfig { verbosity: Some("high".into()), ..TextConfig::default() };
    ignored(Create { text, ..create() }, &["text.verbosity"]);
    let tools = vec![Tool::Function(sample::tool("f"))];
    ignored(
        Create { tools, parallel_tool_calls: Some(false), ..create() },
        &["parallel_tool_calls"],
    );
    ignored(Create { truncation: Some("auto".into()), max_tool_calls: Some(3), ..create() }, &[]);
    ignored(
        Create { extra: Map::from_iter([("user".to_owned(), json!("ada"))]), ..create() },
        &["user"],
    );
}

//! Requests of both dialects: accepted ones, and refused ones with the field that is named.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use serde_json::{Value, json};
use weir_protocol::dialect::{chat_completions, responses};
use weir_protocol::fault::Fault;
use weir_protocol::item::{Item, Part, Role};
use weir_protocol::request::{InputItem, ToolChoice, ToolMode};

fn refused(fault: &Fault) -> (&str, &str) {
    (fault.code.as_str(), fault.param.as_deref().unwrap_or(""))
}

fn check_responses(mut body: Value, code: &str, param: &str) {
    let object = body.as_object_mut().unwrap();
    for (name, value) in [("model", json!("demo")), ("input", json!("hi"))] {
        object.entry(name).or_insert(value);
    }
    let fault = responses::read_create(&body).unwrap_err();
    assert_eq!((refused(&fault), fault.status), ((code, param), 400), "{body}");
}

#[test]
fn an_assistant_message_without_text_is_accepted() {
    let empty = [
        json!({}),
        json!({ "content": null }),
        json!({ "content": null, "refusal": null }),
        json!({ "tool_calls": [] }),
        json!({ "tool_calls": null }),
    ];
    for mut message in empty {
        message["role"] = "assistant".into();
        let body =
            json!({ "model": "demo", "messages": [{ "role": "user", "content": "hi" }, message] });
        let input = chat_completions::read_create(&body).unwrap().create.input;
        let [_, InputItem::Item(Item::Message(message))] = &input[..] else {
            panic!("{body}: {input:?}")
        };
        assert_eq!((message.role, message.content.len()), (Role::Assistant, 0));
    }
}

#[test]
fn images_of_an_assistant_message_are_items_and_other_forms_stay_in_it() {
    let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url }, "index": 0 });
    let images =
        json!([image("data:image/webp;base64,AA=="), { "ref": 7 }, image("https://x/y.png")]);
    let body = json!({ "model": "demo", "messages": [{ "role": "assistant", "content": null, "images": images }] });
    let create = chat_completions::read_create(&body).unwrap().create;
    let [
        InputItem::Item(Item::Message(message)),
        InputItem::Item(Item::Opaque(first)),
        InputItem::Item(Item::Opaque(second)),
    ] = &create.input[..]
    else {
        panic!("{:?}", create.input)
    };
    assert_eq!(message.extra.get("images"), Some(&json!([{ "ref": 7 }])));
    assert_eq!(
        (first.kind.as_str(), first.fields.text("output_format"), first.fields.text("result")),
        ("image_generation_call", Some("webp"), Some("AA=="))
    );
    assert_eq!(second.fields.text("result"), Some("https://x/y.png"));
    assert_eq!(create.paths.path("input[2].type"), "messages[0].images[2]");
}

#[test]
fn fields_of_a_chat_are_named_as_they_were_written() {
    let call =
        json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let body = json!({ "model": "demo", "logprobs": true, "max_completion_tokens": 5, "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": "a", "reasoning_content": "hm", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": [{ "type": "text", "text": "1" }] },
        { "role": "user", "content": [{ "type": "text", "text": "b" }] },
    ] });
    let paths = chat_completions::read_create(&body).unwrap().create.paths;
    for (neutral, expected) in [
        ("input[0].content[0].type", "messages[0].content"),
        ("input[1]", "messages[1].reasoning_content"),
        ("input[2].prefix", "messages[1].prefix"),
        ("input[3].extra_content", "messages[1].tool_calls[0].extra_content"),
        ("input[4].output[0].type", "messages[2].content[0].type"),
        ("input[5].content[0].image_url", "messages[3].content[0].image_url"),
        ("text.format", "response_format"),
        ("reasoning.effort", "reasoning_effort"),
        ("top_logprobs", "logprobs"),
        ("max_output_tokens", "max_completion_tokens"),
        ("stop", "stop"),
    ] {
        assert_eq!(paths.path(neutral), expected);
    }
}

#[test]
fn a_wrong_field_is_named_by_its_path() {
    check_responses(json!({ "model": 5 }), "invalid_type", "model");
    check_responses(json!({ "model": null }), "missing_required_parameter", "model");
    check_responses(json!({ "model": "" }), "invalid_value", "model");
    check_responses(json!({ "input": 5 }), "invalid_type", "input");
    check_responses(json!({ "input": "" }), "empty_input", "input");
    check_responses(json!({ "input": [] }), "empty_input", "input");
    check_responses(json!({ "input": null }), "missing_required_parameter", "input");
    check_responses(json!({ "input": [5] }), "invalid_type", "input[0]");
    check_responses(json!({ "input": [{}] }), "missing_required_parameter", "input[0].type");
    check_responses(json!({ "input": [{ "type": "a poem" }] }), "invalid_value", "input[0].type");
    check_responses(json!({ "conversation": "conv_1" }), "unsupported_parameter", "conversation");
    check_responses(
        json!({ "input": [{ "role": "king", "content": "x" }] }),
        "invalid_value",
        "input[0].role",
    );
    check_responses(
        json!({ "input": [{ "role": "user" }] }),
        "missing_required_parameter",
        "input[0].content",
    );
    check_responses(
        json!({ "input": [{ "role": "user", "content": 1 }] }),
        "invalid_type",
        "input[0].content",
    );
    check_responses(
        json!({ "input": [{ "role": "user", "content": [{ "type": "input_text", "text": 1 }] }] }),
        "invalid_type",
        "input[0].content[0].text",
    );
    check_responses(
        json!({ "input": [{ "role": "user", "content": [{ "type": "input_image" }] }] }),
        "missing_required_parameter",
        "input[0].content[0].image_url",
    );
    check_responses(
        json!({ "input": [{ "type": "function_call_output", "call_id": "", "output": "" }] }),
        "invalid_value",
        "input[0].call_id",
    );
    check_responses(json!({ "temperature": "hot" }), "invalid_type", "temperature");
    check_responses(json!({ "temperature": 3 }), "invalid_value", "temperature");
    check_responses(json!({ "max_output_tokens": 0 }), "invalid_value", "max_output_tokens");
    check_responses(json!({ "max_output_tokens": 1.5 }), "invalid_type", "max_output_tokens");
    check_responses(json!({ "stream": "yes" }), "invalid_type", "stream");
    check_responses(json!({ "tools": [{ "type": "" }] }), "invalid_value", "tools[0].type");
    check_responses(
        json!({ "tools": [{ "type": "namespace", "name": "n", "tools": [{ "type": "namespace" }] }] }),
        "invalid_value",
        "tools[0].tools[0].type",
    );
    check_responses(
        json!({ "tool_choice": { "type": "web_search" } }),
        "invalid_value",
        "tool_choice.type",
    );
    check_responses(
        json!({ "tools": [{ "type": "function", "name": "a b" }] }),
        "invalid_value",
        "tools[0].name",
    );
    check_responses(json!({ "tool_choice": "required" }), "invalid_value", "tool_choice");
    check_responses(
        json!({ "tool_choice": { "type": "function", "name": "x" } }),
        "invalid_value",
        "tool_choice.name",
    );
    check_responses(json!({ "metadata": { "a": 1 } }), "invalid_type", "metadata.a");
    check_responses(
        json!({ "text": { "format": { "type": "json_schema", "name": "x" } } }),
        "missing_required_parameter",
        "text.format.schema",
    );
    check_responses(
        json!({ "reasoning": { "effort": "huge" } }),
        "invalid_value",
        "reasoning.effort",
    );
    check_responses(json!({ "background": true, "store": false }), "invalid_value", "background");
}

#[test]
fn a_body_that_is_not_an_object_is_refused_without_a_field() {
    for body in [json!([]), json!("x"), json!(null)] {
        assert_eq!(refused(&responses::read_create(&body).unwrap_err()), ("invalid_type", ""));
        assert_eq!(
            refused(&chat_completions::read_create(&body).unwrap_err()),
            ("invalid_type", "")
        );
    }
}

fn check_chat(mut body: Value, code: &str, param: &str) {
    let object = body.as_object_mut().unwrap();
    for (name, value) in
        [("model", json!("demo")), ("messages", json!([{ "role": "user", "content": "hi" }]))]
    {
        object.entry(name).or_insert(value);
    }
    let fault = chat_completions::read_create(&body).unwrap_err();
    assert_eq!((refused(&fault), fault.status), ((code, param), 400), "{body}");
}

#[test]
fn a_wrong_field_of_a_chat_is_named_by_its_path() {
    check_chat(json!({ "messages": null }), "missing_required_parameter", "messages");
    check_chat(json!({ "messages": [] }), "empty_input", "messages");
    check_chat(json!({ "messages": "hi" }), "invalid_type", "messages");
    check_chat(
        json!({ "messages": [{ "content": "hi" }] }),
        "missing_required_parameter",
        "messages[0].role",
    );
    check_chat(
        json!({ "messages": [{ "role": "user" }] }),
        "missing_required_parameter",
        "messages[0].content",
    );
    check_chat(
        json!({ "messages": [{ "role": "tool", "content": "x" }] }),
        "missing_required_parameter",
        "messages[0].tool_call_id",
    );
    check_chat(
        json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "id": "c" }] }] }),
        "missing_required_parameter",
        "messages[0].tool_calls[0].function",
    );
    check_chat(
        json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": "x" }] }] }),
        "invalid_type",
        "messages[0].content[0].image_url",
    );
    check_chat(json!({ "n": 2 }), "unsupported_value", "n");
    check_chat(
        json!({ "stream_options": { "include_usage": true } }),
        "invalid_value",
        "stream_options",
    );
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let none =
        json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [] } });
    check_chat(
        json!({ "tools": tools, "tool_choice": none }),
        "invalid_value",
        "tool_choice.allowed_tools.tools",
    );
    check_chat(
        json!({ "tools": [{ "type": "function" }] }),
        "missing_required_parameter",
        "tools[0].function",
    );
    check_chat(
        json!({ "response_format": { "type": "json_schema" } }),
        "missing_required_parameter",
        "response_format.json_schema",
    );
}

#[test]
fn valid_requests_are_read() {
    let create = responses::read_create(&json!({
        "model": "m",
        "input": [
            { "role": "user", "content": "a" },
            { "type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [{ "type": "output_text", "text": "b", "annotations": [] }] },
            { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c", "output": [{ "type": "input_text", "text": "r" }] },
            { "type": "reasoning", "summary": [], "encrypted_content": "xyz" },
            { "type": "item_reference", "id": "msg_2" },
        ],
        "tools": [{ "type": "function", "name": "f", "parameters": { "z": 1, "a": 2 } }, { "type": "function", "name": "g" }],
        "tool_choice": { "type": "allowed_tools", "tools": [{ "type": "function", "name": "f" }], "mode": "required" },
        "store": null,
        "stop": ["x"],
    }))
    .unwrap();
    assert_eq!(create.input.len(), 6);
    assert!(
        matches!(&create.input[0], InputItem::Item(Item::Message(message)) if message.role == Role::User && matches!(message.content[0], Part::InputText { .. }))
    );
    assert!(
        matches!(&create.input[1], InputItem::Item(Item::Message(message)) if message.role == Role::Assistant && matches!(message.content[0], Part::OutputText { .. }))
    );
    let ToolChoice::Allowed(allowed) = &create.tool_choice else {
        panic!("{:?}", create.tool_choice)
    };
    assert_eq!(allowed.names().collect::<Vec<_>>(), ["f"]);
    assert_eq!(create.tool_choice.mode(), ToolMode::Required);
    assert!(create.store, "null is absent");
    assert_eq!(create.extra.get("stop"), Some(&json!(["x"])));
    assert_eq!(
        serde_json::to_value(&create.tools[0]).unwrap()["parameters"].to_string(),
        r#"{"z":1,"a":2}"#,
        "a schema keeps its order"
    );
}

#[test]
fn a_chat_becomes_items() {
    let chat = chat_completions::read_create(&json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "s" },
            { "role": "user", "content": [{ "type": "text", "text": "u" }, { "type": "image_url", "image_url": { "url": "data:,x" } }] },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c", "content": "r" },
        ],
        "max_tokens": 5,
        "stream": true,
        "stream_options": { "include_usage": true },
        "logit_bias": {},
    }))
    .unwrap();
    assert_eq!(chat.create.input.len(), 4);
    assert!(
        matches!(&chat.create.input[2], InputItem::Item(Item::FunctionCall(call)) if call.call_id == "c")
    );
    assert_eq!(
        (chat.create.max_output_tokens, chat.create.store, chat.options.include_usage),
        (Some(5), false, true)
    );
    assert_eq!(chat.create.tool_choice, ToolChoice::Mode(ToolMode::Auto));
    assert!(chat.create.extra.contains_key("logit_bias"));
}

#[test]
fn the_former_functions_of_a_chat_are_tools() {
    let chat = chat_completions::read_create(&json!({
        "model": "m",
        "functions": [{ "name": "f", "parameters": {} }],
        "function_call": { "name": "f" },
        "modalities": ["text"],
        "messages": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{}" } },
            { "role": "function", "name": "f", "content": "r" },
        ],
    }))
    .unwrap();
    assert!(chat.options.has_functions && chat.create.extra.is_empty());
    assert!(matches!(chat.create.tool_choice, ToolChoice::Tool(ref named) if named.name == "f"));
    let [
        _,
        InputItem::Item(Item::FunctionCall(call)),
        InputItem::Item(Item::FunctionCallOutput(output)),
    ] = &chat.create.input[..]
    else {
        panic!("{:?}", chat.create.input)
    };
    assert_eq!(call.call_id, output.call_id);
    check_chat(
        json!({ "messages": [{ "role": "function", "name": "f", "content": "r" }] }),
        "invalid_value",
        "messages[0].name",
    );
    check_chat(json!({ "modalities": ["text", "audio"] }), "unsupported_value", "modalities[1]");
}

/// The output of Weir is accepted as input: ids of any length, names made by an upstream, parts and
/// items of unknown types.
#[test]
fn output_of_upstreams_is_accepted_as_input() {
    let call_id = "x".repeat(95);
    let chat = chat_completions::read_create(&json!({ "model": "m", "messages": [
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": call_id, "type": "function", "function": { "name": "functions.f:0", "arguments": "{}" }, "extra_content": { "google": { "thought_signature": "SIG==" } } },
        ] },
        { "role": "tool", "tool_call_id": call_id, "content": "r" },
        { "role": "user", "content": [{ "type": "text", "text": "S", "cache_control": { "type": "ephemeral" } }, { "type": "video_url", "video_url": { "url": "u" } }] },
    ] }))
    .unwrap();
    let InputItem::Item(Item::FunctionCall(call)) = &chat.create.input[0] else {
        panic!("no call")
    };
    assert_eq!((call.call_id.len(), call.name.as_str()), (95, "functions.f:0"));
    assert_eq!(
        call.extra.get("extra_content"),
        Some(&json!({ "google": { "thought_signature": "SIG==" } }))
    );
    let create = responses::read_create(&json!({ "model": "m", "input": [
        { "type": "function_call", "call_id": call_id, "name": "a b", "arguments": "{}", "namespace": "n" },
        { "type": "function_call_output", "call_id": call_id, "output": "r" },
        { "type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x" },
        { "type": "custom_tool_call_output", "call_id": "c", "output": [{ "type": "input_text", "text": "r" }] },
        { "type": "reasoning", "summary": [], "content": null, "encrypted_content": null },
        { "type": "web_search_call", "id": "ws_1", "status": "completed" },
        { "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": "AA==" } }] },
    ] }))
    .unwrap();
    let InputItem::Item(Item::Opaque(item)) = &create.input[5] else { panic!("no opaque item") };
    assert_eq!(
        (item.kind.as_str(), item.fields.text("upstream_id")),
        ("web_search_call", Some("ws_1"))
    );
}

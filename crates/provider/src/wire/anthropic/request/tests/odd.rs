//! Requests beyond this API's documentation: translated, left out with a warning, or rejected.

use protocol::request::InputItem;

use super::*;

#[test]
fn cache_control_marks_stay_in_place() {
    let mark = json!({ "type": "ephemeral" });
    let part = json!({ "type": "text", "text": "S", "cache_control": mark });
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } }, "cache_control": mark });
    let call =
        json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let said = json!([
        { "role": "system", "content": [part] },
        { "role": "user", "content": [part, { "type": "text", "text": "T" }] },
        { "role": "assistant", "content": "Hm.", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "a", "content": "1", "cache_control": mark },
    ]);
    let request = sample::asked(&said, &json!({ "tools": [tool] }));
    assert_eq!(check(&request.create, HostedTools::Omit), Ok(vec![]));
    let body = body(&request, HostedTools::Omit).unwrap();
    assert_eq!(body["system"], json!([part]));
    assert_eq!(body["messages"][0]["content"], json!([part, said_block("T")]));
    assert_eq!(body["messages"][2]["content"][0]["cache_control"], mark);
    assert_eq!(body["tools"][0]["cache_control"], mark);
}

fn said_block(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

#[test]
fn unsupported_content_is_rejected_with_its_path() {
    let audio =
        json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } });
    let request = sample::asked(&json!([{ "role": "user", "content": [audio] }]), &json!({}));
    check_fault(&request.create, "unsupported_value", "input[0].content[0].type");
    let prefix = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "I", "prefix": true }]);
    check_fault(
        &sample::asked(&prefix, &json!({})).create,
        "unsupported_parameter",
        "input[1].prefix",
    );
}

#[test]
fn content_of_other_vendors_is_left_out_with_a_warning() {
    let image =
        json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } });
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" }, "extra_content": { "google": {} } });
    let said = json!([
        { "role": "assistant", "content": "a", "reasoning_content": "hm", "images": [image], "audio": { "id": "x" }, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": "1" },
    ]);
    let request = sample::asked(&said, &json!({ "logit_bias": {} }));
    let left_out = ["input[0]", "input[1].audio", "input[2]", "input[3].extra_content"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(check(&request.create, HostedTools::Omit), Ok(left_out));
    assert!(body(&request, HostedTools::Omit).is_ok());
}

#[test]
fn nested_fields_are_named_by_their_path() {
    let image = |field: &str| json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "https://x/y.png", field: 1 } }] }]);
    let request = sample::asked(&image("format"), &json!({}));
    assert_eq!(
        check(&request.create, HostedTools::Omit),
        Ok(vec!["input[0].content[0].image_url.format".to_owned()])
    );
    check_fault(
        &sample::asked(&image("other"), &json!({})).create,
        "unsupported_parameter",
        "input[0].content[0].image_url.other",
    );
}

#[test]
fn hosted_tools_are_left_out_rejected_or_passed_on() {
    let create = Create {
        tools: serde_json::from_value(json!([{ "type": "web_search" }])).unwrap(),
        ..sample::create()
    };
    let with = |hosted_tools| {
        let tools = body(&sample::request(create.clone(), vec![]), hosted_tools)
            .unwrap()
            .get("tools")
            .cloned();
        (check(&create, hosted_tools).map_err(|fault| fault.param.unwrap_or_default()), tools)
    };
    assert_eq!(with(HostedTools::Omit), (Ok(vec!["tools[0]".into()]), None));
    assert_eq!(with(HostedTools::Refuse).0, Err("tools[0].type".into()));
    assert_eq!(with(HostedTools::Pass), (Ok(vec![]), Some(json!([{ "type": "web_search" }]))));
}

#[test]
fn blocks_of_hosted_tools_are_sent_back_in_place() {
    let used = json!({ "type": "server_tool_use", "id": "item_1", "upstream_id": "srvtoolu_1", "name": "web_search", "input": { "query": "x" } });
    let found = json!({ "type": "web_search_tool_result", "id": "item_2", "tool_use_id": "srvtoolu_1", "content": [] });
    let item = |item: Value| serde_json::from_value::<Item>(item).unwrap();
    let context = vec![
        sample::user("Hello"),
        sample::assistant("Let me see."),
        item(used),
        item(found),
        sample::assistant("It is y."),
        sample::user("?"),
    ];
    let items = context.iter().cloned().map(InputItem::Item).collect();
    let request = sample::request(Create { input: items, ..sample::create() }, context);
    assert_eq!(check(&request.create, HostedTools::Omit), Ok(vec![]));
    let blocks = body(&request, HostedTools::Omit).unwrap()["messages"][1]["content"].clone();
    let used = json!({ "type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": { "query": "x" } });
    let found =
        json!({ "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [] });
    assert_eq!(blocks, json!([said_block("Let me see."), used, found, said_block("It is y.")]));
}

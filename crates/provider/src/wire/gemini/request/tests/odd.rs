//! Requests beyond this API's documentation: translated, left out with a warning, or rejected.

use super::*;

#[test]
fn a_signature_on_a_call_is_sent_back_in_its_part() {
    let call = json!({
        "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" },
        "extra_content": { "google": { "thought_signature": "SIG==" } },
    });
    let said = json!([
        { "role": "user", "content": "Go" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": "1" },
    ]);
    let request = sample::asked(&said, &json!({}));
    assert_eq!(check(&request.create, HostedTools::Omit), Ok(vec![]));
    assert_eq!(
        body(&request, HostedTools::Omit).unwrap()["contents"][1]["parts"][0]["thoughtSignature"],
        "SIG=="
    );
}

#[test]
fn audio_is_inline_data_and_other_content_is_rejected_by_path() {
    let audio =
        json!({ "type": "input_audio", "input_audio": { "data": "AA==", "format": "wav" } });
    let request = sample::asked(&json!([{ "role": "user", "content": [audio] }]), &json!({}));
    assert_eq!(check(&request.create, HostedTools::Omit), Ok(vec![]));
    let sent = json!([{ "inlineData": { "mimeType": "audio/wav", "data": "AA==" } }]);
    assert_eq!(body(&request, HostedTools::Omit).unwrap()["contents"][0]["parts"], sent);
    let video = json!({ "type": "video_url", "video_url": { "url": "https://x/y.mp4" } });
    let request = sample::asked(&json!([{ "role": "user", "content": [video] }]), &json!({}));
    check_fault(&request.create, "unsupported_value", "input[0].content[0].type");
}

#[test]
fn cache_control_marks_are_left_out_with_a_warning() {
    let part = json!({ "type": "text", "text": "S", "cache_control": { "type": "ephemeral" } });
    let request = sample::asked(&json!([{ "role": "user", "content": [part] }]), &json!({}));
    assert_eq!(
        check(&request.create, HostedTools::Omit),
        Ok(vec!["input[0].content[0].cache_control".into()])
    );
}

#[test]
fn a_generated_image_is_sent_back() {
    let item: Item = serde_json::from_value(json!({
        "type": "image_generation_call", "id": "item_1", "status": "completed", "output_format": "png", "result": "AA==",
    }))
    .unwrap();
    let image = json!({ "inlineData": { "mimeType": "image/png", "data": "AA==" } });
    check_contents(
        create(),
        vec![sample::user("Draw"), item],
        &json!([user(&json!([said("Draw")])), model(&json!([image]))]),
    );
}

#[test]
fn code_that_gemini_ran_is_sent_back() {
    let item = |item: Value| serde_json::from_value::<Item>(item).unwrap();
    let code = item(
        json!({ "type": "executable_code", "id": "item_1", "language": "PYTHON", "code": "print(1)" }),
    );
    let result = item(
        json!({ "type": "code_execution_result", "id": "item_2", "upstream_id": "r1", "outcome": "OUTCOME_OK", "output": "1" }),
    );
    let parts = json!([
        { "executableCode": { "language": "PYTHON", "code": "print(1)" } },
        { "codeExecutionResult": { "id": "r1", "outcome": "OUTCOME_OK", "output": "1" } },
    ]);
    check_contents(
        create(),
        vec![sample::user("Run"), code, result],
        &json!([user(&json!([said("Run")])), model(&parts)]),
    );
}

#[test]
fn hosted_tools_are_left_out_rejected_or_passed_on() {
    let create = Create {
        tools: serde_json::from_value(json!([{ "type": "web_search" }])).unwrap(),
        ..create()
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

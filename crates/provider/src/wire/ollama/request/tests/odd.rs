//! Requests beyond this API's documentation: translated, left out with a warning, or rejected.

use super::*;

#[test]
fn cache_control_marks_are_left_out_with_a_warning() {
    let part = json!({ "type": "text", "text": "S", "cache_control": { "type": "ephemeral" } });
    let request = sample::asked(&json!([{ "role": "user", "content": [part] }]), &json!({}));
    assert_eq!(
        check(&request.create, HostedTools::Omit),
        Ok(vec!["input[0].content[0].cache_control".into()])
    );
    assert_eq!(body_of(&request).unwrap()["messages"], json!([{ "role": "user", "content": "S" }]));
}

#[test]
fn system_messages_are_merged_first_or_kept_in_place() {
    let context = vec![
        sample::user("Hi"),
        sample::message(Role::System, vec![Part::input_text("Be quick.")]),
    ];
    let create = Create { instructions: Some("Be brief.".into()), ..sample::create() };
    let request = sample::request(create, context);
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    let first = json!([said("system", "Be brief.\n\nBe quick."), said("user", "Hi")]);
    assert_eq!(
        body(&request, SystemMessages::First, HostedTools::Omit).unwrap()["messages"],
        first
    );
    let in_place =
        json!([said("system", "Be brief."), said("user", "Hi"), said("system", "Be quick.")]);
    assert_eq!(
        body(&request, SystemMessages::InPlace, HostedTools::Omit).unwrap()["messages"],
        in_place
    );
}

#[test]
fn hosted_tools_are_left_out_rejected_or_passed_on() {
    let create = Create {
        tools: serde_json::from_value(json!([{ "type": "web_search" }])).unwrap(),
        ..sample::create()
    };
    let with = |hosted_tools| {
        let tools =
            body(&sample::request(create.clone(), vec![]), SystemMessages::First, hosted_tools)
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
fn an_output_has_its_functions_offered_name() {
    let add = json!({ "type": "namespace", "name": "calc", "tools": [{ "type": "function", "name": "add" }] });
    let create =
        Create { tools: serde_json::from_value(json!([add])).unwrap(), ..sample::create() };
    let call: Item = serde_json::from_value(json!({
        "type": "function_call", "id": "fc_1", "call_id": "a", "name": "add", "namespace": "calc", "arguments": "{}", "status": "completed",
    }))
    .unwrap();
    let body = body_of(&sample::request(create, vec![call, sample::output("a", "3")])).unwrap();
    assert_eq!(body["messages"][0]["tool_calls"][0]["function"]["name"], "calc__add");
    assert_eq!(body["messages"][1]["tool_name"], "calc__add");
}

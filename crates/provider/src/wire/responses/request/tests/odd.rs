//! Requests beyond this API's documentation: passed on, left out with a warning, or rejected.

use super::*;

#[test]
fn instructions_are_merged_for_compatible_servers() {
    let create = || Create { instructions: Some("Be brief.".into()), ..sample::create() };
    let context = || {
        let compaction =
            Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "Ada asked.".into() });
        vec![
            sample::message(Role::Developer, vec![Part::input_text("Be kind.")]),
            compaction,
            sample::user("Hi"),
        ]
    };
    let body = body_of(&sample::request(create(), context()), ServerFamily::Compatible).unwrap();
    assert_eq!(
        body["instructions"],
        "Be brief.\n\nBe kind.\n\nSummary of the conversation so far:\n\nAda asked."
    );
    assert_eq!(body["input"], json!([said_to("user", "Hi")]));
    let body = body_of(&sample::request(create(), context()), ServerFamily::OpenAi).unwrap();
    assert_eq!(
        (&body["instructions"], &body["input"][0]),
        (&json!("Be brief."), &said_to("developer", "Be kind."))
    );
}

#[test]
fn call_ids_are_sent_back_unchanged_and_shortened_for_openai() {
    let long = "x".repeat(95);
    let context = || vec![sample::call(&long, "f", "{}"), sample::output(&long, "1")];
    let sent = input_of(ServerFamily::Compatible, context()).unwrap();
    assert_eq!((&sent[0]["call_id"], &sent[1]["call_id"]), (&json!(long), &json!(long)));
    let sent = input_of(ServerFamily::OpenAi, context()).unwrap();
    let id = sent[0]["call_id"].as_str().unwrap();
    assert!(id.len() <= 64 && sent[1]["call_id"] == id, "{id}");
}

#[test]
fn unknown_items_and_fields_are_sent_back_unchanged() {
    let search: Item = serde_json::from_value(json!({
        "type": "web_search_call", "id": "item_1", "upstream_id": "ws_1", "status": "completed", "action": { "type": "search", "query": "q" },
    }))
    .unwrap();
    let custom: Item = serde_json::from_value(json!({
        "type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "patch", "input": "x", "status": "completed",
    }))
    .unwrap();
    let given: Item = serde_json::from_value(json!({
        "type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c", "output": "done", "status": "completed",
    }))
    .unwrap();
    let expected = json!([
        { "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "type": "search", "query": "q" } },
        { "type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x" },
        { "type": "custom_tool_call_output", "call_id": "c", "output": "done" },
    ]);
    for family in [ServerFamily::OpenAi, ServerFamily::Compatible] {
        assert_eq!(
            input_of(family, vec![search.clone(), custom.clone(), given.clone()]).unwrap(),
            expected
        );
    }
}

#[test]
fn reasoning_of_open_models_is_sent_back_to_compatible_servers() {
    let context =
        || vec![sample::reasoning("hm"), sample::call("a", "f", "{}"), sample::output("a", "1")];
    let sent = input_of(ServerFamily::Compatible, context()).unwrap();
    assert_eq!(sent[0]["content"], json!([{ "type": "reasoning_text", "text": "hm" }]));
    assert_eq!(input_of(ServerFamily::OpenAi, context()).unwrap()[0]["type"], "function_call");
}

#[test]
fn hosted_tools_are_passed_on_unless_the_settings_refuse_them() {
    let tools = json!([{ "type": "web_search" }, { "type": "custom", "name": "patch" }]);
    let create =
        Create { tools: serde_json::from_value(tools.clone()).unwrap(), ..sample::create() };
    let body = body_of(&sample::request(create.clone(), vec![]), ServerFamily::OpenAi).unwrap();
    assert_eq!(body["tools"], tools);
    let of = |hosted_tools| {
        check(&create, ServerFamily::OpenAi, hosted_tools)
            .map_err(|fault| fault.param.unwrap_or_default())
    };
    assert_eq!(of(HostedTools::Omit), Ok(vec![]));
    assert_eq!(of(HostedTools::Refuse), Err("tools[0].type".into()));
}

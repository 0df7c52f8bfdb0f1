//! Requests beyond this API's documentation: passed on, left out with a warning, or rejected.

use super::*;

/// The messages of a request as sent to an upstream of `preset`.
fn messages(preset: Preset, messages: &Value) -> Value {
    let family =
        if preset == Preset::OpenAi { ServerFamily::OpenAi } else { ServerFamily::Compatible };
    let style = ChatFeatures::new(family, preset, "https://north.example/v1", &Compat::default());
    body(&sample::asked(messages, &json!({})), &style).unwrap()["messages"].take()
}

fn ignored(family: ServerFamily, request: &ModelRequest) -> Result<Vec<String>, String> {
    check(&request.create, &style(family)).map_err(|fault| fault.param.unwrap_or_default())
}

#[test]
fn fields_of_a_call_are_sent_back_to_their_vendor() {
    let call = json!({
        "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" },
        "extra_content": { "google": { "thought_signature": "SIG==" } },
    });
    let said = json!([
        { "role": "user", "content": "Go" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c1", "content": "1" },
    ]);
    assert_eq!(messages(Preset::Compatible, &said), said);
    let sent = messages(Preset::OpenAi, &said);
    assert_eq!(
        sent[1]["tool_calls"][0].get("extra_content"),
        None,
        "OpenAI rejects unknown fields"
    );
}

#[test]
fn cache_control_marks_are_sent_where_supported() {
    let part = json!({ "type": "text", "text": "S", "cache_control": { "type": "ephemeral" } });
    let said =
        || json!([{ "role": "system", "content": [part] }, { "role": "user", "content": [part] }]);
    assert_eq!(messages(Preset::OpenRouter, &said()), said());
    let plain = |role: &str| json!({ "role": role, "content": [{ "type": "text", "text": "S" }] });
    assert_eq!(messages(Preset::OpenAi, &said()), json!([plain("system"), plain("user")]));
    let request = sample::asked(&said(), &json!({}));
    assert_eq!(ignored(ServerFamily::Compatible, &request), Ok(vec![]));
    let paths = ["input[0].content[0].cache_control", "input[1].content[0].cache_control"];
    assert_eq!(ignored(ServerFamily::OpenAi, &request), Ok(paths.map(str::to_owned).to_vec()));
}

#[test]
fn reasoning_is_sent_with_its_calls_to_every_compatible_server() {
    let call =
        json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let said = json!([
        { "role": "user", "content": "Go" },
        { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c1", "content": "1" },
    ]);
    for preset in [Preset::Compatible, Preset::DeepSeek, Preset::Qwen, Preset::LlamaCpp] {
        let sent = messages(preset, &said);
        assert_eq!(
            (sent[1].get("reasoning_content"), sent[1].get("reasoning")),
            (Some(&json!("hm")), None),
            "{preset:?}"
        );
    }
    for preset in [Preset::Vllm, Preset::OpenRouter] {
        let sent = messages(preset, &said);
        assert_eq!(
            (&sent[1]["reasoning_content"], &sent[1]["reasoning"]),
            (&json!("hm"), &json!("hm")),
            "{preset:?}"
        );
    }
    assert_eq!(messages(Preset::OpenAi, &said)[1].get("reasoning_content"), None);
}

#[test]
fn system_messages_are_merged_at_the_start_except_for_openai() {
    let context = vec![
        sample::message(Role::Developer, vec![Part::input_text("Be kind.")]),
        sample::user("Hi"),
        sample::message(Role::System, vec![Part::input_text("Be quick.")]),
    ];
    let create = Create { instructions: Some("Be brief.".into()), ..sample::create() };
    let of = |family| {
        body(&sample::request(create.clone(), context.clone()), &style(family)).unwrap()["messages"]
            .take()
    };
    let hi = json!({ "role": "user", "content": "Hi" });
    assert_eq!(
        of(ServerFamily::Compatible),
        json!([{ "role": "system", "content": "Be brief.\n\nBe kind.\n\nBe quick." }, hi])
    );
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    assert_eq!(
        of(ServerFamily::OpenAi),
        json!([
            said("system", "Be brief."),
            said("developer", "Be kind."),
            hi,
            said("system", "Be quick.")
        ])
    );
}

#[test]
fn call_ids_are_sent_back_unchanged_and_shortened_for_openai() {
    let long = "x".repeat(95);
    let context = || vec![sample::call(&long, "f", "{}"), sample::output(&long, "1")];
    let sent = messages_of(ServerFamily::Compatible, context()).unwrap();
    assert_eq!(
        (&sent[0]["tool_calls"][0]["id"], &sent[1]["tool_call_id"]),
        (&json!(long), &json!(long))
    );
    let sent = messages_of(ServerFamily::OpenAi, context()).unwrap();
    let id = sent[0]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(id.len() <= 64 && sent[1]["tool_call_id"] == id, "{id}");
}

#[test]
fn a_generated_image_is_sent_back() {
    let item: Item = serde_json::from_value(json!({
        "type": "image_generation_call", "id": "item_1", "status": "completed", "output_format": "png", "result": "AA==",
    }))
    .unwrap();
    let images =
        json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==" } }]);
    check_messages(
        ServerFamily::Compatible,
        vec![sample::assistant("Here."), item],
        &json!([{ "role": "assistant", "content": "Here.", "images": images }]),
    );
}

#[test]
fn output_beyond_text_is_sent_back_unchanged() {
    let reference = json!({ "type": "reference", "reference_ids": [1] });
    let audio = json!({ "id": "audio_1" });
    let said = json!([
        { "role": "user", "content": "Go" },
        { "role": "assistant", "content": "a", "content_parts": [reference], "thinking": "hm" },
        { "role": "user", "content": "And?" },
        { "role": "assistant", "content": null, "audio": audio },
        { "role": "user", "content": "And?" },
        { "role": "assistant", "content": null },
        { "role": "user", "content": "And?" },
    ]);
    let sent = messages(Preset::Compatible, &said);
    assert_eq!(
        sent[1],
        json!({ "role": "assistant", "content": [{ "type": "text", "text": "a" }, reference], "thinking": "hm" })
    );
    assert_eq!(sent[3], json!({ "role": "assistant", "content": null, "audio": audio }));
    assert_eq!(sent[5], json!({ "role": "assistant", "content": "" }));
}

#[test]
fn left_out_fields_are_reported() {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" }, "extra_content": { "google": {} } });
    let said = json!([
        { "role": "assistant", "content": "a", "annotations": [{ "type": "url_citation" }], "reasoning_content": "hm", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": "1" },
    ]);
    let left_out =
        ["input[0]", "input[1].annotations", "input[2].extra_content"].map(str::to_owned).to_vec();
    assert_eq!(ignored(ServerFamily::OpenAi, &sample::asked(&said, &json!({}))), Ok(left_out));
    let tier = sample::asked(
        &json!([{ "role": "user", "content": "Hi" }]),
        &json!({ "service_tier": "flex" }),
    );
    assert_eq!(ignored(ServerFamily::Compatible, &tier), Ok(vec!["service_tier".to_owned()]));
    assert_eq!(ignored(ServerFamily::OpenAi, &tier), Ok(vec![]));
}

#[test]
fn fields_that_change_the_meaning_are_rejected_by_name() {
    for name in ["conversation", "prompt", "context_management"] {
        let create =
            Create { extra: Map::from_iter([(name.to_owned(), json!({}))]), ..sample::create() };
        for family in [ServerFamily::Compatible, ServerFamily::OpenAi] {
            assert_eq!(
                ignored(family, &sample::request(create.clone(), vec![])),
                Err(name.to_owned())
            );
        }
    }
}

#[test]
fn hosted_tools_are_left_out_rejected_or_passed_on() {
    let create = Create {
        tools: serde_json::from_value(json!([{ "type": "web_search" }])).unwrap(),
        ..sample::create()
    };
    let with = |hosted_tools| {
        let style = ChatFeatures { hosted_tools, ..style(ServerFamily::Compatible) };
        let tools =
            body(&sample::request(create.clone(), vec![]), &style).unwrap().get("tools").cloned();
        (check(&create, &style).map_err(|fault| fault.param.unwrap_or_default()), tools)
    };
    assert_eq!(with(HostedTools::Omit), (Ok(vec!["tools[0]".into()]), None));
    assert_eq!(with(HostedTools::Refuse).0, Err("tools[0].type".into()));
    assert_eq!(with(HostedTools::Pass), (Ok(vec![]), Some(json!([{ "type": "web_search" }]))));
}

#[test]
fn stream_options_can_be_left_out() {
    let compat = Compat { stream_options: false, ..Compat::default() };
    let style = ChatFeatures::new(
        ServerFamily::Compatible,
        Preset::Compatible,
        "https://north.example/v1",
        &compat,
    );
    assert_eq!(
        body(&sample::request(sample::create(), vec![]), &style).unwrap().get("stream_options"),
        None
    );
}

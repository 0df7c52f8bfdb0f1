"""Chat completions with the official SDK: only the base URL is changed."""

import pytest

from conftest import CHAT_TOOL

HELLO = [{"role": "user", "content": "/echo Hello, 世界!"}]


def test_models_are_listed_with_those_of_the_upstream(client):
    models = client.models.list()
    assert [model.id for model in models] == ["demo", "talk", "tool"]
    assert client.models.retrieve("demo").owned_by == "weir"


def test_whole(client):
    completion = client.chat.completions.create(model="demo", messages=HELLO)
    [choice] = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hello, 世界!", "stop")
    assert completion.object == "chat.completion" and completion.model == "demo"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0


@pytest.mark.parametrize("wanted", [None, False, True])
def test_streamed_with_usage_only_if_asked(client, wanted):
    options = {} if wanted is None else {"stream_options": {"include_usage": wanted}}
    chunks = list(client.chat.completions.create(model="demo", messages=HELLO, stream=True, **options))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "Hello, 世界!"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == (1 if wanted else 0)
    if wanted:
        assert chunks[-1].choices == [] and usages[0].completion_tokens > 0


def test_the_stream_helper(client):
    with client.chat.completions.stream(model="demo", messages=HELLO) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == "Hello, 世界!"


def test_tools_there_and_back(client, upstream):
    messages = [{"role": "user", "content": "weather in Oslo and Rome?"}]
    first = client.chat.completions.create(model="tool", messages=messages, tools=[CHAT_TOOL], tool_choice="required")
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("get_weather", '{"city":"Oslo"}'),
        ("get_weather", '{"city":"Rome"}'),
    ]
    outputs = [{"role": "tool", "tool_call_id": call.id, "content": f"{index} degrees"} for index, call in enumerate(message.tool_calls)]
    second = client.chat.completions.create(model="tool", messages=[*messages, message, *outputs], tools=[CHAT_TOOL])
    assert second.choices[0].message.content == "0 degrees and 1 degrees"
    sent = upstream.requests[-1]["body"]["messages"]
    assert [entry["role"] for entry in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [entry["tool_call_id"] for entry in sent[2:]]


def test_tools_streamed(client, upstream):
    with client.chat.completions.stream(model="tool", messages=[{"role": "user", "content": "weather?"}], tools=[CHAT_TOOL]) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [event.index for event in done] == [0, 1]
    assert [call.function.arguments for call in final.choices[0].message.tool_calls] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert final.choices[0].finish_reason == "tool_calls"


def test_an_image_and_parameters_without_a_word_reach_the_upstream(client, upstream):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
    client.chat.completions.create(
        model="talk",
        messages=[{"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]}],
        seed=7,
        stop=["END"],
        logit_bias={"42": -100},
        temperature=0.5,
        extra_body={"top_k": 40, "chat_template_kwargs": {"enable_thinking": False}},
    )
    [request] = upstream.requests
    body = request["body"]
    assert request["path"] == "/v1/chat/completions"
    assert body["messages"][0]["content"][1] == image
    expected = {
        "seed": 7,
        "stop": ["END"],
        "logit_bias": {"42": -100},
        "temperature": 0.5,
        "top_k": 40,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert {name: body[name] for name in expected} == expected


def test_usage_is_the_providers_where_it_says(client, upstream):
    usage = client.chat.completions.create(model="talk", messages=HELLO).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 3, 14)


def test_a_client_that_goes_stops_the_model(client, upstream):
    stream = client.chat.completions.create(model="gated", messages=HELLO, stream=True)
    next(iter(stream))
    stream.close()
    assert upstream.left.wait(30)

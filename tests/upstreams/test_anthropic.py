"""Anthropic's Messages API, by anthropic-sdk-python."""

import anthropic
import pytest

from conftest import HELLO, KEY, SCHEMA, WRONG_KEY, anthropic_at

TOOLS = [{"name": "get_weather", "input_schema": SCHEMA}]
THINKING = {"type": "enabled", "budget_tokens": 1024}


def events_of(client, model, **more):
    return client.messages.create(model=model, max_tokens=2048, messages=HELLO, stream=True, **more)


def streamed(client, model, **more):
    with client.messages.stream(model=model, max_tokens=2048, messages=HELLO, **more) as stream:
        return stream.get_final_message()


def whole(client, model, **more):
    return client.messages.create(model=model, max_tokens=2048, messages=HELLO, **more)


def test_the_order_of_events(claude):
    assert [event.type for event in events_of(claude, "reasoning", thinking=THINKING)] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,  # two of thinking, and the signature
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("ask", [streamed, whole])
def test_text(claude, ask):
    message = ask(claude, "text")
    assert (message.content[0].text, message.stop_reason) == ("Hello, world!", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 4)


@pytest.mark.parametrize("model", ["byte-by-byte", "keep-alive"])
def test_text_however_it_comes(claude, model):
    assert streamed(claude, model).content[0].text.startswith(("Hello", "Héllo"))


@pytest.mark.parametrize("ask", [streamed, whole])
def test_thinking(claude, ask):
    thinking, text = ask(claude, "reasoning", thinking=THINKING).content
    assert (thinking.thinking, text.text) == ("Let me think.", "It is four.")
    assert thinking.signature


@pytest.mark.parametrize("ask", [streamed, whole])
def test_tools_and_their_results(claude, ask):
    message = ask(claude, "tools", tools=TOOLS)
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.id, call.name, call.input) for call in calls] == [
        ("call_1", "get_weather", {"city": "Paris"}),
        ("call_2", "get_weather", {"city": "Rome"}),
    ]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"} for call in calls]
    messages = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = claude.messages.create(model="text", max_tokens=100, messages=messages, tools=TOOLS)
    assert answer.content[0].text == "Hello, world!"


@pytest.mark.parametrize("ask", [streamed, whole])
def test_refusal_and_length(claude, ask):
    message = ask(claude, "refusal")
    assert (message.stop_reason, message.stop_details.explanation) == ("refusal", "I cannot help with that.")
    assert ask(claude, "length").stop_reason == "max_tokens"


@pytest.mark.parametrize(
    "model, kind, status",
    [
        ("error-400", anthropic.BadRequestError, 400),
        ("error-401", anthropic.AuthenticationError, 401),
        ("error-402", anthropic.APIStatusError, 402),
        ("error-404", anthropic.NotFoundError, 404),
        ("error-429", anthropic.RateLimitError, 429),
        ("error-500", anthropic.InternalServerError, 500),
        ("error-overloaded", anthropic.InternalServerError, 529),
    ],
)
@pytest.mark.parametrize("ask", [streamed, whole])
def test_errors(claude, ask, model, kind, status):
    with pytest.raises(kind) as caught:
        ask(claude, model)
    assert (caught.value.status_code, caught.value.request_id) == (status, "req_lab")
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"
        assert caught.value.body["error"]["type"] == "rate_limit_error"


def test_an_error_in_the_stream(claude):
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(events_of(claude, "error-in-band"))
    assert caught.value.body["error"]["type"] == "overloaded_error"
    with pytest.raises(anthropic.APIStatusError) as caught:
        whole(claude, "error-in-band")
    assert caught.value.status_code == 529


def test_models(claude, fakes):
    assert [model.id for model in claude.models.list()] == fakes.at["models"]


def test_wrong_requests(wrong):
    with anthropic_at(wrong, WRONG_KEY) as client, pytest.raises(anthropic.AuthenticationError):
        whole(client, "text")
    with anthropic_at(wrong) as client:
        with pytest.raises(anthropic.BadRequestError, match="seed: Extra inputs are not permitted"):
            whole(client, "text", extra_body={"seed": 1})
        with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs are not permitted"):
            whole(client, "text", extra_body={"temperature": 1})
        with pytest.raises(anthropic.BadRequestError, match="unexpected `tool_use_id`"):
            result = {"type": "tool_result", "tool_use_id": "x", "content": "y"}
            client.messages.create(model="text", max_tokens=1, messages=[{"role": "user", "content": [result]}])
        with pytest.raises(anthropic.BadRequestError, match="anthropic-version"):
            whole(client, "text", extra_headers={"anthropic-version": anthropic.Omit()})


def test_the_older_version_of_the_api(fakes):
    headers = {"anthropic-version": "2023-06-01", "x-api-key": KEY, "Authorization": anthropic.Omit()}
    with anthropic_at(fakes) as client:
        assert whole(client, "text", extra_headers=headers, extra_body={"temperature": 0}).content[0].text == "Hello, world!"

"""OpenAI's Responses API, by openai-python."""

import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from conftest import SCHEMA, WRONG_KEY, openai_at

TOOLS = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]

_EVENT = TypeAdapter(ResponseStreamEvent)


def stream(client, model, **more):
    return client.responses.create(model=model, input="hello", stream=True, **more)


def whole(client, model, **more):
    return client.responses.create(model=model, input="hello", **more)


def in_order(events):
    """The events of one answer, after a check that each is what the SDK's types say, and that none is missing."""
    events = list(events)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        # The vendor sends it, and has no type for it.
        if event.type != "keepalive":
            _EVENT.validate_python(event.to_dict(mode="json"))
    return events


def test_text(chat):
    events = in_order(stream(chat, "text"))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 4,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    for response in (events[-1].response, whole(chat, "text")):
        assert (response.status, response.output_text, response.usage.total_tokens) == ("completed", "Hello, world!", 13)


@pytest.mark.parametrize("model", ["byte-by-byte", "keep-alive"])
def test_text_however_it_comes(chat, model):
    assert in_order(stream(chat, model))[-1].response.output_text.startswith(("Hello", "Héllo"))


def test_reasoning(chat):
    include = ["reasoning.encrypted_content"]
    events = in_order(stream(chat, "reasoning", include=include))
    assert "".join(event.delta for event in events if event.type == "response.reasoning_summary_text.delta") == "Let me think."
    for response in (events[-1].response, whole(chat, "reasoning", include=include)):
        reasoning, message = response.output
        assert (reasoning.summary[0].text, message.content[0].text) == ("Let me think.", "It is four.")
        assert reasoning.encrypted_content
    assert whole(chat, "reasoning").output[0].encrypted_content is None


def test_tools_and_their_results(chat):
    events = in_order(stream(chat, "tools", tools=TOOLS))
    for response in (events[-1].response, whole(chat, "tools", tools=TOOLS)):
        calls = [(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"]
        assert calls == [("call_1", "get_weather", '{"city":"Paris"}'), ("call_2", "get_weather", '{"city":"Rome"}')]
    items = [{"role": "user", "content": "hello"}, *(item.to_dict(mode="json") for item in response.output)]
    items += [{"type": "function_call_output", "call_id": call[0], "output": "rain"} for call in calls]
    assert chat.responses.create(model="text", input=items, tools=TOOLS).output_text == "Hello, world!"


def test_refusal_and_length(chat):
    response = in_order(stream(chat, "refusal"))[-1].response
    assert (response.status, response.output[0].content[0].refusal) == ("completed", "I cannot help with that.")
    last = in_order(stream(chat, "length"))[-1]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", "max_output_tokens")
    assert whole(chat, "blocked").incomplete_details.reason == "content_filter"


@pytest.mark.parametrize(
    "model, kind, status",
    [
        ("error-400", openai.BadRequestError, 400),
        ("error-401", openai.AuthenticationError, 401),
        ("error-429", openai.RateLimitError, 429),
        ("error-overloaded", openai.InternalServerError, 503),
    ],
)
@pytest.mark.parametrize("ask", [stream, whole])
def test_errors(chat, ask, model, kind, status):
    with pytest.raises(kind) as caught:
        ask(chat, model)
    assert caught.value.status_code == status
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


def test_an_error_in_the_stream(chat):
    events = in_order(stream(chat, "error-in-band"))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].response.error.code == "server_error"
    with pytest.raises(openai.InternalServerError):
        whole(chat, "error-in-band")


def test_an_answer_without_an_end(chat):
    assert all(event.type not in ("response.completed", "response.incomplete", "response.failed") for event in in_order(stream(chat, "unfinished")))
    with pytest.raises(openai.APIConnectionError):
        list(stream(chat, "cut"))


def test_wrong_requests(wrong):
    with openai_at(wrong, WRONG_KEY) as client, pytest.raises(openai.AuthenticationError):
        whole(client, "text")
    with openai_at(wrong) as client:
        with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'stop'"):
            whole(client, "text", extra_body={"stop": ["x"]})
        with pytest.raises(openai.BadRequestError, match="No tool call found for function call output"):
            client.responses.create(model="text", input=[{"type": "function_call_output", "call_id": "x", "output": "y"}])

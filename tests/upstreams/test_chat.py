"""OpenAI's chat completions, by openai-python."""

import openai
import pytest

from conftest import HELLO, KEY, SCHEMA, WRONG_KEY, openai_at

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]


def stream(client, model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, stream=True, **more)


def whole(client, model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, **more)


def joined(chunks, name):
    return "".join(getattr(chunk.choices[0].delta, name, None) or "" for chunk in chunks if chunk.choices)


def test_text(chat):
    chunks = list(stream(chat, "text", stream_options={"include_usage": True}))
    assert joined(chunks, "content") == "Hello, world!"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 13)
    answer = whole(chat, "text")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("Hello, world!", "stop", 4)


def test_what_passes_through(chat):
    made = chat.embeddings.create(model="text", input=["a", "four"], dimensions=4)
    assert ([len(entry.embedding) for entry in made.data], made.usage.prompt_tokens) == ([4, 4], 4)
    assert chat.completions.create(model="text", prompt="x").choices[0].text == "Hello, world!"
    chunks = list(chat.completions.create(model="text", prompt="x", stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Hello, world!"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 13)
    assert not chat.moderations.create(model="text", input=["a", "b"]).results[1].flagged


def test_usage_comes_only_when_asked_for(chat):
    assert all(chunk.usage is None and chunk.choices for chunk in stream(chat, "text"))


@pytest.mark.parametrize("model", ["byte-by-byte", "keep-alive", "slow"])
def test_text_however_it_comes(chat, model):
    assert joined(stream(chat, model), "content").startswith(("Hello", "Héllo"))


def test_reasoning(chat):
    chunks = list(stream(chat, "reasoning"))
    assert (joined(chunks, "reasoning_content"), joined(chunks, "content")) == ("Let me think.", "It is four.")
    message = whole(chat, "reasoning").choices[0].message
    assert (message.reasoning_content, message.content) == ("Let me think.", "It is four.")


def test_tools(chat):
    with chat.chat.completions.stream(model="tools", messages=HELLO, tools=TOOLS) as events:
        streamed = events.get_final_completion()
    for answer in (streamed, whole(chat, "tools", tools=TOOLS)):
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = [(call.id, call.function.name, call.function.arguments) for call in answer.choices[0].message.tool_calls]
        assert calls == [("call_1", "get_weather", '{"city":"Paris"}'), ("call_2", "get_weather", '{"city":"Rome"}')]


def test_a_tool_is_answered(chat):
    message = whole(chat, "tool", tools=TOOLS).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
    messages = [*HELLO, message.model_dump(include={"role", "content", "tool_calls"}), result]
    answer = chat.chat.completions.create(model="text", messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content == "Hello, world!"


def test_refusal_and_length(chat):
    assert joined(stream(chat, "refusal"), "refusal") == "I cannot help with that."
    assert whole(chat, "refusal").choices[0].message.refusal == "I cannot help with that."
    assert whole(chat, "length").choices[0].finish_reason == "length"
    assert whole(chat, "blocked").choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize(
    "model, kind, status",
    [
        ("error-400", openai.BadRequestError, 400),
        ("error-401", openai.AuthenticationError, 401),
        ("error-404", openai.NotFoundError, 404),
        ("error-429", openai.RateLimitError, 429),
        ("error-500", openai.InternalServerError, 500),
        ("error-overloaded", openai.InternalServerError, 503),
    ],
)
@pytest.mark.parametrize("ask", [stream, whole])
def test_errors(chat, ask, model, kind, status):
    with pytest.raises(kind) as caught:
        ask(chat, model)
    assert (caught.value.status_code, caught.value.request_id) == (status, "req_lab")
    if status == 429:
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.response.headers["retry-after"] == "7"


def test_an_error_in_the_stream(chat):
    chunks = stream(chat, "error-in-band")
    with pytest.raises(openai.APIError) as caught:
        list(chunks)
    assert (type(caught.value), caught.value.type) == (openai.APIError, "server_error")


@pytest.mark.parametrize("model", ["cut", "reset"])
def test_a_cut_is_an_error(chat, model):
    with pytest.raises(openai.APIConnectionError):
        list(stream(chat, model))


def test_models(chat, fakes):
    assert [model.id for model in chat.models.list()] == fakes.at["models"]


def test_wrong_requests(wrong):
    with openai_at(wrong, WRONG_KEY) as client, pytest.raises(openai.AuthenticationError) as caught:
        whole(client, "text")
    assert caught.value.code == "invalid_api_key"
    with openai_at(wrong) as client:
        with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: top_k"):
            whole(client, "text", extra_body={"top_k": 1})
        with pytest.raises(openai.BadRequestError, match="must be a response to a preceeding message"):
            client.chat.completions.create(model="text", messages=[*HELLO, {"role": "tool", "tool_call_id": "x", "content": "y"}])
    assert len(wrong.stop()["complaints"]) == 2


def test_azure(fakes):
    with openai.AzureOpenAI(azure_endpoint=fakes.at["url"], api_key=KEY, api_version="2024-10-21", max_retries=0) as client:
        assert whole(client, "text").choices[0].message.content == "Hello, world!"

"""Ollama's own API, by ollama-python."""

import ollama
import pytest

from conftest import HELLO, SCHEMA, WRONG_KEY, ollama_at

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]


def stream(client, model, **more):
    return list(client.chat(model=model, messages=HELLO, stream=True, **more))


def whole(client, model, **more):
    return client.chat(model=model, messages=HELLO, **more)


def joined(lines, name):
    return "".join(getattr(line.message, name) or "" for line in lines)


def test_text(llama):
    lines = stream(llama, "text")
    assert joined(lines, "content") == "Hello, world!"
    for last in (lines[-1], whole(llama, "text")):
        assert (last.done, last.done_reason, last.prompt_eval_count, last.eval_count) == (True, "stop", 9, 4)
    assert last.message.content == "Hello, world!"


@pytest.mark.parametrize("model", ["byte-by-byte", "keep-alive"])
def test_text_however_it_comes(llama, model):
    assert joined(stream(llama, model), "content").startswith(("Hello", "Héllo"))


def test_thinking(llama):
    for lines in (stream(llama, "reasoning", think=True), [whole(llama, "reasoning", think="high")]):
        assert (joined(lines, "thinking"), joined(lines, "content")) == ("Let me think.", "It is four.")


def test_tools_and_their_results(llama):
    for lines in (stream(llama, "tools", tools=TOOLS), [whole(llama, "tools", tools=TOOLS)]):
        calls = [call for line in lines for call in line.message.tool_calls or []]
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("get_weather", {"city": "Paris"}),
            ("get_weather", {"city": "Rome"}),
        ]
    results = [{"role": "tool", "tool_name": call.function.name, "content": "rain"} for call in calls]
    assert llama.chat(model="text", messages=[*HELLO, lines[-1].message, *results]).message.content == "Hello, world!"


def test_embeddings(llama):
    made = llama.embed(model="text", input=["a", "four"])
    assert (len(made.embeddings), len(made.embeddings[0]), made.prompt_eval_count) == (2, 3, 4)
    with pytest.raises(ollama.ResponseError):
        llama.embed(model="error-404", input="a")


def test_refusal_and_length(llama):
    assert joined(stream(llama, "refusal"), "content") == "I cannot help with that."
    assert whole(llama, "length").done_reason == "length"


@pytest.mark.parametrize("model, status", [("error-400", 400), ("error-404", 404), ("error-429", 429), ("error-500", 500), ("error-overloaded", 503)])
@pytest.mark.parametrize("ask", [stream, whole])
def test_errors(llama, ask, model, status):
    with pytest.raises(ollama.ResponseError) as caught:
        ask(llama, model)
    assert caught.value.status_code == status


def test_an_error_in_the_stream(llama):
    lines = llama.chat(model="error-in-band", messages=HELLO, stream=True)
    assert next(lines).message.content == "Hello"
    with pytest.raises(ollama.ResponseError, match="Overloaded") as caught:
        list(lines)
    assert caught.value.status_code == -1, "there is no status inside a stream"


def test_an_answer_without_an_end(llama):
    assert not any(line.done for line in stream(llama, "unfinished"))


def test_models(llama, fakes):
    assert [model.model for model in llama.list().models] == fakes.at["models"]


def test_wrong_requests(wrong):
    with ollama_at(wrong, WRONG_KEY) as client, pytest.raises(ollama.ResponseError) as caught:
        whole(client, "text")
    assert caught.value.status_code == 401

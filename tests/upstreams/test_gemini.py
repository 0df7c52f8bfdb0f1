"""Gemini, by python-genai."""

import pytest
from google.genai import errors, types

from conftest import SCHEMA, WRONG_KEY, gemini_at

DECLARATION = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[DECLARATION])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def stream(client, model, contents="hello", **more):
    return list(client.models.generate_content_stream(model=model, contents=contents, **more))


def whole(client, model, contents="hello", **more):
    return client.models.generate_content(model=model, contents=contents, **more)


def parts_of(chunks):
    return [part for chunk in chunks for candidate in chunk.candidates or [] for part in (candidate.content and candidate.content.parts) or []]


def text_of(chunks, thought=None):
    return "".join(part.text or "" for part in parts_of(chunks) if part.thought == thought)


def test_text(gemini):
    chunks = stream(gemini, "text")
    assert text_of(chunks) == "Hello, world!"
    for last in (chunks[-1], whole(gemini, "text")):
        assert last.candidates[0].finish_reason == types.FinishReason.STOP
        assert (last.usage_metadata.prompt_token_count, last.usage_metadata.total_token_count) == (9, 13)
    assert last.text == "Hello, world!"


def test_embeddings(gemini):
    config = types.EmbedContentConfig(output_dimensionality=4, task_type="RETRIEVAL_QUERY")
    made = gemini.models.embed_content(model="text", contents=["a", "four"], config=config)
    assert [len(embedding.values) for embedding in made.embeddings] == [4, 4]


@pytest.mark.parametrize("model", ["byte-by-byte", "keep-alive"])
def test_text_however_it_comes(gemini, model):
    assert text_of(stream(gemini, model)).startswith(("Hello", "Héllo"))


def test_thoughts(gemini):
    for chunks in (stream(gemini, "reasoning"), [whole(gemini, "reasoning")]):
        assert (text_of(chunks, thought=True), text_of(chunks)) == ("Let me think.", "It is four.")
        assert chunks[-1].usage_metadata.thoughts_token_count == 2


def test_tools_and_their_results(gemini):
    for chunks in (stream(gemini, "tools", config=TOOLS), [whole(gemini, "tools", config=TOOLS)]):
        parts = parts_of(chunks)
        calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
        assert calls == [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})]
        assert any(part.thought_signature for part in parts)
    results = [types.Part.from_function_response(name=name, response={"result": "rain"}) for name, _ in calls]
    contents = [
        types.Content(role="user", parts=[types.Part(text="hello")]),
        types.Content(role="model", parts=parts),
        types.Content(role="user", parts=results),
    ]
    assert whole(gemini, "text", contents, config=TOOLS).text == "Hello, world!"


def test_safety_and_length(gemini):
    for last in (stream(gemini, "refusal")[-1], whole(gemini, "refusal")):
        assert last.candidates[0].finish_reason == types.FinishReason.SAFETY
        assert not last.text
    for last in (stream(gemini, "blocked")[-1], whole(gemini, "blocked")):
        assert (last.candidates, last.prompt_feedback.block_reason) == (None, types.BlockedReason.SAFETY)
    assert whole(gemini, "length").candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


@pytest.mark.parametrize(
    "model, kind, code, status",
    [
        ("error-400", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("error-401", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("error-404", errors.ClientError, 404, "NOT_FOUND"),
        ("error-429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("error-500", errors.ServerError, 500, "INTERNAL"),
        ("error-overloaded", errors.ServerError, 503, "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("ask", [stream, whole])
def test_errors(gemini, ask, model, kind, code, status):
    with pytest.raises(kind) as caught:
        ask(gemini, model)
    assert (caught.value.code, caught.value.status) == (code, status)
    if code == 429:
        assert caught.value.details["error"]["details"][0]["retryDelay"] == "7s"


def test_an_error_in_the_stream(gemini):
    chunks = gemini.models.generate_content_stream(model="error-in-band", contents="hello")
    assert next(chunks).text == "Hello"
    with pytest.raises(errors.ServerError) as caught:
        list(chunks)
    assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")


def test_models(gemini, fakes):
    assert [model.name.removeprefix("models/") for model in gemini.models.list(config={"query_base": True})] == fakes.at["models"]


def test_wrong_requests(wrong):
    with gemini_at(wrong, WRONG_KEY) as client, pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
        whole(client, "text")
    with gemini_at(wrong) as client:
        with pytest.raises(errors.ClientError, match='Unknown name "stop"'):
            whole(client, "text", config={"http_options": {"extra_body": {"stop": 1}}})
        with pytest.raises(errors.ClientError, match="number of function response parts"):
            result = types.Part.from_function_response(name="x", response={})
            whole(client, "text", [types.Content(role="user", parts=[result])])


def test_the_older_version_of_the_api(fakes):
    with gemini_at(fakes, api_version="v1beta") as client:
        assert text_of(stream(client, "text")) == "Hello, world!"

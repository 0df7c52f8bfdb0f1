"""Embeddings, text completions and moderations with the official SDK: only the base URL is changed."""

import base64
import struct

import httpx2
import openai
import pytest

from conftest import UPSTREAM_KEY, connect


def test_embeddings_of_the_demo_as_the_sdk_asks_for_them(client):
    """The SDK asks for base64 unless told otherwise, and takes it apart."""
    made = client.embeddings.create(model="demo", input=["hello", "world", "hello"])
    assert [entry.index for entry in made.data] == [0, 1, 2] and made.model == "demo"
    first, second, third = (entry.embedding for entry in made.data)
    assert list(first) == list(third) != list(second)
    assert abs(sum(number * number for number in first) - 1) < 1e-5
    assert made.usage.prompt_tokens == made.usage.total_tokens == 3
    assert "none has a meaning" in made.notice
    floats = client.embeddings.create(model="demo", input="hello", encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(list(first))
    assert len(client.embeddings.create(model="demo", input=[1, 2, 3], dimensions=5).data[0].embedding) == 5


@pytest.mark.parametrize("encoding_format", [openai.NOT_GIVEN, "float", "base64"])
def test_embeddings_of_an_upstream_that_has_floats_only(client, upstream, encoding_format):
    made = client.embeddings.create(model="vectors", input=["a", "b"], encoding_format=encoding_format, extra_body={"odd": [1.5]})
    wanted = [0.1, -0.25, 3.0]
    vectors = [entry.embedding for entry in made.data]
    if encoding_format == "base64":
        vectors = [struct.unpack("<3f", base64.b64decode(vector)) for vector in vectors]
    assert [pytest.approx(wanted)] * 2 == [list(vector) for vector in vectors]
    assert (made.model, made.usage.prompt_tokens, made.usage.source) == ("vectors", 4, "provider")
    [asked] = upstream.requests
    assert (asked["path"], asked["body"]["odd"], asked["headers"]["authorization"]) == ("/v1/embeddings", [1.5], f"Bearer {UPSTREAM_KEY}")


def test_a_completion_of_the_demo(client):
    whole = client.completions.create(model="demo", prompt="once", echo=True)
    [choice] = whole.choices
    assert choice.text.startswith("once … This text is of Weir's built-in demo model.") and choice.finish_reason == "stop"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
    chunks = list(client.completions.create(model="demo", prompt="once", echo=True, stream=True, stream_options={"include_usage": True}))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == choice.text
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], whole.usage.total_tokens)
    assert client.completions.create(model="demo", prompt=["a", "b"], max_tokens=1, n=2).choices[3].finish_reason == "length"


def test_a_completion_of_an_upstream(client, upstream):
    chunks = list(client.completions.create(model="continue", prompt="def f(", suffix="return x", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Water flows downhill."
    assert {chunk.model for chunk in chunks} == {"continue"} and chunks[-1].choices[0].finish_reason == "stop"
    assert upstream.requests[0]["body"]["suffix"] == "return x"


@pytest.mark.parametrize("model", ["half-way", "half-said"])
def test_a_completion_that_is_cut_does_not_pass_for_whole(client, model):
    """As an error event, or where that is passed over, by the connection."""
    with pytest.raises((openai.APIError, httpx2.RemoteProtocolError)):
        list(client.completions.create(model=model, prompt="x", stream=True))


def test_a_stream_that_never_began_has_the_sdks_own_error(client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.completions.create(model="busy", prompt="x", stream=True)
    assert caught.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="busy", input="x")


def test_moderations(client, upstream):
    made = client.moderations.create(model="judge", input="hello")
    assert (made.model, made.results[0].flagged, made.results[0].category_scores.violence) == ("judge", True, 0.75)
    with pytest.raises(openai.BadRequestError) as caught:
        client.moderations.create(model="demo", input="hello")
    assert caught.value.code == "unsupported_operation" and "does not support moderations" in caught.value.message


def test_keys_are_asked_for(guarded):
    server, ada, _ = guarded
    with connect(server) as stranger, connect(server, ada) as known:
        with pytest.raises(openai.AuthenticationError):
            stranger.embeddings.create(model="demo", input="x")
        assert known.embeddings.create(model="demo", input="x").data

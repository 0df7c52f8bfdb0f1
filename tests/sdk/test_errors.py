"""Errors arrive as the class that the SDK has for them, with their cause."""

import openai
import pytest

from conftest import UPSTREAM_KEY, connect

HELLO = [{"role": "user", "content": "hello"}]


def ask(client, api, model, stream=False):
    """Asks over one of the two APIs and reads all of the answer."""
    if api == "chat":
        made = client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    else:
        made = client.responses.create(model=model, input="hello", stream=stream)
    return list(made) if stream else made


@pytest.mark.parametrize(
    "body, param",
    [
        ({"model": "demo"}, "input"),
        ({"model": "demo", "input": 7}, "input"),
        ({"model": "demo", "input": ""}, "input"),
        ({"model": "demo", "input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"model": "demo", "input": "hi", "temperature": 3}, "temperature"),
        ({"model": "demo", "input": "hi", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "hi"}, "model"),
    ],
)
def test_a_wrong_request_names_its_field(client, body, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(extra_body=body)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error" and caught.value.code


def test_a_wrong_chat_request_names_its_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=[{"role": "user"}])
    assert caught.value.param == "messages[0].content"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=HELLO, n=2)
    assert caught.value.param == "n"


def test_a_parameter_that_the_model_does_not_know_is_named(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=HELLO, extra_body={"frobnicate": 1})
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "frobnicate")


def test_what_has_no_effect_is_named_in_a_header(client):
    tools = [{"type": "web_search"}]
    made = client.responses.with_raw_response.create(model="demo", input="hi", tools=tools)
    assert made.headers["weir-warning"] == "ignored: tools[0]"
    assert made.parse().status == "completed"
    made = client.chat.completions.with_raw_response.create(model="demo", messages=HELLO, logit_bias={"1": 1})
    assert made.headers["weir-warning"] == "ignored: logit_bias"


def test_a_turn_before_that_is_not_there(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="demo", input="hi", previous_response_id="resp_none")
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


@pytest.mark.parametrize("call", ["retrieve", "cancel", "delete", "resume", "input_items"])
def test_an_unknown_id_is_not_found(client, call):
    calls = {
        "retrieve": lambda: client.responses.retrieve("resp_none"),
        "cancel": lambda: client.responses.cancel("resp_none"),
        "delete": lambda: client.responses.delete("resp_none"),
        "resume": lambda: client.responses.retrieve("resp_none", stream=True, starting_after=3),
        "input_items": lambda: client.responses.input_items.list("resp_none"),
    }
    with pytest.raises(openai.NotFoundError) as caught:
        calls[call]()
    assert caught.value.code == "response_not_found" and caught.value.request_id


def test_a_function_output_without_its_call_fails(client):
    output = {"type": "function_call_output", "call_id": "call_nobody", "output": "?"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="demo", input=[output])
    assert "call_nobody" in caught.value.message


@pytest.mark.parametrize("api, stream", [("chat", False), ("chat", True), ("responses", False), ("responses", True)])
@pytest.mark.parametrize(
    "model, kind, status, code",
    [
        ("busy", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("failing", openai.InternalServerError, 502, "upstream_error"),
        ("locked", openai.InternalServerError, 502, "upstream_authentication_failed"),
        ("picky", openai.BadRequestError, 400, "invalid_value"),
        ("nobody", openai.NotFoundError, 404, "model_not_found"),
    ],
)
def test_a_refusal_of_the_upstream_keeps_its_status(client, upstream, api, stream, model, kind, status, code):
    with pytest.raises(kind) as caught:
        ask(client, api, model, stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.response.headers.get("retry-after") == ("7" if model == "busy" else None)
    assert caught.value.param == ("temperature" if model == "picky" else None)
    assert UPSTREAM_KEY not in str(caught.value.body)
    assert len(upstream.requests) == 1


def test_a_stream_that_does_not_wait_has_its_refusal_in_band(client, upstream):
    with pytest.raises(openai.APIError) as caught:
        list(client.responses.create(model="busy", input="hello", stream=True, extra_headers={"Prefer": "wait=0"}))
    assert not isinstance(caught.value, openai.APIStatusError)
    assert caught.value.code == "rate_limit_exceeded"


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("model, words", [("breaks", "accelerator caught fire"), ("cut", "upstream")])
def test_a_failure_after_the_first_word_is_in_band(client, upstream, api, model, words):
    with pytest.raises(openai.APIError) as caught:
        ask(client, api, model, stream=True)
    assert not isinstance(caught.value, openai.APIStatusError)
    assert words in caught.value.message


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("model", ["breaks", "cut"])
def test_half_an_answer_is_no_answer(client, upstream, api, model):
    with pytest.raises(openai.InternalServerError):
        ask(client, api, model)


def test_the_sdk_repeats_what_may_be_repeated(weir, upstream):
    with connect(weir, max_retries=1) as client, pytest.raises(openai.InternalServerError):
        ask(client, "responses", "failing")
    assert len(upstream.requests) == 2


def test_a_model_that_nobody_serves(guarded):
    server, ada, _ = guarded
    with connect(server, ada) as client, pytest.raises(openai.NotFoundError) as caught:
        ask(client, "responses", "nobody")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("key", ["wrong", "wk_0123456789abcdef", UPSTREAM_KEY])
def test_a_wrong_key_is_refused(guarded, key):
    server, *_ = guarded
    with connect(server, key) as client:
        for call in (client.models.list, lambda: ask(client, "chat", "demo"), lambda: ask(client, "responses", "demo", stream=True)):
            with pytest.raises(openai.AuthenticationError) as caught:
                call()
            assert caught.value.code == "invalid_api_key" and key not in caught.value.message


def test_what_one_caller_made_the_other_does_not_find(guarded):
    server, ada_key, bob_key = guarded
    with connect(server, ada_key) as ada, connect(server, bob_key) as bob:
        made = ada.responses.create(model="demo", input="/echo mine", extra_headers={"Idempotency-Key": "same"})
        calls = [
            lambda: bob.responses.retrieve(made.id),
            lambda: bob.responses.retrieve(made.id, stream=True),
            lambda: bob.responses.cancel(made.id),
            lambda: bob.responses.delete(made.id),
            lambda: bob.responses.input_items.list(made.id),
        ]
        for call in calls:
            with pytest.raises(openai.NotFoundError):
                call()
        with pytest.raises(openai.BadRequestError) as caught:
            bob.responses.create(model="demo", input="and?", previous_response_id=made.id)
        assert caught.value.code == "previous_response_not_found"
        # A key of an idempotent request is its caller's own, too.
        assert bob.responses.create(model="demo", input="/echo yours", extra_headers={"Idempotency-Key": "same"}).output_text == "yours"
        assert ada.responses.retrieve(made.id).output_text == "mine"

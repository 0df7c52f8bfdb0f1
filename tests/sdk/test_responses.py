"""The Responses API with the official SDK."""

import openai
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from conftest import TOOL, in_order, text_of


def test_whole(client):
    response = client.responses.create(model="demo", input="/echo Hello, 世界!", metadata={"for": "test"})
    assert response.output_text == "Hello, 世界!"
    assert response.status == "completed" and response.metadata == {"for": "test"}
    assert response.usage.output_tokens > 0 and response.usage.to_dict()["source"] == "counted"
    Response.model_validate(response.to_dict(mode="json"))


def test_streamed(client):
    events = in_order(client.responses.create(model="demo", input="/echo Hello, 世界!", stream=True))
    assert events[0].sequence_number == 0
    assert text_of(events) == "Hello, 世界!"
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[-1].response.output_text == "Hello, 世界!"


def test_the_stream_helper(client):
    with client.responses.stream(model="demo", input="hello") as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots[-1] == final.output_text
    assert all(later.startswith(earlier) for earlier, later in zip(snapshots, snapshots[1:]))


def test_reasoning_is_an_item_of_its_own(client, upstream):
    events = in_order(client.responses.create(model="think", input="see", reasoning={"effort": "low"}, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.reasoning_text.delta") == "Let me see."
    with client.responses.stream(model="think", input="see", reasoning={"effort": "low"}) as stream:
        helped = stream.get_final_response()
    for final in (events[-1].response, helped):
        assert [item.type for item in final.output] == ["reasoning", "message"]
        assert final.output[0].content[0].text == "Let me see." and final.output_text == "Seen."
    assert upstream.requests[0]["body"]["reasoning_effort"] == "low"


def test_a_refusal_is_one(client):
    response = client.responses.create(model="demo", input="/refuse")
    [part] = response.output[0].content
    assert part.type == "refusal" and "rather not" in part.refusal


def test_tools_there_and_back(client, upstream):
    first = client.responses.create(model="tool", input="weather in Oslo and Rome?", tools=[TOOL])
    assert [(call.type, call.name, call.arguments) for call in first.output] == [
        ("function_call", "get_weather", '{"city":"Oslo"}'),
        ("function_call", "get_weather", '{"city":"Rome"}'),
    ]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": f"sun {index}"} for index, call in enumerate(first.output)]
    second = client.responses.create(model="tool", input=outputs, previous_response_id=first.id, tools=[TOOL])
    assert second.output_text == "sun 0 and sun 1"


def test_tools_streamed(client, upstream):
    with client.responses.stream(model="tool", input="weather?", tools=[TOOL], tool_choice="required") as stream:
        events = in_order(stream)
        final = stream.get_final_response()
    assert [event.arguments for event in events if event.type == "response.function_call_arguments.done"] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert [call.name for call in final.output] == ["get_weather", "get_weather"]
    assert upstream.requests[0]["body"]["tool_choice"] == "required"


def test_tool_choice_names_one_or_some(client, upstream):
    other = {**TOOL, "name": "get_time", "description": "The time in a city"}
    one = client.responses.create(model="tool", input="hi", tools=[TOOL, other], tool_choice={"type": "function", "name": "get_time"})
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}
    two = client.responses.create(model="tool", input="hi", tools=[TOOL, other], tool_choice=allowed)
    assert {call.name for call in one.output + two.output} == {"get_time"}
    named, some = (request["body"] for request in upstream.requests)
    assert named["tool_choice"] == {"type": "function", "function": {"name": "get_time"}}
    assert [tool["function"]["name"] for tool in some["tools"]] == ["get_time"]


def test_a_choice_that_the_model_ignores_is_a_failure(client, upstream):
    with pytest.raises(openai.InternalServerError, match="had to call a tool"):
        client.responses.create(model="talk", input="hi", tools=[TOOL], tool_choice="required")


class City(BaseModel):
    name: str
    inhabitants: int
    rivers: list[str]


def test_structured_output_is_parsed(client):
    response = client.responses.parse(model="demo", input="Tell me of Oslo", text_format=City)
    assert isinstance(response.output_parsed, City)


def test_structured_output_streamed(client):
    with client.responses.stream(model="demo", input="Tell me of Oslo", text_format=City) as stream:
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, City)


def test_structured_output_reaches_the_upstream(client, upstream):
    text = {"format": {"type": "json_schema", "name": "city", "schema": City.model_json_schema(), "strict": True}}
    client.responses.create(model="talk", input="hi", text=text)
    sent = upstream.requests[0]["body"]["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "city", "schema": City.model_json_schema(), "strict": True}}


def test_a_conversation_goes_on(client):
    first = client.responses.create(model="demo", input="My name is Ada.")
    second = client.responses.create(model="demo", input="What is my name?", previous_response_id=first.id)
    assert "Ada" in second.output_text
    assert second.previous_response_id == first.id
    # Another branch from the same turn, streamed.
    third = in_order(client.responses.create(model="demo", input="Who am I? What is my name?", previous_response_id=first.id, stream=True))
    assert third[-1].response.previous_response_id == first.id


def test_an_image_instructions_and_extra_parameters_reach_the_upstream(client, upstream):
    image = {"type": "input_image", "image_url": "https://pictures.example/weir.png", "detail": "high"}
    client.responses.create(
        model="talk",
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "what is this?"}, image]}],
        max_output_tokens=99,
        extra_body={"seed": 7, "top_k": 40},
    )
    body = upstream.requests[0]["body"]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/weir.png", "detail": "high"}},
    ]
    assert (body["max_tokens"], body["seed"], body["top_k"]) == (99, 7, 40)


def test_a_limit_ends_an_answer_early(client):
    response = client.responses.create(model="demo", input="/count 100", max_output_tokens=5)
    assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text


def test_input_items_are_listed_in_pages(client):
    messages = [{"role": "user", "content": f"message {number}"} for number in range(5)]
    response = client.responses.create(model="demo", input=messages)
    texts = [item.content[0].text for item in client.responses.input_items.list(response.id, limit=2, order="asc")]
    assert texts == [f"message {number}" for number in range(5)]
    newest = next(iter(client.responses.input_items.list(response.id, limit=1)))
    assert newest.content[0].text == "message 4"


def test_tokens_are_counted_before(client):
    counted = client.responses.input_tokens.count(model="demo", input="How many tokens are these?")
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == client.responses.create(model="demo", input="How many tokens are these?").usage.input_tokens


def test_a_response_is_retrieved_and_deleted(client):
    made = client.responses.create(model="demo", input="/echo keep me")
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    assert client.responses.delete(made.id) is None
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_an_answer_that_is_not_stored_is_gone(client):
    made = client.responses.create(model="demo", input="/echo gone", store=False)
    assert made.output_text == "gone" and made.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_the_raw_response_names_the_request_and_the_answer(client):
    raw = client.responses.with_raw_response.create(model="demo", input="/echo hi")
    response = raw.parse()
    assert raw.headers["x-request-id"] == raw.request_id == response._request_id
    assert raw.headers["weir-response-id"] == response.id
    with client.responses.with_streaming_response.create(model="demo", input="/echo hi", stream=True) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["cache-control"] == "no-store, no-transform"
        assert text_of(streamed.parse()) == "hi"

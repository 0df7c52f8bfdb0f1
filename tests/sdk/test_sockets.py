"""The Responses API over the official SDK's WebSocket connection."""

import asyncio

import openai
import pytest
from websockets.exceptions import InvalidStatus

from conftest import TOOL, connect, in_order, text_of

ENDS = ("response.completed", "response.incomplete", "response.failed")


def turn(connection):
    """The events of one turn, or a refusal alone."""
    events = []
    while not events or events[-1].type not in (*ENDS, "error"):
        events.append(connection.recv())
    return events


def test_a_turn_is_the_events_of_the_stream(client):
    with client.responses.connect() as connection:
        connection.response.create(model="demo", input="/echo Hello, 世界!")
        events = in_order(turn(connection))
    assert text_of(events) == "Hello, 世界!" and events[-1].type == "response.completed"
    replayed = client.responses.retrieve(events[0].response.id, stream=True)
    assert [event.to_dict(mode="json") for event in replayed] == [event.to_dict(mode="json") for event in events]


def test_what_is_not_stored_goes_on_where_it_was_said_and_nowhere_else(client):
    with client.responses.connect() as connection, client.responses.connect() as other:
        connection.response.create(model="demo", input="My name is Ada.", store=False)
        first = turn(connection)[0].response.id
        other.response.create(model="demo", input="What is my name?", store=False, previous_response_id=first)
        [refused] = turn(other)
        assert refused.type == "error" and refused.error.code == "previous_response_not_found" and refused.status == 400
        connection.response.create(model="demo", input="What is my name?", store=False, previous_response_id=first)
        assert "Ada" in text_of(turn(connection))


def test_a_warm_up_asks_nobody(client, upstream):
    with client.responses.connect() as connection:
        connection.response.create(model="talk", input="context", generate=False, store=False)
        warm = turn(connection)
        assert warm[-1].response.output == [] and upstream.requests == []
        connection.response.create(model="talk", input="and?", store=False, previous_response_id=warm[0].response.id)
        assert text_of(turn(connection)) == "Water flows downhill."
    assert [message["content"] for message in upstream.requests[0]["body"]["messages"]] == ["context", "and?"]


def test_tools_there_and_back(client, upstream):
    with client.responses.connect() as connection:
        connection.response.create(model="tool", input="weather in Oslo and Rome?", tools=[TOOL])
        first = turn(connection)[-1].response
        outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": f"sun {index}"} for index, call in enumerate(first.output)]
        connection.response.create(model="tool", input=outputs, previous_response_id=first.id, tools=[TOOL])
        assert text_of(turn(connection)) == "sun 0 and sun 1"


def test_lanes_run_side_by_side(client, upstream):
    with client.responses.connect() as connection:
        connection.response.create(model="gated", input="go", stream_id="held")
        upstream.wait_for(1)
        connection.response.create(model="demo", input="/echo quick", stream_id="quick")
        events = turn(connection)
        assert text_of([event for event in events if event.stream_id == "quick"]) == "quick" and events[-1].stream_id == "quick"
        upstream.gate.set()
        events = [*events, *turn(connection)]
    assert text_of([event for event in events if event.stream_id == "held"]) == "one two"


def test_cancel_and_resume_pass_through(client, upstream):
    with client.responses.connect() as connection:
        connection.response.create(model="gated", input="go")
        events = []
        while text_of(events) != "one":
            events.append(connection.recv())
        connection.send({"type": "response.cancel"})
        events += turn(connection)
        assert events[-1].response.status == "cancelled" and upstream.left.wait(30)
        connection.send({"type": "response.resume", "response_id": events[0].response.id, "starting_after": 2})
        assert [event.to_dict() for event in turn(connection)] == [event.to_dict() for event in events[3:]]


def test_a_refusal_leaves_the_connection_open(client):
    with client.responses.connect() as connection:
        for field, value in (("previous_response_id", "resp_none"), ("temperature", 3)):
            connection.response.create(model="demo", input="hi", **{field: value})
            [refused] = turn(connection)
            assert (refused.type, refused.status, refused.error.param) == ("error", 400, field)
        connection.response.create(model="demo", input="/echo still here")
        assert text_of(turn(connection)) == "still here"


def test_the_key_goes_with_the_handshake(guarded):
    server, ada, _ = guarded
    with connect(server, ada) as client, client.responses.connect() as connection:
        connection.response.create(model="demo", input="/echo let in")
        assert text_of(turn(connection)) == "let in"
    with connect(server, "wk_wrong") as client, pytest.raises(InvalidStatus, match="401"):
        client.responses.connect().enter()


def test_the_asynchronous_client(weir):
    async def work():
        async with openai.AsyncOpenAI(base_url=f"{weir.url}/v1", api_key="unused", max_retries=0) as client:
            async with client.responses.connect() as connection:
                await connection.response.create(model="demo", input="/count 20")
                events = []
                async for event in connection:
                    events.append(event)
                    if event.type in ENDS:
                        return events

    assert text_of(in_order(asyncio.run(work()))).endswith(" 20")

"""Answers that outlive their connection: background, resume, cancel, idempotency."""

import threading

import httpx2
import openai
import pytest

from conftest import LosesAnswers, connect, in_order, text_of


def raw(events):
    return [event.to_dict(mode="json") for event in events]


def test_a_background_answer_is_polled(client, upstream):
    made = client.responses.create(model="gated", input="go", background=True)
    assert made.status in ("queued", "in_progress") and made.background is True and made.usage is None
    assert client.responses.retrieve(made.id).status in ("queued", "in_progress")
    upstream.gate.set()
    events = in_order(client.responses.retrieve(made.id, stream=True))
    assert events[-1].type == "response.completed"
    polled = client.responses.retrieve(made.id)
    assert polled.status == "completed" and polled.output_text == "one two"


def test_a_stream_left_in_the_middle_goes_on_where_it_was(client, upstream):
    stream = client.responses.create(model="gated", input="go", background=True, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    stream.close()
    response_id = seen[0].response.id
    upstream.gate.set()
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    events = in_order([*seen, *rest])
    assert text_of(events) == "one two" and events[-1].type == "response.completed"
    assert len(upstream.requests) == 1
    # Replayed as it was, also from the begin, and from every position.
    assert raw(client.responses.retrieve(response_id, stream=True)) == raw(events)
    for event in events[:-1]:
        after = client.responses.retrieve(response_id, stream=True, starting_after=event.sequence_number)
        assert raw(after) == raw(events[event.sequence_number + 1 :])


def test_the_stream_helper_resumes(client, upstream):
    with client.responses.stream(model="gated", input="go", background=True) as stream:
        response_id = next(iter(stream)).response.id
    upstream.gate.set()
    with client.responses.stream(response_id=response_id, starting_after=3) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert events[0].sequence_number == 4
    assert final.output_text == "one two" and len(upstream.requests) == 1


def test_a_stored_answer_without_background_is_resumed_too(client):
    events = in_order(client.responses.create(model="demo", input="/count 20", stream=True))
    rest = client.responses.retrieve(events[0].response.id, stream=True, starting_after=10)
    assert raw(rest) == raw(events[11:])


def test_a_second_reader_sees_the_same(client, upstream):
    first = client.responses.create(model="gated", input="go", background=True, stream=True)
    events = [next(iter(first))]
    second = client.responses.retrieve(events[0].response.id, stream=True)
    upstream.gate.set()
    events += first
    assert raw(second) == raw(events)


@pytest.mark.parametrize("position, code", [(10_000, "position_out_of_range"), (-1, "invalid_value")])
def test_a_position_that_is_none_is_refused(client, position, code):
    made = client.responses.create(model="demo", input="/echo hi")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.retrieve(made.id, stream=True, starting_after=position)
    assert (caught.value.code, caught.value.param) == (code, "starting_after")


def test_cancel_stops_the_model_and_keeps_the_text(client, upstream):
    stream = client.responses.create(model="gated", input="go", background=True, stream=True)
    events = []
    for event in stream:
        events.append(event)
        if event.type == "response.output_text.delta":
            break
    cancelled = client.responses.cancel(events[0].response.id)
    assert cancelled.status == "cancelled" and cancelled.output_text == "one"
    assert upstream.left.wait(30)
    events += stream
    assert events[-1].type == "response.incomplete" and events[-1].response.status == "cancelled"
    assert client.responses.cancel(cancelled.id).to_dict() == cancelled.to_dict()


def test_a_running_answer_can_be_deleted(client, upstream):
    made = client.responses.create(model="gated", input="go", background=True)
    upstream.wait_for(1)
    client.responses.delete(made.id)
    assert upstream.left.wait(30)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_background_without_store_is_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="demo", input="hi", background=True, store=False)
    assert caught.value.param == "background"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_retry_under_one_key_pays_once(weir, upstream, api, stream):
    network = LosesAnswers(1)
    headers = {"Idempotency-Key": f"once-{api}-{stream}"}
    with connect(weir, max_retries=2, http_client=httpx2.Client(transport=network)) as client:
        if api == "responses":
            made = client.responses.create(model="talk", input="hi", stream=stream, extra_headers=headers)
            text = text_of(made) if stream else made.output_text
        else:
            made = client.chat.completions.create(model="talk", messages=[{"role": "user", "content": "hi"}], stream=stream, extra_headers=headers)
            text = "".join(choice.delta.content or "" for chunk in made for choice in chunk.choices) if stream else made.choices[0].message.content
    assert text == "Water flows downhill."
    assert network.sent == 2 and len(upstream.requests) == 1


def test_two_at_once_under_one_key_are_one(client, upstream):
    made = []
    ask = lambda: made.append(client.responses.create(model="gated", input="hi", extra_headers={"Idempotency-Key": "at-once"}))
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    upstream.wait_for(1)
    upstream.gate.set()
    for thread in threads:
        thread.join()
    assert len(made) == 2 and made[0].to_dict() == made[1].to_dict()
    assert len(upstream.requests) == 1


def test_the_same_key_for_another_question_is_a_conflict(weir, upstream):
    headers = {"Idempotency-Key": "mine"}
    network = LosesAnswers(0)
    with connect(weir, max_retries=3, http_client=httpx2.Client(transport=network)) as client:
        client.responses.create(model="talk", input="one", extra_headers=headers)
        with pytest.raises(openai.ConflictError) as caught:
            client.responses.create(model="talk", input="two", extra_headers=headers)
    assert caught.value.code == "idempotency_key_reused"
    # The SDK repeats a 409 by itself unless it is told that this is of no use.
    assert network.sent == 2 and len(upstream.requests) == 1

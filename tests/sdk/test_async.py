"""The SDK's asynchronous client, and many answers at once."""

import asyncio

import openai
import pytest

from conftest import in_order, text_of


def run(weir, work):
    async def main():
        async with openai.AsyncOpenAI(base_url=f"{weir.url}/v1", api_key="unused", max_retries=0, timeout=60) as client:
            return await work(client)

    return asyncio.run(main())


def test_chat(weir):
    async def work(client):
        stream = await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "/echo hi"}], stream=True)
        return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])

    assert run(weir, work) == "hi"


def test_responses_and_resume(weir, upstream):
    async def work(client):
        stream = await client.responses.create(model="gated", input="go", background=True, stream=True)
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        upstream.gate.set()
        rest = await client.responses.retrieve(seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number)
        seen += [event async for event in rest]
        async with client.responses.stream(response_id=seen[0].response.id) as again:
            final = await again.get_final_response()
        return seen, final

    events, final = run(weir, work)
    assert text_of(in_order(events)) == final.output_text == "one two"


def test_fifty_at_once_do_not_mix(weir):
    async def work(client):
        async def one(number):
            async with client.responses.stream(model="demo", input=f"/echo this is answer {number}") as stream:
                return (await stream.get_final_response()).output_text

        return await asyncio.gather(*(one(number) for number in range(50)))

    assert run(weir, work) == [f"this is answer {number}" for number in range(50)]


def test_an_error_in_the_stream(weir, upstream):
    async def work(client):
        async for _ in await client.responses.create(model="breaks", input="go", stream=True):
            pass

    with pytest.raises(openai.APIError, match="caught fire"):
        run(weir, work)

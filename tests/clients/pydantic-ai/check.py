"""Pydantic AI, over chat completions and over the Responses API."""

import asyncio
import sys
from importlib.metadata import version

sys.path.insert(0, "..")
import openai
from checks import BASE, TEXT, check, left, run
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, ThinkingPart
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, ThinkingPartDelta
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


def get_weather(city: str) -> str:
    """The weather in a city."""
    return "12 degrees"


class City(BaseModel):
    name: str


def agent(kind, model="demo", **more):
    sdk = openai.AsyncOpenAI(base_url=BASE, api_key="unused", max_retries=0, timeout=20)
    return Agent(kind(model, provider=OpenAIProvider(openai_client=sdk)), **more)


async def fails(made, text, kind=Exception):
    try:
        async with made.run_stream(text) as result:
            async for _ in result.stream_text():
                pass
    except kind as error:
        return error
    raise AssertionError(f"{text} passes for whole")


def over(name, kind):
    async def whole():
        assert (await agent(kind).run(f"/echo {TEXT}")).output == TEXT

    async def streamed():
        async with agent(kind).run_stream(f"/echo {TEXT}") as result:
            assert "".join([delta async for delta in result.stream_text(delta=True)]) == TEXT

    async def tools():
        assert "12 degrees" in (await agent(kind, tools=[get_weather]).run("/tool")).output

    async def structured():
        assert (await agent(kind, output_type=City).run("/tool")).output.name

    async def reasoning():
        thoughts = []
        settings = {"openai_reasoning_summary": "auto"} if name == "responses" else {}
        async with agent(kind).iter("/think rain", model_settings=settings) as run_:
            async for node in run_:
                if not Agent.is_model_request_node(node):
                    continue
                async with node.stream(run_.ctx) as events:
                    async for event in events:
                        if isinstance(event, PartStartEvent) and isinstance(event.part, ThinkingPart):
                            thoughts.append(event.part.content)
                        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, ThinkingPartDelta):
                            thoughts.append(event.delta.content_delta or "")
        assert len(thoughts) > 3 and "rain" in "".join(thoughts), thoughts

    async def failed():
        assert "The demo failed" in str(await fails(agent(kind), "/fail 5"))
        await fails(agent(kind), "/cut 5")

    async def status():
        assert (await fails(agent(kind, "fake"), "/status 429", ModelHTTPError)).status_code == 429

    async def abort():
        settings = {"openai_store": False} if name == "responses" else {}
        async with agent(kind, "fake").run_stream("/endless", model_settings=settings) as result:
            async for _ in result.stream_text(delta=True):
                break
            await result.cancel()
        assert await asyncio.to_thread(left)

    for function in (whole, streamed, tools, structured, reasoning, failed, status, abort):
        function.__name__ = f"{name}_{function.__name__}"
        check(function)


over("chat", OpenAIChatModel)
over("responses", OpenAIResponsesModel)
run(f"pydantic-ai {version('pydantic-ai-slim')}")

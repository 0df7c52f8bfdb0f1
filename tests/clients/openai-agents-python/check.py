"""OpenAI's agents for Python, over the Responses API and over chat completions."""

import asyncio
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, "..")
import openai
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel
from agents import Runner, SQLiteSession, function_tool, set_tracing_disabled
from checks import BASE, TEXT, check, left, needs, run

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "12 degrees"


def connect():
    return openai.AsyncOpenAI(base_url=BASE, api_key="unused", max_retries=0, timeout=20)


def raw(event, kind):
    return event.type == "raw_response_event" and event.data.type == kind


def over(name, kind):
    def agent(model="demo", **more):
        return Agent(name="Tester", model=kind(model, openai_client=connect()), **more)

    async def whole():
        assert (await Runner.run(agent(), f"/echo {TEXT}")).final_output == TEXT

    async def streamed():
        result = Runner.run_streamed(agent(), f"/echo {TEXT}")
        deltas = [event.data.delta async for event in result.stream_events() if raw(event, "response.output_text.delta")]
        assert "".join(deltas) == TEXT

    async def tools():
        result = Runner.run_streamed(agent(tools=[get_weather]), "/tool")
        async for _ in result.stream_events():
            pass
        assert "12 degrees" in result.final_output

    async def session():
        with tempfile.TemporaryDirectory() as home:
            kept = SQLiteSession("one", Path(home) / "session.db")
            await Runner.run(agent(), "My name is Ada.", session=kept)
            assert "Ada" in (await Runner.run(agent(), "What is my name?", session=kept)).final_output
            kept.close()

    async def reasoning():
        """Over chat completions the SDK makes summary events of `reasoning_content`."""
        word = "response.reasoning_text.delta" if name == "responses" else "response.reasoning_summary_text.delta"
        result = Runner.run_streamed(agent(), "/think rain")
        deltas = [event.data.delta async for event in result.stream_events() if raw(event, word)]
        assert "rain" in "".join(deltas)

    async def failed():
        for command in ("/fail 5", "/cut 5"):
            try:
                result = Runner.run_streamed(agent(), command)
                async for _ in result.stream_events():
                    pass
            except Exception as error:
                assert command != "/fail 5" or "demo" in str(error), error
            else:
                raise AssertionError(f"{command} passes for whole: {result.final_output}")

    async def abort():
        result = Runner.run_streamed(agent("fake", model_settings=ModelSettings(store=False)), "/endless")
        async for event in result.stream_events():
            if raw(event, "response.output_text.delta"):
                result.cancel()
        assert await asyncio.to_thread(left)

    for function in (whole, streamed, tools, session, reasoning, failed, abort):
        function.__name__ = f"{name}_{function.__name__}"
        check(function)


over("responses", OpenAIResponsesModel)
over("chat", OpenAIChatCompletionsModel)


@check
async def conversations_session():
    needs("conversations")
    from agents import OpenAIConversationsSession

    kept = OpenAIConversationsSession(openai_client=connect())
    agent = Agent(name="Tester", model=OpenAIResponsesModel("demo", openai_client=connect()))
    await Runner.run(agent, "My name is Ada.", session=kept)
    assert "Ada" in (await Runner.run(agent, "What is my name?", session=kept)).final_output


run(f"openai-agents {version('openai-agents')}")

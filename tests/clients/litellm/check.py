"""LiteLLM as a library."""

import asyncio
import json
import os
import sys
from importlib.metadata import version

# Without it, it asks the network for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
sys.path.insert(0, "..")
import litellm
from checks import BASE, FUNCTION, TEXT, check, fails, left, needs, run

litellm.suppress_debug_info = True
CONNECTION = {"api_base": BASE, "api_key": "unused", "num_retries": 0, "timeout": 20}
TOOL = {"type": "function", "function": FUNCTION}


def user(text):
    return [{"role": "user", "content": text}]


def chat(text, model="demo", **more):
    return litellm.completion(model=f"openai/{model}", messages=user(text), **CONNECTION, **more)


def respond(text, model="demo", **more):
    return litellm.responses(model=f"openai/{model}", input=text, **CONNECTION, **more)


@check
def chat_whole():
    assert chat(f"/echo {TEXT}").choices[0].message.content == TEXT


@check
def chat_streamed():
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chat(f"/echo {TEXT}", stream=True)) == TEXT


@check
def chat_tools():
    message = chat("/tool", tools=[TOOL]).choices[0].message
    call = message.tool_calls[0]
    assert "city" in json.loads(call.function.arguments)
    messages = user("/tool") + [message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}]
    again = litellm.completion(model="openai/demo", messages=messages, tools=[TOOL], **CONNECTION)
    assert "12 degrees" in again.choices[0].message.content


@check
def chat_reasoning():
    chunks = list(chat("/think rain", stream=True))
    assert "rain" in "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks)


@check
def chat_failed():
    assert "The demo failed" in str(fails(lambda: list(chat("/fail 5", stream=True))))
    fails(lambda: list(chat("/cut 5", stream=True)))


@check
def chat_status():
    assert type(fails(lambda: list(chat("/status 429", stream=True)))) is litellm.RateLimitError


@check
async def chat_abort():
    stream = await litellm.acompletion(model="openai/fake", messages=user("/endless"), stream=True, **CONNECTION)
    async for _ in stream:
        break
    await stream.aclose()
    assert await asyncio.to_thread(left)


@check
def responses_whole():
    made = respond(f"/echo {TEXT}")
    assert made.output[-1].content[0].text == TEXT


@check
def responses_streamed():
    events = list(respond(f"/echo {TEXT}", stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT


@check
def responses_reasoning_summary():
    events = list(respond("/think rain", stream=True, reasoning={"summary": "auto"}))
    deltas = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert "rain" in "".join(deltas), {str(event.type) for event in events}


@check
def responses_failed():
    def ask(command):
        events = list(respond(command, stream=True))
        assert events[-1].type in ("response.failed", "error"), events[-1].type
        raise RuntimeError("seen as failed")

    for command in ("/fail 5", "/cut 5"):
        error = fails(lambda command=command: ask(command))
        assert not isinstance(error, AssertionError), error


@check
def embeddings():
    needs("embeddings")
    assert len(litellm.embedding(model="openai/demo", input=["one", "two"], **CONNECTION).data) == 2


@check
def completions():
    needs("completions")
    assert litellm.text_completion(model="text-completion-openai/demo", prompt="Hello", **CONNECTION).choices[0].text


run(f"litellm {version('litellm')}")

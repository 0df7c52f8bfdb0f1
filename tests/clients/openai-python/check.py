"""OpenAI's SDK for Python: both APIs, plain and asynchronous."""

import asyncio
import json
import sys

sys.path.insert(0, "..")
import openai
from checks import BASE, FUNCTION, TEXT, check, fails, left, needs, run

OPTIONS = {"base_url": BASE, "api_key": "unused", "max_retries": 0, "timeout": 20}
client = openai.OpenAI(**OPTIONS)
CHAT_TOOL = {"type": "function", "function": FUNCTION}
TOOL = {"type": "function", "strict": True, **FUNCTION}


def user(text):
    return [{"role": "user", "content": text}]


def chat(text, **more):
    return client.chat.completions.create(model="demo", messages=user(text), **more)


def respond(text, **more):
    return client.responses.create(model="demo", input=text, **more)


@check
def chat_whole():
    choice = chat(f"/echo {TEXT}").choices[0]
    assert (choice.message.content, choice.finish_reason) == (TEXT, "stop")


@check
def chat_streamed():
    chunks = list(chat(f"/echo {TEXT}", stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[-1].usage.completion_tokens > 0


@check
def chat_tools():
    messages = user("/tool")
    with client.chat.completions.stream(model="demo", messages=messages, tools=[CHAT_TOOL]) as stream:
        message = stream.get_final_completion().choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments)
    messages += [message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}]
    again = client.chat.completions.create(model="demo", messages=messages, tools=[CHAT_TOOL])
    assert "12 degrees" in again.choices[0].message.content


@check
def chat_reasoning():
    deltas = [chunk.choices[0].delta for chunk in chat("/think rain", stream=True) if chunk.choices]
    thoughts = [delta.reasoning_content for delta in deltas if getattr(delta, "reasoning_content", None)]
    assert len(thoughts) > 3 and "rain" in "".join(thoughts)


@check
def chat_failed():
    for command in ("/fail 5", "/cut 5"):
        error = fails(lambda command=command: list(chat(command, stream=True)), openai.APIError)
        assert command != "/fail 5" or "The demo failed" in str(error), error


@check
def chat_status():
    assert fails(lambda: chat("/status 429", stream=True), openai.RateLimitError).status_code == 429
    error = fails(lambda: client.chat.completions.create(model="fake", messages=user("/status 401")), openai.APIStatusError)
    assert "refuses" in str(error) or error.status_code >= 500, error


@check
def chat_heartbeats():
    stream = client.chat.completions.create(model="demo", messages=user("/slow 700"), stream=True)
    texts = []
    for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")
        if len(texts) == 3:
            break
    stream.close()
    assert "".join(texts)


@check
def chat_abort():
    stream = client.chat.completions.create(model="fake", messages=user("/endless"), stream=True)
    next(iter(stream))
    stream.close()
    assert left()


@check
def responses_whole():
    made = respond(f"/echo {TEXT}")
    assert (made.output_text, made.status) == (TEXT, "completed")


@check
def responses_streamed():
    with client.responses.stream(model="demo", input=f"/echo {TEXT}") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == TEXT


@check
def responses_tools():
    first = respond("/tool", tools=[TOOL])
    call = next(item for item in first.output if item.type == "function_call")
    assert "city" in json.loads(call.arguments)
    output = [{"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}]
    assert "12 degrees" in respond(output, previous_response_id=first.id, tools=[TOOL]).output_text


@check
def responses_reasoning():
    events = list(respond("/think rain", stream=True))
    deltas = [event for event in events if event.type == "response.reasoning_text.delta"]
    assert deltas and "rain" in "".join(event.delta for event in deltas), {event.type for event in events}
    assert type(deltas[0]) is openai.types.responses.ResponseReasoningTextDeltaEvent


@check
def responses_reasoning_summary():
    events = list(respond("/think rain", stream=True, reasoning={"summary": "auto"}))
    thoughts = "".join(event.delta for event in events if event.type == "response.reasoning_summary_text.delta")
    assert "rain" in thoughts, {event.type for event in events}
    assert not any(event.type == "response.reasoning_text.delta" for event in events), "one or the other, never both"
    item = next(item for item in events[-1].response.output if item.type == "reasoning")
    assert item.summary[0].text == thoughts and not item.content


@check
def responses_failed():
    for command in ("/fail 5", "/cut 5"):
        events = []
        try:
            events = list(respond(command, stream=True))
        except openai.APIError as error:
            assert command != "/fail 5" or "The demo failed" in str(error), error
            continue
        assert events[-1].type == "response.failed"


@check
def responses_status():
    error = fails(lambda: client.responses.create(model="fake", input="/status 429", stream=True), openai.RateLimitError)
    assert "refuses" in str(error), error


@check
def responses_heartbeats():
    seen = 0
    with respond("/slow 700", stream=True, store=False) as stream:
        for event in stream:
            seen += event.type == "response.output_text.delta"
            if seen == 2:
                break
    assert seen == 2


@check
def responses_abort():
    with client.responses.create(model="fake", input="/endless", stream=True, store=False) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    assert left()


@check
def embeddings():
    needs("embeddings")
    for model in ("demo", "fake"):
        made = client.embeddings.create(model=model, input=["one", "two"])
        assert len(made.data) == 2 and made.data[0].embedding
    # As LangChain sends them.
    assert client.embeddings.create(model="demo", input=[[9906, 11], [1917]]).data[1].embedding


@check
def completions():
    needs("completions")
    made = client.completions.create(model="demo", prompt="Hello")
    assert made.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in client.completions.create(model="demo", prompt="Hello", stream=True))


@check
async def asynchronous():
    async with openai.AsyncOpenAI(**OPTIONS) as asynchronous:
        made = await asynchronous.responses.create(model="demo", input=f"/echo {TEXT}")
        assert made.output_text == TEXT
        stream = await asynchronous.chat.completions.create(model="demo", messages=user(f"/echo {TEXT}"), stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == TEXT
        stream = await asynchronous.chat.completions.create(model="fake", messages=user("/endless"), stream=True)
        async for _ in stream:
            break
        await stream.close()
    assert await asyncio.to_thread(left)


run(f"openai {openai.__version__}")

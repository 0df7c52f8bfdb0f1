"""LlamaIndex: its OpenAI-like model in chat and in completions mode, and its Responses model."""

import sys
from importlib.metadata import version

sys.path.insert(0, "..")
from checks import BASE, TEXT, Known, check, fails, needs, run
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses


def get_weather(city: str) -> str:
    """The weather in a city."""
    return "12 degrees"


CONNECTION = {"api_base": BASE, "api_key": "unused", "max_retries": 0, "timeout": 20}


def chat(model="demo", **more):
    return OpenAILike(model=model, is_chat_model=True, is_function_calling_model=True, **CONNECTION, **more)


def user(text):
    return [ChatMessage(role="user", content=text)]


@check
def chat_whole():
    assert chat().chat(user(f"/echo {TEXT}")).message.content == TEXT


@check
def chat_streamed():
    assert "".join(chunk.delta or "" for chunk in chat().stream_chat(user(f"/echo {TEXT}"))) == TEXT


@check
async def chat_tools():
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(get_weather)], llm=chat())
    assert "12 degrees" in str(await agent.run("/tool"))


@check
def chat_failed():
    assert "The demo failed" in str(fails(lambda: list(chat().stream_chat(user("/fail 5")))))
    fails(lambda: list(chat().stream_chat(user("/cut 5"))))


@check
def chat_abort():
    raise Known("closing its stream leaves the connection open until it is collected")


def respond(model="demo", **more):
    return OpenAILikeResponses(model=model, **CONNECTION, **more)


@check
def responses_whole():
    assert respond().chat(user(f"/echo {TEXT}")).message.content == TEXT


@check
def responses_streamed():
    assert "".join(chunk.delta or "" for chunk in respond().stream_chat(user(f"/echo {TEXT}"))) == TEXT


@check
def responses_failed():
    fails(lambda: list(respond().stream_chat(user("/fail 5"))))


@check
def completions():
    """What it uses unless it is told that the model is one for chat."""
    needs("completions")
    model = OpenAILike(model="demo", **CONNECTION)
    assert model.complete("Hello").text
    assert "".join(chunk.delta or "" for chunk in model.stream_complete("Hello"))


@check
def embeddings():
    needs("embeddings")
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    model = OpenAILikeEmbedding(model_name="demo", api_base=BASE, api_key="unused")
    assert len(model.get_text_embedding_batch(["one", "two"])) == 2


run(f"llama-index-core {version('llama-index-core')}, llama-index-llms-openai-like {version('llama-index-llms-openai-like')}")

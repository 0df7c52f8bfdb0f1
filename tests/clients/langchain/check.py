"""LangChain for Python, over chat completions and over the Responses API."""

import sys
from importlib.metadata import version

sys.path.insert(0, "..")
from checks import BASE, TEXT, Known, check, fails, left, needs, run
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


def get_weather(city: str) -> str:
    """The weather in a city."""
    return "12 degrees"


def over(name):
    """The checks of one API, named after it."""

    def model(identifier="demo", **more):
        settings = {"base_url": BASE, "api_key": "unused", "max_retries": 0, "timeout": 20, "use_responses_api": name == "responses"}
        return ChatOpenAI(model=identifier, **settings, **more)

    def whole():
        assert model().invoke(f"/echo {TEXT}").text == TEXT

    def streamed():
        chunks = list(model().stream(f"/echo {TEXT}"))
        assert "".join(chunk.text for chunk in chunks) == TEXT and len(chunks) > 2

    def tools():
        bound = model().bind_tools([get_weather])
        question = HumanMessage("/tool")
        call = bound.invoke([question])
        assert call.tool_calls[0]["name"] == "get_weather"
        output = ToolMessage("12 degrees", tool_call_id=call.tool_calls[0]["id"])
        assert "12 degrees" in bound.invoke([question, call, output]).text

    def agent():
        made = create_agent(model(), [get_weather])
        chunks = made.stream({"messages": [HumanMessage("/tool")]}, stream_mode="messages")
        assert "12 degrees" in "".join(message.text for message, _ in chunks)

    def reasoning():
        if name == "chat":
            raise Known("drops reasoning_content")
        chunks = model(reasoning={"summary": "auto"}).stream("/think rain")
        blocks = [block for chunk in chunks for block in chunk.content_blocks if block["type"] == "reasoning"]
        assert len(blocks) > 3 and "rain" in "".join(block.get("reasoning", "") for block in blocks)

    def failed():
        assert "The demo failed" in str(fails(lambda: list(model().stream("/fail 5"))))
        fails(lambda: list(model().stream("/cut 5")))

    def status():
        error = fails(lambda: list(model("fake").stream("/status 429")))
        assert getattr(error, "status_code", None) == 429, error

    def abort():
        chunks = model("fake", **({"store": False} if name == "responses" else {})).stream("/endless")
        next(chunk for chunk in chunks if chunk.text)
        chunks.close()
        assert left()

    for function in (whole, streamed, tools, agent, reasoning, failed, status, abort):
        function.__name__ = f"{name}_{function.__name__}"
        check(function)


over("chat")
over("responses")


@check
def embeddings():
    needs("embeddings")
    # Otherwise it counts tokens with a table that it loads from the network, and sends tokens in place of texts.
    settings = {"base_url": BASE, "api_key": "unused", "max_retries": 0, "check_embedding_ctx_length": False}
    vectors = OpenAIEmbeddings(model="demo", **settings).embed_documents(["one", "two"])
    assert len(vectors) == 2 and vectors[0]


run(f"langchain {version('langchain')}, langchain-openai {version('langchain-openai')}, langgraph {version('langgraph')}")

"""One server for the whole run, with the demo model and a scripted upstream; and one that asks for keys."""

import os

import httpx2
import openai
import pytest
from pydantic import TypeAdapter
from openai.types.responses import ResponseStreamEvent

from upstream import Upstream
from weir import Weir, run

# The machine's own settings of the SDK, and its proxies, must not reach the tests.
for name in [name for name in os.environ if name.startswith("OPENAI_")]:
    del os.environ[name]
os.environ["NO_PROXY"] = "*"

UPSTREAM_KEY = "sk-upstream-secret"

# What one test has refused, the next one is to be answered; and who asks again here is the SDK.
SETTINGS = """
[retries]
count = 0
[[upstream]]
name = "openai"
base_url = "{url}"
api_key_env = "OPENAI_API_KEY"
key_rest = "0s"
breaker = 0
"""

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    "strict": True,
}
CHAT_TOOL = {"type": "function", "function": {name: value for name, value in TOOL.items() if name != "type"}}

_EVENT = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="session")
def _upstream():
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def upstream(_upstream):
    _upstream.reset()
    yield _upstream
    _upstream.gate.set()


@pytest.fixture(scope="session")
def weir(_upstream, tmp_path_factory):
    """The server. At its end it must have stopped cleanly and logged no secret."""
    home = tmp_path_factory.mktemp("weir")
    (home / "weir.toml").write_text(SETTINGS.format(url=_upstream.url))
    server = Weir(home, OPENAI_API_KEY=UPSTREAM_KEY)
    yield server
    log = server.log()
    assert server.stop() == 0
    assert UPSTREAM_KEY not in log
    assert "panicked" not in log


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    """A server without an upstream that asks for keys: its address, and the keys of two callers."""
    home = tmp_path_factory.mktemp("guarded")
    keys = [run("key", "create", "--name", name, home=home).strip() for name in ("ada", "bob")]
    server = Weir(home)
    yield server, *keys
    log = server.log()
    assert server.stop() == 0
    assert not any(key in log for key in keys)


def connect(server, key="unused", **options):
    """The SDK with nothing changed but the base URL. It does not repeat requests unless a test wants that."""
    options.setdefault("max_retries", 0)
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, timeout=60, **options)


@pytest.fixture
def client(weir):
    with connect(weir) as client:
        yield client


def in_order(events):
    """The events of one answer, after a check that each is what the SDK's types say and that none is missing."""
    events = list(events)
    assert [event.sequence_number for event in events] == list(range(events[0].sequence_number, events[-1].sequence_number + 1))
    for event in events:
        _EVENT.validate_python(event.to_dict(mode="json"))
    return events


def text_of(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


class LosesAnswers(httpx2.BaseTransport):
    """A network that carries the first `count` requests, and loses their answers on the way back."""

    def __init__(self, count):
        self.left = count
        self.sent = 0
        self._inner = httpx2.HTTPTransport()

    def handle_request(self, request):
        self.sent += 1
        response = self._inner.handle_request(request)
        if self.left:
            self.left -= 1
            response.read()
            response.close()
            raise httpx2.ReadError("the answer was lost on the way", request=request)
        return response

    def close(self):
        self._inner.close()

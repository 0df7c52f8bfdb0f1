"""The fake model servers, and the official SDK of each vendor with nothing changed but its address."""

import json
import os
import subprocess
from pathlib import Path

import anthropic
import ollama
import openai
import pytest
from google import genai
from google.genai import types

# The machine's own settings of the SDKs, and its proxies, must not reach the tests.
for name in [name for name in os.environ if name.startswith(("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "OLLAMA_"))]:
    del os.environ[name]
os.environ["NO_PROXY"] = "*"

ROOT = Path(__file__).resolve().parents[2]
FAKES = Path(os.environ.get("WEIR_FAKES") or ROOT / "target" / "debug" / "weir-fakes").resolve()
STOP_SECONDS = 30

KEY = "lab-key-of-the-tests"
WRONG_KEY = "lab-key-of-nobody"

HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Fakes:
    """The running program: `at` is what it printed."""

    def __init__(self):
        self._process = subprocess.Popen([str(FAKES), "--key", KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.at = json.loads(self._process.stdout.readline())

    def stop(self):
        """Ends it, and gives what it says at its end."""
        try:
            said, _ = self._process.communicate(timeout=STOP_SECONDS)
            assert self._process.returncode == 0
            return json.loads(said)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()


@pytest.fixture(scope="session")
def fakes():
    """The servers. What the SDKs sent them must have been right to the last byte."""
    fakes = Fakes()
    yield fakes
    assert fakes.stop()["complaints"] == []


@pytest.fixture
def wrong():
    """Servers of a test that asks wrong things."""
    fakes = Fakes()
    yield fakes
    fakes.stop()


def openai_at(fakes, key=KEY):
    return openai.OpenAI(base_url=fakes.at["chat"], api_key=key, max_retries=0, timeout=60)


def anthropic_at(fakes, key=KEY):
    return anthropic.Anthropic(base_url=fakes.at["url"], api_key=key, max_retries=0, timeout=60)


def gemini_at(fakes, key=KEY, **more):
    options = types.HttpOptions(base_url=fakes.at["url"], retry_options=types.HttpRetryOptions(attempts=1), **more)
    return genai.Client(api_key=key, vertexai=False, http_options=options)


def ollama_at(fakes, key=KEY):
    return ollama.Client(host=fakes.at["url"], headers={"Authorization": f"Bearer {key}"}, timeout=60)


@pytest.fixture
def chat(fakes):
    with openai_at(fakes) as client:
        yield client


@pytest.fixture
def claude(fakes):
    with anthropic_at(fakes) as client:
        yield client


@pytest.fixture
def gemini(fakes):
    with gemini_at(fakes) as client:
        yield client


@pytest.fixture
def llama(fakes):
    with ollama_at(fakes) as client:
        yield client

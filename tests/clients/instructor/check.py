"""Instructor: structured output by tools, by JSON schema and over the Responses API."""

import sys
from importlib.metadata import version

sys.path.insert(0, "..")
import instructor
import openai
from checks import BASE, check, fails, run
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


def client(mode):
    sdk = openai.OpenAI(base_url=BASE, api_key="unused", max_retries=0, timeout=20)
    return instructor.from_openai(sdk, mode=getattr(instructor.Mode, mode))


def ask(mode, text="/tool", **more):
    return client(mode).create(model="demo", messages=[{"role": "user", "content": text}], response_model=City, max_retries=0, **more)


def by(mode, text):
    def whole():
        assert isinstance(ask(mode, text), City)

    whole.__name__ = mode.lower()
    check(whole)


by("TOOLS", "/tool")
by("TOOLS_STRICT", "/tool")
by("JSON_SCHEMA", "/json")
by("RESPONSES_TOOLS", "/tool")


@check
def partial():
    made = list(client("TOOLS").create_partial(model="demo", messages=[{"role": "user", "content": "/tool"}], response_model=City))
    assert len(made) > 1 and made[-1].name


@check
def failed():
    assert "429" in str(fails(lambda: ask("TOOLS", "/status 429")))


run(f"instructor {version('instructor')}")

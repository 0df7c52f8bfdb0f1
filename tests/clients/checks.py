"""What the Python clients' checks share: where the servers are, what is asked, and how a result is printed for tests/clients/run."""

import asyncio
import inspect
import os
import traceback
import urllib.request

WEIR = os.environ["WEIR_URL"]
BASE = f"{WEIR}/v1"
UPSTREAM = os.environ["UPSTREAM_URL"]
PATHS = os.environ["WEIR_PATHS"].split(",")

TEXT = "Hello, 世界!"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "description": "The weather in a city", "parameters": PARAMETERS}

# No single check takes longer.
CHECK_SECONDS = 30


class Known(Exception):
    """The client itself cannot do this."""


class Skipped(Exception):
    """This server does not have what the check is about."""


_checks = []


def check(function):
    """Registers a check, by its name."""
    _checks.append(function)
    return function


def needs(path):
    if path not in PATHS:
        raise Skipped(f"no /v1/{path}")


def left():
    """Whether the fake upstream saw its caller leave an endless response."""
    with urllib.request.urlopen(f"{UPSTREAM}/left", timeout=CHECK_SECONDS) as response:
        return response.status == 200


def fails(function, *kinds):
    """The exception that a function raises, after a check that it is of the right kind."""
    try:
        result = function()
    except kinds or Exception as error:
        return error
    raise AssertionError(f"it did not fail, but gave {result!r}"[:300])


def run(*versions):
    print("version", " ".join(versions), flush=True)
    for function in _checks:
        name = function.__name__
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(asyncio.wait_for(function(), CHECK_SECONDS))
            else:
                function()
            print("passed", name, flush=True)
        except Known as error:
            print("known", f"{name}: {error}", flush=True)
        except Skipped as error:
            print("skipped", f"{name}: {error}", flush=True)
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            words = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            print("failed", f"{name}: {words} ({os.path.basename(frame.filename)}:{frame.lineno} {frame.line})", flush=True)

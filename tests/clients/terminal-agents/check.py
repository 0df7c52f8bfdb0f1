"""Coding agents in the terminal: opencode, over chat completions and over the Responses API, and Qwen Code."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, "..")
from checks import BASE, check, run

PROGRAMS = Path(__file__).resolve().parent / "node_modules" / ".bin"
RUN_SECONDS = 60


def agent(command, settings, environment):
    """Runs an agent in a directory of its own, and gives what it printed and the text of hello.txt there."""
    with tempfile.TemporaryDirectory(prefix="weir-agent-") as home:
        work = Path(home) / "work"
        work.mkdir()
        for name, content in settings.items():
            (work / name).write_text(json.dumps(content))
        done = subprocess.run(
            [PROGRAMS / command[0], *command[1:]], cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS,
            env={"PATH": os.environ["PATH"], "HOME": home, "NO_PROXY": "*", **environment},
        )
        path = work / "hello.txt"
        return f"{done.stdout}\n{done.stderr}", path.read_text() if path.exists() else None


def opencode(package, model, *words):
    provider = {
        "npm": package, "name": "Weir", "options": {"baseURL": BASE, "apiKey": "unused"}, "models": {"demo": {}, "fake": {}},
    }
    settings = {"opencode.json": {"autoupdate": False, "share": "disabled", "provider": {"weir": provider}}}
    # Each word is an argument, for one with a space in it is quoted.
    return agent(["opencode", "run", "--model", f"weir/{model}", *words], settings, {})


def qwen(text):
    """Its prompt has the names of many tools in it, some of which the demo would call."""
    environment = {"OPENAI_BASE_URL": BASE, "OPENAI_API_KEY": "unused", "OPENAI_MODEL": "fake"}
    return agent(["qwen", "--prompt", text, "--yolo", "--auth-type", "openai"], {}, environment)


def over(name, package):
    def turn():
        shown, _ = opencode(package, "demo", "/lorem", "30")
        assert "Lorem ipsum" in shown, shown[-400:]

    def edit():
        shown, text = opencode(package, "fake", "/tool", "write", '{"filePath":"hello.txt","content":"Hello"}')
        assert text == "Hello", shown[-400:]

    for function in (turn, edit):
        function.__name__ = f"opencode_{name}_{function.__name__}"
        check(function)


over("chat", "@ai-sdk/openai-compatible")
over("responses", "@ai-sdk/openai")


@check
def qwen_turn():
    shown, _ = qwen("Water flows downhill.")
    assert "You said:" in shown and "Water flows downhill." in shown, shown[-400:]


@check
def qwen_edit():
    arguments = {"command": "echo Hello > hello.txt", "is_background": False, "description": "Writes a file"}
    shown, text = qwen(f"/tool run_shell_command {json.dumps(arguments)}")
    assert text == "Hello\n", shown[:900]


def version(program):
    done = subprocess.run([PROGRAMS / program, "--version"], capture_output=True, text=True, timeout=RUN_SECONDS)
    return f"{program} {done.stdout.strip()}"


run(f"{version('opencode')}, {version('qwen')}")

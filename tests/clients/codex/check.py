"""Codex CLI: `codex exec` edits files against Weir, over HTTP and over its WebSocket.

Each check is one run of the program in a directory of its own. The model is Weir's demo or the fake upstream, which speaks chat completions
only, so that Codex's custom and namespace tools have to be made functions on the way there and turned back on the way here.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, "..")
from checks import BASE, check, run

HERE = Path(__file__).resolve().parent
CODEX = HERE / "node_modules" / ".bin" / "codex"
RUN_SECONDS = 60

CONFIG = """
model_provider = "weir"
model_catalog_json = "{catalog}"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.weir]
name = "Weir"
base_url = "{base}"
wire_api = "responses"
env_key = "WEIR_KEY"
supports_websockets = {sockets}
request_max_retries = 0
stream_max_retries = 1
stream_idle_timeout_ms = 20000
[mcp_servers.calculator]
command = "{python}"
args = ["{calculator}"]
"""

PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+Hello, 世界!\n*** End Patch\n"
CHANGE = "*** Begin Patch\n*** Update File: hello.txt\n@@\n-Hello, 世界!\n+Goodbye, 世界!\n*** End Patch\n"

ENVIRONMENT = {"PATH": os.environ["PATH"], "WEIR_KEY": "unused", "NO_PROXY": "*"}


def catalog():
    """Codex offers `apply_patch` to models that it knows. This tells it that it knows two more."""
    environment = {**ENVIRONMENT, "CODEX_HOME": HOME}
    listed = subprocess.run([CODEX, "debug", "models"], env=environment, capture_output=True, check=True, timeout=RUN_SECONDS)
    known = next(model for model in json.loads(listed.stdout)["models"] if model["slug"] == "gpt-5.5")
    path = Path(HOME) / "catalog.json"
    path.write_text(json.dumps({"models": [{**known, "slug": name, "supports_search_tool": False} for name in ("demo", "fake")]}))
    return path


class Session:
    """A directory to work in, and a home for Codex."""

    def __init__(self, name, sockets, is_known=True):
        self.root = Path(HOME) / f"{name}-{'sockets' if sockets else 'http'}"
        self.work = self.root / "work"
        self.work.mkdir(parents=True)
        values = {"catalog": CATALOG, "base": BASE, "python": sys.executable, "calculator": HERE / "calculator.py"}
        config = CONFIG.format(**values, sockets=str(sockets).lower())
        (self.root / "config.toml").write_text(config if is_known else config.replace("model_catalog_json", "# model_catalog_json"))

    def codex(self, *arguments, status=0):
        """Runs `codex exec` and gives what it printed. It must succeed, or fail with another status."""
        command = [CODEX, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", *arguments]
        environment = {**ENVIRONMENT, "HOME": str(self.root), "CODEX_HOME": str(self.root)}
        done = subprocess.run(
            command, cwd=self.work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN_SECONDS
        )
        shown = f"{done.stdout}\n{done.stderr}"
        assert (done.returncode == 0) == (status == 0), shown[-600:]
        return shown

    def text(self):
        path = self.work / "hello.txt"
        return path.read_text() if path.exists() else None


def turn(name, sockets):
    shown = Session(name, sockets).codex("-m", "demo", "/echo Water flows downhill.")
    assert "Water flows downhill." in shown, shown[-600:]


def thoughts(name, sockets):
    """With an unknown model Codex asks for a summary of the reasoning, which it shows."""
    shown = Session(name, sockets, is_known=False).codex("-m", "demo", "/think rain")
    assert "I am asked about: rain" in shown, shown[-600:]


def edits(model):
    def edit(name, sockets):
        """Adds a file, then changes it in a second turn of the same conversation."""
        session = Session(name, sockets)
        shown = session.codex("-m", model, f"/tool apply_patch {PATCH}")
        assert session.text() == "Hello, 世界!\n", shown[-600:]
        shown = session.codex("resume", "--last", "-m", model, f"/tool apply_patch {CHANGE}")
        assert session.text() == "Goodbye, 世界!\n", shown[-600:]

    return edit


def shell(model):
    def command(name, sockets):
        """A model that Codex does not know: it offers no `apply_patch`, but `multi_agent_v1` and `web_search`."""
        session = Session(name, sockets, is_known=False)
        shown = session.codex("-m", model, '/tool exec_command {"cmd": "echo Hello > hello.txt"}')
        assert session.text() == "Hello\n", shown[-600:]

    return command


def namespaces(model):
    def add(name, sockets):
        """A tool of an MCP server is in a namespace, and its call must come back in it."""
        shown = Session(name, sockets).codex("-m", model, '/tool add {"a": 19, "b": 23}')
        assert "the sum is 42" in shown, shown[-600:]

    return add


def script(name, sockets):
    """Newer models are sent their tools as an item of the input, and call them from JavaScript."""
    session = Session(name, sockets, is_known=False)
    text = '/tool exec await tools.exec_command({cmd: "echo Hello > hello.txt"}); text("done")'
    shown = session.codex("-m", "gpt-6.2-sol", text)
    assert session.text() == "Hello\n", shown[-600:]


def failed(name, sockets):
    shown = Session(name, sockets).codex("-m", "demo", "/fail 5", status=1)
    assert "The demo failed" in shown, shown[-600:]


def refused(name, sockets):
    """Codex shows the whole body of a 400, and does not try again."""
    shown = Session(name, sockets).codex("-m", "fake", "/status 400", status=1)
    assert "The fake model refuses" in shown, shown[-600:]


def unavailable(name, sockets):
    """What can pass by is tried again, and it comes to an end."""
    shown = Session(name, sockets).codex("-m", "fake", "/status 503", status=1)
    assert "The fake model refuses" in shown, shown[-600:]


RUNS = {
    "turn": turn,
    "reasoning": thoughts,
    "edit": edits("demo"),
    "edit_chat_upstream": edits("fake"),
    "shell": shell("demo"),
    "shell_chat_upstream": shell("fake"),
    "namespace": namespaces("demo"),
    "namespace_chat_upstream": namespaces("fake"),
    "script_chat_upstream": script,
    "failed": failed,
    "refused": refused,
    "unavailable": unavailable,
}

HOME = tempfile.mkdtemp(prefix="weir-codex-")
try:
    CATALOG = catalog()
    version = subprocess.run([CODEX, "--version"], env=ENVIRONMENT, capture_output=True, text=True, timeout=RUN_SECONDS).stdout.strip()
    # A run waits more than it works, so a few go at once.
    with ThreadPoolExecutor(3) as pool:
        for sockets in (False, True):
            for name, function in RUNS.items():
                outcome = pool.submit(function, name, sockets)
                report = lambda outcome=outcome: outcome.result()  # noqa: E731
                report.__name__ = f"{'websocket' if sockets else 'http'}_{name}"
                check(report)
        run(version)
finally:
    shutil.rmtree(HOME, ignore_errors=True)

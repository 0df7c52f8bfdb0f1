"""Starts and ends the program under test, as a person at a shell would."""

import os
import re
import selectors
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("WEIR_BINARY") or ROOT / "target" / "debug" / "weir").resolve()

# Generous: a debug build on a busy machine. Nothing waits for it when all is well.
START_SECONDS = 30
STOP_SECONDS = 30


def environment(home, **more):
    """An environment in which nothing of the person who runs the tests has a say."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), **more}


def run(*arguments, home):
    """Runs a command of the program to its end and gives what it printed."""
    command = [str(BINARY), *arguments, "--data", str(home / "data")]
    done = subprocess.run(command, cwd=home, env=environment(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def create_key(home):
    """Makes an API key in the data directory of the server whose home this is or will be."""
    home.mkdir(parents=True, exist_ok=True)
    return run("key", "create", home=home).strip()


class Weir:
    """A running server: `url` is where, `log()` what it wrote."""

    def __init__(self, home, **more):
        home.mkdir(parents=True, exist_ok=True)
        self._log = open(home / "log", "w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [str(BINARY), "--listen", "127.0.0.1:0", "--data", str(home / "data")],
            cwd=home,
            env=environment(home, **{"WEIR_DEMO_TOKENS_PER_SECOND": "0", "WEIR_DEMO_ENABLED": "true", **more}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        try:
            self.greeting = self._first_line()
            self.url = re.search(r"https?://127\.0\.0\.1:\d+", self.greeting)[0]
        except BaseException:
            self.kill()
            raise

    def _first_line(self):
        deadline = time.monotonic() + START_SECONDS
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                ready = selector.select(max(0, deadline - time.monotonic()))
                piece = os.read(self._process.stdout.fileno(), 4096) if ready else b""
                assert piece, f"weir did not start: {self.log()}"
                line += piece
        return line.decode()

    def log(self):
        self._log.flush()
        self._log.seek(0)
        return self._log.read()

    def stop(self):
        """Asks it to end, as a service manager does, and gives the exit status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

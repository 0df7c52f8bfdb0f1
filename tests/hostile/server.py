"""A server with two keys and an admin's, what it says of itself, and a watch that it answers throughout."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

SETTINGS = """
[server]
heartbeat = "500ms"
head_timeout = "3s"
body_timeout = "3s"
write_timeout = "5s"
idle_timeout = "20s"
websocket_deflate = true
[store]
bytes = "64MiB"
[demo]
enabled = true
tokens_per_second = 0
[shutdown]
spread = "0s"
grace = "2s"
"""
START_SECONDS = 60
STOP_SECONDS = 30

# Numbers that say that something is going on; all are zero when nothing is.
IDLE = ["weir_answers_running", "weir_passthrough_calls_running", "weir_readers", "weir_streams_open", "weir_sockets_open", "weir_memory_bytes",
        "weir_key_memory_bytes", "weir_key_answers_running", "weir_upstream_waiting"]


class Server:
    """`binary` in a directory of its own. It ends with this."""

    def __init__(self, binary):
        self.home = Path(tempfile.mkdtemp(prefix="weir-hostile-"))
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home)}
        (self.home / "weir.toml").write_text(SETTINGS)
        self._options = ["--data", str(self.home / "data")]
        self.admin, self.alice, self.bob = (self._key(binary, *more) for more in (["admin", "--admin"], ["alice"], ["bob"]))
        self._log = open(self.home / "log", "w+", encoding="utf-8", errors="replace")
        command = [str(binary), "--listen", "127.0.0.1:0", *self._options]
        self.process = subprocess.Popen(
            command, cwd=self.home, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        alarm = threading.Timer(START_SECONDS, self.process.kill)
        alarm.start()
        greeting = self.process.stdout.readline()
        alarm.cancel()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", greeting)
        if not found:
            raise RuntimeError(f"weir did not start: {self.log()}")
        self.port = int(found[1])

    def _key(self, binary, name, *options):
        command = [str(binary), "key", "create", "--name", name, *options, *self._options]
        done = subprocess.run(command, cwd=self.home, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=START_SECONDS)
        return done.stdout.strip()

    def log(self):
        self._log.flush()
        return (self.home / "log").read_text(encoding="utf-8", errors="replace")

    def ask(self, method, path, key=None, body=None, timeout=30):
        """Status and body of one request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"Connection": "close", "Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metrics(self):
        """Each metric, its series added up."""
        status, text = self.ask("GET", "/metrics", self.admin)
        if status != 200:
            raise RuntimeError(f"/metrics answers {status}")
        sums = {}
        for line in text.decode().splitlines():
            if found := re.fullmatch(r"([a-z_]+)(?:\{.*\})? (\S+)", line):
                sums[found[1]] = sums.get(found[1], 0.0) + float(found[2])
        return sums

    def resident(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1024

    def leftovers(self, before, patience):
        """What is still going on that was not before, after at most so many seconds."""
        end = time.monotonic() + patience
        while True:
            now = self.metrics()
            left = {name: now[name] for name in IDLE if now.get(name)}
            for name, spare in {"weir_tasks": 0, "weir_connections_open": 0, "process_open_fds": 8}.items():
                if now.get(name, 0) > before.get(name, 0) + spare:
                    left[name] = f"{now[name]:.0f}, {before[name]:.0f} before"
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.2)

    def stop(self):
        """Ends it, and gives what was wrong with that or stands in its log."""
        problems = []
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                problems.append(f"it did not stop within {STOP_SECONDS} s")
        if self.process.wait() != 0:
            problems.append(f"it ended with {self.process.returncode}")
        log = self.log()
        lines = [line for line in log.splitlines() if re.search(r"panicked|\bERROR\b|memory allocation", line)]
        problems += [f"log: {line[:400]}" for line in lines[:5]]
        self.process.stdout.close()
        self._log.close()
        shutil.rmtree(self.home, ignore_errors=True)
        return problems


class Watch(threading.Thread):
    """Asks whether the server lives, four times a second, and now and then for an answer by a key that attacks nobody."""

    def __init__(self, server, patience):
        super().__init__(daemon=True)
        self.problems, self.slowest, self.answers = [], 0.0, 0
        self._server, self._patience, self._over = server, patience, threading.Event()

    def run(self):
        rounds = 0
        while not self._over.wait(0.25):
            rounds += 1
            self._check("/healthz", "GET", "/healthz", None, None, self._patience)
            if rounds % 8 == 0:
                body = {"model": "demo", "input": "/count 20"}
                self._check("another key's answer", "POST", "/v1/responses", self._server.bob, body, 10 * self._patience)
                self.answers += 1

    def _check(self, what, method, path, key, body, patience):
        begin = time.monotonic()
        try:
            status, _ = self._server.ask(method, path, key, body)
        except OSError as error:
            status = repr(error)
        took = time.monotonic() - begin
        if path == "/healthz":
            self.slowest = max(self.slowest, took)
        if status != 200 or took > patience:
            self.problems.append(f"{what}: {status} after {took:.2f} s")

    def end(self):
        self._over.set()
        self.join(120)
        return self.problems

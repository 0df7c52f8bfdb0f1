"""The work that each server is given, and what is measured of it.

A workload has the subjects that can do it (a server and a way to ask it) and a function that does it once and gives figures. Times are in
microseconds unless the name says otherwise.
"""

import json
import subprocess
import time
from dataclasses import dataclass

import servers

CHAT, RESPONSES = '"content":"', '"delta":"'
COMPLETED = '"type":"response.completed"'


class Failed(Exception):
    """Tokens were lost, doubled or swapped, or a response did not end as it should."""


@dataclass(frozen=True)
class Way:
    """How a server is asked: the API, how its messages are framed, and whether the response is stored."""

    dialect: str = "chat"
    frame: str = "sse"
    stored: bool | None = None
    tls: bool = False
    http2: bool = False
    upstream_http2: bool = False

    def plan(self, model, streams):
        """The part of the client's plan that describes how this number of streams is requested."""
        return self.shared(streams) | self._request(model)

    def shared(self, streams):
        """How connections are made: over HTTP/2 up to ten streams share one."""
        each = next(each for each in range(10, 0, -1) if streams % each == 0) if self.http2 else 1
        return {"streams": streams, "http2": self.http2, "streams_per_connection": each}

    def _request(self, model):
        body = {"model": model, "stream": True}
        if self.dialect == "chat":
            body["messages"] = [{"role": "user", "content": "hello"}]
        else:
            body["input"] = "hello"
        if self.stored is not None:
            body["store"] = self.stored
        needle = CHAT if self.dialect == "chat" else RESPONSES
        path = "/v1/chat/completions" if self.dialect == "chat" else "/v1/responses"
        if self.frame == "websocket":
            del body["stream"]
            return {
                "request": json.dumps({"type": "response.create"} | body, separators=(",", ":")),
                "upgrade": UPGRADE,
                "needle": needle,
                "end": COMPLETED,
            }
        accept = "text/event-stream" if self.frame == "sse" else "application/x-ndjson"
        return {"request": post(path, body, accept), "needle": needle}


UPGRADE = (
    "GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def fetch(path, accept="text/event-stream"):
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer none\r\naccept: {accept}\r\n\r\n"


def post(path, body, accept):
    body = json.dumps(body, separators=(",", ":"))
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer none\r\ncontent-type: application/json\r\n"
    return f"{head}accept: {accept}\r\ncontent-length: {len(body)}\r\n\r\n{body}"


class Client:
    """The load client, run once with a plan."""

    def __init__(self, bench, server, plan):
        processes = {"server": server.tree(), "upstream": server.upstream.tree()}
        if server.way.tls:
            plan = plan | {"tls": {"certificate": str(bench.certificate)}}
        self.plan = {"address": f"127.0.0.1:{server.port}", "processes": processes, "timeout": 120} | plan
        command = bench.prefix() + bench.realtime() + [bench.peers, "client", json.dumps(self.plan)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def ready(self):
        """Waits until all connections are as the plan wants them to be held."""
        line = self.process.stdout.readline()
        if not line.startswith('{"ready"'):
            raise Failed(self._error(line))

    def report(self):
        """Lets go of held connections, and gives the report."""
        out, errors = self.process.communicate(timeout=self.plan["timeout"] + 30)
        if self.process.returncode:
            raise Failed(errors.strip()[-400:])
        report = json.loads(out.splitlines()[-1])
        wrong = {name: report[name] for name in ("lost", "doubled", "swapped") if report[name]}
        if wrong or report["errors"]:
            raise Failed(f"{wrong or ''} {'; '.join(report['errors'])[:400]}".strip())
        return report

    def _error(self, line):
        _, errors = self.process.communicate(timeout=10)
        try:
            return "; ".join(json.loads(line)["errors"])[:400]
        except (ValueError, KeyError):
            return (errors or line).strip()[-400:]


def measure(bench, server, plan):
    with Client(bench, server, plan) as client:
        return client.report()


def warm(bench, server, way):
    """What the first response of all needs is not what one more costs."""
    measure(bench, server, way.plan("bench-2-1000-own", 1) | {"tokens": 2, "work": "once"})
    time.sleep(0.5)


def per(total, count):
    return total / count if count else 0.0


@dataclass(frozen=True)
class Streams:
    """Responses that run at the same time, on a connection each."""

    streams: int
    tokens: int
    pause: int
    pace: str
    stagger: int = 0
    warm_tokens: int = 10

    def run(self, bench, server, way):
        # At full speed a slow server gets a fiftieth of the work, which still takes it longer than the others.
        share = 50 if server.is_slow and self.pace == "flat" else 1
        self._measure(bench, server, way, max(self.warm_tokens // share, 2))
        report = self._measure(bench, server, way, max(self.tokens // share, 2))
        window = report["window"]
        return {
            "cpu per token": per(window["cpu"]["server"], window["tokens"]),
            "delay p50": report["delay"]["p50"],
            "delay p99": report["delay"]["p99"],
            "first token": report["first_token"]["p50"],
            "tokens/s": per(window["tokens"] * 1e6, window["micros"]),
            "client cpu per token": per(window["cpu"]["client"], window["tokens"]),
            "upstream cpu per token": per(window["cpu"]["upstream"], window["tokens"]),
        }

    def _measure(self, bench, server, way, tokens):
        model = f"bench-{tokens}-{self.pause}-{self.pace}"
        work = "whole" if server.is_slow else "once"
        plan = way.plan(model, self.streams) | {"tokens": tokens, "stagger": self.stagger, "work": work}
        return measure(bench, server, plan)


@dataclass(frozen=True)
class Requests:
    """One short response after the other on each connection."""

    connections: int
    seconds: int
    warm: int = 1

    def run(self, bench, server, way):
        work = {"repeat": {"warm": self.warm, "seconds": self.seconds}}
        plan = way.plan("bench-1-0-flat", self.connections) | {"tokens": 1, "work": work}
        report = measure(bench, server, plan)
        window = report["window"]
        return {
            "responses/s": per(window["responses"] * 1e6, window["micros"]),
            "cpu per response": per(window["cpu"]["server"], window["responses"]),
            "first token": report["first_token"]["p50"],
            "first token p99": report["first_token"]["p99"],
        }


@dataclass(frozen=True)
class Silent:
    """Responses that say one token and then nothing: what each costs in memory."""

    streams: int

    def run(self, bench, server, way):
        warm(bench, server, way)
        before = server.kib()
        plan = way.plan("bench-2-0-silent", self.streams) | {"tokens": 2, "work": "hold"}
        with Client(bench, server, plan) as client:
            client.ready()
            time.sleep(1)
            after = server.kib()
            client.report()
        return {"KiB each": per(after - before, self.streams)}


@dataclass(frozen=True)
class Leave:
    """Clients that all leave at once: how long the upstream goes on writing."""

    streams: int
    patience: float = 3.0

    def run(self, bench, server, way):
        plan = way.plan("bench-100000-100000-own", self.streams) | {"tokens": 100_000, "work": "hold"}
        before = server.upstream.stats()["left"]
        with Client(bench, server, plan) as client:
            client.ready()
            time.sleep(0.5)
            left = client.report()["left"]
        deadline = time.monotonic() + self.patience
        while True:
            stats = server.upstream.stats()
            gone = stats["left"] - before
            if gone == self.streams or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return {"closed after": max(stats["last_left"] - left, 0), "not closed": self.streams - gone}


@dataclass(frozen=True)
class Unread:
    """Readers that never read, of responses at full speed, beside ten that do."""

    streams: int
    seconds: int
    # 4 MB each.
    tokens: int = 20_000

    def run(self, bench, server, way):
        warm(bench, server, way)
        before = server.kib()
        plan = way.plan(f"bench-{self.tokens}-0-flat", self.streams) | {"tokens": self.tokens, "work": "stall"}
        beside = Streams(10, 50 * self.seconds, 20_000, "own", 2_000)
        with Client(bench, server, plan) as client:
            client.ready()
            started = time.monotonic()
            figures = beside.run(bench, server, Way(tls=way.tls))
            # At least until most of it has been read that will be.
            time.sleep(max(0, started + self.seconds - time.monotonic()))
            after = server.kib()
            client.process.kill()
        return {"KiB each": per(after - before, self.streams)} | {name: figures[name] for name in ("delay p50", "delay p99")}


@dataclass(frozen=True)
class Readers:
    """Readers of one response; through a server without that notion, as many responses."""

    readers: int
    tokens: int
    pause: int = 20_000

    def run(self, bench, server, way):
        if way.dialect == "chat":
            return Streams(self.readers, self.tokens, self.pause, "step").run(bench, server, way)
        self._measure(bench, server, 10)
        report = self._measure(bench, server, self.tokens)
        window = report["window"]
        return {"cpu per token": per(window["cpu"]["server"], window["tokens"])} | {name: report["delay"][name[-3:]] for name in ("delay p50", "delay p99")}

    def _measure(self, bench, server, tokens):
        path = background(server, f"bench-{tokens}-{self.pause}-own")
        plan = {"request": fetch(path), "needle": RESPONSES, "streams": self.readers, "tokens": tokens, "work": "once"}
        return measure(bench, server, plan)


@dataclass(frozen=True)
class Replay:
    """A finished response, read again and again."""

    tokens: int
    seconds: int

    def run(self, bench, server, way):
        path = background(server, f"bench-{self.tokens}-0-flat")
        deadline = time.monotonic() + 60
        while json.loads(servers.get(server.port, path.partition("?")[0]))["status"] != "completed":
            if time.monotonic() > deadline:
                raise Failed("the response does not end")
            time.sleep(0.1)
        work = {"repeat": {"warm": 1, "seconds": self.seconds}}
        plan = {"request": fetch(path), "needle": RESPONSES, "streams": 1, "tokens": self.tokens, "work": work}
        report = measure(bench, server, plan)
        window = report["window"]
        return {
            "events/s": per(window["tokens"] * 1e6, window["micros"]),
            "cpu per event": per(window["cpu"]["server"], window["tokens"]),
            "first token": report["first_token"]["p50"],
        }


def background(server, model):
    """Starts a response that runs without a reader; gives the path of its stream."""
    body = {"model": model, "input": "hello", "background": True}
    response = json.loads(servers.ask("POST", server.port, "/v1/responses", body))
    return f"/v1/responses/{response['id']}?stream=true"


@dataclass(frozen=True)
class Idle:
    """Connections that wait for a request."""

    connections: int

    def run(self, bench, server, way):
        if way.frame != "websocket":
            warm(bench, server, way)
        # A thousand are left for whatever else is open.
        connections = min(self.connections, bench.open_files // 2 - 1_000)
        # What is not asked at all has no tokens.
        plan = way.shared(connections) | {"request": fetch("/healthz", "*/*"), "needle": CHAT, "tokens": 0, "work": "idle"}
        plan |= {"streams_per_connection": 1} | ({"upgrade": UPGRADE} if way.frame == "websocket" else {})
        before = server.kib()
        with Client(bench, server, plan) as client:
            client.ready()
            time.sleep(2)
            after = server.kib()
            client.report()
        return {"KiB each": per(after - before, connections)}


@dataclass(frozen=True)
class Start:
    """From the start of the process to its first response."""

    def run(self, bench, server, way):
        return {"start": server.started * 1e6}

"""What nginx, Caddy and HAProxy do to a stream, with their defaults and with the configurations of docs/proxies.

All read the same answer at once, so that each event's arrival can be compared with its arrival on the server's own port.
"""

import http.client
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from proxies import Proxy
from readers import Broken, read

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))
from weir import Weir, create_key  # noqa: E402

FRAMES = ["SSE", "NDJSON", "WebSocket"]

GZIP_TYPES = "text/event-stream application/x-ndjson"
SETUPS = {
    ("nginx", "defaults"): "",
    ("nginx", "defaults, X-Accel-Buffering ignored"): "proxy_ignore_headers X-Accel-Buffering;",
    ("nginx", "defaults and gzip"): f"gzip on; gzip_proxied any; gzip_min_length 1; gzip_types {GZIP_TYPES};",
    ("nginx", "ours"): "ours",
    ("Caddy", "defaults"): "",
    ("Caddy", "defaults and gzip"): "encode gzip",
    ("Caddy", "defaults and gzip, not of /v1"): "@rest not path /v1/*\n\tencode @rest gzip",
    ("Caddy", "ours"): "ours",
    ("HAProxy", "defaults"): "",
    ("HAProxy", "defaults and gzip"): f"\n    compression algo gzip\n    compression type {GZIP_TYPES}",
    ("HAProxy", "ours"): "ours",
}
OURS = [setup for setup in SETUPS if setup[1] == "ours"]

# The model's pause between two words; events that far apart must not arrive together. A busy machine may hold a reader up for
# a fifth of a second.
PAUSE = 0.400
APART, TOGETHER = 0.080, 0.020
# How long a reader may take to reach what is said live; what came before comes at once to everybody.
CATCH_UP = 0.5


@pytest.fixture(scope="module")
def weir(tmp_path_factory):
    # Behind a proxy a server without keys answers nobody.
    home = tmp_path_factory.mktemp("weir")
    key = create_key(home)
    server = Weir(home, WEIR_SERVER_TRUSTED_PROXIES="127.0.0.1")
    server.key = key
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def running(weir, tmp_path_factory):
    """Every proxy with every configuration: where each is."""
    started = {}
    try:
        for (proxy, name), variant in SETUPS.items():
            home = tmp_path_factory.mktemp("proxy") / "home"
            started[proxy, name] = Proxy(proxy, variant, host(weir), home)
        yield {setup: proxy.address for setup, proxy in started.items()}
    finally:
        for proxy in started.values():
            proxy.close()


def host(weir):
    return weir.url.removeprefix("http://")


def address(weir):
    name, port = host(weir).split(":")
    return name, int(port)


@contextmanager
def asked(where, method, path, body=None, headers=(), key=None):
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    headers = {"Host": "localhost", "Content-Type": "application/json", **authorization, **dict(headers)}
    with closing(http.client.HTTPConnection(*where, timeout=30)) as connection:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        with connection.getresponse() as response:
            yield response


def status(where, path, headers=()):
    with asked(where, "GET", path, headers=headers) as response:
        return response.status


def attempt(where, frame, response_id, key):
    begun = time.monotonic()
    try:
        return begun, *read(where, frame, response_id, key)
    except Broken as broken:
        return begun, broken, None, None


def measured(direct, result):
    """How a reader fared against the direct one: the cells of its row."""
    begun, events, head, encoding = result
    if isinstance(events, Broken):
        return {"broken": str(events), "head": None, "delay": None, "lump": None}
    assert [number for number, _ in events] == [number for number, _ in direct], "events were lost or doubled"
    live = [(there, here) for (_, there), (_, here) in zip(direct, events) if there > begun + CATCH_UP]
    spaced = [pair for before, pair in zip(live, live[1:]) if pair[0] - before[0] >= APART]
    assert len(spaced) >= 8, "too little was said live"
    lump = longest = 1
    for before, pair in zip(spaced, spaced[1:]):
        lump = lump + 1 if pair[1] - before[1] < TOGETHER else 1
        longest = max(longest, lump)
    delay = statistics.median(here - there for there, here in spaced)
    return {"broken": None, "head": head - begun, "delay": delay, "lump": longest, "encoding": encoding or ""}


def row(proxy, name, frame, cells):
    if cells["broken"]:
        return f"{proxy:8} {name:36} {frame:10} {cells['broken']}"
    return f"{proxy:8} {name:36} {frame:10} {1000 * cells['head']:9.0f} {1000 * cells['delay']:12.1f} {cells['lump']:8} {cells['encoding']}"


def test_events_pass_one_by_one(weir, running, capsys):
    question = {"model": "demo", "input": f"/slow {1000 * PAUSE:.0f}", "stream": True}
    places = {None: address(weir), **running}
    ways = [(setup, frame) for setup in places for frame in FRAMES]
    with asked(address(weir), "POST", "/v1/responses", question, key=weir.key) as answer, ThreadPoolExecutor(len(ways)) as pool:
        response_id = answer.headers["weir-response-id"]
        reading = {(setup, frame): pool.submit(attempt, places[setup], frame, response_id, weir.key) for setup, frame in ways}
        results = {way: future.result() for way, future in reading.items()}
    cells = {way: measured(results[None, way[1]][1], result) for way, result in results.items()}
    with capsys.disabled():
        print(f"\n{'proxy':8} {'configuration':36} {'frame':10} {'head ms':>9} {'added ms':>12} {'together':>8}")
        for (setup, frame), found in cells.items():
            print(row(*(setup or ("none", "")), frame, found))
    for setup in OURS:
        for frame in FRAMES:
            found = cells[setup, frame]
            assert found["broken"] is None and found["lump"] == 1, (setup, frame, found)


def events_of(answer):
    lines = answer.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


@pytest.mark.parametrize("setup", SETUPS, ids="/".join)
def test_an_answer_comes_whole(weir, running, setup, capsys):
    question = {"model": "demo", "input": "/count 300", "stream": True}
    with asked(running[setup], "POST", "/v1/responses", question, key=weir.key) as answer:
        response_id, events = answer.headers["weir-response-id"], events_of(answer)
    if events[-1]["type"] != "response.completed":
        # Debian's Caddy may close its own connection to the server, and then ends its answer as if it were whole (docs/proxies).
        assert setup[0] == "Caddy", f"{setup} cut the answer behind event {len(events)}"
        with capsys.disabled():
            print(f"\n{setup} cut the answer behind event {len(events)}; it is resumed")
        path = f"/v1/responses/{response_id}?stream=true&starting_after={events[-1]['sequence_number']}"
        with asked(running[setup], "GET", path, headers={"Accept": "text/event-stream"}, key=weir.key) as answer:
            events += events_of(answer)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta").split()[-1] == "300"


@pytest.mark.parametrize("setup", OURS, ids="/".join)
def test_a_client_cannot_write_what_the_proxy_says(weir, running, setup):
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "203.0.113.7"}
    with asked(running[setup], "POST", "/v1/tickets", {"cookie": True}, forged, weir.key) as answer:
        assert answer.status == 200, answer.read()
        assert "Secure" not in answer.headers["set-cookie"]


def test_the_client_in_the_log_is_the_first_that_is_not_ours(weir, tmp_path):
    hops = {"X-Forwarded-For": "203.0.113.8, 198.51.100.9:4242, 127.0.0.1"}
    # Not a probe: those are logged at debug.
    assert status(address(weir), "/v1", hops) == 200
    assert "client=198.51.100.9 " in weir.log() and "203.0.113.8" not in weir.log()
    create_key(tmp_path / "untrusting")
    other = Weir(tmp_path / "untrusting", WEIR_SERVER_TRUSTED_PROXIES="192.0.2.0/24")
    try:
        assert status(address(other), "/v1", hops) == 200
        assert "client=127.0.0.1 " in other.log() and "198.51.100.9" not in other.log()
    finally:
        assert other.stop() == 0


@pytest.mark.parametrize("proxy", ["nginx", "Caddy", "HAProxy"])
def test_without_a_key_nothing_that_says_it_was_forwarded_is_answered(tmp_path, proxy):
    server = Weir(tmp_path / "weir")
    try:
        front = Proxy(proxy, "", host(server), tmp_path / "proxy")
        try:
            # The defaults of nginx and HAProxy say nothing of the client; what they pass on looks as if it came from this machine.
            is_said = proxy == "Caddy"
            assert status(front.address, "/v1/models") == (403 if is_said else 200)
            assert status(front.address, "/") == 200
        finally:
            front.close()
        assert status(address(server), "/v1/models", {"X-Forwarded-For": "203.0.113.8"}) == 403
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_says_whose_a_connection_is(tmp_path, version):
    create_key(tmp_path / "weir")
    server = Weir(tmp_path / "weir", WEIR_SERVER_TRUSTED_PROXIES="127.0.0.1", WEIR_SERVER_PROXY_PROTOCOL="on")
    try:
        proxy = Proxy("HAProxy", version, host(server), tmp_path / "proxy")
        try:
            assert status(proxy.address, "/healthz") == 200
        finally:
            proxy.close()
        # Without a header even the trusted address is refused.
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            status(address(server), "/healthz")
    finally:
        assert server.stop() == 0

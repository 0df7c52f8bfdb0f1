"""What `weir probe` finds of nginx, Caddy and HAProxy, and that the lines it prints repair them."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from proxies import Proxy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))
from weir import BINARY, Weir, create_key, environment  # noqa: E402

BUFFERING = "proxy_ignore_headers X-Accel-Buffering;"
GZIP = "gzip on; gzip_proxied any; gzip_min_length 1; gzip_types text/event-stream;"


@pytest.fixture(scope="module")
def weir(tmp_path_factory):
    home = tmp_path_factory.mktemp("weir")
    key = create_key(home)
    server = Weir(home, WEIR_SERVER_TRUSTED_PROXIES="127.0.0.1")
    server.key = key
    yield server
    assert server.stop() == 0


@contextmanager
def before(target, proxy, variant, home):
    front = Proxy(proxy, variant, target, home)
    try:
        yield "http://{}:{}".format(*front.address)
    finally:
        front.close()


def probe(url, home, *arguments, key=None):
    """Runs the command: its exit status and its report."""
    home.mkdir(parents=True, exist_ok=True)
    named = ["--key-env", "PROBE_KEY"] if key else []
    more = {"PROBE_KEY": key} if key else {}
    command = [str(BINARY), "probe", url, "--json", *named, *arguments]
    done = subprocess.run(command, cwd=home, env=environment(home, **more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    assert not key or key not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def problems(report):
    return [finding for finding in report["findings"] if finding["level"] == "problem"]


def in_one_line(fix):
    return " ".join(fix["lines"].splitlines())


# The proxy, its configuration, the checks, the codes of which one must be found, and the configuration with the lines of the repair.
CASES = {
    "nginx-buffering": ("nginx", BUFFERING, ["--check", "buffering"], {"coalesced_by_size", "buffered_to_the_end"},
                        lambda fix: f"{BUFFERING} {in_one_line(fix)}"),
    "nginx-buffering-and-gzip": ("nginx", f"{BUFFERING} {GZIP}", ["--check", "buffering"], {"coalesced_by_size", "buffered_to_the_end"},
                                 lambda fix: f"{BUFFERING} {GZIP} {in_one_line(fix)}"),
    "nginx-read-timeout": ("nginx", "proxy_read_timeout 5s;", ["--check", "idle", "--idle", "8"], {"idle_timeout"}, in_one_line),
    "Caddy-gzip": ("Caddy", "encode gzip", ["--check", "buffering"], {"compressed_without_flushing"},
                   lambda fix: fix["lines"].replace("\n", "\n\t")),
    "HAProxy": ("HAProxy", "", ["--check", "buffering"], {"late", "coalesced_by_time"}, lambda fix: f"\n    {fix['lines']}"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_found_is_repaired_by_the_printed_lines(weir, tmp_path, case):
    proxy, variant, checks, expected, repaired = CASES[case]
    target = weir.url.removeprefix("http://")
    arguments = [*checks, "--transport", "sse"]
    with before(target, proxy, variant, tmp_path / "broken") as url:
        status, report = probe(url, tmp_path / "probe", *arguments, key=weir.key)
    found = problems(report)
    assert status == 1 and found[0]["code"] in expected, json.dumps(found, indent=1)
    fix = found[0]["fixes"][0]
    assert fix["hop"] == proxy, found[0]["fixes"]
    with before(target, proxy, repaired(fix), tmp_path / "repaired") as url:
        status, report = probe(url, tmp_path / "probe", *arguments, key=weir.key)
    assert (status, problems(report)) == (0, []), json.dumps(report["findings"], indent=1)


@pytest.mark.parametrize("proxy", ["nginx", "Caddy", "HAProxy"])
def test_our_configurations_are_clean(weir, tmp_path, proxy):
    with before(weir.url.removeprefix("http://"), proxy, "ours", tmp_path / "proxy") as url:
        status, report = probe(url, tmp_path / "probe", key=weir.key)
    # Caddy 2.6 ends a body that the server breaks off as if it were complete (docs/proxies); other versions need not.
    tolerated = {"truncation_hidden"} if proxy == "Caddy" else set()
    found = {finding["code"] for finding in report["findings"]}
    assert found <= tolerated and status == (1 if found else 0), json.dumps(report["findings"], indent=1)
    side = report["sides"][0]
    assert {stream["verdict"] for stream in side["streams"] if stream["kind"] == "source"} == {"steady"}
    assert {check["check"] for check in side["checks"] if check["made"]} == {"framing", "resume", "stop", "truncation", "connections"}


def test_nginx_lets_no_websocket_through_by_default(weir, tmp_path):
    with before(weir.url.removeprefix("http://"), "nginx", "", tmp_path / "proxy") as url:
        _, report = probe(url, tmp_path / "probe", "--check", "buffering", key=weir.key)
    note = next(finding for finding in report["findings"] if finding["code"] == "websocket_refused")
    assert note["level"] == "note" and "$http_upgrade" in note["fixes"][0]["lines"]


class Ticks(BaseHTTPRequestHandler):
    """A stream of numbered events, as any framework sends it. It resumes by Last-Event-ID, unless the path says otherwise."""

    protocol_version = "HTTP/1.1"
    count = 60

    def do_GET(self):
        last = int(self.headers.get("Last-Event-ID", -1))
        first = 0 if self.path == "/forgetful" else last + 1
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        # nginx asks by HTTP/1.0 unless it is told otherwise, and there the close is the end.
        is_chunked = self.request_version == "HTTP/1.1"
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(first, self.count):
            text = f"id: {number}\ndata: {json.dumps({'number': number, 'text': 'x' * 200})}\n\n".encode()
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text) if is_chunked else text)
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.015)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def ticks():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ticks)
    Thread(target=server.serve_forever, daemon=True).start()
    yield "127.0.0.1:{}".format(server.server_port)
    server.shutdown()
    server.server_close()


def test_a_server_that_is_no_weir_is_judged_too(ticks, tmp_path):
    status, report = probe(f"http://{ticks}/events", tmp_path)
    assert (status, report["verdict"]) == (0, "steady"), json.dumps(report["findings"], indent=1)
    checks = {check["check"]: check for check in report["sides"][0]["checks"]}
    assert checks["resume"]["facts"] == {"last_event_id": "exact"}
    status, report = probe(f"http://{ticks}/forgetful", tmp_path, "--check", "resume")
    assert (status, problems(report)[0]["code"]) == (1, "resume_not_exact")


def test_nginx_before_any_server_is_found_and_repaired(ticks, tmp_path):
    with before(ticks, "nginx", "", tmp_path / "broken") as url:
        status, report = probe(f"{url}/events", tmp_path / "probe", "--origin", f"http://{ticks}/events", "--check", "buffering")
    found = problems(report)
    assert status == 1 and found[0]["code"] in ("coalesced_by_size", "buffered_to_the_end"), json.dumps(report["findings"], indent=1)
    assert any(finding["code"] == "held_between" for finding in found)
    fix = found[0]["fixes"][0]
    assert fix["hop"] == "nginx"
    with before(ticks, "nginx", in_one_line(fix), tmp_path / "repaired") as url:
        status, report = probe(f"{url}/events", tmp_path / "probe", "--check", "buffering")
    assert (status, report["verdict"]) == (0, "steady"), json.dumps(report["findings"], indent=1)

"""Weir below a path that nginx, Caddy and HAProxy strip, with the configurations of docs/proxies: the API, the pages and their assets."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

import pytest

from proxies import OURS, Proxy
from readers import read

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))
from weir import BINARY, Weir, create_key, environment  # noqa: E402

PREFIX = "/weir"
PROXIES = sorted(OURS["subpath"])
JAVASCRIPT = "text/javascript; charset=utf-8"


@pytest.fixture(scope="module")
def weir(tmp_path_factory):
    home = tmp_path_factory.mktemp("weir")
    key = create_key(home)
    server = Weir(home, WEIR_SERVER_TRUSTED_PROXIES="127.0.0.1")
    server.key = key
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request, weir, tmp_path_factory):
    started = Proxy(request.param, "subpath", weir.url.removeprefix("http://"), tmp_path_factory.mktemp("proxy") / "home")
    yield started
    started.close()


@pytest.fixture
def browser(proxy, weir):
    return Browser("http://{}:{}".format(*proxy.address), weir.key)


class NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_arguments):
        return None


class Browser:
    """Keeps cookies as a browser does, and follows no redirect by itself."""

    def __init__(self, origin, key):
        self.origin = origin
        self.key = key
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies), NoRedirect)

    def open(self, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        known = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = Request(urljoin(self.origin, path), data, {**known, **headers})
        return self._opener.open(request, timeout=30)

    def json(self, path, body=None):
        with self.open(path, body) as answer:
            return json.load(answer)

    def cookies_for(self, path):
        request = Request(urljoin(self.origin, path))
        self._cookies.add_cookie_header(request)
        return request.get_header("Cookie", "")

    def redirected(self, path):
        """The path to which a browser that opened `path` goes next."""
        with pytest.raises(HTTPError) as refused:
            self.open(path)
        with refused.value as answer:
            assert answer.status in (301, 302, 308), answer.status
            target = urljoin(self.origin + path, answer.headers["location"])
            assert target.startswith(self.origin + "/"), target
            return urlsplit(target).path


class References(HTMLParser):
    """What a page refers to: its links, style sheets, scripts and pictures."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, _tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src", "action") and not value.startswith("#")]


def test_the_api_answers(browser):
    assert "demo" in [model["id"] for model in browser.json("/weir/v1/models")["data"]]
    body = {"model": "demo", "input": "/echo below a path"}
    answer = browser.json("/weir/v1/responses", body)
    assert answer["output"][0]["content"][0]["text"] == "below a path"
    with browser.open("/weir/v1/responses", {**body, "stream": True}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in stream.read().decode().splitlines() if line.startswith("data: {")]
    assert json.loads(data[-1])["type"] == "response.completed"


@pytest.mark.parametrize("frame", ["SSE", "NDJSON", "WebSocket"])
def test_a_stream_comes_whole_and_as_it_is_made(browser, proxy, frame):
    started = browser.json("/weir/v1/responses", {"model": "demo", "input": "/slow 50", "background": True})
    events, _head, _encoding = read(proxy.address, frame, started["id"], browser.key, PREFIX)
    assert [number for number, _ in events] == list(range(len(events)))
    # A proxy that gathers a stream delivers all of it at once. A model that pauses 50 ms for each word takes longer.
    assert events[-1][1] - events[0][1] > 0.5


def test_the_pages_and_all_that_they_refer_to_are_found(browser):
    seen, left = {}, ["/weir/"]
    while left:
        path = left.pop()
        if path in seen:
            continue
        with browser.open(path) as answer:
            kind, text = answer.headers["content-type"], answer.read().decode()
        seen[path] = kind
        named = References(text).found if kind.startswith("text/html") else re.findall(r"(?:from|import) '(\.[^']+)'", text)
        found = [urljoin(path, name) for name in named]
        assert all(name.startswith("/weir/") for name in found), (path, found)
        left += found
    expected = {"/weir/", "/weir/lab", "/weir/assets/weir.css", "/weir/assets/lab.css", "/weir/assets/favicon.svg"}
    assert expected < set(seen)
    modules = {path for path, kind in seen.items() if kind == JAVASCRIPT}
    assert {"/weir/assets/js/main.js", "/weir/assets/js/lab.js", "/weir/assets/js/url.js"} < modules and len(modules) > 10


def test_redirects_stay_below_the_path(browser):
    assert browser.redirected("/weir") == "/weir/"
    assert browser.redirected("/weir/lab/") == "/weir/lab"


def test_urls_in_answers_have_the_path(browser):
    api = browser.json("/weir/v1")
    assert api["base_url"] == f"{browser.origin}/weir/v1"
    description = browser.json(api["description"])
    assert urljoin(api["description"], description["servers"][0]["url"]) == f"{browser.origin}/weir/"
    with pytest.raises(HTTPError) as refused:
        browser.open("/weir/api/v1/models")
    with refused.value as answer:
        assert answer.status == 404 and f"{browser.origin}/weir/v1." in json.load(answer)["error"]["message"]


def test_cookies_are_sent_below_the_path(browser):
    with browser.open("/weir/v1/tickets", {"cookie": True}) as answer:
        session = answer.headers["set-cookie"].split(";")[0]
    with browser.open("/weir/chat?message=hello") as answer:
        assert answer.headers["set-cookie"].startswith("uid="), "it names no uid, so it is given one"
        answer.read()
    with browser.open("/weir/chat?message=again") as answer:
        assert answer.headers["set-cookie"] is None, "it is known by its cookie"
        answer.read()
    cookies = browser.cookies_for("/weir/v1/models")
    assert session in cookies and "uid=" in cookies


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_the_terminal_is_given_the_path_with_the_server(browser, tmp_path, transport):
    command = [str(BINARY), "chat", "--server", f"{browser.origin}/weir", "--transport", transport]
    question = {"input": "/echo from a terminal", "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path, WEIR_API_KEY=browser.key), check=False, **question)
    assert (done.returncode, done.stdout.strip()) == (0, "from a terminal"), done.stderr

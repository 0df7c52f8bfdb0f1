"""Upstreams through proxies that others wrote, with an authority of their own, and over HTTP/2 as TLS agrees on it."""

import http.client
import json
import ssl
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from conftest import KEY
from proxies import PASSWORD, Proxy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sdk"))
from weir import BINARY, Weir, environment, run  # noqa: E402

SECONDS = 60
TEXT = "Hello, world!"

# Everything on this machine that connects to it reaches 127.0.0.1; for Weir it is no loopback address, so that the proxies
# of the environment are for it.
OUTSIDE = "0.0.0.0"


@pytest.fixture(scope="module", params=["tinyproxy", "microsocks"])
def any_proxy(request, tmp_path_factory):
    with running(request.param, tmp_path_factory) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def tinyproxy(tmp_path_factory):
    with running("tinyproxy", tmp_path_factory) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def microsocks(tmp_path_factory):
    with running("microsocks", tmp_path_factory) as proxy:
        yield proxy


@contextmanager
def running(name, tmp_path_factory):
    proxy = Proxy(name, tmp_path_factory.mktemp(name) / "home")
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture(autouse=True)
def fresh(request):
    """What a proxy heard in another test does not count."""
    for name in ("any_proxy", "tinyproxy", "microsocks"):
        if name in request.fixturenames:
            request.getfixturevalue(name).forget()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """A weir as an upstream: it speaks HTTPS alone, and both HTTP/1.1 and HTTP/2, under a certificate of its own."""
    home = tmp_path_factory.mktemp("encrypted") / "home"
    home.mkdir(parents=True)
    # It is asked by a name that is not this machine's, so that its callers need a key.
    key = run("key", "create", "--admin", home=home).strip()
    server = Weir(home, WEIR_SERVER_TLS="self-signed", WEIR_SERVER_HOSTS=OUTSIDE)
    server.authority = home / "data" / "self-signed.pem"
    server.port = server.url.rsplit(":", 1)[1]
    server.key = key
    yield server
    assert server.stop() == 0


@contextmanager
def weir(home, *, base_url, more="", key=KEY, **variables):
    home.mkdir(parents=True)
    # A proxy may close a connection that was kept just as a request comes on it: once again is what retries are for.
    text = f'[retries]\ncount = 1\n[[upstream]]\nname = "far"\nbase_url = "{base_url}"\napi_key = "{key}"\n{more}\n'
    (home / "weir.toml").write_text(text)
    server = Weir(home, **variables)
    try:
        yield server
        assert PASSWORD not in server.log() and key not in server.log()
    finally:
        assert server.stop() == 0


def ask(server, model="text"):
    """Asks for a stream, and gives its text, or else the error: of the refusal, or of the stream."""
    host, port = server.url.split("://")[1].split(":")
    body = json.dumps({"model": model, "input": f"/echo {TEXT}", "stream": True})
    with closing(http.client.HTTPConnection(host, int(port), timeout=SECONDS)) as connection:
        connection.request("POST", "/v1/responses", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
    if response.status != 200:
        return json.loads(text)["error"]
    lines = text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    if events[-1]["type"] == "response.completed":
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert len(deltas) > 1, "it came in one piece"
        return "".join(deltas)
    return events[-1]["response"]["error"]


def diagnosis(home, **variables):
    """What `weir upstream test` says of the one key."""
    command = [str(BINARY), "upstream", "test", "--json", "--data", str(home / "data")]
    done = subprocess.run(command, cwd=home, env=environment(home, **variables), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    assert PASSWORD not in done.stdout + done.stderr and KEY not in done.stdout + done.stderr
    said = json.loads(done.stdout)["upstreams"][0]["keys"][0]
    assert said["ok"] == (done.returncode == 0)
    return said


def outside(fakes):
    return fakes.at["chat"].replace("127.0.0.1", OUTSIDE)


def test_a_streamed_answer_comes_through(any_proxy, fakes, tmp_path):
    with weir(tmp_path / "home", base_url=fakes.at["chat"], more=f'proxy = "{any_proxy.url()}"') as server:
        assert ask(server) == TEXT
    assert any_proxy.heard(), "it went by the proxy"
    assert "127.0.0.1" in any_proxy.log()
    assert diagnosis(tmp_path / "home")["ok"]


def test_a_wrong_password_is_called_that(any_proxy, fakes, tmp_path):
    home = tmp_path / "home"
    with weir(home, base_url=fakes.at["chat"], more=f'proxy = "{any_proxy.url("wrong")}"') as server:
        error = ask(server)
        assert "its proxy does not accept the user and password" in error["message"], error
        assert "wrong" not in error["message"]
        # The key is as good as before.
        assert "is now out of use" not in server.log()
    assert (diagnosis(home)["code"], diagnosis(home)["ok"]) == ("proxy_password", False)


def test_a_password_that_is_missing_is_called_that(any_proxy, fakes, tmp_path):
    home = tmp_path / "home"
    with weir(home, base_url=fakes.at["chat"], more=f'proxy = "{any_proxy.url("")}"') as server:
        assert "its proxy does not accept the user and password" in ask(server)["message"]
    assert diagnosis(home)["code"] == "proxy_password"


def test_a_tunnel_with_an_authority_of_ones_own(any_proxy, encrypted, tmp_path):
    base_url = f"https://localhost:{encrypted.port}/v1"
    more = f'models = ["demo"]\nproxy = "{any_proxy.url()}"\nca_file = "{encrypted.authority}"'
    with weir(tmp_path / "home", base_url=base_url, more=more, WEIR_DEMO_ENABLED="false", key=encrypted.key) as server:
        assert ask(server, "demo") == TEXT
    heard = any_proxy.heard()
    assert b"localhost" in heard, "the proxy looks the name up"
    assert encrypted.key.encode() not in heard and b"/v1/" not in heard, "what goes through the tunnel is encrypted"


@pytest.mark.parametrize("wrong", ["wrong", ""])
def test_a_tunnel_that_wants_another_password(tinyproxy, encrypted, tmp_path, wrong):
    home = tmp_path / "home"
    more = f'proxy = "{tinyproxy.url(wrong)}"\nca_file = "{encrypted.authority}"'
    with weir(home, base_url=f"https://localhost:{encrypted.port}/v1", more=more, key=encrypted.key) as server:
        message = ask(server, "x")["message"]
    said = diagnosis(home)
    if wrong:
        # tinyproxy answers 401 here, which says no more than no.
        assert "its proxy cannot connect to it" in message and said["code"] == "proxy_refused"
        assert "does not accept the user and password" in said["advice"]
    else:
        assert "its proxy does not accept the user and password" in message and said["code"] == "proxy_password"


def test_names_are_for_the_proxy_to_look_up(any_proxy, tmp_path):
    """Nobody knows the name here, and Weir does not ask: the proxy is asked for it."""
    home = tmp_path / "home"
    with weir(home, base_url="http://only-the-proxy-knows.invalid/v1", more=f'proxy = "{any_proxy.url()}"') as server:
        message = ask(server)["message"]
        assert "host name is unknown" not in message, message
    assert b"only-the-proxy-knows.invalid" in any_proxy.heard()
    assert diagnosis(home)["code"] == "proxy_refused"


def test_socks5_sends_the_name_itself(microsocks, fakes, tmp_path):
    port = int(fakes.at["url"].rsplit(":", 1)[1])
    with weir(tmp_path / "home", base_url=f"http://localhost:{port}/v1", more=f'proxy = "{microsocks.url()}"') as server:
        assert ask(server) == TEXT
    # RFC 1928 §4: version 5, CONNECT, reserved, a domain name, its length, the name, the port.
    assert b"\x05\x01\x00\x03\x09localhost" + port.to_bytes(2, "big") in microsocks.heard()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_environment_names_a_proxy(any_proxy, fakes, tmp_path, variable):
    # As with curl, socks5:// in a variable looks names up here, and socks5h:// at the proxy.
    with weir(tmp_path / "home", base_url=outside(fakes), **{variable: any_proxy.url()}) as server:
        assert ask(server) == TEXT
    assert any_proxy.heard()


def test_the_environment_names_a_proxy_for_https(any_proxy, encrypted, tmp_path):
    more = f'models = ["demo"]\nca_file = "{encrypted.authority}"'
    variables = {"HTTPS_PROXY": any_proxy.url(), "WEIR_DEMO_ENABLED": "false"}
    with weir(tmp_path / "home", base_url=f"https://{OUTSIDE}:{encrypted.port}/v1", more=more, **variables, key=encrypted.key) as server:
        assert ask(server, "demo") == TEXT
    assert any_proxy.heard()


@pytest.mark.parametrize(
    "more, variables",
    [
        ('proxy = "none"', {}),
        ("", {"NO_PROXY": OUTSIDE}),
        ("", {"no_proxy": "elsewhere.example,0.0.0.0/32"}),
    ],
    ids=["none", "NO_PROXY", "a network"],
)
def test_the_way_is_direct_where_it_is_to_be(tinyproxy, fakes, tmp_path, more, variables):
    with weir(tmp_path / "home", base_url=outside(fakes), more=more, HTTP_PROXY=tinyproxy.url(), **variables) as server:
        assert ask(server) == TEXT
    assert tinyproxy.heard() == b""


def test_a_model_on_this_machine_needs_no_proxy(tinyproxy, fakes, tmp_path):
    with weir(tmp_path / "home", base_url=fakes.at["chat"], HTTP_PROXY=tinyproxy.url(), ALL_PROXY=tinyproxy.url()) as server:
        assert ask(server) == TEXT
    assert tinyproxy.heard() == b""


def test_without_its_authority_a_certificate_is_not_trusted(encrypted, tmp_path):
    home = tmp_path / "home"
    with weir(home, base_url=f"https://localhost:{encrypted.port}/v1", key=encrypted.key) as server:
        assert "no TLS connection could be made" in ask(server, "x")["message"]
    said = diagnosis(home)
    assert said["code"] == "tls_failed" and "ca_file" in said["advice"], said


@pytest.mark.parametrize("http2", [True, False])
def test_http2_is_spoken_where_tls_agrees_on_it(encrypted, tmp_path, http2):
    more = f'models = ["demo"]\nca_file = "{encrypted.authority}"\nhttp2 = {str(http2).lower()}'
    before = connections(encrypted)
    with weir(tmp_path / "home", base_url=f"https://localhost:{encrypted.port}/v1", more=more, WEIR_DEMO_ENABLED="false", key=encrypted.key) as server:
        assert ask(server, "demo") == TEXT
        assert ask(server, "demo") == TEXT
    after = connections(encrypted)
    grown = {protocol: after[protocol] - before[protocol] for protocol in after}
    # Those that count come by HTTP/1.1, one each.
    assert grown == ({"http2": 1, "http1": 1} if http2 else {"http2": 0, "http1": 2}), grown


def connections(server):
    """How many connections of each protocol the server has taken."""
    context = ssl.create_default_context(cafile=server.authority)
    with closing(http.client.HTTPSConnection("localhost", int(server.port), timeout=SECONDS, context=context)) as connection:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {server.key}"})
        lines = connection.getresponse().read().decode().splitlines()
    found = [line.rsplit(" ", 1) for line in lines if line.startswith("weir_connections_total{")]
    return {protocol: sum(int(float(count)) for name, count in found if f'"{protocol}"' in name) for protocol in ("http1", "http2")}

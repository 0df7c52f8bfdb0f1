"""Starts nginx, Caddy and HAProxy before a server, each on a free port of the loopback address."""

import os
import socket
import subprocess
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs" / "proxies"

# What a first search for "reverse proxy" gives: the proxies' own defaults.
NGINX = "server { listen 127.0.0.1:PORT; location / { proxy_pass http://WEIR; MORE } }"
CADDY = "http://:PORT {\n\tbind 127.0.0.1\n\tMORE\n\treverse_proxy WEIR\n}\n"
# The timeouts are those of Debian's haproxy.cfg: without any it warns.
HAPROXY = """
defaults
    mode MODE
    timeout connect 5000
    timeout client 50000
    timeout server 50000
frontend in
    bind 127.0.0.1:PORT
    default_backend out
backend out
    server weir WEIR MORE
"""


def replaced(text, **words):
    for old, new in words.items():
        assert old in text, f"{old} is not in the configuration"
        text = text.replace(old, new)
    return text


def ours(name, port, weir):
    """Our configuration from docs/, with this test's addresses in it."""
    text = (DOCS / name).read_text()
    base = name.replace("-subpath", "")
    place = {"nginx.conf": ("listen 80;", f"listen 127.0.0.1:{port};"), "haproxy.cfg": ("bind :80", f"bind 127.0.0.1:{port}"),
             "Caddyfile": ("chat.example.org {", f"http://127.0.0.1:{port}, http://localhost:{port} {{")}[base]
    return replaced(text, **{place[0]: place[1], "127.0.0.1:8000": weir})


# Our configurations, for a host of Weir's own and below a path.
OURS = {
    "ours": {"nginx": "nginx.conf", "Caddy": "Caddyfile", "HAProxy": "haproxy.cfg"},
    "subpath": {"nginx": "nginx-subpath.conf", "Caddy": "Caddyfile-subpath", "HAProxy": "haproxy-subpath.cfg"},
}


def configuration(proxy, variant, port, weir):
    """A configuration's text: `variant` is one of OURS, or a line to add to the proxy's defaults."""
    own = ours(OURS[variant][proxy], port, weir) if variant in OURS else None
    if proxy == "nginx":
        servers = own or replaced(NGINX, PORT=str(port), WEIR=weir, MORE=variant)
        # nginx -p makes these paths relative to the test's directory.
        paths = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}} http {{ access_log off; {paths}\n{servers}\n}}"
    if proxy == "Caddy":
        site = own or replaced(CADDY, PORT=str(port), WEIR=weir, MORE=variant)
        return f"{{\n\tadmin off\n\tauto_https off\n}}\n{site}"
    if own:
        return own
    mode = "tcp" if "send-proxy" in variant else "http"
    return replaced(HAPROXY, PORT=str(port), WEIR=weir, MORE=variant, MODE=mode)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Proxy:
    """A running proxy. `address` is where."""

    def __init__(self, proxy, variant, weir, home):
        home.mkdir(parents=True)
        self.address = ("127.0.0.1", free_port())
        file = home / "configuration"
        file.write_text(configuration(proxy, variant, self.address[1], weir))
        command = {
            "nginx": ["nginx", "-p", str(home), "-e", "stderr", "-c", str(file)],
            "Caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
            "HAProxy": ["haproxy", "-db", "-f", str(file)],
        }[proxy]
        kept = {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        self._log = open(home / "log", "w+", encoding="utf-8")
        self._process = subprocess.Popen(command, cwd=home, env=kept, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(self.address, timeout=1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.02)
        self._log.seek(0)
        log = self._log.read()
        self.close()
        raise AssertionError(f"the proxy did not start: {log}")

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._log.close()

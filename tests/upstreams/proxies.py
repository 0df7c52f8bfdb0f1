"""Proxies that others wrote: tinyproxy (HTTP, forwarding and CONNECT) and microsocks (SOCKS5), each with user and password.

Before each stands a tap, which keeps what is said to the proxy.
"""

import os
import socket
import subprocess
import threading
import time

USER, PASSWORD = "ada", "pass-marker"

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
LogLevel Connect
BasicAuth {user} {password}
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Proxy:
    """A running proxy. `url()` is where, with user and password; `heard()` is what was said to it, and `log()` what it wrote."""

    def __init__(self, name, home):
        home.mkdir(parents=True)
        port = free_port()
        file = home / "configuration"
        file.write_text(TINYPROXY.format(port=port, user=USER, password=PASSWORD))
        command = {
            "tinyproxy": ["tinyproxy", "-d", "-c", str(file)],
            "microsocks": ["microsocks", "-i", "127.0.0.1", "-p", str(port), "-u", USER, "-P", PASSWORD],
        }[name]
        self._scheme = {"tinyproxy": "http", "microsocks": "socks5"}[name]
        self._file = home / "log"
        with open(self._file, "wb") as log:
            self._process = subprocess.Popen(command, cwd=home, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._wait(port)
            self._tap = Tap(port)
        except BaseException:
            self._end()
            raise

    def _wait(self, port):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.02)
        raise AssertionError(f"the proxy did not start: {self.log()}")

    def url(self, password=PASSWORD):
        who = f"{USER}:{password}@" if password else ""
        return f"{self._scheme}://{who}127.0.0.1:{self._tap.port}"

    def heard(self):
        return self._tap.heard()

    def forget(self):
        self._tap.forget()

    def log(self):
        return self._file.read_text(errors="replace")

    def close(self):
        self._tap.close()
        self._end()

    def _end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Tap:
    """Passes on every byte, and keeps those that go to the proxy."""

    def __init__(self, behind):
        self._behind = behind
        self._lock = threading.Lock()
        self._heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def heard(self):
        with self._lock:
            return self._heard

    def forget(self):
        with self._lock:
            self._heard = b""

    def close(self):
        # A listener that somebody waits on is not closed by close alone.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            proxy = socket.create_connection(("127.0.0.1", self._behind))
            threading.Thread(target=self._pass_on, args=(client, proxy, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(proxy, client, False), daemon=True).start()

    def _pass_on(self, source, target, keep):
        try:
            while piece := source.recv(65536):
                if keep:
                    with self._lock:
                        self._heard += piece
                target.sendall(piece)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            source.close()

"""The servers that are compared: each is started on a free port of loopback, in a directory of its own, and ended."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

# How long a server may take until it serves, in seconds: LiteLLM imports for a while.
READY_SECONDS = 90
# As many as ten thousand connections and their upstreams need.
OPEN_FILES = 32_768
LITELLM = "litellm[proxy]==1.80.0"


class Unavailable(Exception):
    """A server that this machine does not have; its rows are left out."""


class Bench:
    """What all servers share: the binaries, the directory of this run, and whether real-time scheduling is permitted."""

    def __init__(self, peers, directory, cache):
        self.peers, self.directory, self.cache = str(peers), pathlib.Path(directory), pathlib.Path(cache)
        self.certificate, self.key = self.directory / "certificate.pem", self.directory / "key.pem"
        self.is_realtime = shutil.which("chrt") is not None and subprocess.run(["chrt", "-r", "1", "true"], capture_output=True).returncode == 0
        self.open_files = raise_open_files()
        self.count = 0

    def prefix(self):
        """Before the command of whatever takes part, so that it ends with this process."""
        return [self.peers, "launch"]

    def realtime(self):
        """Before the command of what is to be scheduled before the rest of the machine from its start."""
        return ["chrt", "-r", "1"] if self.is_realtime else []

    def prefer(self, processes):
        """Schedules processes before the rest of the machine, with all their threads and those that they will start."""
        for pid in processes if self.is_realtime else []:
            subprocess.run(["chrt", "--all-tasks", "-r", "-p", "1", str(pid)], check=True, capture_output=True)

    def make_certificate(self):
        """Makes the certificate of all servers that speak TLS, once."""
        if self.certificate.exists():
            return
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        extensions = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(command + extensions + ["-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)

    def new_directory(self, name):
        self.count += 1
        path = self.directory / f"{self.count}-{name}"
        path.mkdir()
        return path


def raise_open_files():
    """Allows as many open files as this user may have; what is started inherits it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (max(most, OPEN_FILES), most):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return limit
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A process of the bench, and all that it has started."""

    def __init__(self, bench, name, command, environment=None):
        self.directory = bench.new_directory(name)
        self.log = self.directory / "log"
        # Neither the settings nor the proxies of the person who runs this have a say.
        inherited = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                bench.prefix() + [str(part) for part in command(self.directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=inherited | (environment or {}),
                start_new_session=False,
            )

    def tree(self):
        """The ids of the process and of all its descendants."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(") ", 1)[1].split()
                    parents.setdefault(int(fields[1]), []).append(int(entry))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def kib(self):
        """Resident memory of all of them in KiB, what they share counted once."""
        total = 0
        for pid in self.tree():
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
        return total

    def end(self):
        tree = self.tree()
        for ask in (signal.SIGTERM, signal.SIGKILL):
            for pid in tree if ask == signal.SIGKILL else tree[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, ask)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=3)
                break
        shutil.rmtree(self.directory, ignore_errors=True)


class Upstream(Process):
    def __init__(self, bench):
        super().__init__(bench, "upstream", lambda _: [bench.peers, "upstream", "127.0.0.1:0"])
        deadline = time.monotonic() + 10
        while not (line := self.log.read_text()).endswith("\n"):
            if time.monotonic() > deadline:
                raise RuntimeError("the upstream does not start")
            time.sleep(0.01)
        self.port = int(line.rsplit(":", 1)[1])
        bench.prefer(self.tree())

    def stats(self):
        return json.loads(get(self.port, "/stats"))


class Server:
    """A server in front of the upstream. Subclasses say which command it is."""

    name = ""
    version_command = None
    # Whether it takes so long to start that one process serves all workloads.
    is_slow = False

    def __init__(self, bench, upstream, way):
        self.bench, self.upstream, self.way, self.process = bench, upstream, way, None
        self.port = self.ready_port = None

    def start(self):
        """Starts it; gives the seconds until it served its first request."""
        if self.way.tls:
            self.bench.make_certificate()
        self.port = self.ready_port = free_port()
        started = time.monotonic()
        self.process = Process(self.bench, self.name, self.command, self.environment())
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                get(self.ready_port, "/v1/models", timeout=5, is_tls=self.way.tls)
                seconds = time.monotonic() - started
                self.bench.prefer(self.process.tree())
                return seconds
            if self.process.process.poll() is not None or time.monotonic() - started > READY_SECONDS:
                log = self.process.log.read_text(errors="replace")[-2000:]
                self.end()
                raise RuntimeError(f"{self.name} does not serve:\n{log}")
            time.sleep(0.001)

    def command(self, directory):
        raise NotImplementedError

    def environment(self):
        return {}

    def end(self):
        if self.process:
            self.process.end()
            self.process = None

    def tree(self):
        return self.process.tree()

    def kib(self):
        return self.process.kib()

    @classmethod
    def version(cls, bench):
        command = cls.version_command
        if not command:
            return ""
        if not shutil.which(command[0]):
            raise Unavailable(f"{command[0]} is not installed")
        run = subprocess.run(command, capture_output=True, text=True)
        return re.search(r"\d+\.\d+[\w.]*", run.stdout + run.stderr).group()


class Direct(Server):
    """No server at all: what upstream and client cost by themselves."""

    name = "direct"

    def start(self):
        self.port = self.upstream.port
        return 0.0

    def tree(self):
        return []

    def kib(self):
        return 0


class Nginx(Server):
    name = "nginx"
    version_command = ["nginx", "-v"]

    def command(self, directory):
        flags, more = "", ""
        if self.way.tls:
            flags, more = " ssl", f"ssl_certificate {self.bench.certificate}; ssl_certificate_key {self.bench.key};"
        if self.way.http2:
            # A port that speaks HTTP/2 without TLS speaks nothing else.
            self.ready_port = free_port()
            flags, more = " http2", f"listen 127.0.0.1:{self.ready_port};"
        configuration = directory / "nginx.conf"
        configuration.write_text(
            f"""
            worker_processes auto;
            worker_rlimit_nofile 20000;
            daemon off;
            pid {directory}/pid;
            error_log stderr warn;
            events {{ worker_connections 20000; }}
            http {{
                access_log off;
                client_body_temp_path {directory}/body;
                proxy_temp_path {directory}/proxy;
                fastcgi_temp_path {directory}/fastcgi;
                uwsgi_temp_path {directory}/uwsgi;
                scgi_temp_path {directory}/scgi;
                keepalive_requests 1000000;
                upstream model {{ server 127.0.0.1:{self.upstream.port}; keepalive 256; keepalive_requests 1000000; }}
                server {{
                    listen 127.0.0.1:{self.port}{flags};
                    {more}
                    location / {{
                        proxy_pass http://model;
                        proxy_http_version 1.1;
                        proxy_set_header Connection "";
                        proxy_buffering off;
                    }}
                }}
            }}
            """
        )
        return ["nginx", "-p", directory, "-c", configuration, "-e", "stderr"]


class Haproxy(Server):
    name = "haproxy"
    version_command = ["haproxy", "-v"]

    def connections(self):
        """As many as the open files allow: HAProxy refuses to start with more."""
        return min(self.bench.open_files // 2 - 100, 15_000)

    def command(self, directory):
        flags, more = "", ""
        if self.way.tls:
            both = directory / "both.pem"
            both.write_text(self.bench.certificate.read_text() + self.bench.key.read_text())
            flags = f" ssl crt {both}"
        if self.way.http2:
            self.ready_port = free_port()
            flags, more = " proto h2", f"bind 127.0.0.1:{self.ready_port}"
        proto = " proto h2" if self.way.upstream_http2 else ""
        configuration = directory / "haproxy.cfg"
        configuration.write_text(
            f"""
global
    maxconn {self.connections()}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-no-delay
frontend chat
    bind 127.0.0.1:{self.port}{flags}
    {more}
    default_backend model
backend model
    server model 127.0.0.1:{self.upstream.port}{proto}
"""
        )
        return ["haproxy", "-db", "-f", configuration]


class LiteLlm(Server):
    name = "litellm"
    is_slow = True

    @classmethod
    def python(cls, bench):
        return bench.cache / "litellm" / "bin" / "python"

    @classmethod
    def version(cls, bench):
        """Installs it if it is missing."""
        python = cls.python(bench)
        if not (python.parent / "litellm").exists():
            print(f"installing {LITELLM}", file=sys.stderr, flush=True)
            for command in (
                [sys.executable, "-m", "venv", python.parent.parent],
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", LITELLM],
            ):
                run = subprocess.run(command, capture_output=True, text=True)
                if run.returncode:
                    raise Unavailable(f"{LITELLM} cannot be installed: {run.stderr.strip()[-300:]}")
        code = "from importlib.metadata import version; print(version('litellm'))"
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    def command(self, directory):
        configuration = directory / "config.yaml"
        base = f"http://127.0.0.1:{self.upstream.port}/v1"
        parameters = f'{{ model: "openai/*", api_base: "{base}", api_key: none }}'
        configuration.write_text(f'model_list:\n  - model_name: "*"\n    litellm_params: {parameters}\n')
        program = self.python(self.bench).parent / "litellm"
        return [program, "--config", configuration, "--host", "127.0.0.1", "--port", self.port, "--telemetry", "False"]

    def environment(self):
        return {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONUTF8": "1"}


class Weir(Server):
    """Weir in its default configuration: a data directory, one upstream, and the log at its default level."""

    name = "weir"
    binary = None

    @classmethod
    def version(cls, bench):
        run = subprocess.run([cls.binary, "--version"], capture_output=True, text=True, check=True)
        return run.stdout.split()[-1]

    def settings(self):
        base = f"http://127.0.0.1:{self.upstream.port}/v1"
        settings = f'[[upstream]]\nname = "bench"\nbase_url = "{base}"\napi_key = "none"\n'
        return settings + ("http2 = true\n" if self.way.upstream_http2 else "")

    def command(self, directory):
        configuration = directory / "weir.toml"
        configuration.write_text(self.settings())
        command = [self.binary, "--config", configuration, "--listen", f"127.0.0.1:{self.port}", "--data", directory / "data"]
        return command + (["--tls-cert", self.bench.certificate, "--tls-key", self.bench.key] if self.way.tls else [])


def connection(port, timeout, is_tls):
    if not is_tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    # The certificate is the bench's own.
    context = ssl._create_unverified_context()
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)


def ask(method, port, path, body=None, timeout=10, is_tls=False):
    """One request, and the body of its response."""
    asked = connection(port, timeout, is_tls)
    try:
        asked.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"} if body else {})
        response = asked.getresponse()
        body = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"{path}: {response.status} {body[:200]}")
        return body
    finally:
        asked.close()


def get(port, path, timeout=10, is_tls=False):
    return ask("GET", port, path, None, timeout, is_tls)

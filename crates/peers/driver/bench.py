"""What is measured with what: the rows of the comparison, run in turns so that a busy machine is busy for all of them."""

import os
import time
from dataclasses import dataclass
from fnmatch import fnmatch

import servers
import workloads
from servers import Direct, Haproxy, LiteLlm, Nginx, Unavailable, Weir
from workloads import Idle, Leave, Readers, Replay, Requests, Silent, Start, Streams, Unread, Way


class Baseline(Weir):
    """Another build of Weir, to compare with."""

    name = "baseline"
    binary = None


@dataclass(frozen=True)
class Subject:
    """A server and a way to ask it."""

    name: str
    server: type
    way: Way = Way()


DIRECT, NGINX, HAPROXY = Subject("direct", Direct), Subject("nginx", Nginx), Subject("haproxy", Haproxy)
WEIR, BASELINE = Subject("weir", Weir), Subject("baseline", Baseline)
PROXIES = [DIRECT, NGINX, HAPROXY, Subject("litellm", LiteLlm)]
PLAIN = [WEIR, BASELINE]
FRAMES = [
    Subject("weir chat ndjson", Weir, Way("chat", "ndjson")),
    Subject("weir responses", Weir, Way("responses")),
    Subject("weir responses ndjson", Weir, Way("responses", "ndjson")),
    Subject("weir responses websocket", Weir, Way("responses", "websocket")),
    Subject("weir responses unstored", Weir, Way("responses", "sse", False)),
    Subject("baseline responses", Baseline, Way("responses")),
    Subject("baseline responses websocket", Baseline, Way("responses", "websocket")),
]
TLS, HTTP2, BOTH_HTTP2 = Way(tls=True), Way(http2=True), Way(http2=True, upstream_http2=True)
WIRES = [
    Subject("nginx tls", Nginx, TLS),
    Subject("haproxy tls", Haproxy, TLS),
    Subject("weir tls", Weir, TLS),
    Subject("baseline tls", Baseline, TLS),
    Subject("nginx h2", Nginx, HTTP2),
    Subject("haproxy h2", Haproxy, HTTP2),
    Subject("weir h2", Weir, HTTP2),
    Subject("haproxy h2 upstream", Haproxy, Way(upstream_http2=True)),
    Subject("weir h2 upstream", Weir, Way(upstream_http2=True)),
    Subject("weir h2 both", Weir, BOTH_HTTP2),
]
STORED = Way("responses")
# Only Weir has WebSockets of its own.
SOCKETS = Way("responses", "websocket")
IDLE = [
    *(NGINX, HAPROXY, WEIR, BASELINE),
    *(Subject("nginx tls", Nginx, TLS), Subject("weir tls", Weir, TLS)),
    *(Subject("nginx h2", Nginx, HTTP2), Subject("haproxy h2", Haproxy, HTTP2), Subject("weir h2", Weir, HTTP2)),
    Subject("weir websocket", Weir, SOCKETS),
]


@dataclass(frozen=True)
class Workload:
    letter: str
    title: str
    work: object
    quick: object
    subjects: list
    # The figures of the table, the first one that by which servers are compared.
    figures: tuple


STREAM_FIGURES = ("cpu per token", "delay p50", "delay p99", "first token")

WORKLOADS = [
    Workload("A", "50 streams in step, a token every 20 ms", Streams(50, 200, 20_000, "step"), Streams(50, 100, 20_000, "step"), PROXIES + PLAIN + FRAMES + WIRES, STREAM_FIGURES),
    Workload("A'", "10 streams out of step, a token every 20 ms", Streams(10, 200, 20_000, "own", 2_000), Streams(10, 100, 20_000, "own", 2_000), PROXIES + PLAIN, STREAM_FIGURES),
    Workload("B", "64 streams flat out", Streams(64, 8_000, 0, "flat", 0, 500), Streams(64, 3_000, 0, "flat", 0, 500), PROXIES + PLAIN + FRAMES, ("cpu per token", "tokens/s")),
    Workload("C", "1,000 streams, a token every 500 ms", Streams(1000, 16, 500_000, "own", 500, 2), Streams(1000, 8, 500_000, "own", 500, 2), PROXIES + PLAIN, STREAM_FIGURES),
    Workload("D", "2,000 silent streams", Silent(2000), Silent(1000), PROXIES[1:] + PLAIN + [Subject("weir responses", Weir, STORED), Subject("weir tls", Weir, TLS), Subject("nginx tls", Nginx, TLS)], ("KiB each",)),
    Workload("E", "200 clients leave at once", Leave(200), Leave(200), PROXIES + PLAIN, ("closed after", "not closed")),
    Workload("F", "1,000 readers that never read, beside ten that do", Unread(1000, 8), Unread(300, 4), [DIRECT, NGINX, HAPROXY] + PLAIN, ("KiB each", "delay p50", "delay p99")),
    Workload("G", "one-token responses on 32 connections", Requests(32, 3), Requests(32, 2), PROXIES + PLAIN + FRAMES + WIRES, ("responses/s", "cpu per response", "first token", "first token p99")),
    Workload("H", "100 readers of one response, a token every 20 ms; elsewhere 100 responses", Readers(100, 200), Readers(100, 100), [DIRECT, NGINX, HAPROXY, Subject("weir", Weir, STORED), Subject("baseline", Baseline, STORED)], ("cpu per token", "delay p50", "delay p99")),
    Workload("I", "a finished response of 10,000 tokens, resumed from its start", Replay(10_000, 4), Replay(10_000, 2), [Subject("weir", Weir, STORED), Subject("baseline", Baseline, STORED)], ("events/s", "cpu per event", "first token")),
    Workload("J", "10,000 idle connections, or as many as open files allow", Idle(10_000), Idle(2_000), IDLE, ("KiB each",)),
    Workload("start", "from the start of the process to its first response", Start(), Start(), PROXIES[1:] + PLAIN, ("start",)),
]


def chosen(only, names):
    """The workloads and subjects that the command line names; patterns as in a shell."""
    for workload in WORKLOADS:
        if only and workload.letter not in only:
            continue
        subjects = [subject for subject in workload.subjects if any(fnmatch(subject.name, name) for name in names)]
        yield workload, [subject for subject in subjects if subject.server is not Baseline or Baseline.binary]


def other_load(seconds=0.3):
    """The share of the processors that others use while nothing of the bench runs."""

    def read():
        with open("/proc/stat") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    (total, idle), _ = read(), time.sleep(seconds)
    later_total, later_idle = read()
    spent = later_total - total
    return 1 - (later_idle - idle) / spent if spent else 0.0


class Runner:
    def __init__(self, bench, upstream, say):
        self.bench, self.upstream, self.say = bench, upstream, say
        self.versions = {}
        self.kept = {}

    def available(self, subject):
        """Whether the server can be had; says so once if not."""
        server = subject.server
        if server.name not in self.versions:
            try:
                self.versions[server.name] = server.version(self.bench)
            except Unavailable as reason:
                self.versions[server.name] = None
                self.say(f"{server.name} is left out: {reason}")
        return self.versions[server.name] is not None

    def run(self, workload, subjects, runs, is_quick):
        """Measures every subject `runs` times; gives rows with lists of figures, and errors."""
        work = workload.quick if is_quick else workload.work
        subjects = [subject for subject in subjects if self.available(subject)]
        rows = {subject.name: {"figures": {}, "errors": [], "load": [], "other": []} for subject in subjects}
        for run in range(runs):
            for subject in subjects:
                # Its figures are so far from the others' that their spread is of no interest.
                if subject.server.is_slow and run > 0:
                    continue
                row = rows[subject.name]
                row["load"].append(os.getloadavg()[0])
                row["other"].append(other_load())
                try:
                    figures = self.once(work, subject)
                except (workloads.Failed, RuntimeError, OSError) as error:
                    row["errors"].append(str(error))
                    self.say(f"{workload.letter} {run + 1}/{runs} {subject.name}: FAILED: {error}")
                    continue
                for name, value in figures.items():
                    row["figures"].setdefault(name, []).append(value)
                shown = ", ".join(f"{name} {figures[name]:,.1f}" for name in workload.figures)
                self.say(f"{workload.letter} {run + 1}/{runs} {subject.name}: {shown}")
        return rows

    def once(self, work, subject):
        server = self.kept.get(subject.name) or subject.server(self.bench, self.upstream, subject.way)
        try:
            if subject.name not in self.kept:
                server.started = server.start()
            if server.is_slow:
                self.kept[subject.name] = server
            return work.run(self.bench, server, subject.way)
        finally:
            if not server.is_slow:
                server.end()

    def end(self):
        """Ends the servers that were kept."""
        for server in self.kept.values():
            server.end()

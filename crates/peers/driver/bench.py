"""What is measured with what: the rows of the comparison, run in turns so that a busy machine is busy for all of them."""

import os
import time
from dataclasses import dataclass
from fnmatch import fnmatch

import servers
import workloads
from servers import Direct, Haproxy, LiteLlm, Nginx, Unavailable, Weir
from workloads import Leave, Requests, Silent, Streams, Way


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


PROXIES = [Subject("direct", Direct), Subject("nginx", Nginx), Subject("haproxy", Haproxy), Subject("litellm", LiteLlm)]
PLAIN = [Subject("weir", Weir), Subject("baseline", Baseline)]
WAYS = [
    Subject("weir chat ndjson", Weir, Way("chat", "ndjson")),
    Subject("weir responses", Weir, Way("responses")),
    Subject("weir responses ndjson", Weir, Way("responses", "ndjson")),
    Subject("weir responses websocket", Weir, Way("responses", "websocket")),
    Subject("weir responses unstored", Weir, Way("responses", "sse", False)),
    Subject("baseline responses", Baseline, Way("responses")),
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
    Workload("A", "50 streams in step, a token every 20 ms", Streams(50, 250, 20_000, "step"), Streams(50, 100, 20_000, "step"), PROXIES + PLAIN + WAYS, STREAM_FIGURES),
    Workload("A'", "10 streams out of step, a token every 20 ms", Streams(10, 250, 20_000, "own", 2_000), Streams(10, 100, 20_000, "own", 2_000), PROXIES + PLAIN, STREAM_FIGURES),
    Workload("B", "64 streams flat out", Streams(64, 12_000, 0, "flat", 0, 500), Streams(64, 3_000, 0, "flat", 0, 500), PROXIES + PLAIN + WAYS, ("cpu per token", "tokens/s")),
    Workload("C", "1,000 streams, a token every 500 ms", Streams(1000, 16, 500_000, "own", 500, 2), Streams(1000, 8, 500_000, "own", 500, 2), PROXIES + PLAIN, STREAM_FIGURES),
    Workload("D", "2,000 silent streams", Silent(2000), Silent(1000), PROXIES + PLAIN, ("KiB each",)),
    Workload("E", "200 clients leave at once", Leave(200), Leave(200), PROXIES + PLAIN, ("closed after", "not closed")),
    Workload("G", "one-token responses on 32 connections", Requests(32, 4), Requests(32, 2), PROXIES + PLAIN + WAYS, ("responses/s", "cpu per response", "first token", "first token p99")),
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
        server = subject.server(self.bench, self.upstream)
        try:
            server.start()
            return work.run(self.bench, server, subject.way)
        finally:
            server.end()


__all__ = ["Baseline", "Runner", "WORKLOADS", "chosen", "servers"]

"""Writes what was measured into docs/explanation/performance.md, between two marks, and the chart beside it."""

import chart
import tables

START, END = "<!-- peers: written by scripts/peers --write-docs -->", "<!-- peers: end -->"


def markdown(lines):
    def row(cells):
        return "| " + " | ".join(cells) + " |"

    return "\n".join([row(lines[0]), "|" + "---|" * len(lines[0]), *map(row, lines[1:])])


def section(outcome, workloads):
    """The text between the marks."""
    machine, versions = outcome["machine"], outcome["versions"]
    scheduling = "under real-time scheduling" if machine["realtime"] else "without real-time scheduling"
    used = ", ".join(f"{name} {version}" for name, version in versions.items() if version and name not in ("weir", "baseline"))
    times = f"the median of {outcome['runs']} runs, and the least and the most" if outcome["runs"] > 1 else "one run"
    if outcome["quick"]:
        times += " of the short form of the work (`--quick`: fewer tokens, and half of the streams in D)"
    parts = [
        f"{machine['date']}; {machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}; {used}; {scheduling}. Each cell is {times}. "
        "*Load* is the highest load average before a run, and the share of the processors that others used.",
    ]
    for workload in workloads:
        rows = outcome["rows"].get(workload.letter)
        if rows:
            shown = {name: row for name, row in rows.items() if not name.startswith("baseline")}
            parts.append(f"**{workload.letter}: {workload.title}**\n\n{markdown(tables.table(workload, shown))}")
    return "\n\n".join(parts)


def write(root, outcome, workloads):
    path = root / "docs/explanation/performance.md"
    text = path.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n\n{section(outcome, workloads)}\n\n{END}{after}")
    (root / "docs/images/peers.svg").write_text(chart.draw(outcome["rows"]))

"""The results as text: medians of all runs with their spread, and what each is beside nginx."""

import statistics

# What a figure is measured in, and by what it is divided to be so.
UNITS = {
    "cpu per token": ("CPU µs/token", 1, 1),
    "cpu per response": ("CPU µs/response", 1, 0),
    "cpu per event": ("CPU µs/event", 1, 2),
    "delay p50": ("delay p50 ms", 1000, 2),
    "delay p99": ("delay p99 ms", 1000, 2),
    "first token": ("first token ms", 1000, 2),
    "first token p99": ("first p99 ms", 1000, 2),
    "tokens/s": ("tokens/s", 1, 0),
    "responses/s": ("responses/s", 1, 0),
    "events/s": ("events/s", 1, 0),
    "KiB each": ("KiB each", 1, 1),
    "closed after": ("closed after ms", 1000, 0),
    "not closed": ("not closed", 1, 0),
    "start": ("start ms", 1000, 0),
}

# Of these, direct's is taken off: what is left was added by the server.
ADDED = ("delay p50", "delay p99", "first token", "first token p99")


def median(row, figure):
    values = row["figures"].get(figure)
    return statistics.median(values) if values else None


def cell(row, figure, direct):
    """The median, and the least and the most in parentheses."""
    values = row["figures"].get(figure)
    if not values:
        return "–"
    _, divisor, digits = UNITS[figure]
    off = direct if direct is not None and figure in ADDED else 0
    shown = [f"{(value - off) / divisor:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} ({shown[1]}–{shown[2]})"


def table(workload, rows):
    """Rows of cells, the first one the titles."""
    figures = workload.figures
    direct = rows.get("direct")
    titles = [f"+{UNITS[figure][0]}" if direct and figure in ADDED else UNITS[figure][0] for figure in figures]
    against = [name for name in ("nginx", "baseline") if name in rows and median(rows[name], workload.figures[0])]
    lines = [["", *titles, *(f"× {name}" for name in against), "load"]]
    for name, row in rows.items():
        cells = []
        for figure in figures:
            off = median(direct, figure) if direct and name != "direct" else None
            cells.append(cell(row, figure, off))
        for other in against:
            own, theirs = median(row, workload.figures[0]), median(rows[other], workload.figures[0])
            cells.append(f"{own / theirs:,.{0 if own > 100 * theirs else 2}f}" if own else "–")
        load = f"{max(row['load']):.1f}, {max(row['other']) * 100:.0f} %"
        if row["errors"]:
            cells[0] = "FAILED: " + " ".join(row["errors"][0].split())[:90]
        lines.append([name, *cells, load])
    return lines


def text(lines):
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(part.ljust(width) for part, width in zip(line, widths)).rstrip() for line in lines)

"""The chart of the comparison: what each server needs for the same work, as bars."""

from html import escape

from tables import UNITS, median

NAMES = {"direct": "direct", "nginx": "nginx", "haproxy": "HAProxy", "litellm": "LiteLLM", "weir": "Weir"}
# Workload, figure, title.
PANELS = [
    ("A", "cpu per token", "50 streams, a token every 20 ms: CPU, µs per token"),
    ("A", "delay p99", "the same: added delay of 99 of 100 tokens, ms"),
    ("B", "tokens/s", "64 streams flat out: tokens per second"),
    ("G", "responses/s", "one-token responses: responses per second"),
    ("D", "KiB each", "silent streams: KiB each"),
]
WIDTH, LEFT, BAR, ROW, GAP = 760, 90, 540, 22, 40
# A bar that is longer than this multiple of nginx's is cut, or the others could not be seen.
LONGEST = 8

STYLE = """
:where(.chart) { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --quiet: #5c6570; --bar: #8fa3b5; --weir: #0072b2; }
@media (prefers-color-scheme: dark) { :where(.chart) { --paper: #14171b; --ink: #e8ebef; --quiet: #a3acb8; --bar: #5a6b7a; --weir: #56b4e9; } }
.chart text { font: 12.5px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink); }
.chart .quiet { fill: var(--quiet); } .chart .paper { fill: var(--paper); } .chart .bar { fill: var(--bar); } .chart .weir { fill: var(--weir); }
"""


def draw(results):
    """The SVG of what was measured."""
    parts, top = [], 30
    for letter, figure, title in PANELS:
        rows = results.get(letter, {})
        direct = median(rows["direct"], figure) if "delay" in figure and "direct" in rows else 0
        values = {}
        for name in NAMES:
            value = median(rows[name], figure) if name in rows else None
            if value and not (name == "direct" and ("/s" not in figure)):
                values[name] = (value - (direct or 0)) / UNITS[figure][1]
        if "nginx" not in values:
            continue
        parts.append(f'<text x="8" y="{top}" font-weight="600">{escape(letter)}: {escape(title)}</text>')
        top += 10
        most = min(max(values.values()), values["nginx"] * LONGEST)
        for name, value in values.items():
            width = BAR * min(value / most, 1)
            kind = "weir" if name == "weir" else "bar"
            digits = UNITS[figure][2]
            parts.append(f'<text class="quiet" x="8" y="{top + 15}">{NAMES[name]}</text>')
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{top + 3}" width="{max(width, 1):.1f}" height="{ROW - 6}"/>')
            if value > most:
                # The cut, as a gap near the end.
                parts.append(f'<rect class="paper" x="{LEFT + BAR - 24}" y="{top + 1}" width="6" height="{ROW - 2}"/>')
            parts.append(f'<text x="{LEFT + max(width, 1) + 6:.1f}" y="{top + 15}">{value:,.{digits}f}</text>')
            top += ROW
        top += GAP
    height = top - GAP + 12
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    title = "<title>Weir beside other servers at the same work</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", '<rect class="paper" width="100%" height="100%"/>', *parts, "</svg>"]) + "\n"

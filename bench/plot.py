#!/usr/bin/env python3
"""bench/plot.py CURVES OUT.svg: draws what `journal-bench --curves` wrote. Standard library only.

One plain SVG: how long a durable append takes (percentile by percentile, logarithmic towards the
tail), and how many bytes a second pass over write size and depth. Panels stand one below the
other, so that it reads on a phone; colours follow the reader's light or dark setting.
"""
import json
import math
import sys
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 720, 340, 78, 20, 62, 52
SIDES = {"baton": "baton", "raw": "raw"}  # anything else is drawn as raw
STYLE = """
  svg { background: #ffffff; font-family: system-ui, sans-serif; font-size: 14px; }
  text { fill: #24292f; } .title { font-size: 17px; font-weight: 600; } .small { font-size: 12.5px; }
  .grid { stroke: #d0d7de; stroke-width: 1; } .axis { stroke: #57606a; stroke-width: 1; }
  .line { fill: none; stroke-width: 2.5; } .baton { stroke: #0969da; } .raw { stroke: #bc4c00; }
  circle.baton, rect.baton { fill: #0969da; stroke: none; } circle.raw, rect.raw { fill: #bc4c00; stroke: none; }
  .d1 { stroke-dasharray: 2 5; } .d2 { stroke-dasharray: 6 5; } .d4 { stroke-dasharray: 12 4; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; }
    .grid { stroke: #30363d; } .axis { stroke: #8b949e; }
    .baton { stroke: #58a6ff; } .raw { stroke: #f0883e; }
    circle.baton, rect.baton { fill: #58a6ff; } circle.raw, rect.raw { fill: #f0883e; }
  }
"""


def read_curves(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def number(value):
    """Short, for an axis."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def duration(microseconds):
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:g} s"
    return f"{microseconds / 1e3:g} ms" if microseconds >= 1e3 else f"{microseconds:g} µs"


class Panel:
    """One drawing with its axes. x and y map a value to 0..1."""

    def __init__(self, top, title, subtitle):
        self.top, self.parts = top, []
        self.text(LEFT, 22, title, "title")
        self.text(LEFT, 42, subtitle, "small")

    def text(self, x, y, words, kind="small", anchor="start"):
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{self.top + y:.1f}" '
                          f'text-anchor="{anchor}">{escape(words)}</text>')

    def place(self, x, y):
        return (LEFT + x * (WIDTH - LEFT - RIGHT),
                self.top + TOP + (1 - y) * (PANEL - TOP - BOTTOM))

    def rule(self, begin, end, kind):
        (x1, y1), (x2, y2) = self.place(*begin), self.place(*end)
        self.parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def axes(self, x_ticks, y_ticks, x_name):
        for x, label in x_ticks:
            self.rule((x, 0), (x, 1), "grid")
            self.text(self.place(x, 0)[0], PANEL - BOTTOM + 18, label, anchor="end" if x == 1 else "middle")
        for y, label in y_ticks:
            self.rule((0, y), (1, y), "grid")
            self.text(LEFT - 8, self.place(0, y)[1] - self.top + 4, label, anchor="end")
        self.rule((0, 0), (1, 0), "axis")
        self.rule((0, 0), (0, 1), "axis")
        self.text(LEFT + (WIDTH - LEFT - RIGHT) / 2, PANEL - BOTTOM + 40, x_name, anchor="middle")

    def line(self, points, kind, dash=""):
        places = [self.place(x, y) for x, y in points]
        self.parts.append(f'<polyline class="line {kind} {dash}" points="'
                          + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) + '"/>')
        if len(places) < 10:
            self.parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]

    def legend(self, names):
        for at, (kind, label) in enumerate(names):
            x = WIDTH - RIGHT - 190 + 95 * at
            self.parts.append(f'<rect class="{kind}" x="{x}" y="{self.top + 10}" width="14" height="14" rx="3"/>')
            self.text(x + 20, 22, label)


def tail(fraction, count):
    """0 .. 1 over 'nines': 0 %, 90 %, 99 %, 99.9 % ... as many as the count can show."""
    nines = max(2.0, math.log10(max(count, 100)))
    return min(nines, -math.log10(max(1 - fraction, 10 ** -nines))) / nines


def latency_panel(top, case, backend, curves):
    panel = Panel(top, f"{case} · {backend}", "latency by percentile; lower is better")
    count = min(curve["count"] for curve in curves)
    values = [us for curve in curves for _, us in curve["points"] if us > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    shown = [(f, name) for f, name in ((0, "min"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"),
                                       (0.9999, "99.99 %")) if f == 0 or 1 / (1 - f) <= count]
    panel.axes([(tail(f, count), name) for f, name in shown],
               [((y - low) / (high - low), duration(10.0 ** y)) for y in range(low, high + 1)], "percentile")
    for curve in curves:
        panel.line([(tail(f, count), (math.log10(us) - low) / (high - low))
                    for f, us in curve["points"] if us > 0 and (f == 1 or 1 / (1 - f) <= count)],
                   SIDES.get(curve["side"], "raw"))
    panel.legend([("baton", "Baton"), ("raw", next((c["side"] for c in curves if c["side"] != "baton"), "raw"))])
    return panel


def throughput_panel(top, backend, points):
    panel = Panel(top, f"flat out · {backend}", "durable bytes a second over write size; dashes: 1, 2, 4, then 8 in flight")
    sizes = sorted({point["write_bytes"] for point in points})
    step = 10 ** math.floor(math.log10(max(point["bytes_per_s"] for point in points)))
    high = step * math.ceil(max(point["bytes_per_s"] for point in points) / step)
    x_of = {size: at / max(1, len(sizes) - 1) for at, size in enumerate(sizes)}
    panel.axes([(x_of[size], f"{size >> 10} KiB") for size in sizes],
               [(y * step / high, number(y * step) + "B/s") for y in range(round(high / step) + 1)], "bytes in one write")
    for side in ("raw", "baton"):
        for depth in sorted({point["depth"] for point in points}):
            line = sorted((point["write_bytes"], point["bytes_per_s"]) for point in points
                          if point["side"] == side and point["depth"] == depth)
            if line:
                panel.line([(x_of[size], rate / high) for size, rate in line], side, f"d{depth}")
    panel.legend([("baton", "Baton"), ("raw", "raw")])
    return panel


def draw(curves):
    panels = []
    groups = {}
    for curve in curves:
        key = (curve["curve"], curve.get("case", ""), curve["backend"])
        groups.setdefault(key, []).append(curve)
    for (kind, case, backend), group in groups.items():
        top = len(panels) * (PANEL + 16)
        panels.append(latency_panel(top, case, backend, group) if kind == "latency"
                      else throughput_panel(top, backend, group))
    height = max(1, len(panels)) * (PANEL + 16)
    body = "\n".join(part for panel in panels for part in panel.parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" '
            f'style="max-width: {WIDTH * 1.5:.0f}px" role="img" '
            f'aria-label="Latency and throughput of the journal beside the raw device">\n'
            f"<style>{STYLE}</style>\n{body}\n</svg>\n")


def main():
    if len(sys.argv) != 3:
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 1
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(draw(read_curves(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())

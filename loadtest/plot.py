"""Draws lines over a number of players as SVG. Knows nothing about servers; needs only Python."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 34, 44
LEGEND_WIDTH = 180
COLOURS = ["#0b62c4", "#c4560b", "#2b8a3e", "#8a2b83", "#b08900", "#c2255c", "#0c8599", "#5c5f66", "#343a40"]
STYLE = "font-family:system-ui,sans-serif;font-size:12px"


@dataclass(frozen=True)
class Point:
    """One measurement. An incomplete one (not all delivered, or gaps) is drawn hollow."""

    x: float
    y: float
    is_complete: bool = True


@dataclass(frozen=True)
class Panel:
    """One diagram: a title, and a line per name. `log` draws a logarithmic axis, for values above 0."""

    title: str
    lines: dict[str, list[Point]]
    log: bool = False


def svg(panels: list[Panel], x_title: str, caption: str) -> str:
    """The panels beside each other, a legend and a caption."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    width, height = WIDTH * len(panels) + LEGEND_WIDTH, HEIGHT + 24
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" role="img" style="{STYLE}">',
             f"<title>{escape(', '.join(panel.title for panel in panels))}</title>",
             f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *draw(panel, x_title, colours), "</g>"]
    parts += legend(colours, WIDTH * len(panels) + 6)
    parts += [text(LEFT, height - 8, caption, "start", "#495057"), "</svg>"]
    return "\n".join(parts) + "\n"


def draw(panel: Panel, x_title: str, colours: dict[str, str]) -> list[str]:
    points = [point for line in panel.lines.values() for point in line]
    x_ticks = nice_ticks(max((point.x for point in points), default=1))
    y_ticks = (decades if panel.log else nice_ticks_of)([point.y for point in points])
    x_at = scale(0, x_ticks[-1], LEFT, WIDTH - RIGHT)
    y_at = scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP, panel.log)
    parts = [text((LEFT + WIDTH - RIGHT) / 2, 18, panel.title, "middle", "#000000", "font-weight:600")]
    for tick in y_ticks:
        parts.append(f'<path d="M{LEFT} {y_at(tick):.1f}H{WIDTH - RIGHT}" stroke="#dee2e6"/>')
        parts.append(text(LEFT - 6, y_at(tick) + 4, f"{tick:g}", "end"))
    for tick in x_ticks:
        parts.append(text(x_at(tick), HEIGHT - BOTTOM + 18, f"{tick:g}", "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_title, "middle"))
    for name, line in panel.lines.items():
        line = sorted(line, key=lambda point: point.x)
        path = " ".join(f"{x_at(point.x):.1f},{y_at(point.y):.1f}" for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        for point in line:
            fill = colours[name] if point.is_complete else "#ffffff"
            parts.append(f'<circle cx="{x_at(point.x):.1f}" cy="{y_at(point.y):.1f}" r="3.5" fill="{fill}" '
                         f'stroke="{colours[name]}" stroke-width="1.5"/>')
    return parts


def legend(colours: dict[str, str], left: float) -> list[str]:
    parts = []
    for row, (name, colour) in enumerate(colours.items()):
        y = TOP + 8 + row * 20
        parts.append(f'<path d="M{left} {y}h22" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(left + 28, y + 4, name, "start"))
    y = TOP + 8 + len(colours) * 20
    parts.append(f'<circle cx="{left + 11}" cy="{y}" r="3.5" fill="#ffffff" stroke="#495057" stroke-width="1.5"/>')
    parts.append(text(left + 28, y + 4, "not all delivered", "start"))
    return parts


def text(x: float, y: float, content: str, anchor: str, fill: str = "#343a40", style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" style="{style}">{escape(content)}</text>'


def scale(low: float, high: float, start: float, end: float, log: bool = False):
    """Maps low..high to start..end."""
    if log:
        inner = scale(math.log10(low), math.log10(high), start, end)
        return lambda value: inner(math.log10(max(value, low)))
    return lambda value: start + (value - low) / (high - low) * (end - start)


def nice_ticks(maximum: float) -> list[float]:
    """0 and up to six steps of 1, 2 or 5 times a power of ten, the last one at `maximum` or above."""
    step = 1e-6
    while True:
        for factor in (1, 2, 5):
            if step * factor * 6 >= maximum:
                count = int(-(-maximum // (step * factor))) or 1
                return [round(i * step * factor, 9) for i in range(count + 1)]
        step *= 10


def nice_ticks_of(values: list[float]) -> list[float]:
    return nice_ticks(max(values, default=1) or 1)


def decades(values: list[float]) -> list[float]:
    """Powers of ten around the values."""
    values = [value for value in values if value > 0] or [1]
    low, high = 1e-3, 1e-3
    while low * 10 <= min(values):
        low *= 10
    while high < max(values) or high <= low:
        high *= 10
    ticks = [low]
    while ticks[-1] < high * 0.99:
        ticks.append(ticks[-1] * 10)
    return [float(f"{tick:.3g}") for tick in ticks]

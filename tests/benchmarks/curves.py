"""Curves as SVG: small panels side by side, sizes along a logarithmic axis, values up a linear one that begins at 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

WIDTH, HEIGHT, MARGIN = 250, 200, 44
COLOURS = ("#2563a8", "#c2571a")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #3d4451 } .title { font-weight: 600; font-size: 14px; fill: #14181f }
.axis { stroke: #9aa3b2; stroke-width: 1 } .paper { fill: #ffffff }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a panel shows: `lines` by name, each the values in `unit` by size; `along` is what the sizes count."""

    title: str
    along: str
    unit: str
    lines: Mapping[str, Mapping[int, float]]


def draw(curves: Sequence[Curve]) -> str:
    """The panels, side by side."""
    width, height = (WIDTH + MARGIN) * len(curves) + MARGIN, HEIGHT + 3 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
    ]
    for place, curve in enumerate(curves):
        parts += _panel(curve, MARGIN + (WIDTH + MARGIN) * place, MARGIN)
    return "\n".join([*parts, "</svg>", ""])


def _panel(curve: Curve, left: float, top: float) -> list[str]:
    sizes = sorted({size for points in curve.lines.values() for size in points})
    most = max(value for points in curve.lines.values() for value in points.values()) * 1.15
    first, last = log10(sizes[0]), log10(sizes[-1])

    def x(size: int) -> float:
        return left + WIDTH * (log10(size) - first) / (last - first or 1)

    def y(value: float) -> float:
        return top + HEIGHT * (1 - value / most)

    floor = top + HEIGHT
    parts = [
        _text(left, top - 22, f"{curve.title}, {curve.unit}", "title"),
        f'<line class="axis" x1="{left}" y1="{floor}" x2="{left + WIDTH}" y2="{floor}"/>',
        f'<line class="axis" x1="{left}" y1="{top}" x2="{left}" y2="{floor}"/>',
        _text(left + WIDTH / 2, floor + 36, curve.along, anchor="middle"),
        *(_text(x(size), floor + 17, f"{size:,}", anchor="middle") for size in sizes),
    ]
    for place, (name, points) in enumerate(curve.lines.items()):
        colour = COLOURS[place]
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in sorted(points.items()))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 8}" y="{floor + 54 + 15 * place}" style="fill: {colour}">{escape(name)}</text>')
        for size, value in points.items():
            parts.append(f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>')
            above = value >= max(each.get(size, 0) for each in curve.lines.values())
            parts.append(_text(x(size), y(value) + (-7 if above else 17), f"{value:.3g}", anchor="middle"))
    return parts


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'

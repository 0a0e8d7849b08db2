"""Line charts as small SVG files: logarithmic axes, markers, a legend beside the frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log
from pathlib import Path

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 800, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 260, 34, 46
COLOURS = ("#0b6e99", "#c4551b", "#3f7f3f", "#7a4fa3", "#8a6d1f", "#444444", "#b03060", "#5fa8d3")
DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True)
class Axis:
    """A scale from its first tick to its last; ``logarithmic`` or linear."""

    title: str
    ticks: Sequence[float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0 at the first tick, 1 at the last; values outside are moved onto the frame."""
        low, high = self.ticks[0], self.ticks[-1]
        value = min(max(value, low), high)
        if self.logarithmic:
            return log(value / low) / log(high / low)
        return (value - low) / (high - low)


def _point(x: Axis, y: Axis, at: tuple[float, float]) -> tuple[float, float]:
    across, up = x.place(at[0]), y.place(at[1])
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, words: str, anchor: str = "middle", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in x.ticks:
        at, _ = _point(x, y, (tick, y.ticks[0]))
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(_text(at, HEIGHT - BOTTOM + 16, f"{tick:g}"))
    for tick in y.ticks:
        _, at = _point(x, y, (x.ticks[0], tick))
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, at + 4, f"{tick:g}", "end"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x.title))
    parts.append(_text(16, middle, y.title, extra=f' transform="rotate(-90 16 {middle:.1f})"'))
    return parts


def chart(path: Path, title: str, x: Axis, y: Axis, lines: Mapping[str, Points]) -> Path:
    """Write the lines, by name in the order of the legend, into an SVG file."""
    font = 'font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text((LEFT + WIDTH - RIGHT) / 2, 20, title, extra=' font-weight="bold"'),
        *_grid(x, y),
    ]
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // 2 % len(DASHES)]
        places = [_point(x, y, point) for point in points]
        path_data = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="{path_data}" fill="none" stroke="{colour}" stroke-width="1.8"{dashed}/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour}"/>' for a, b in places]
        row, left = TOP + 14 + 18 * number, WIDTH - RIGHT + 14
        parts.append(f'<path d="M{left} {row - 4}h24" stroke="{colour}" stroke-width="1.8"{dashed}/>')
        parts.append(_text(left + 30, row, name, "start"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")
    return path

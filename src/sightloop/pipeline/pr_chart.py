"""Precision over recall as SVG text, for pages that load nothing. Pure.

Colours are named in the page's style sheet (`curve`, `grid`, `tick` and the name of each series).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 22, 26


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision over recall of one series."""

    series: str
    name: str
    recall: Sequence[float]
    precision: Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """Where a series is at its operating threshold."""

    series: str
    name: str
    recall: float
    precision: float


def precision_chart(
    title: str, curves: Sequence[Curve], *, points: Sequence[Point] = (), side: int = 240
) -> str:
    """Precision upwards over recall to the right, both 0 to 1; `title` is HTML."""
    inner = side - _LEFT - _RIGHT

    def x_of(value: float) -> float:
        return _LEFT + value * inner

    def y_of(value: float) -> float:
        return side - _BOTTOM - value * (side - _TOP - _BOTTOM)

    parts = [f'<figure><svg class="chart" viewBox="0 0 {side} {side}" role="img">']
    parts += [
        f'<path class="grid" d="M{_LEFT} {y_of(value):.1f}H{side - _RIGHT}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y_of(value) + 4:.1f}" '
        f'text-anchor="end">{value:g}</text>'
        f'<text class="tick" x="{x_of(value):.1f}" y="{side - 8}" '
        f'text-anchor="middle">{value:g}</text>'
        for value in (0.0, 0.5, 1.0)
    ]
    for curve in curves:
        places = " ".join(
            f"{x_of(recall):.1f},{y_of(precision):.1f}"
            for recall, precision in zip(curve.recall, curve.precision, strict=True)
        )
        parts.append(
            f'<polyline class="curve {curve.series}" points="{places}">'
            f"<title>{escape(curve.name)}</title></polyline>"
        )
    parts += [
        f'<circle class="point {one.series}" cx="{x_of(one.recall):.1f}" '
        f'cy="{y_of(one.precision):.1f}" r="4"><title>{escape(one.name)}</title></circle>'
        for one in points
    ]
    parts.append(f"</svg><figcaption>{title}</figcaption></figure>")
    return "".join(parts)

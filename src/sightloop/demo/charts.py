"""Pictures of the report as SVG text: frames over time, boxes on samples. Pure.

Colours are named in the page's style sheet (`first`, `second`, ...), so that one place decides
them for light and dark. Every number that a person can read here comes from the caller.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from sightloop.vision.detections import Detections, Labels
from sightloop.vision.matching import match

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 22, 26
_TICKS_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_STEPS_S: Final = (0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_LABELS_WANTED: Final = 12
_LETTER_PX: Final = 6.6
_NAME_ROOM: Final = 0.6
_MATCH_IOU: Final = 0.5

_Axis = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Dot:
    """One frame: when it was due (s), how long it took (ms), which series answered it."""

    at_s: float
    ms: float
    series: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time with a name; `kind` is its colour."""

    begin_s: float
    end_s: float
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment with a name; `kind` is its colour."""

    at_s: float
    name: str
    kind: str


def latency_chart(
    dots: Sequence[Dot],
    *,
    bands: Sequence[Band] = (),
    marks: Sequence[Mark] = (),
    size: tuple[int, int] = (1120, 300),
) -> str:
    """Every frame as a dot: time to the right, latency upwards on a logarithmic scale."""
    if not dots:
        return "<p>No frame was answered.</p>"
    width, height = size
    begin_s = min(dot.at_s for dot in dots)
    end_s = max(max(dot.at_s for dot in dots), begin_s + 0.1)
    low, high = _bounds([dot.ms for dot in dots])

    def x_of(at_s: float) -> float:
        share = (min(max(at_s, begin_s), end_s) - begin_s) / (end_s - begin_s)
        return _LEFT + share * (width - _LEFT - _RIGHT)

    def y_of(ms: float) -> float:
        share = math.log(min(max(ms, low), high) / low) / math.log(high / low)
        return height - _BOTTOM - share * (height - _TOP - _BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img">']
    parts += [_band(band, x_of, height) for band in bands]
    parts += _grid(low, high, y_of, width)
    parts += _time_axis(begin_s, end_s, x_of, height)
    parts += [_mark(mark, x_of, height) for mark in marks]
    for series in sorted({dot.series for dot in dots}):
        steps = "".join(
            f"M{x_of(dot.at_s):.1f} {y_of(dot.ms):.1f}h0" for dot in dots if dot.series == series
        )
        parts.append(f'<path class="dots {series}" d="{steps}"/>')
    parts.append("</svg>")
    return "".join(parts)


def _bounds(values_ms: Sequence[float]) -> tuple[float, float]:
    low = max((tick for tick in _TICKS_MS if tick <= min(values_ms)), default=_TICKS_MS[0])
    high = min((tick for tick in _TICKS_MS if tick >= max(values_ms)), default=_TICKS_MS[-1])
    return float(low), float(max(high, low * 10))


def _band(band: Band, x_of: _Axis, height: int) -> str:
    left, right = x_of(band.begin_s), x_of(band.end_s)
    wide = max(right - left, 1.0)
    text = ""
    if band.name and wide > len(band.name) * _LETTER_PX:
        text = f'<text x="{left + 4:.1f}" y="13" class="bandname">{escape(band.name)}</text>'
    return (
        f'<rect class="band {band.kind}" x="{left:.1f}" y="0" width="{wide:.1f}" '
        f'height="{height - _BOTTOM}"><title>{escape(band.name)}</title></rect>{text}'
    )


def _grid(low: float, high: float, y_of: _Axis, width: int) -> list[str]:
    parts = []
    for tick in _TICKS_MS:
        if low <= tick <= high:
            y = y_of(float(tick))
            parts.append(
                f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>'
                f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick}'
                f"{' ms' if tick * 2 > high else ''}</text>"
            )
    return parts


def _time_axis(begin_s: float, end_s: float, x_of: _Axis, height: int) -> list[str]:
    span_s = end_s - begin_s
    step_s = next((one for one in _STEPS_S if span_s / one <= _LABELS_WANTED), _STEPS_S[-1])
    first = math.ceil(begin_s / step_s - 1e-9)
    last = math.floor(end_s / step_s + 1e-9)
    return [
        f'<text class="tick" x="{x_of(number * step_s):.1f}" y="{height - 8}" '
        f'text-anchor="middle">{number * step_s:g} s</text>'
        for number in range(first, last + 1)
    ]


def _mark(mark: Mark, x_of: _Axis, height: int) -> str:
    x = x_of(mark.at_s)
    return (
        f'<path class="mark {mark.kind}" d="M{x:.1f} {_TOP - 4}V{height - _BOTTOM}">'
        f"<title>{escape(mark.name)}</title></path>"
    )


def sample_picture(
    image: bytes,
    size_px: tuple[int, int],
    classes: Sequence[str],
    *,
    labels: Labels,
    found: Detections | None,
) -> str:
    """An image with boxes: the labels alone, or what a release found and what it missed.

    Args:
        image: JPEG bytes.
        size_px: Width and height.
        classes: Names by index.
        labels: What is on it, px.
        found: What a release found, px; None shows the labels.
    """
    width, height = size_px
    data = base64.b64encode(image).decode("ascii")
    parts = [
        f'<svg class="sample" viewBox="0 0 {width} {height}" role="img">'
        f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>'
    ]
    if found is None:
        for box, index in zip(labels.boxes.tolist(), labels.classes.tolist(), strict=True):
            parts.append(_box(box, width, f"c{index} label", classes[index]))
    else:
        rows = zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True)
        for box, index, score in rows:
            parts.append(_box(box, width, f"c{index}", f"{classes[index]} {score:.2f}"))
        for index in missed_labels(labels, found):
            box = labels.boxes[index].tolist()
            parts.append(
                _box(box, width, "missed", f"{classes[int(labels.classes[index])]} missed")
            )
    parts.append("</svg>")
    return "".join(parts)


def missed_labels(labels: Labels, found: Detections) -> list[int]:
    """Indices of the labels that no detection of their class overlaps by half."""
    pairs = match(labels.boxes, labels.classes, found.boxes, found.classes, iou=_MATCH_IOU)
    matched = {int(pair[0]) for pair in pairs}
    return [index for index in range(len(labels)) if index not in matched]


def _box(box: Sequence[float], width_px: int, kind: str, text: str) -> str:
    x1, y1, x2, y2 = box
    y = y2 + 7 if y1 < 10 else y1 - 2
    at_right = x1 > _NAME_ROOM * width_px
    place = f'x="{x2 if at_right else x1:.1f}" text-anchor="{"end" if at_right else "start"}"'
    return (
        f'<rect class="box {kind}" x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" '
        f'height="{y2 - y1:.1f}"/><text class="boxname {kind}" {place} y="{y:.1f}">'
        f"{escape(text)}</text>"
    )

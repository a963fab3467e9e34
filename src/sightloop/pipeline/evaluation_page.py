"""An evaluation as one self-contained page: no script, nothing loaded from elsewhere. Pure.

The page shows what the other files of the evaluation hold: figures, curves, the confusion matrix,
slices with their intervals, and the frames with the worst mistakes. It computes no figure.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from sightloop.pipeline.confusion_picture import BACKGROUND, NOTHING
from sightloop.pipeline.page_style import STYLE
from sightloop.pipeline.pr_chart import Curve, Point, precision_chart
from sightloop.pipeline.slice_figures import SliceFigures
from sightloop.statistics.intervals import Interval, wilson_interval
from sightloop.vision.average_precision import ApReport
from sightloop.vision.confusion import OTHERS, Confusion
from sightloop.vision.mistakes import Kind

CURVES_MAX: Final = 12
_ROOMY_MAX: Final = 9
_CLASS_SLICE: Final = "class="


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """A frame to show.

    Attributes:
        name: The image's, for people.
        picture: JPEG bytes: what was expected and what was found.
        sentences: Each mistake in words, the worst first.
    """

    name: str
    picture: bytes
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationFacts:
    """Everything that the page shows.

    Attributes:
        report: Average precision and curves.
        classes: Names by class index.
        confusion: At the operating threshold, of a size that can be read.
        slices: Figures of each slice, `all` first.
        mistakes: How many of each kind there are.
        worst: The worst frames.
        images: How many images were judged.
        score: Operating threshold.
        iou: From which overlap on a detection is a label.
        cpu_ms_p50: Median CPU time a frame.
    """

    report: ApReport
    classes: tuple[str, ...]
    confusion: Confusion
    slices: tuple[SliceFigures, ...]
    mistakes: Mapping[Kind, int]
    worst: tuple[WorstFrame, ...]
    images: int
    score: float
    iou: float
    cpu_ms_p50: float


def render_evaluation(facts: EvaluationFacts) -> str:
    """The whole page."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Evaluation</title><style>{STYLE}</style></head><body><main>",
        *_head(facts),
        *_curves(facts),
        *_confusion(facts),
        *_worst(facts),
        *_slices(facts),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _head(facts: EvaluationFacts) -> Iterator[str]:
    report, whole = facts.report, facts.slices[0]
    yield "<header><h1>Evaluation</h1>"
    yield (
        f'<p class="lead">{facts.images:,} images of the test split with {whole.labels:,} labels, '
        "judged through the code that serves. Right, missed and false are counted at a score "
        f"above {facts.score:g} and an overlap of IoU {facts.iou:g}.</p></header>"
    )
    tiles = [
        (_figure(report.map50), "mAP50"),
        (_figure(report.map50_95), "mAP50-95"),
        (_share(whole.found, whole.labels), "recall at the threshold"),
        (_share(whole.found, whole.detections), "precision at the threshold"),
        *((f"{facts.mistakes[kind]:,}", kind.value) for kind in Kind),
        (f"{facts.cpu_ms_p50:.1f} ms", "CPU time a frame"),
    ]
    yield '<section class="tiles">'
    for value, text in tiles:
        yield f'<div class="card tile"><b>{value}</b><span>{text}</span></div>'
    yield "</section>"


def _curves(facts: EvaluationFacts) -> Iterator[str]:
    report = facts.report
    labelled = [index for index, curve in enumerate(report.curves) if curve is not None]
    shown = sorted(labelled, key=lambda index: report.ap50[index] or 0.0)[:CURVES_MAX]
    less = f" The {CURVES_MAX} classes with the lowest AP50." if len(labelled) > CURVES_MAX else ""
    yield "<h2>Precision over recall</h2>"
    yield f'<p class="soft">IoU 0.5. The dot is the operating threshold.{less}</p>'
    yield '<div class="card"><div class="curves">'
    by_name = {one.name: one for one in facts.slices}
    for index in sorted(shown):
        curve, name = report.curves[index], facts.classes[index]
        assert curve is not None, "only these were chosen"
        title = f"{escape(name)}: AP50 {_figure(report.ap50[index])}"
        point = _point(by_name.get(f"{_CLASS_SLICE}{name}"))
        line = Curve("first", name, curve.recall, curve.precision)
        yield precision_chart(title, [line], points=point)
    yield "</div></div>" if shown else "<p>No labels.</p></div></div>"


def _point(figures: SliceFigures | None) -> list[Point]:
    if figures is None or not figures.labels or not figures.detections:
        return []
    recall, precision = figures.found / figures.labels, figures.found / figures.detections
    return [Point("first", f"recall {recall:.3f}, precision {precision:.3f}", recall, precision)]


def _confusion(facts: EvaluationFacts) -> Iterator[str]:
    confusion = facts.confusion
    grouped = ""
    if OTHERS in confusion.names and OTHERS not in facts.classes:
        grouped = f" “{OTHERS}” are the classes with the fewest mistakes, counted as one."
    yield "<h2>What was taken for what</h2>"
    yield (
        '<p class="soft">Counts of boxes. The row says what people marked, the column what was '
        f"found; the shade is the share of the row.{grouped}</p>"
    )
    small = " many" if len(confusion.names) > _ROOMY_MAX else ""
    yield f'<div class="card scroll"><table class="matrix{small}"><tr><td></td>'
    for name in (*confusion.names, NOTHING):
        yield f"<th><span>{escape(name)}</span></th>"
    yield "</tr>"
    shares, last = confusion.row_shares(), len(confusion.names)
    for row, name in enumerate((*confusion.names, BACKGROUND)):
        yield f'<tr><th class="row">{escape(name)}</th>'
        for column in range(last + 1):
            count = int(confusion.counts[row, column])
            kind = "right" if row == column else "wrong"
            if row == column == last:
                yield '<td class="none"></td>'
                continue
            strength = round(8 + 72 * float(shares[row, column])) if count else 0
            yield f'<td class="{kind}" style="--share:{strength}%">{count or ""}</td>'
        yield "</tr>"
    yield "</table></div>"


def _slices(facts: EvaluationFacts) -> Iterator[str]:
    known = [one for one in facts.slices if one.labels or one.detections]
    yield "<h2>Slice by slice</h2>"
    yield (
        '<p class="soft">At the operating threshold; the bar is the 95 % interval of recall, the '
        "line in it what was found. Slices without labels and detections are left out.</p>"
    )
    yield '<div class="card scroll"><table><tr><th>slice</th><th class="n">frames</th>'
    yield '<th class="n">labels</th><th class="n">AP50</th><th class="n">recall</th><th></th>'
    yield '<th class="n">precision</th></tr>'
    for one in known:
        interval = wilson_interval(one.found, one.labels)
        yield (
            f'<tr><td>{escape(one.name)}</td><td class="n">{one.frames:,}</td>'
            f'<td class="n">{one.labels:,}</td><td class="n">{_figure(one.ap50)}</td>'
            f'<td class="n">{_share(one.found, one.labels)}</td>'
            f"<td>{_bar(interval, one)}</td>"
            f'<td class="n">{_share(one.found, one.detections)}</td></tr>'
        )
    yield "</table></div>"


def _bar(interval: Interval | None, figures: SliceFigures) -> str:
    if interval is None:
        return ""
    left, wide = 100 * interval.low, 100 * (interval.high - interval.low)
    at = 100 * figures.found / figures.labels
    return (
        f'<div class="bar" title="{interval.low:.3f} to {interval.high:.3f}">'
        f'<i style="left:{left:.1f}%;width:{wide:.1f}%"></i><b style="left:{at:.1f}%"></b></div>'
    )


def _worst(facts: EvaluationFacts) -> Iterator[str]:
    yield "<h2>The worst frames</h2>"
    if not facts.worst:
        yield '<p class="soft">Not one mistake.</p>'
        return
    yield (
        '<p class="soft">The frames with the most and the surest mistakes. Left what people '
        'marked, right what was found: <span class="k right">right</span> '
        '<span class="k missed">missed</span> <span class="k false">false</span> '
        '<span class="k wrong">wrong class</span></p><section class="worst">'
    )
    for one in facts.worst:
        data = base64.b64encode(one.picture).decode("ascii")
        said = "".join(f"<li>{escape(text)}</li>" for text in one.sentences)
        yield (
            f'<figure class="card"><img alt="" src="data:image/jpeg;base64,{data}">'
            f"<figcaption><b>{escape(one.name)}</b><ul>{said}</ul></figcaption></figure>"
        )
    yield "</section>"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(part: int, whole: int) -> str:
    return _figure(part / whole if whole else None)


def sentences_shown(sentences: Sequence[str], *, count: int = 6) -> tuple[str, ...]:
    """At most `count` sentences, the last of which says how many more there are."""
    if len(sentences) <= count:
        return tuple(sentences)
    return (*sentences[: count - 1], f"and {len(sentences) - count + 1} more")

"""A candidate beside its parent as one self-contained page; nothing loaded from elsewhere. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from sightloop.gates.quality import QualityJudgement, SliceFinding
from sightloop.pipeline.evaluation_page import CURVES_MAX, WorstFrame
from sightloop.pipeline.page_style import STYLE
from sightloop.pipeline.pr_chart import Curve, precision_chart
from sightloop.statistics.intervals import wilson_interval
from sightloop.vision.average_precision import ApReport

_SERIES: Final = ("first", "second")


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonFacts:
    """Everything that the page shows.

    Attributes:
        judgement: Of the gate.
        names: Champion and candidate.
        reports: Average precision of both.
        classes: Names by class index.
        lost: Frames with labels that the champion found and the candidate does not.
    """

    judgement: QualityJudgement
    names: tuple[str, str]
    reports: tuple[ApReport, ApReport]
    classes: tuple[str, ...]
    lost: tuple[WorstFrame, ...]


def render_comparison(facts: ComparisonFacts) -> str:
    """The whole page."""
    verdict = facts.judgement.verdict
    kind = "" if verdict.passed else " no"
    before, after = (escape(name) for name in facts.names)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Quality</title><style>{STYLE}</style></head><body><main><header>",
        f'<div class="verdict{kind}">quality {verdict.outcome.value}: {escape(verdict.reason)}'
        "</div>",
        f"<h1>{after} beside {before}</h1>",
        f'<p class="lead">{escape(verdict.message)}</p></header>',
        "<h2>Slice by slice</h2>",
        '<p class="soft">Recall on the same labels, each release at its own threshold; the bars '
        "are 95 % intervals. The verdict rests on the labels that only one of the two "
        "found.</p>",
        '<div class="card scroll">',
        *slices_table(facts.judgement, facts.names),
        "</div>",
        *_curves(facts),
        *_lost(facts),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def slices_table(judgement: QualityJudgement, names: tuple[str, str]) -> Iterator[str]:
    """A row a slice; what has dropped is marked."""
    before, after = (escape(name) for name in names)
    yield (
        f'<table><tr><th>slice</th><th class="n">labels</th><th class="n">{before}</th>'
        f'<th class="n">{after}</th><th></th><th class="n">lost</th><th class="n">gained</th>'
        '<th class="n">p</th><th></th></tr>'
    )
    for one in judgement.findings:
        yield _row(one)
    yield "</table>"


def _row(one: SliceFinding) -> str:
    counts = one.counts
    lost, gained = int(counts.lost.sum()), int(counts.gained.sum())
    found = (counts.both + lost, counts.both + gained)
    shares = [f"{part / counts.labels:.3f}" if counts.labels else "-" for part in found]
    word = "dropped" if one.dropped else "" if one.conclusive else "too few labels"
    kind = ' class="no"' if one.dropped else ""
    return (
        f'<tr{kind}><td>{escape(counts.name)}</td><td class="n">{counts.labels:,}</td>'
        f'<td class="n">{shares[0]}</td><td class="n">{shares[1]}</td>'
        f"<td>{_bars(found, counts.labels)}</td>"
        f'<td class="n">{lost}</td><td class="n">{gained}</td>'
        f'<td class="n">{one.p_value:.2g}</td><td>{word}</td></tr>'
    )


def _bars(found: tuple[int, int], labels: int) -> str:
    parts = []
    for series, part in zip(_SERIES, found, strict=True):
        interval = wilson_interval(part, labels)
        if interval is not None:
            left, wide = 100 * interval.low, 100 * (interval.high - interval.low)
            parts.append(
                f'<div class="bar thin"><i class="{series}" style="left:{left:.1f}%;'
                f'width:{wide:.1f}%"></i><b style="left:{100 * part / labels:.1f}%"></b></div>'
            )
    return "".join(parts)


def _curves(facts: ComparisonFacts) -> Iterator[str]:
    before, after = facts.reports
    shown = [index for index, curve in enumerate(before.curves) if curve is not None]
    shown.sort(key=lambda index: (after.ap50[index] or 0.0) - (before.ap50[index] or 0.0))
    yield "<h2>Precision over recall</h2>"
    yield (
        f'<p class="soft">IoU 0.5, over all slices: <span class="ink first">'
        f'{escape(facts.names[0])}</span>, <span class="ink second">{escape(facts.names[1])}'
        '</span>.</p><div class="card"><div class="curves">'
    )
    for index in sorted(shown[:CURVES_MAX]):
        curves, figures = [], []
        for series, name, report in zip(_SERIES, facts.names, facts.reports, strict=True):
            if (curve := report.curves[index]) is not None:
                curves.append(Curve(series, name, curve.recall, curve.precision))
            figures.append(f'<span class="ink {series}">{report.ap50[index] or 0.0:.3f}</span>')
        title = f"{escape(facts.classes[index])}: AP50 {' → '.join(figures)}"
        yield precision_chart(title, curves)
    yield "</div></div>"


def _lost(facts: ComparisonFacts) -> Iterator[str]:
    yield "<h2>What was found before and is lost now</h2>"
    if not facts.lost:
        yield '<p class="soft">No label.</p>'
        return
    dropped = [one.counts.name for one in facts.judgement.findings if one.dropped]
    where = f" in the slices that dropped ({escape(', '.join(dropped))})" if dropped else ""
    yield (
        f'<p class="soft">The frames with the most lost labels{where}. Left '
        f"{escape(facts.names[0])}, right {escape(facts.names[1])}: "
        '<span class="k right">right</span> <span class="k missed">missed</span> '
        '<span class="k false">false</span> <span class="k wrong">wrong class</span></p>'
        '<section class="worst">'
    )
    for one in facts.lost:
        data = base64.b64encode(one.picture).decode("ascii")
        said = "".join(f"<li>{escape(text)}</li>" for text in one.sentences)
        yield (
            f'<figure class="card"><img alt="" src="data:image/jpeg;base64,{data}">'
            f"<figcaption><b>{escape(one.name)}</b><ul>{said}</ul></figcaption></figure>"
        )
    yield "</section>"

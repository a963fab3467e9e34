"""The demo's report as one self-contained page: no script, nothing loaded from elsewhere.

`report.html` beside this file is the page with holes; this file fills them from values. It
computes no figure of its own: what it shows is in report.json or is one frame, one curve, one
image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from sightloop.demo.charts import (
    Band,
    Dot,
    Mark,
    latency_chart,
    sample_picture,
)
from sightloop.demo.outcome import Line, Outcome, ReleaseFacts, lines_of
from sightloop.demo.quality import Quality, TestImage
from sightloop.demo.refused_release import refused_section
from sightloop.demo.rendered_dataset import NIGHT_STORY
from sightloop.demo.timeline import Refusal, Timeline
from sightloop.pipeline.pr_chart import Curve, precision_chart
from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import Switch
from sightloop.testing.figures import TAIL_S
from sightloop.vision.average_precision import PrecisionCurve
from sightloop.vision.decode import decode_image

SAMPLES: Final = 4
_SERIES: Final = ("first", "second")
_CLOSE_S: Final = 2.0
_BAND_KINDS: Final = ("training", "refusals", "updates", "rollback")


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the page shows besides the outcome.

    Attributes:
        timeline: Acts and orders.
        records: Every frame.
        images: The frozen test set.
        classes: Names by index.
        qualities: Of the first and the second release, on `images`.
        commands: What to type to look further: (what for, command).
    """

    timeline: Timeline
    records: Sequence[FrameRecord]
    images: Sequence[TestImage]
    classes: tuple[str, ...]
    qualities: tuple[Quality, Quality]
    commands: tuple[tuple[str, str], ...]


def render_report(outcome: Outcome, evidence: Evidence) -> str:
    """The whole page."""
    template = Template(files("sightloop.demo").joinpath("report.html").read_text("utf-8"))
    broken = sum(not line.kept for line in lines_of(outcome) if line.promise)
    first, second = outcome.releases
    closeup, closeup_text = _closeup(outcome, evidence)
    return template.substitute(
        verdict="every promise kept" if outcome.kept else f"{broken} promise(s) broken",
        verdict_class="" if outcome.kept else "broken",
        title="Sightloop demo" + (" (quick)" if outcome.quick else ""),
        lead=_lead(outcome),
        tiles="".join(_tiles(outcome)),
        keys=_keys(first, second, evidence.timeline),
        timeline=_timeline_chart(outcome, evidence),
        closeup=closeup,
        closeup_text=closeup_text,
        lines=_lines_table(lines_of(outcome)),
        refusals="".join(_refusal_card(one) for one in outcome.refusals),
        refused_release=refused_section(outcome.refused_release, NIGHT_STORY),
        quality_text=_quality_text(outcome),
        curves=_curves(outcome, evidence),
        samples=_samples(outcome, evidence),
        further="".join(
            f"<p>{escape(what)}</p><pre>{escape(command)}</pre>"
            for what, command in evidence.commands
        ),
    )


def _lead(outcome: Outcome) -> str:
    first, second = (escape(one.semver) for one in outcome.releases)
    return (
        f"A camera sent {outcome.check.sent:,} frames at 30 a second. Meanwhile release {second} "
        f"replaced {first}, {len(outcome.refusals)} bad candidates were refused, "
        f"{outcome.updates} updates went back and forth, and {len(outcome.rollbacks_ms)} "
        "rollbacks were ordered. Afterwards every answer was computed again with the release "
        "that it names."
    )


def _tiles(outcome: Outcome) -> list[str]:
    check, figures = outcome.check, outcome.figures
    first, second = outcome.releases
    tiles = [
        _tile(
            f"{check.lost} · {check.mixed} · {check.stale}",
            f"lost · mixed · stale, of {check.checked:,} answers checked",
        ),
        _tile(
            f"{figures.update_p99_ms:.1f} ms",
            f"p99 around {outcome.updates} updates; {figures.steady_p99_ms:.1f} ms just before",
        ),
        _tile(f"{max(outcome.rollbacks_ms):.1f} ms", "rollback, order to acknowledgement"),
        _tile(
            f"{first.map50:.2f} → {second.map50:.2f}",
            f"mAP50 of {escape(first.semver)} and {escape(second.semver)}",
        ),
    ]
    if first.map50_new_scratch is not None and second.map50_new_scratch is not None:
        tiles.append(
            _tile(
                f"{first.map50_new_scratch:.2f} → {second.map50_new_scratch:.2f}",
                "AP50 of the new kind of scratch",
            )
        )
    right = sum(one.as_expected for one in outcome.refusals)
    tiles.append(_tile(f"{right} of {len(outcome.refusals)}", "bad candidates refused as meant"))
    return tiles


def _tile(value: str, text: str) -> str:
    return f'<div class="card tile"><b>{value}</b><span>{text}</span></div>'


def _keys(first: ReleaseFacts, second: ReleaseFacts, timeline: Timeline) -> str:
    names = {
        "training": "second and third training",
        "refusals": "bad candidates",
        "updates": "updates back and forth",
        "rollback": "rollback and forward again",
    }
    present = [kind for kind in _BAND_KINDS if any(act.kind == kind for act in timeline.acts)]
    keys = [
        f'<span class="key"><i class="bg-{series}"></i>{escape(one.semver)}</span>'
        for series, one in zip(_SERIES, (first, second), strict=True)
    ]
    keys += [
        f'<span class="key"><i class="area bg-{kind}"></i>{names[kind]}</span>' for kind in present
    ]
    return "".join(keys)


def _timeline_chart(outcome: Outcome, evidence: Evidence) -> str:
    if not evidence.records:
        return latency_chart([])
    start_s = evidence.records[0].scheduled_s
    timeline = evidence.timeline
    bands = [
        Band(act.began_s - start_s, act.ended_s - start_s, act.name, act.kind)
        for act in timeline.acts
        if act.kind in _BAND_KINDS and act.ended_s > start_s
    ]
    rollbacks = {switch.order_s for switch in timeline.rollbacks}
    marks = [
        Mark(
            one.order_s - start_s,
            _switch_name(outcome, one),
            "rollback" if one.order_s in rollbacks else "update",
        )
        for one in timeline.switches
        if one.order_s >= start_s
    ]
    marks += [
        Mark(one.order_s - start_s, f"{one.candidate}: {one.gate}, {one.reason}", "refused")
        for one in timeline.refusals
    ]
    return latency_chart(_dots(outcome, evidence.records, start_s), bands=bands, marks=marks)


def _switch_name(outcome: Outcome, switch: Switch) -> str:
    semvers = {one.digest: one.semver for one in outcome.releases}
    return f"switch to {semvers.get(switch.digest, switch.digest[:12])}"


def _dots(outcome: Outcome, records: Sequence[FrameRecord], start_s: float) -> list[Dot]:
    series = dict(zip((one.digest for one in outcome.releases), _SERIES, strict=True))
    return [
        Dot(one.scheduled_s - start_s, one.latency_ms, series.get(one.digest or "", "other"))
        for one in records
        if one.answered and one.latency_ms is not None
    ]


def _closeup(outcome: Outcome, evidence: Evidence) -> tuple[str, str]:
    """The measured update whose length is the median of all."""
    updates = sorted(evidence.timeline.updates, key=lambda one: one.ack_s - one.order_s)
    if not updates:
        return "", "No update was measured."
    switch = updates[len(updates) // 2]
    begin_s, end_s = switch.order_s - _CLOSE_S, switch.ack_s + _CLOSE_S
    near = [one for one in evidence.records if begin_s <= one.scheduled_s < end_s]
    window = Band(0.0, switch.ack_s + TAIL_S - switch.order_s, "", "updates")
    marks = (
        Mark(0.0, "order", "order"),
        Mark(switch.ack_s - switch.order_s, "acknowledged", "update"),
    )
    chart = latency_chart(
        _dots(outcome, near, switch.order_s), bands=(window,), marks=marks, size=(1120, 220)
    )
    seconds = switch.ack_s - switch.order_s
    return chart, (
        f"{escape(_switch_name(outcome, switch)).capitalize()}: ordered at 0 s (dashed), verified, "
        "loaded, warmed, replayed on its calibration set and timed beside the traffic, then "
        f"switched: acknowledged after {seconds:.2f} s (solid)."
    )


def _lines_table(lines: Sequence[Line]) -> str:
    rows = []
    for line in lines:
        word, kind = ("kept", "yes") if line.kept else ("broken", "no")
        if not line.promise:
            word, kind = ("met", "yes") if line.kept else ("missed", "missed-aim")
        rows.append(
            f"<tr><td>{'promise' if line.promise else 'target'}</td><td>{escape(line.what)}</td>"
            f'<td>{escape(line.expected)}</td><td class="n">{escape(line.found)}</td>'
            f'<td class="{kind}">{word}</td></tr>'
        )
    head = "<tr><th></th><th></th><th>expected</th><th>found</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _refusal_card(one: Refusal) -> str:
    measured = "".join(
        f"<li><code>{escape(name)}</code> {escape(_shown(value))}</li>"
        for name, value in one.measurements.items()
    )
    details = f"<details><summary>measurements</summary><ul>{measured}</ul></details>"
    expected = ""
    if not one.as_expected:
        reasons = " or ".join(sorted(one.expected_reasons))
        kept = "" if one.champion_kept else "; the champion changed"
        expected = (
            f'<p class="no">expected {escape(one.expected_gate)} ({escape(reasons)}){kept}</p>'
        )
    kind = "yes" if one.as_expected else "no"
    return (
        f'<div class="card"><h3>{escape(one.candidate)}</h3><p class="soft">{escape(one.story)}'
        f'</p><p><span class="gate {kind}">{escape(one.gate)}</span> '
        f"<code>{escape(one.reason)}</code> after {one.seconds:.2f} s</p>{expected}"
        f"<p>{escape(one.message)}</p>{details if measured else ''}</div>"
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _quality_text(outcome: Outcome) -> str:
    first, second = outcome.releases
    text = (
        "Precision over recall at IoU 0.5 on the same frozen test set, computed from the file "
        f'that is served: <span class="first-ink">{escape(first.semver)}</span> and '
        f'<span class="second-ink">{escape(second.semver)}</span>.'
    )
    if second.train_s is not None and first.train_s is not None:
        text += (
            f" Trained here in {first.train_s:.0f} s, and in {second.train_s:.0f} s at the "
            "lowest priority beside the live camera."
        )
    return text


def _curves(outcome: Outcome, evidence: Evidence) -> str:
    pictures = []
    for index, name in enumerate(evidence.classes):
        pairs = [(one.report.curves[index], one.report.ap50[index]) for one in evidence.qualities]
        pictures.append(_curve_picture(outcome, name, pairs))
    new = [one.new_scratch for one in evidence.qualities]
    if "scratch" in evidence.classes and all(one is not None for one in new):
        scratch = evidence.classes.index("scratch")
        pairs = [(one.curves[scratch], one.ap50[scratch]) for one in new if one is not None]
        pictures.append(_curve_picture(outcome, "new kind of scratch alone", pairs))
    return "".join(pictures)


def _curve_picture(
    outcome: Outcome, name: str, pairs: Sequence[tuple[PrecisionCurve | None, float | None]]
) -> str:
    curves, values = [], []
    for series, release, (curve, ap50) in zip(_SERIES, outcome.releases, pairs, strict=True):
        if curve is not None:
            curves.append(Curve(series, release.semver, curve.recall, curve.precision))
        shown = "none" if ap50 is None else f"{ap50:.2f}"
        values.append(f'<span class="{series}-ink">{shown}</span>')
    return precision_chart(f"{escape(name)}: AP50 {' → '.join(values)}", curves)


def _samples(outcome: Outcome, evidence: Evidence) -> str:
    first, second = outcome.releases
    parts = [
        "<span>what is on it</span>",
        f'<span class="first-ink">{escape(first.semver)}</span>',
        f'<span class="second-ink">{escape(second.semver)}</span>',
    ]
    for index in choose_samples(evidence.images):
        image = evidence.images[index]
        height_px, width_px = decode_image(image.data).shape[:2]
        parts += [
            sample_picture(
                image.data,
                (width_px, height_px),
                evidence.classes,
                labels=image.labels,
                found=found,
            )
            for found in (None, *(quality.found[index] for quality in evidence.qualities))
        ]
    return "".join(parts)


def choose_samples(images: Sequence[TestImage], count: int = SAMPLES) -> list[int]:
    """Indices of images to show: the fullest with a new scratch, then the fullest without.

    The choice looks at the labels alone, never at what a release finds.
    """
    by_fullness = sorted(range(len(images)), key=lambda one: (-len(images[one].labels), one))
    new = [index for index in by_fullness if images[index].new_scratches]
    old = [index for index in by_fullness if not images[index].new_scratches]
    chosen = new[: count // 2]
    return chosen + old[: count - len(chosen)]

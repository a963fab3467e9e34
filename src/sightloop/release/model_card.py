"""MODEL_CARD.md: what a release is, for the person who decides whether to use it.

Made from the manifest alone and signed with it; it says nothing that the manifest does not. Text
from outside (class names, licence, origin) cannot break out of its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sightloop.release.manifest import Manifest

_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~])")
_UNKNOWN = "unknown"


def model_card(manifest: Manifest) -> str:
    """The card's text, Markdown.

    Args:
        manifest: The release's manifest; whether its files name the card makes no difference.
    """
    parts = [
        f"# {manifest.line} {manifest.semver}",
        _use(manifest),
        "## Operating point",
        _table(("setting", "value"), _operating_point(manifest)),
        "## Quality",
        _quality(manifest),
        "## Origin",
        _table(("fact", "value"), _origin(manifest)),
    ]
    lineage = manifest.lineage
    if lineage.hyperparameters:
        parts += [
            "## Training settings",
            _table(("setting", "value"), _rows(lineage.hyperparameters)),
        ]
    if lineage.toolchain:
        parts += ["## Toolchain", _table(("part", "version"), _rows(lineage.toolchain))]
    return "\n\n".join(parts) + "\n"


def _use(manifest: Manifest) -> str:
    names = ", ".join(_plain(name) for name in manifest.classes)
    return (
        f"An object detector of {len(manifest.classes)} classes: {names}. It takes RGB frames of "
        "any size and answers boxes with class and score. Outside the images it was judged on, "
        "described below by their version, nothing is known of its quality."
    )


def _operating_point(manifest: Manifest) -> Iterable[tuple[str, str]]:
    latency, calibration = manifest.latency, manifest.calibration
    yield "input", f"{manifest.preprocess.side_px} px square, letterboxed"
    yield "detections from score", f"{manifest.thresholds.score:g}"
    yield "overlap that NMS drops", f"IoU {manifest.output.iou_threshold:g}"
    yield (
        "CPU time a frame",
        f"{latency.cpu_ms_p50:.1f} ms (p99 {latency.cpu_ms_p99:.1f} ms) on {latency.hardware}"
        if latency
        else "not measured",
    )
    yield (
        "calibration set",
        f"{len(calibration.frames)} frames, expected from {calibration.expected_from}",
    )


def _quality(manifest: Manifest) -> str:
    metrics = manifest.metrics
    if metrics.map50 is None:
        return "Not measured."
    lines = [
        f"On the test split: mAP50 {_figure(metrics.map50)}, mAP50-95 {_figure(metrics.map50_95)}."
    ]
    for title, figures in (("class", metrics.per_class_ap50), ("slice", metrics.per_slice_ap50)):
        if figures:
            rows = [(name, _figure(value)) for name, value in figures.items()]
            lines.append(_table((title, "AP50"), rows))
    return "\n\n".join(lines)


def _origin(manifest: Manifest) -> Iterable[tuple[str, str]]:
    lineage = manifest.lineage
    yield "weights", manifest.weights.origin
    yield "licence", manifest.weights.license
    yield "created", manifest.created
    yield "dataset version", lineage.dataset_version or _UNKNOWN
    yield "code version", lineage.git_commit or _UNKNOWN
    yield "pipeline run", lineage.run or _UNKNOWN
    yield "parent release", lineage.parent or "none stated"


def _rows(values: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    return ((name, "none" if value is None else str(value)) for name, value in values.items())


def _figure(value: float | None) -> str:
    return "no labels" if value is None else f"{value:.3f}"


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| {_plain(name)} | {_plain(text)} |" for name, text in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text on one line, without a meaning in Markdown or HTML."""
    return _MARKUP.sub(r"\\\1", " ".join(text.replace("&", "&amp;").split()))

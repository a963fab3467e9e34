"""The step `evaluate`: how good the exported file is on the test split, through `runtime/`.

Reads `dataset` and `model`; writes the folder `evaluation`: metrics.json, pr_curves.json,
detections.json (every test image with what was found), confusion_matrix.json, and for people
report.html with its pictures as files. It measures; whether the figures suffice is the gate's
business. The slices are those of light, class, size and, with the file `slices`, the user's own
column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from sightloop._support.files import write_json_atomic
from sightloop._support.hardware import describe_hardware
from sightloop.dataset.copying import read_copy
from sightloop.dataset.version import Split
from sightloop.gates.quality import MATCH_IOU
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.evaluation import Evaluation, evaluate_items
from sightloop.pipeline.evaluation_pictures import write_pictures
from sightloop.pipeline.exported_model import read_exported
from sightloop.pipeline.slice_column import with_table
from sightloop.pipeline.slice_figures import figures_of
from sightloop.runtime.loaded_release import detections_as_json
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.vision.mistakes import JudgedFrame, judge_frame
from sightloop.vision.slices import Slice, make_slices

SPLIT: Final[Split] = "test"
METRICS_NAME: Final = "metrics.json"
CURVES_NAME: Final = "pr_curves.json"
DETECTIONS_NAME: Final = "detections.json"


def run(context: StepContext) -> None:
    """Judge `model` on the test split of `dataset`."""
    exported = read_exported(context.inputs["model"])
    dataset = read_copy(context.inputs["dataset"])
    backend = open_onnx(exported.model)
    try:
        evaluation = evaluate_items(
            backend, exported.contract, dataset.of(SPLIT), progress=context.report
        )
    finally:
        backend.close()
    classes = exported.contract.classes
    output = context.outputs["evaluation"]
    output.mkdir(parents=True, exist_ok=True)
    score = context.number("score")
    figures = figures_of(
        evaluation,
        slices_of(context, evaluation, classes),
        side_px=exported.contract.preprocess.side_px,
        score=score,
    )
    frames = judged_frames(evaluation, score=score)
    metrics = metrics_of(evaluation, classes, frames, score=score) | {
        "per_slice_ap50": {one.name: one.ap50 for one in figures},
        "slices": {one.name: one.as_dict() for one in figures},
    }
    write_json_atomic(output / METRICS_NAME, metrics)
    write_json_atomic(output / CURVES_NAME, curves_of(evaluation, classes))
    write_json_atomic(output / DETECTIONS_NAME, _detections_of(evaluation, classes))
    context.report(1.0, "pictures")
    whole = write_pictures(
        output,
        evaluation,
        frames,
        figures,
        classes=classes,
        score=score,
        iou=MATCH_IOU,
        cpu_ms_p50=float(np.percentile(evaluation.cpu_ms, 50)),
    )
    if not whole:
        context.report(1.0, "no PNGs: matplotlib is not installed (extra `registry`)")
    context.report(1.0, f"mAP50 {_shown(evaluation.report.map50)}")


def judged_frames(evaluation: Evaluation, *, score: float) -> tuple[JudgedFrame, ...]:
    """Each frame's answer at the operating threshold, held against its labels."""
    pairs = zip(evaluation.labels, evaluation.found, strict=True)
    return tuple(judge_frame(*pair, score=score, iou=MATCH_IOU) for pair in pairs)


def slices_of(
    context: StepContext, evaluation: Evaluation, classes: tuple[str, ...]
) -> tuple[Slice, ...]:
    """The slices of what was judged, the user's own among them where the step has a table.

    Raises:
        DatasetError: The table is not to be used.
    """
    table, column = context.files.get("slices"), context.text("slice_column")
    facts = with_table(evaluation.facts, evaluation.items, table, column=column)
    return make_slices(facts, classes=classes, column=column if table else "")


def metrics_of(
    evaluation: Evaluation,
    classes: tuple[str, ...],
    frames: Sequence[JudgedFrame],
    *,
    score: float,
) -> dict[str, object]:
    """metrics.json: average precision, counts at the operating point `score`, CPU time a frame."""
    report = evaluation.report
    return {
        "map50": report.map50,
        "map50_95": report.map50_95,
        "per_class_ap50": dict(zip(classes, report.ap50, strict=True)),
        "per_class_ap50_95": dict(zip(classes, report.ap50_95, strict=True)),
        "per_class_labels": dict(zip(classes, report.label_counts, strict=True)),
        "images": len(evaluation.items),
        "labels": sum(report.label_counts),
        "split": SPLIT,
        "operating_point": _operating_point(frames, score),
        "latency": {
            "hardware": describe_hardware(),
            "cpu_ms_p50": float(np.percentile(evaluation.cpu_ms, 50)),
            "cpu_ms_p99": float(np.percentile(evaluation.cpu_ms, 99)),
        },
    }


def curves_of(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, object]:
    """pr_curves.json: recall grid and precision of each class at IoU 0.5; None without labels."""
    named = zip(classes, evaluation.report.curves, strict=True)
    return {
        name: None
        if curve is None
        else {"recall": list(curve.recall), "precision": list(curve.precision)}
        for name, curve in named
    }


def _operating_point(frames: Sequence[JudgedFrame], score: float) -> dict[str, float | int | None]:
    matched = sum(len(frame.pairs) for frame in frames)
    labels = sum(len(frame.labels) for frame in frames)
    found = sum(len(frame.shown) for frame in frames)
    return {
        "score": score,
        "match_iou": MATCH_IOU,
        "detections": found,
        "recall": matched / labels if labels else None,
        "precision": matched / found if found else None,
    }


def _detections_of(evaluation: Evaluation, classes: tuple[str, ...]) -> dict[str, object]:
    return {
        item.name: detections_as_json(found, classes)
        for item, found in zip(evaluation.items, evaluation.found, strict=True)
    }


def _shown(value: float | None) -> str:
    return "unknown: no labels" if value is None else f"{value:.3f}"

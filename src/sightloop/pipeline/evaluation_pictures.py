"""The pictures of an evaluation: curves, confusion matrix, the worst frames, and a page of all.

Written into the evaluation's folder, from where the tracker takes them; nothing reads them back.
What is wrong is decided in `vision/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sightloop._support.files import write_bytes_atomic, write_json_atomic
from sightloop.pipeline.confusion_picture import draw_confusion
from sightloop.pipeline.evaluation import Evaluation
from sightloop.pipeline.evaluation_page import (
    EvaluationFacts,
    WorstFrame,
    render_evaluation,
    sentences_shown,
)
from sightloop.pipeline.pr_picture import draw_pr_curves
from sightloop.pipeline.slice_figures import SliceFigures
from sightloop.vision.confusion import Confusion, confusion_of, most_confused
from sightloop.vision.decode import decode_image, encode_jpeg
from sightloop.vision.draw_mistakes import draw_mistakes
from sightloop.vision.mistakes import JudgedFrame, count_mistakes, describe, worst_frames

PAGE_NAME: Final = "report.html"
CURVES_PICTURE: Final = "pr_curve.png"
CONFUSION_PICTURE: Final = "confusion_matrix.png"
CONFUSION_NAME: Final = "confusion_matrix.json"
WORST_FOLDER: Final = "worst_frames"
WORST_NAME: Final = "worst_frames.json"
WORST_MAX: Final = 12
CLASSES_MAX: Final = 16
_JPEG_QUALITY: Final = 88


def write_pictures(
    folder: Path,
    evaluation: Evaluation,
    frames: Sequence[JudgedFrame],
    slices: tuple[SliceFigures, ...],
    *,
    classes: tuple[str, ...],
    score: float,
    iou: float,
    cpu_ms_p50: float,
) -> bool:
    """Write report.html and what it shows, each as a file of its own too.

    Args:
        folder: Of the evaluation.
        evaluation: What was found.
        frames: The same, judged at `score` and `iou`.
        slices: Figures of each slice, `all` first.
        classes: Names by class index.
        score: Operating threshold.
        iou: From which overlap on a detection is a label.
        cpu_ms_p50: Median CPU time a frame.

    Returns:
        False where matplotlib is not installed: the two PNGs are missing then, the page is whole.
    """
    confusion = confusion_of(frames, classes)
    readable = most_confused(confusion, count=CLASSES_MAX)
    worst = _worst(folder / WORST_FOLDER, evaluation, frames, classes=classes, score=score)
    write_json_atomic(folder / CONFUSION_NAME, _as_json(confusion, score=score, iou=iou))
    write_json_atomic(
        folder / WORST_NAME, [{"image": one.name, "mistakes": one.sentences} for one in worst]
    )
    facts = EvaluationFacts(
        report=evaluation.report,
        classes=classes,
        confusion=readable,
        slices=slices,
        mistakes=count_mistakes(frames),
        worst=worst,
        images=len(evaluation.items),
        score=score,
        iou=iou,
        cpu_ms_p50=cpu_ms_p50,
    )
    write_bytes_atomic(folder / PAGE_NAME, render_evaluation(facts).encode())
    drawn = draw_pr_curves(folder / CURVES_PICTURE, evaluation.report, classes)
    return draw_confusion(folder / CONFUSION_PICTURE, readable, score=score, iou=iou) and drawn


def _worst(
    folder: Path,
    evaluation: Evaluation,
    frames: Sequence[JudgedFrame],
    *,
    classes: tuple[str, ...],
    score: float,
) -> tuple[WorstFrame, ...]:
    """Draw the worst frames as `01.jpg`, `02.jpg`, ..."""
    chosen = worst_frames(frames, count=WORST_MAX)
    shown = []
    for place, number in enumerate(chosen, start=1):
        item, frame = evaluation.items[number], frames[number]
        picture = draw_mistakes(decode_image(item.image.read_bytes()), frame, classes)
        said = [describe(one, frame, classes, score=score) for one in frame.mistakes]
        data = encode_jpeg(picture, quality=_JPEG_QUALITY)
        folder.mkdir(exist_ok=True)
        write_bytes_atomic(folder / f"{place:02d}.jpg", data)
        shown.append(WorstFrame(item.name, data, sentences_shown(said)))
    return tuple(shown)


def _as_json(confusion: Confusion, *, score: float, iou: float) -> dict[str, object]:
    """confusion_matrix.json: rows are labels, columns detections, the background last."""
    return {
        "classes": list(confusion.names),
        "score": score,
        "match_iou": iou,
        "counts": confusion.counts.tolist(),
    }

"""COCO average precision per class, the one figure of quality in the project.

faster-coco-eval computes it; pycocotools agrees to four digits (a test). At most the 100 best
detections of a frame count, as COCO has it. A class without labels has no figure: None, never 0
and never -1. Which frames and which thresholds are judged is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from sightloop.vision.detections import Detections, Labels

DETECTIONS_MAX: Final = 100
RECALL_GRID: Final = tuple(round(step / 100, 2) for step in range(101))
_IOU_50 = 0
_ALL_AREAS = 0
_MOST_DETECTIONS = -1


@dataclass(frozen=True, slots=True)
class PrecisionCurve:
    """Precision over recall of one class at IoU 0.5.

    Attributes:
        recall: 0, 0.01, ... 1.
        precision: The best precision at that recall or more; 0 where it is never reached.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ApReport:
    """Average precision on a labelled set; tuples run over the classes.

    Attributes:
        map50: Mean over the classes with labels, IoU 0.5; None without any label.
        map50_95: The same, mean over IoU 0.50, 0.55 ... 0.95.
        ap50: AP at IoU 0.5; None for a class without labels.
        ap50_95: AP over IoU 0.50 to 0.95.
        curves: Precision over recall at IoU 0.5.
        label_counts: How many boxes people marked.
    """

    map50: float | None
    map50_95: float | None
    ap50: tuple[float | None, ...]
    ap50_95: tuple[float | None, ...]
    curves: tuple[PrecisionCurve | None, ...]
    label_counts: tuple[int, ...]


def evaluate(labels: Sequence[Labels], found: Sequence[Detections], class_count: int) -> ApReport:
    """Judge detections by labels.

    Args:
        labels: What people marked, frame by frame.
        found: What was detected in the same frames, in the same coordinates, down to a low
            score (0.001): what is cut off here is missing at the curve's end.
        class_count: Classes of the detector.

    Returns:
        Average precision per class and its means.

    Raises:
        ValueError: Not as many frames of labels as of detections, or a class index outside.
    """
    _check(labels, found, class_count)
    counts = np.zeros(class_count, np.int64)
    for marked in labels:
        counts += np.bincount(marked.classes, minlength=class_count)
    if not counts.any():
        nothing = (None,) * class_count
        return ApReport(None, None, nothing, nothing, nothing, (0,) * class_count)
    precision = _precision(labels, found, class_count)
    at_50 = [_mean(precision[_IOU_50, :, index]) for index in range(class_count)]
    overall = [_mean(precision[:, :, index]) for index in range(class_count)]
    return ApReport(
        map50=_mean_of_known(at_50),
        map50_95=_mean_of_known(overall),
        ap50=tuple(at_50),
        ap50_95=tuple(overall),
        curves=tuple(_curve(precision[_IOU_50, :, index]) for index in range(class_count)),
        label_counts=tuple(counts.tolist()),
    )


def _check(labels: Sequence[Labels], found: Sequence[Detections], class_count: int) -> None:
    if len(labels) != len(found):
        raise ValueError(
            f"expected detections of {len(labels)} frames, as many as labels, found {len(found)}"
        )
    columns = [*(part.classes for part in labels), *(part.classes for part in found)]
    for index, classes in enumerate(columns):
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < class_count:
            raise ValueError(
                f"frame {index % len(labels)}: expected classes 0 to {class_count - 1}, found "
                f"{int(classes.min())} to {int(classes.max())}"
            )


def _precision(
    labels: Sequence[Labels], found: Sequence[Detections], class_count: int
) -> NDArray[np.float64]:
    """(IoU, recall, class) precision; -1 where a class has no labels."""
    truth = COCO(_truth(labels, class_count))
    rows = _rows(found)
    evaluation = COCOeval_faster(truth, truth.loadRes(rows), iouType="bbox")
    evaluation.params.maxDets = [1, 10, DETECTIONS_MAX]
    evaluation.evaluate()
    evaluation.accumulate()
    whole: NDArray[np.float64] = evaluation.eval["precision"]
    return whole[:, :, :, _ALL_AREAS, _MOST_DETECTIONS]


def _truth(labels: Sequence[Labels], class_count: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, marked in enumerate(labels):
        sizes = _as_sizes(marked.boxes)
        for box, category in zip(sizes.tolist(), marked.classes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": image} for image in range(len(labels))],
        "annotations": annotations,
        "categories": [{"id": index, "name": str(index)} for index in range(class_count)],
    }


def _rows(found: Sequence[Detections]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image, detections in enumerate(found):
        sizes = _as_sizes(detections.boxes).tolist()
        columns = zip(sizes, detections.scores.tolist(), detections.classes.tolist(), strict=True)
        rows += [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for box, score, category in columns
        ]
    return rows


def _as_sizes(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """x1 y1 x2 y2 as x y width height."""
    corners = boxes.astype(np.float64).reshape(-1, 4)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _mean(precision: NDArray[np.float64]) -> float | None:
    return None if precision.min() < 0 else float(precision.mean())


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _curve(precision: NDArray[np.float64]) -> PrecisionCurve | None:
    if precision.min() < 0:
        return None
    return PrecisionCurve(recall=RECALL_GRID, precision=tuple(precision.tolist()))

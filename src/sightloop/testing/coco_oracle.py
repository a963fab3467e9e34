"""Average precision by pycocotools, and a drawn set to compare on: the oracle of our figure."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sightloop.vision.detections import Detections, Labels

CLASSES: Final = 5


def drawn_set(seed: int, images: int, *, each: int = 12) -> tuple[list[Labels], list[Detections]]:
    """Labels of classes 0 to 3 (never 4), and detections scattered around them."""
    rng = np.random.default_rng(seed)
    labels, found = [], []
    for _ in range(images):
        count = int(rng.integers(0, 5))
        corners = rng.uniform(0, 400, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 120, (count, 2))], axis=1)
        classes = rng.integers(0, 4, count)
        labels.append(Labels(boxes.astype(np.float32), classes))
        pick = rng.integers(0, count, each) if count else np.zeros(0, np.int64)
        moved = boxes[pick] + rng.normal(0, 5, (len(pick), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        guess = np.where(rng.random(len(pick)) < 0.8, classes[pick], rng.integers(0, 5, len(pick)))
        scores = np.sort(rng.random(len(pick)))[::-1]
        found.append(Detections(moved.astype(np.float32), scores.astype(np.float32), guess))
    return labels, found


def oracle_precision(labels: Sequence[Labels], found: Sequence[Detections]) -> NDArray[np.float64]:
    """(IoU, recall, class) of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    marks: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image, (marked, detections) in enumerate(zip(labels, found, strict=True)):
        for (x1, y1, x2, y2), category in zip(
            marked.boxes.tolist(), marked.classes.tolist(), strict=True
        ):
            size = [x1, y1, x2 - x1, y2 - y1]
            mark = {"id": len(marks) + 1, "image_id": image, "category_id": category, "iscrowd": 0}
            marks.append(mark | {"bbox": size, "area": size[2] * size[3]})
        columns = zip(
            detections.boxes.tolist(),
            detections.scores.tolist(),
            detections.classes.tolist(),
            strict=True,
        )
        for (x1, y1, x2, y2), score, category in columns:
            row = {"image_id": image, "category_id": category, "score": score}
            rows.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    truth.dataset = {
        "images": [{"id": image} for image in range(len(labels))],
        "annotations": marks,
        "categories": [{"id": index} for index in range(CLASSES)],
    }
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"]
    return precision[:, :, :, 0, -1]

"""From a network's raw output to detections in input pixels.

Two layouts are read: `raw` (one column an anchor, boxes as centre and size, one score a class;
suppressed here, class by class) and `end_to_end` (one row a detection, nothing to suppress).
The same output gives the same detections, in the same order, on every call. Boxes stay in input
pixels: `Placement.to_frame` maps them back.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop.errors import BackendError
from sightloop.vision.detections import Detections, no_detections

Layout = Literal["raw", "end_to_end"]


def decode_output(
    raw: NDArray[np.float32],
    *,
    layout: Layout,
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
) -> Detections:
    """Read one output.

    Args:
        raw: float32. `raw`: (1, 4 + C, N) with cx cy w h in input px, then C scores.
            `end_to_end`: (1, N, 6) with x1 y1 x2 y2 in input px, score, class.
        layout: Which of the two.
        score_threshold: Detections score above this.
        iou_threshold: Of two boxes of one class that overlap more, the better stays (`raw`).
        max_candidates: Only so many best anchors enter the suppression (`raw`).
        max_detections: Only so many best detections are given.

    Returns:
        Detections in input pixels, best first; equal scores in the order of the output.

    Raises:
        BackendError: Other shape (`output_shape`), NaN or infinite (`output_not_finite`).
    """
    _check_finite(raw)
    if layout == "end_to_end":
        return _read_rows(raw, score_threshold, max_detections)
    return _read_anchors(raw, score_threshold, iou_threshold, max_candidates, max_detections)


def suppress(
    boxes: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    iou_threshold: float,
) -> NDArray[np.int64]:
    """Non-maximum suppression within each class.

    Args:
        boxes: (n, 4) float32, x1 y1 x2 y2, best first.
        classes: (n,) int64.
        iou_threshold: A box that overlaps a better one of its class by more is dropped.

    Returns:
        (k,) int64 indices of the boxes kept, best first.
    """
    if len(boxes) == 0:
        return np.zeros(0, np.int64)
    # Each class is moved to a place of its own, in float64 so that no box changes its size.
    corners = boxes.astype(np.float64)
    extent = float(corners.max() - corners.min()) + 1.0
    rows = np.empty_like(corners)
    rows[:, :2] = corners[:, :2] + (classes * extent)[:, None]
    rows[:, 2:] = np.maximum(corners[:, 2:] - corners[:, :2], 0.0)
    # Lists: OpenCV reads them several times quicker than arrays. No top_k: it caps what goes in.
    ranks = list(range(len(rows), 0, -1))
    kept = cv2.dnn.NMSBoxes(rows.tolist(), ranks, 0.0, iou_threshold)
    return np.asarray(kept, np.int64).reshape(-1)


def _check_finite(raw: NDArray[np.float32]) -> None:
    # A finite sum proves every value finite, in one pass without a mask.
    with np.errstate(over="ignore", invalid="ignore"):
        total = raw.sum()
    if not np.isfinite(total) and not (finite := np.isfinite(raw)).all():
        raise BackendError(
            f"network output: expected finite numbers, found {int((~finite).sum())} of {raw.size} "
            "NaN or infinite; do not serve this model: export it again",
            reason="output_not_finite",
        )


def _read_anchors(
    raw: NDArray[np.float32],
    score_threshold: float,
    iou_threshold: float,
    max_candidates: int,
    max_detections: int,
) -> Detections:
    if raw.ndim != 3 or raw.shape[0] != 1 or raw.shape[1] < 5:
        raise _wrong_shape(raw, "(1, 4 + classes, anchors)")
    class_scores = raw[0, 4:]
    best = class_scores.max(axis=0)
    anchors = np.flatnonzero(best > score_threshold)
    if len(anchors) == 0:
        return no_detections()
    order = np.argsort(-best[anchors], kind="stable")[:max_candidates]
    anchors = anchors[order]
    scores = best[anchors].astype(np.float32, copy=False)
    classes = class_scores[:, anchors].argmax(axis=0).astype(np.int64, copy=False)
    columns = raw[0, :4, anchors].astype(np.float32, copy=False)
    half = columns[:, 2:] / np.float32(2)
    boxes = np.concatenate([columns[:, :2] - half, columns[:, :2] + half], axis=1)
    kept = suppress(boxes, classes, iou_threshold=iou_threshold)[:max_detections]
    return Detections(boxes=boxes[kept], scores=scores[kept], classes=classes[kept])


def _read_rows(raw: NDArray[np.float32], score_threshold: float, max_detections: int) -> Detections:
    if raw.ndim != 3 or raw.shape[0] != 1 or raw.shape[2] != 6:
        raise _wrong_shape(raw, "(1, detections, 6)")
    rows = raw[0][raw[0, :, 4] > score_threshold].astype(np.float32, copy=False)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")[:max_detections]]
    return Detections(
        boxes=np.ascontiguousarray(rows[:, :4]),
        scores=np.ascontiguousarray(rows[:, 4]),
        classes=np.rint(rows[:, 5]).astype(np.int64),
    )


def _wrong_shape(raw: NDArray[np.float32], expected: str) -> BackendError:
    return BackendError(
        f"network output: expected {expected}, found {raw.shape}; "
        "check output.layout in the release's manifest",
        reason="output_shape",
    )

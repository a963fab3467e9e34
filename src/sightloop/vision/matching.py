"""Which found box is which expected box.

Gates, evaluation and the demo's checks match with this file, so that a miss means the same in
all of them. Nothing is judged here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every pair.

    Args:
        a: (n, 4) boxes, x1 y1 x2 y2.
        b: (m, 4) boxes in the same coordinates.

    Returns:
        (n, m) float32 in 0..1; 0 where a box has no area.
    """
    first, second = a.astype(np.float64)[:, None, :], b.astype(np.float64)[None, :, :]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.maximum(high - low, 0.0).prod(axis=-1)
    union = _areas(first) + _areas(second) - shared
    # The divisor is 1 where there is nothing to share: no 0 / 0.
    ratio: NDArray[np.float64] = shared / np.where(shared > 0, union, 1.0)
    return ratio.astype(np.float32)


def match(
    expected_boxes: NDArray[np.float32],
    expected_classes: NDArray[np.int64],
    found_boxes: NDArray[np.float32],
    found_classes: NDArray[np.int64],
    *,
    iou: float,
    scores: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Pair expected with found boxes of the same class, the best overlap first.

    Args:
        expected_boxes: (n, 4), x1 y1 x2 y2.
        expected_classes: (n,).
        found_boxes: (m, 4) in the same coordinates.
        found_classes: (m,).
        iou: A pair overlaps at least so much, and more than nothing.
        scores: (m,) of the found boxes: of equal overlaps the better score goes first.

    Returns:
        (k, 2) int64: index of the expected and of the found box; each stands at most once.
    """
    overlaps = iou_matrix(expected_boxes, found_boxes)
    same_class = expected_classes[:, None] == found_classes[None, :]
    rows, columns = np.nonzero(same_class & (overlaps >= iou) & (overlaps > 0))
    tie = np.zeros(len(columns), np.float32) if scores is None else -scores[columns]
    pairs: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for index in np.lexsort((columns, rows, tie, -overlaps[rows, columns])):
        row, column = int(rows[index]), int(columns[index])
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append((row, column))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    area: NDArray[np.float64] = size.prod(axis=-1)
    return area

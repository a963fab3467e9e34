"""The confusion matrix of a detector at its operating threshold, the background among the classes.

Rows are what people marked, columns what was found. The last row is the background: detections
that are no label. The last column is nothing: labels that were not found. So a row sums up to the
labels of its class and a column to its detections. Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop.vision.mistakes import JudgedFrame

OTHERS: Final = "others"


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts by class of the label and class of the detection.

    Attributes:
        names: Of the classes, the background apart.
        counts: (n + 1, n + 1) int64, the background last.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]

    def row_shares(self) -> NDArray[np.float64]:
        """Each count by the sum of its row, 0 in a row without any."""
        sums = self.counts.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = self.counts / np.maximum(sums, 1)
        return shares


def confusion_of(frames: Sequence[JudgedFrame], classes: Sequence[str]) -> Confusion:
    """Count what was found as what.

    Args:
        frames: Of one detector, all judged with one threshold and one overlap.
        classes: Names by class index.
    """
    nothing = len(classes)
    counts = np.zeros((nothing + 1, nothing + 1), np.int64)
    for frame in frames:
        right = frame.labels.classes[frame.pairs[:, 0]]
        np.add.at(counts, (right, right), 1)
        for one in frame.mistakes:
            row = nothing if one.label is None else int(frame.labels.classes[one.label])
            column = nothing if one.found is None else int(frame.shown.classes[one.found])
            counts[row, column] += 1
    return Confusion(tuple(classes), counts)


def most_confused(confusion: Confusion, *, count: int) -> Confusion:
    """At most `count` classes, those with the most mistakes, in their order; the rest as one.

    A detector of eighty classes gives a matrix that nobody can read.
    """
    total = len(confusion.names)
    if total <= count:
        return confusion
    counts = confusion.counts
    wrong = counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts)
    chosen = sorted(sorted(range(total), key=lambda index: (-wrong[index], index))[: count - 1])
    place = np.full(total + 1, count - 1)
    place[chosen] = np.arange(len(chosen))
    place[total] = count
    grouped = np.zeros((count + 1, count + 1), np.int64)
    np.add.at(grouped, (place[:, None], place[None, :]), counts)
    return Confusion((*(confusion.names[index] for index in chosen), OTHERS), grouped)

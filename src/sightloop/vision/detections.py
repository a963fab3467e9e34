"""Detections: boxes with scores and classes, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import MissingExtraError


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector found in one frame, best score first.

    Attributes:
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels of the frame (or of the input, where said).
        scores: (n,) float32 in 0..1.
        classes: (n,) int64, index into the release's class list.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def to_supervision(self, classes: Sequence[str] = ()) -> Any:
        """As `supervision.Detections`, which shares these arrays.

        Args:
            classes: Class names in the order of the class index, for `data["class_name"]`.

        Raises:
            MissingExtraError: `supervision` is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingExtraError(
                "to_supervision: expected the library supervision, found none; "
                "`pip install supervision` (beside exactly one distribution of OpenCV)"
            ) from error
        names = {"class_name": np.array(classes)[self.classes]} if classes else {}
        return supervision.Detections(
            xyxy=self.boxes, confidence=self.scores, class_id=self.classes, data=names
        )


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What people marked in one frame.

    Attributes:
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels of the frame.
        classes: (n,) int64.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def no_detections() -> Detections:
    """An empty answer."""
    return Detections(
        boxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        classes=np.zeros(0, np.int64),
    )

"""Labels that are possible but unlikely: what a person should look at once.

Four signs: a box of a few pixels, a box far longer than wide, two classes on one place, a box far
off its class's usual size. Each is a hint and never ends a run; what is right is for the person
who looks at the pictures. The rules are pure functions of boxes; no file is read here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightloop.dataset.inspection import Inspection

SIDE_MIN_PX = 4.0
"""A shorter side below this is about a pixel of the finest grid of a YOLO network at 640 px."""
ASPECT_MAX = 25.0
IOU_SAME_PLACE = 0.9
SPREADS_MAX = 5.0
"""Distance from the class's median size, in robust standard deviations (1.4826 x the median
absolute deviation; Hampel, JASA 69 (1974), 383-393), on the logarithm of the area."""
RATIO_MIN = 8.0
"""And at least so many times smaller or larger in area, so that classes of one size stay quiet."""
CLASS_BOXES_MIN = 20
_ROBUST = 1.4826


@dataclass(frozen=True, slots=True)
class SuspiciousBox:
    """One box to look at.

    Attributes:
        kind: `box_tiny`, `box_aspect`, `box_two_classes` or `box_size_unusual`.
        seen: The image, as it was read.
        index: Place among the boxes that were read from the label.
        message: What is unlikely about it, with figures.
        oddness: Orders boxes of one kind: the larger, the less likely; at least 1.
    """

    kind: str
    seen: Inspection
    index: int
    message: str
    oddness: float


def find_suspicious(
    classes: Sequence[str], inspections: Sequence[Inspection]
) -> list[SuspiciousBox]:
    """Every box that shows one of the signs, by kind, the oddest of a kind first."""
    found = [
        *_tiny(classes, inspections),
        *_long(classes, inspections),
        *_two_classes(classes, inspections),
        *_unusual(classes, inspections),
    ]
    return sorted(found, key=lambda box: (box.kind, -box.oddness, box.seen.item.name, box.index))


def _sides_px(seen: Inspection) -> NDArray[np.float64]:
    """(n, 2): width and height of each box in pixels; none where the image cannot be used."""
    if seen.size_px is None:
        return np.zeros((0, 2))
    return (seen.boxes[:, 2:] - seen.boxes[:, :2]) * np.array(seen.size_px, np.float64)


def _tiny(classes: Sequence[str], inspections: Sequence[Inspection]) -> Iterator[SuspiciousBox]:
    for seen in inspections:
        for index, (width, height) in enumerate(_sides_px(seen).tolist()):
            if min(width, height) < SIDE_MIN_PX:
                yield SuspiciousBox(
                    "box_tiny",
                    seen,
                    index,
                    f"{_class(classes, seen, index)}: expected sides of {SIDE_MIN_PX:.0f} px and "
                    f"more, found {width:.1f} x {height:.1f} px",
                    SIDE_MIN_PX / max(min(width, height), 1e-3),
                )


def _long(classes: Sequence[str], inspections: Sequence[Inspection]) -> Iterator[SuspiciousBox]:
    for seen in inspections:
        for index, sides in enumerate(_sides_px(seen).tolist()):
            aspect = max(sides) / max(min(sides), 1e-3)
            if aspect > ASPECT_MAX:
                yield SuspiciousBox(
                    "box_aspect",
                    seen,
                    index,
                    f"{_class(classes, seen, index)}: expected a side at most {ASPECT_MAX:.0f} "
                    f"times the other, found {sides[0]:.0f} x {sides[1]:.0f} px",
                    aspect / ASPECT_MAX,
                )


def _two_classes(
    classes: Sequence[str], inspections: Sequence[Inspection]
) -> Iterator[SuspiciousBox]:
    for seen in inspections:
        overlaps = _overlaps(seen.boxes)
        other = seen.classes[:, None] != seen.classes[None, :]
        for low, high in np.argwhere(np.triu((overlaps >= IOU_SAME_PLACE) & other, 1)).tolist():
            yield SuspiciousBox(
                "box_two_classes",
                seen,
                low,
                f"expected one class on one place, found {_class(classes, seen, low)} and "
                f"{_class(classes, seen, high)} with an overlap (IoU) of "
                f"{overlaps[low, high]:.2f}",
                1.0 + float(overlaps[low, high]),
            )


def _overlaps(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n) intersection over union of boxes x1 y1 x2 y2."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.clip(high - low, 0.0, None), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = areas[:, None] + areas[None, :] - common
    return np.asarray(common / np.maximum(union, np.finfo(np.float64).tiny), np.float64)


def _unusual(classes: Sequence[str], inspections: Sequence[Inspection]) -> Iterator[SuspiciousBox]:
    places: dict[int, list[tuple[Inspection, int, float]]] = defaultdict(list)
    for seen in inspections:
        areas = np.prod(_sides_px(seen), axis=1)
        for index, area in enumerate(areas.tolist()):
            places[int(seen.classes[index])].append((seen, index, float(np.log(area))))
    for boxes in places.values():
        if len(boxes) < CLASS_BOXES_MIN:
            continue
        logs = np.array([log for _, _, log in boxes])
        median = float(np.median(logs))
        spread = max(_ROBUST * float(np.median(np.abs(logs - median))), 1e-9)
        for seen, index, log in boxes:
            distance = abs(log - median)
            if distance > SPREADS_MAX * spread and distance > np.log(RATIO_MIN):
                ratio = float(np.exp(distance))
                size = "smaller" if log < median else "larger"
                yield SuspiciousBox(
                    "box_size_unusual",
                    seen,
                    index,
                    f"{_class(classes, seen, index)}: expected about the class's usual area of "
                    f"{np.exp(median):.0f} px, found {np.exp(log):.0f} px, {ratio:.0f} times "
                    f"{size}",
                    ratio,
                )


def _class(classes: Sequence[str], seen: Inspection, index: int) -> str:
    return classes[int(seen.classes[index])]

"""Read one image with its labels: everything that the checks judge, as values.

Invariant: nothing is raised for a fault in the data, and each image is read and decoded once.
What a fault means is decided in `checks.py`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sightloop.dataset.labels import LabelFault, parse_item_labels
from sightloop.dataset.likeness import Look, look_of
from sightloop.dataset.version import Item
from sightloop.errors import ImageError
from sightloop.vision.decode import DEFAULT_LIMITS, decode_image

_NOTHING_KNOWN: Mapping[str, Look] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What reading one image and its label showed.

    Attributes:
        item: The image.
        sha256: Digest of the image's bytes; empty if they could not be read.
        image_fault: Why the image cannot be used; None if it can.
        size_px: Width and height; None where the image cannot be used.
        look: What it looks like; None where the image cannot be used.
        boxes: (n, 4) float64, x1 y1 x2 y2 in fractions 0..1 of the image.
        classes: (n,) int64.
        duplicate_boxes: Lines of the label that say what an earlier line said.
        label_faults: What is wrong in the label file.
    """

    item: Item
    sha256: str
    image_fault: str | None
    size_px: tuple[int, int] | None
    look: Look | None
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    duplicate_boxes: int
    label_faults: tuple[LabelFault, ...]

    @property
    def boxes_per_class(self) -> Mapping[int, int]:
        """Boxes by class index."""
        return Counter(self.classes.tolist())


@dataclass(frozen=True, slots=True)
class _Image:
    sha256: str = ""
    fault: str | None = None
    size_px: tuple[int, int] | None = None
    look: Look | None = None


def inspect_item(
    item: Item, *, class_count: int, looks: Mapping[str, Look] = _NOTHING_KNOWN
) -> Inspection:
    """Read one image and its label. Faults are values; nothing is raised for them.

    Args:
        item: What to read.
        class_count: How many classes the dataset has.
        looks: Images that need not be decoded again, by the SHA-256 of their bytes; their size
            stays unknown.
    """
    parsed = parse_item_labels(item, class_count=class_count)
    rows = Counter(
        (int(index), *(round(float(edge), 6) for edge in box))
        for index, box in zip(parsed.classes, parsed.boxes, strict=True)
    )
    image = _read_image(item, looks)
    return Inspection(
        item=item,
        sha256=image.sha256,
        image_fault=image.fault,
        size_px=image.size_px,
        look=image.look,
        boxes=parsed.boxes,
        classes=parsed.classes,
        duplicate_boxes=rows.total() - len(rows),
        label_faults=parsed.faults,
    )


def _read_image(item: Item, looks: Mapping[str, Look]) -> _Image:
    try:
        size_bytes = item.image.stat().st_size
        if size_bytes > DEFAULT_LIMITS.bytes_max:
            return _Image(
                fault=f"expected at most {DEFAULT_LIMITS.bytes_max} bytes, found {size_bytes}"
            )
        data = item.image.read_bytes()
    except OSError as error:
        return _Image(fault=f"expected a readable file, found: {error.strerror}")
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 in looks:
        return _Image(sha256=sha256, look=looks[sha256])
    try:
        frame = decode_image(data)
    except ImageError as error:
        return _Image(sha256=sha256, fault=str(error))
    return _Image(sha256, None, (frame.shape[1], frame.shape[0]), look_of(frame))

"""YOLO label files: text to boxes, and every fault with its line.

One image, one file, one line a box: `class cx cy w h` in fractions of the image, or a class and
the corners of a polygon, which becomes the box around it. Invariant: labels that are given are
inside the image. Which faults end a run is decided in `checks.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightloop.dataset.version import Item
from sightloop.errors import DatasetError
from sightloop.vision.detections import Labels

OUTSIDE_TOLERANCE = 1e-3
"""Fraction of the image by which an edge may leave it (rounding): clipped, not refused."""
_BOX_FIELDS = 5
_POLYGON_FIELDS_MIN = 7


@dataclass(frozen=True, slots=True)
class LabelFault:
    """Something wrong in a label file.

    Attributes:
        kind: `label_missing`, `label_malformed`, `label_class_unknown` or `label_outside`.
        line: Line of the file from 1; 0 where no line is meant.
        message: Expected, found, what to do.
    """

    kind: str
    line: int
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class ParsedLabels:
    """What a label file says.

    Attributes:
        boxes: (n, 4) float64, x1 y1 x2 y2 in fractions 0..1 of the image.
        classes: (n,) int64.
        faults: What was wrong; those lines gave no box.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    faults: tuple[LabelFault, ...]


def parse_labels(text: str, *, class_count: int) -> ParsedLabels:
    """Read the text of a label file; empty lines are skipped, an empty text is no box."""
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    faults: list[LabelFault] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse_line(line, number, class_count)
        if isinstance(parsed, LabelFault):
            faults.append(parsed)
        else:
            classes.append(parsed[0])
            boxes.append(parsed[1])
    return ParsedLabels(
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        classes=np.array(classes, np.int64),
        faults=tuple(faults),
    )


def parse_item_labels(item: Item, *, class_count: int) -> ParsedLabels:
    """Read the labels of an image from wherever it has them."""
    if item.label_text is not None:
        return parse_labels(item.label_text, class_count=class_count)
    return parse_label_file(item.label, class_count=class_count)


def parse_label_file(label: Path | None, *, class_count: int) -> ParsedLabels:
    """Read a label file. A missing file and bytes that are no text are faults, not errors."""
    if label is None:
        return _only_fault(
            "label_missing",
            "expected a label file, found none; an image without objects has an empty one",
        )
    try:
        text = label.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        return _only_fault("label_malformed", "expected text in UTF-8, found other bytes")
    except OSError as error:
        return _only_fault("label_missing", f"expected a label file, found: {error.strerror}")
    return parse_labels(text, class_count=class_count)


def read_labels(label: Path | None, *, width_px: int, height_px: int, class_count: int) -> Labels:
    """Read the labels of one image.

    Args:
        label: The label file; None where the image has none.
        width_px: Width of the image.
        height_px: Height of the image.
        class_count: How many classes the dataset has.

    Returns:
        Boxes in pixels of the image, clipped to it.

    Raises:
        DatasetError: `label_missing`, `label_malformed`, `label_class_unknown` or
            `label_outside`: the first fault of the file.
    """
    parsed = parse_label_file(label, class_count=class_count)
    return _in_pixels(parsed, str(label or "label file"), width_px, height_px)


def read_item_labels(item: Item, *, width_px: int, height_px: int, class_count: int) -> Labels:
    """Read the labels of an image from wherever it has them, as `read_labels` does.

    Raises:
        DatasetError: As `read_labels`; where the labels are in no file, the image is named.
    """
    parsed = parse_item_labels(item, class_count=class_count)
    place = item.name if item.label_text is not None else str(item.label or "label file")
    return _in_pixels(parsed, place, width_px, height_px)


def _in_pixels(parsed: ParsedLabels, place: str, width_px: int, height_px: int) -> Labels:
    if parsed.faults:
        first = parsed.faults[0]
        where = f"{place}, line {first.line}" if first.line else place
        raise DatasetError(f"{where}: {first.message}", first.kind)
    size = np.array([width_px, height_px, width_px, height_px], np.float64)
    return Labels(boxes=(parsed.boxes * size).astype(np.float32), classes=parsed.classes)


def _only_fault(kind: str, message: str) -> ParsedLabels:
    return ParsedLabels(
        boxes=np.zeros((0, 4), np.float64),
        classes=np.zeros(0, np.int64),
        faults=(LabelFault(kind, 0, message),),
    )


def _parse_line(
    line: str, number: int, class_count: int
) -> tuple[int, tuple[float, float, float, float]] | LabelFault:
    fields = line.split()
    polygon = len(fields) >= _POLYGON_FIELDS_MIN and len(fields) % 2 == 1
    if len(fields) != _BOX_FIELDS and not polygon:
        return LabelFault(
            "label_malformed",
            number,
            "expected `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...`, "
            f"found {len(fields)} fields: {_shown(line)}",
        )
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        return LabelFault(
            "label_malformed", number, f"expected numbers, found {_shown(line)}; correct the line"
        )
    index = int(values[0])
    if index != values[0] or not 0 <= index < class_count:
        return LabelFault(
            "label_class_unknown",
            number,
            f"expected a class from 0 to {class_count - 1}, found {fields[0]}; correct the label "
            "or add the class to `names` in data.yaml",
        )
    edges = _edges_of_polygon(values[1:]) if polygon else _edges_of_box(values[1:])
    fault = _box_fault(edges, number, line)
    return fault or (index, _clipped(edges))


def _edges_of_box(values: list[float]) -> tuple[float, float, float, float]:
    cx, cy, width, height = values
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def _edges_of_polygon(values: list[float]) -> tuple[float, float, float, float]:
    xs, ys = values[0::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _box_fault(
    edges: tuple[float, float, float, float], number: int, line: str
) -> LabelFault | None:
    x1, y1, x2, y2 = edges
    if min(edges) < -OUTSIDE_TOLERANCE or max(edges) > 1 + OUTSIDE_TOLERANCE:
        return LabelFault(
            "label_outside",
            number,
            "expected a box inside the image (fractions 0 to 1), found edges "
            f"{x1:.4f} {y1:.4f} {x2:.4f} {y2:.4f}; clip the box"
            + (", or divide pixels by the image's size" if max(edges) > 2 else ""),
        )
    clipped = _clipped(edges)
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return LabelFault(
            "label_malformed",
            number,
            f"expected a box with an area, found {_shown(line)}; remove or correct it",
        )
    return None


def _clipped(edges: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (min(max(edge, 0.0), 1.0) for edge in edges)
    return x1, y1, x2, y2


def _shown(line: str) -> str:
    text = line.strip()
    return repr(text if len(text) <= 60 else text[:57] + "...")

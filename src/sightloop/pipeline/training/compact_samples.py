"""Training samples of the compact trainer: images with boxes, put together, moved and recoloured.

Every sample follows from the seed, the epoch and its number alone, so that a training that was
stopped goes on with the very samples it would have seen. A sample is one image, or four of them
around a point (mosaic, from YOLOv4: Bochkovskiy et al. 2020, arXiv:2004.10934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop.dataset.labels import read_labels
from sightloop.dataset.version import Item
from sightloop.pipeline.training.trainer import Recipe
from sightloop.vision.decode import decode_image
from sightloop.vision.detections import Labels
from sightloop.vision.preprocess import PAD

_HELD_BYTES_MAX: Final = 1 << 30
_VISIBLE_MIN: Final = 0.2
"""A box of which less than this share is left after cutting is dropped."""
_SIDE_MIN_PX: Final = 2.0
_CENTRE_RANGE: Final = (0.3, 0.7)
"""Where the point lies around which four images are put, as shares of the side."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample.

    Attributes:
        frame: (S, S, 3) uint8 RGB.
        boxes: (n, 4) float32, x1 y1 x2 y2 in pixels of the frame.
        classes: (n,) int64.
    """

    frame: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


class Samples:
    """The training images as samples of one recipe.

    Images are held scaled to the input's side while they fit into 1 GiB, and read again beyond.
    """

    def __init__(self, items: Sequence[Item], recipe: Recipe, *, class_count: int) -> None:
        self._items = items
        self._recipe = recipe
        self._class_count = class_count
        self._held: dict[int, tuple[NDArray[np.uint8], Labels]] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, index: int, *, seed: int, mosaic: bool) -> Sample:
        """Give the sample that the image `index` becomes.

        Args:
            index: Of the image.
            seed: Of the epoch.
            mosaic: Whether mosaics may be made.
        """
        chance = np.random.default_rng([seed, index])
        if mosaic and chance.random() < self._recipe.mosaic:
            others = chance.integers(0, len(self._items), 3)
            sample = self._four([index, *(int(other) for other in others)], chance)
        else:
            sample = self._one(index, chance)
        return flip(recolour(sample, self._recipe, chance), self._recipe, chance)

    def _one(self, index: int, chance: np.random.Generator) -> Sample:
        frame, labels = self._read(index)
        side, shift = self._recipe.side_px, self._recipe.shift
        scale = _zoom(self._recipe, chance)
        moved = chance.uniform(-shift, shift, 2) * side
        left = (side - frame.shape[1] * scale) / 2 + moved[0]
        top = (side - frame.shape[0] * scale) / 2 + moved[1]
        return place(frame, labels, scale=scale, left=left, top=top, size_px=(side, side))

    def _four(self, indices: Sequence[int], chance: np.random.Generator) -> Sample:
        side = self._recipe.side_px
        across, down = (int(value) for value in chance.uniform(*_CENTRE_RANGE, 2) * side)
        canvas = np.empty((side, side, 3), np.uint8)
        boxes, classes = [], []
        corners = ((0, 0), (across, 0), (0, down), (across, down))
        sizes = (
            (across, down),
            (side - across, down),
            (across, side - down),
            (side - across, side - down),
        )
        for index, (left, top), (width, height) in zip(indices, corners, sizes, strict=True):
            frame, labels = self._read(index)
            scale = _zoom(self._recipe, chance)
            slack = (width - frame.shape[1] * scale, height - frame.shape[0] * scale)
            offset = [chance.uniform(min(room, 0.0), max(room, 0.0)) for room in slack]
            part = place(
                frame, labels, scale=scale, left=offset[0], top=offset[1], size_px=(width, height)
            )
            canvas[top : top + height, left : left + width] = part.frame
            boxes.append(part.boxes + np.array([left, top, left, top], np.float32))
            classes.append(part.classes)
        return Sample(canvas, np.concatenate(boxes), np.concatenate(classes))

    def _read(self, index: int) -> tuple[NDArray[np.uint8], Labels]:
        if index in self._held:
            return self._held[index]
        item = self._items[index]
        frame = decode_image(item.image.read_bytes())
        height, width = frame.shape[:2]
        labels = read_labels(
            item.label, width_px=width, height_px=height, class_count=self._class_count
        )
        scale = self._recipe.side_px / max(width, height)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        if size != (width, height):
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            frame = np.asarray(cv2.resize(frame, size, interpolation=way), np.uint8)
        factors = np.array([size[0] / width, size[1] / height] * 2, np.float32)
        read = frame, Labels((labels.boxes * factors).astype(np.float32), labels.classes)
        if self._held_bytes + frame.nbytes <= _HELD_BYTES_MAX:
            self._held[index] = read
            self._held_bytes += frame.nbytes
        return read


def place(
    frame: NDArray[np.uint8],
    labels: Labels,
    *,
    scale: float,
    left: float,
    top: float,
    size_px: tuple[int, int],
) -> Sample:
    """Draw an image onto a grey canvas, and cut its boxes to what is seen of them.

    Args:
        frame: (H, W, 3) uint8.
        labels: Boxes in pixels of `frame`.
        scale: Pixels of the canvas a pixel of `frame`.
        left: Where the image begins, canvas px; may be negative.
        top: Likewise.
        size_px: Width and height of the canvas.
    """
    width, height = size_px
    # A pixel's centre is at half: what lies at x in the image lies at x * scale + left.
    half = (scale - 1) / 2
    matrix = np.array([[scale, 0, left + half], [0, scale, top + half]], np.float64)
    canvas = cv2.warpAffine(
        frame, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(PAD, PAD, PAD)
    )
    boxes = labels.boxes * np.float32(scale) + np.array([left, top] * 2, np.float32)
    cut = np.clip(boxes, 0, np.array([width, height] * 2, np.float32)).astype(np.float32)
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    visible = sides.prod(axis=1) >= _VISIBLE_MIN * whole.prod(axis=1)
    kept = visible & (sides.min(axis=1, initial=np.inf) >= _SIDE_MIN_PX)
    return Sample(np.asarray(canvas, np.uint8), cut[kept], labels.classes[kept])


def recolour(sample: Sample, recipe: Recipe, chance: np.random.Generator) -> Sample:
    """Vary hue, saturation and brightness within the recipe's shares."""
    gains = chance.uniform(-1, 1, 3) * (recipe.hue, recipe.saturation, recipe.brightness) + 1
    levels = np.arange(256, dtype=np.float64)
    hue = ((levels * gains[0]) % 180).astype(np.uint8)
    saturation, value = (np.clip(levels * gain, 0, 255).astype(np.uint8) for gain in gains[1:])
    planes = cv2.split(cv2.cvtColor(sample.frame, cv2.COLOR_RGB2HSV))
    tables = (hue, saturation, value)
    varied = cv2.merge([cv2.LUT(one, table) for one, table in zip(planes, tables, strict=True)])
    frame = np.asarray(cv2.cvtColor(varied, cv2.COLOR_HSV2RGB), np.uint8)
    return replace(sample, frame=frame)


def flip(sample: Sample, recipe: Recipe, chance: np.random.Generator) -> Sample:
    """Mirror left to right and top to bottom, each by the recipe's probability."""
    frame, boxes = sample.frame, sample.boxes
    height, width = frame.shape[:2]
    if chance.random() < recipe.flip_horizontal:
        frame = frame[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    if chance.random() < recipe.flip_vertical:
        frame = frame[::-1]
        boxes = np.stack([boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]], 1)
    return replace(sample, frame=np.ascontiguousarray(frame), boxes=boxes)


def _zoom(recipe: Recipe, chance: np.random.Generator) -> float:
    return float(chance.uniform(1 - recipe.zoom, 1 + recipe.zoom))

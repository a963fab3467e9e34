"""Render inspection images of brushed metal with scratches, pits and stains.

The demo needs images that are free to use, small and different every time they should be:
one seed gives one image, on every machine. Two kinds of scratch exist: the dark straight
one, and the bright curved hair-line that a production line meets for the first time between
two releases. An image holds scratches of one kind only, so that a set of images can be
judged on one kind. At dusk and at night the plate gets less light, the camera's noise stays. This
file draws; `rendered_dataset.py` lays images out for training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from sightloop.vision.detections import Labels

CLASSES = ("scratch", "pit", "stain")
SIDE_PX = 160
BOX_MIN_PX = 12.0
"""Boxes are never smaller: thinner ones cannot be located by a detector of this size."""

_MARGIN_PX = 3.0
_APART_IOU = 0.05
_TRIES = 30
_LIGHT_SEED = 1_000_000
_OVERSAMPLING = 4
_FIXED_POINT_BITS = 4

_Canvas = NDArray[np.float32]
_Mask = NDArray[np.float32]


class ScratchKind(StrEnum):
    """What the scratches of an image look like."""

    DARK = "dark"
    """Straight and dark, a groove: known since the first training."""
    HAIR = "hair"
    """Bright, thin and curved: the new kind."""


class Light(StrEnum):
    """How much light falls on the plate."""

    DAY = "day"
    DUSK = "dusk"
    """A third of it."""
    NIGHT = "night"
    """A sixth of it. Both lie below the bound of the slice `light=dark`."""


_SHARES = {Light.DUSK: (0.30, 0.40), Light.NIGHT: (0.13, 0.18)}


@dataclass(frozen=True, slots=True, eq=False)
class InspectionImage:
    """One rendered image with what is on it.

    Attributes:
        frame: (side, side, 3) uint8, RGB.
        labels: Boxes in px of the frame, classes as indices into `CLASSES`.
        scratch_kind: The kind of every scratch on it.
    """

    frame: NDArray[np.uint8]
    labels: Labels
    scratch_kind: ScratchKind


@dataclass(frozen=True, slots=True, eq=False)
class _Defect:
    box: NDArray[np.float32]
    class_index: int
    paint: Callable[[_Canvas], None]


def render_image(
    seed: int,
    *,
    scratch_kind: ScratchKind,
    light: Light = Light.DAY,
    side_px: int = SIDE_PX,
) -> InspectionImage:
    """Draw one plate with one to five defects.

    Args:
        seed: Any non-negative number; the same seed gives the same pixels.
        scratch_kind: The kind of the scratches. Plates of the new kind always hold one.
        light: How much falls on the plate; what is on it is the same.
        side_px: Side of the square image.

    Returns:
        The image with its labels; no two boxes overlap by more than a corner.
    """
    random = np.random.default_rng(seed)
    canvas = _brushed_metal(random, side_px)
    is_new = scratch_kind is ScratchKind.HAIR
    scratch = _hair_scratch if is_new else _dark_scratch
    counts = (
        (scratch, int(random.choice([1, 2] if is_new else [0, 1, 1, 2, 2, 3]))),
        (_pit, int(random.choice([0, 1, 1, 2]))),
        (_stain, int(random.choice([0, 1, 1]))),
    )
    placed: list[_Defect] = []
    for make, count in counts:
        for _ in range(count):
            defect = _placed_apart(random, side_px, make, placed)
            if defect is not None:
                placed.append(defect)
    for defect in sorted(placed, key=lambda one: -one.class_index):
        defect.paint(canvas)
    if light is not Light.DAY:
        canvas *= np.float32(np.random.default_rng(seed + _LIGHT_SEED).uniform(*_SHARES[light]))
    canvas += random.normal(0.0, 2.5, canvas.shape).astype(np.float32)
    return InspectionImage(
        frame=np.clip(canvas, 0, 255).astype(np.uint8),
        labels=_labels_of(placed),
        scratch_kind=scratch_kind,
    )


def _labels_of(defects: list[_Defect]) -> Labels:
    boxes = np.array([one.box for one in defects], np.float32).reshape(-1, 4)
    return Labels(boxes=boxes, classes=np.array([one.class_index for one in defects], np.int64))


_Make = Callable[[np.random.Generator, int], _Defect]


def _placed_apart(
    random: np.random.Generator, side_px: int, make: _Make, placed: list[_Defect]
) -> _Defect | None:
    """A defect that touches none of those placed; None where the plate is too full."""
    for _ in range(_TRIES):
        defect = make(random, side_px)
        if all(_iou(defect.box, other.box) < _APART_IOU for other in placed):
            return defect
    return None


def _iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[2:], other[2:])
    inside = float(np.prod(np.clip(high - low, 0.0, None)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return inside / (areas - inside)


def _brushed_metal(random: np.random.Generator, side_px: int) -> _Canvas:
    """Fine streaks along one direction under a soft light: (side, side, 3) float32."""
    grain = random.normal(0.0, 1.0, (side_px * 2, side_px * 2)).astype(np.float32)
    streaks = cv2.blur(grain, (61, 1))
    streaks = streaks / max(float(streaks.std()), 1e-6)
    turn = cv2.getRotationMatrix2D((side_px, side_px), random.uniform(-6.0, 6.0), 1.0)
    streaks = cv2.warpAffine(streaks, turn, (side_px * 2, side_px * 2))
    start = side_px // 2
    streaks = streaks[start : start + side_px, start : start + side_px]
    rows, columns = np.mgrid[0:side_px, 0:side_px].astype(np.float32) / side_px - 0.5
    slope = random.uniform(-22.0, 22.0, 2)
    grey = random.uniform(135.0, 165.0) + slope[0] * rows + slope[1] * columns
    grey = grey + random.uniform(4.0, 7.0) * streaks
    tint = np.array([0.99, 1.0, 1.02], np.float32) + random.normal(0.0, 0.006, 3)
    canvas: _Canvas = (grey[:, :, None] * tint).astype(np.float32)
    return canvas


def _dark_scratch(random: np.random.Generator, side_px: int) -> _Defect:
    length = random.uniform(28.0, 75.0)
    angle = np.deg2rad(random.choice([-1, 1]) * random.uniform(22.0, 68.0))
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    points = np.stack([-reach, reach])
    points = points + _centre_for(random, side_px, points)
    return _line_defect(
        points, side_px, width_px=random.uniform(2.2, 3.8), level=-random.uniform(60.0, 85.0)
    )


def _hair_scratch(random: np.random.Generator, side_px: int) -> _Defect:
    length = random.uniform(32.0, 70.0)
    angle = random.uniform(0.0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    bend = random.choice([-1, 1]) * random.uniform(0.45, 0.75) * length
    steps = np.linspace(0.0, 1.0, 24)[:, None]
    start, end, middle = -along * length / 2, along * length / 2, across * bend
    points = (1 - steps) ** 2 * start + 2 * (1 - steps) * steps * middle + steps**2 * end
    points = points + _centre_for(random, side_px, points)
    return _line_defect(
        points, side_px, width_px=random.uniform(2.0, 2.8), level=random.uniform(55.0, 80.0)
    )


def _centre_for(
    random: np.random.Generator, side_px: int, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A shift that brings all of `points` inside the plate."""
    low = _MARGIN_PX - points.min(axis=0)
    high = side_px - _MARGIN_PX - points.max(axis=0)
    shift: NDArray[np.float64] = random.uniform(low, high)
    return shift


def _line_defect(
    points: NDArray[np.float64], side_px: int, *, width_px: float, level: float
) -> _Defect:
    mask = _stroke(points, side_px, width_px)
    box = _box_around(points, side_px, width_px / 2)

    def paint(canvas: _Canvas) -> None:
        canvas += mask[:, :, None] * np.float32(level)

    return _Defect(box=box, class_index=CLASSES.index("scratch"), paint=paint)


def _stroke(points: NDArray[np.float64], side_px: int, width_px: float) -> _Mask:
    """Cover of a line through `points` in 0..1, drawn fine and averaged down."""
    side = side_px * _OVERSAMPLING
    mask = np.zeros((side, side), np.uint8)
    fine = np.round(points * _OVERSAMPLING * (1 << _FIXED_POINT_BITS)).astype(np.int32)
    width = max(1, round(width_px * _OVERSAMPLING))
    cv2.polylines(mask, [fine], False, 255, width, cv2.LINE_AA, _FIXED_POINT_BITS)
    small = cv2.resize(mask, (side_px, side_px), interpolation=cv2.INTER_AREA)
    cover: _Mask = small.astype(np.float32) / 255
    return cover


def _box_around(points: NDArray[np.float64], side_px: int, grow_px: float) -> NDArray[np.float32]:
    low, high = points.min(axis=0) - grow_px, points.max(axis=0) + grow_px
    lacking = np.clip(BOX_MIN_PX - (high - low), 0.0, None) / 2
    box = np.concatenate([low - lacking, high + lacking])
    inside: NDArray[np.float32] = np.clip(box, 0.0, side_px).astype(np.float32)
    return inside


def _pit(random: np.random.Generator, side_px: int) -> _Defect:
    radius = random.uniform(6.2, 9.5)
    centre = random.uniform(radius + _MARGIN_PX, side_px - radius - _MARGIN_PX, 2)
    rows, columns = np.mgrid[0:side_px, 0:side_px].astype(np.float32) + 0.5
    distance = np.hypot(columns - centre[0], rows - centre[1]) / radius
    hole = np.clip((1.0 - distance) * 3.0, 0.0, 1.0)
    rim = np.exp(-(((distance - 1.0) / 0.18) ** 2))
    depth, shine = random.uniform(65.0, 90.0), random.uniform(12.0, 25.0)

    def paint(canvas: _Canvas) -> None:
        canvas += (shine * rim - depth * hole)[:, :, None].astype(np.float32)

    box = _box_around(centre[None], side_px, radius)
    return _Defect(box=box, class_index=CLASSES.index("pit"), paint=paint)


def _stain(random: np.random.Generator, side_px: int) -> _Defect:
    radii = random.uniform(12.0, 24.0, 2)
    centre = random.uniform(radii + _MARGIN_PX, side_px - radii - _MARGIN_PX)
    rows, columns = np.mgrid[0:side_px, 0:side_px].astype(np.float32) + 0.5
    across, down = (columns - centre[0]) / radii[0], (rows - centre[1]) / radii[1]
    turn = np.arctan2(down, across)
    waves = sum(
        random.uniform(-0.05, 0.05) * np.cos(n * turn + random.uniform(0, 2 * np.pi))
        for n in (2, 3, 5)
    )
    cover = np.clip((1.0 + waves - np.hypot(across, down)) * 5.0, 0.0, 1.0)
    colour = np.array([-28.0, -45.0, -75.0]) * random.uniform(0.75, 1.1)

    def paint(canvas: _Canvas) -> None:
        canvas += (cover[:, :, None] * colour).astype(np.float32)

    box = np.concatenate([centre - radii, centre + radii]).astype(np.float32)
    return _Defect(box=box, class_index=CLASSES.index("stain"), paint=paint)

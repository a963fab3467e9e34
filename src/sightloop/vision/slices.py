"""Conditions on which quality is judged: light, class, size of the box, the user's own column.

A slice says which boxes belong to it, whoever drew them: labels and detections go by one rule, so
that recall and precision mean the same. Boxes are sized in px of the network's input, where COCO's
bounds say how hard they are to see; on a 4000 px frame every defect would be large. Light is that
of the whole frame. Nothing is judged here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

DARK_BELOW: Final = 75.0
BRIGHT_ABOVE: Final = 160.0
SMALL_BELOW_PX: Final = 32.0
LARGE_FROM_PX: Final = 96.0
ALL: Final = "all"
_LIGHTS: Final = ("dark", "normal", "bright")
_SIZES: Final = {
    "small": (0.0, SMALL_BELOW_PX**2),
    "medium": (SMALL_BELOW_PX**2, LARGE_FROM_PX**2),
    "large": (LARGE_FROM_PX**2, math.inf),
}


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What slices ask of a frame.

    Attributes:
        width_px: Width of the frame.
        height_px: Height of the frame.
        luma: Mean luma, 0..255.
        value: The user's word for it; None where none is given.
    """

    width_px: int
    height_px: int
    luma: float
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """A condition on boxes; what it does not name it does not ask.

    Attributes:
        name: `all`, or condition and value: `light=dark`.
        frames: For each frame whether its boxes belong.
        class_index: The class of the boxes.
        area_px: From and below which area, in px of the input.
    """

    name: str
    frames: tuple[bool, ...]
    class_index: int | None = None
    area_px: tuple[float, float] | None = None

    @property
    def of_whole_frames(self) -> bool:
        """Whether every box of its frames belongs."""
        return self.class_index is None and self.area_px is None

    def holds(
        self, frame: int, boxes: NDArray[np.float32], classes: NDArray[np.int64], *, scale: float
    ) -> NDArray[np.bool_]:
        """Which boxes of a frame belong.

        Args:
            frame: Its number.
            boxes: (n, 4) x1 y1 x2 y2 in frame px.
            classes: (n,).
            scale: Input px a frame px.

        Returns:
            (n,) bool.
        """
        kept = np.full(len(classes), self.frames[frame])
        if self.class_index is not None:
            kept &= classes == self.class_index
        if self.area_px is not None:
            sides = (boxes[:, 2:].astype(np.float64) - boxes[:, :2]) * scale
            areas = sides.prod(axis=1)
            kept &= (areas >= self.area_px[0]) & (areas < self.area_px[1])
        return kept


def mean_luma(frame: NDArray[np.uint8]) -> float:
    """Mean brightness of a (H, W, 3) uint8 RGB frame, 0..255: ITU-R BT.601 luma."""
    return float(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean())


def light_of(luma: float) -> str:
    """`dark` below a mean luma of 75, `bright` above 160, else `normal`."""
    if luma < DARK_BELOW:
        return "dark"
    return "bright" if luma > BRIGHT_ABOVE else "normal"


def input_scale(facts: FrameFacts, *, side_px: int) -> float:
    """Input px a frame px, where the frame is fitted into a square of `side_px`."""
    return min(side_px / facts.width_px, side_px / facts.height_px)


def make_slices(
    facts: Sequence[FrameFacts], *, classes: Sequence[str], column: str = ""
) -> tuple[Slice, ...]:
    """The slices of a labelled set, `all` first.

    Args:
        facts: Of each frame.
        classes: Names in the order of the class index.
        column: What the user's values stand for, such as `camera`; empty: there are none.

    Returns:
        `all`, `light=...`, `class=...`, `size=...` and `COLUMN=...`. Of light and column those
        that have a frame.
    """
    every = (True,) * len(facts)
    lights = [light_of(one.luma) for one in facts]
    slices = [Slice(ALL, every)]
    slices += [_where("light", name, lights) for name in _LIGHTS if name in lights]
    slices += [
        Slice(f"class={name}", every, class_index=index) for index, name in enumerate(classes)
    ]
    slices += [Slice(f"size={name}", every, area_px=bounds) for name, bounds in _SIZES.items()]
    if column:
        values = [one.value for one in facts]
        named = sorted({value for value in values if value is not None})
        slices += [_where(column, value, values) for value in named]
    return tuple(slices)


def _where(condition: str, value: str, values: Sequence[str | None]) -> Slice:
    return Slice(f"{condition}={value}", tuple(one == value for one in values))

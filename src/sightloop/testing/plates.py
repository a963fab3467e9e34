"""Rendered inspection frames: a brushed plate with dark pits and bright warm spots, and labels.

Invariant: a seed gives the same pixels on every machine, every frame holds at least one of each
kind, and objects lie far enough apart for a detector that looks at fixed windows. This is input
for tests and the quick demo; it stands for no real surface.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop.vision.detections import Labels

PLATE_CLASSES: Final = ("pit", "spot")
PIT: Final = 0
SPOT: Final = 1

_CELL_PX = 40
_RADIUS_PX = (4.5, 8.0)
_JITTER_PX = 3.0
_PIT_COLOUR = np.array([-66.0, -62.0, -56.0])
_SPOT_COLOUR = np.array([78.0, 26.0, -18.0])
_SOFT_EDGE_PX = 1.0


def render_plate(seed: int, *, side_px: int = 160) -> tuple[NDArray[np.uint8], Labels]:
    """Render one plate.

    Args:
        seed: Which plate.
        side_px: Side of the square frame, at least 80.

    Returns:
        (side_px, side_px, 3) uint8 RGB, and the true boxes with classes of `PLATE_CLASSES`.
    """
    rng = np.random.default_rng([seed, side_px])
    plate = _brushed(rng, side_px)
    cells_a_side = side_px // _CELL_PX
    cells = rng.permutation(cells_a_side**2)
    count = int(rng.integers(2, max(3, len(cells) // 2) + 1))
    boxes, classes = [], []
    for index, cell in enumerate(cells[:count]):
        # The first two are one of each kind.
        kind = index if index < 2 else int(rng.integers(2))
        row, column = divmod(int(cell), cells_a_side)
        centre = (np.array([column, row]) + 0.5) * side_px / cells_a_side
        centre += rng.uniform(-_JITTER_PX, _JITTER_PX, 2)
        radii = rng.uniform(*_RADIUS_PX, 2)
        depth = float(rng.uniform(0.75, 1.2))
        cover = _ellipse(side_px, centre, radii)
        plate += cover[..., None] * depth * (_PIT_COLOUR if kind == PIT else _SPOT_COLOUR)
        boxes.append([*(centre - radii), *(centre + radii)])
        classes.append(kind)
    frame = np.clip(np.rint(plate), 0, 255).astype(np.uint8)
    return frame, Labels(np.array(boxes, np.float32), np.array(classes, np.int64))


def _brushed(rng: np.random.Generator, side_px: int) -> NDArray[np.float64]:
    """Metal, (S, S, 3): a level, a slope of light, streaks along the rows, grain."""
    level = rng.uniform(118, 142)
    slope = np.linspace(-1, 1, side_px) * rng.uniform(-10, 10)
    streaks = rng.normal(0, 4, side_px)
    grain = rng.normal(0, 4, (side_px, side_px))
    grey = level + slope[None, :] + streaks[:, None] + grain
    return np.repeat(grey[..., None], 3, axis=2)


def _ellipse(
    side_px: int, centre: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cover of each pixel, (S, S) in 0..1, by an upright ellipse with a soft edge."""
    middle = np.arange(side_px) + 0.5
    across = ((middle - centre[0]) / radii[0])[None, :]
    down = ((middle - centre[1]) / radii[1])[:, None]
    inside_px = (1 - np.hypot(across, down)) * radii.min()
    cover: NDArray[np.float64] = np.clip(inside_px / _SOFT_EDGE_PX + 0.5, 0, 1)
    return cover

"""What the attempts of one training share: the batch that fits, and the folder that is kept.

A training is one or more attempts: one that runs out of memory is followed by another with half
the batch, and one that was killed by the next run's; each goes on from the last finished epoch.
Invariant: a kept file is whole or absent, and one that cannot be read counts as absent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from sightloop._support.files import write_json_atomic
from sightloop.pipeline.training.trainer import Recipe

STATE_NAME: Final = "state.pt"
"""What a trainer keeps of its last finished epoch."""
_BATCH_NAME: Final = "batch.json"
_SMALLEST_AUTOMATIC: Final = 4
_LARGEST_AUTOMATIC: Final = 64
_STEPS_AN_EPOCH: Final = 15


def automatic_batch(images: int) -> int:
    """The batch of a recipe that leaves it open: a power of two from 4 to 64.

    The largest that still gives 15 steps an epoch, so that a small set learns in few epochs. It
    depends on the set alone, never on the machine: what does not fit into memory is halved.

    Args:
        images: Training images.
    """
    batch = _SMALLEST_AUTOMATIC
    while batch < _LARGEST_AUTOMATIC and images >= 2 * batch * _STEPS_AN_EPOCH:
        batch *= 2
    return batch


def first_batch(recipe: Recipe, *, images: int, kept: Path) -> int:
    """Images a step of the next attempt: what fitted before, else the recipe's."""
    wanted = recipe.batch or automatic_batch(images)
    fitted = _kept_batch(kept)
    return min(wanted, fitted) if fitted else wanted


def halved(batch: int, kept: Path) -> int | None:
    """Half the batch, remembered for later attempts; None below one image."""
    if batch <= 1:
        return None
    write_json_atomic(kept / _BATCH_NAME, {"batch": batch // 2})
    return batch // 2


def seed_of_epoch(seed: int, epoch: int) -> int:
    """The seed of an epoch's order and augmentation, the same however often it is begun.

    Args:
        seed: The recipe's.
        epoch: Counted from 0.

    Returns:
        Below 2**32, which every generator takes.
    """
    return (seed * 1_000_003 + epoch + 1) % 2**32


def _kept_batch(kept: Path) -> int | None:
    try:
        batch = json.loads((kept / _BATCH_NAME).read_bytes())["batch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return batch if isinstance(batch, int) and batch >= 1 else None

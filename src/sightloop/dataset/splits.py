"""Which images of `train` become `val` and `test` where those are absent.

The image's own content decides: SHA-256 of the seed and the image's digest, read as a fraction
0..1. Below `test_fraction` it is `test`, in the next `val_fraction` it is `val`. So an image
keeps its place when others are added, removed or renamed, and equal images stay together.
Splits that are given are kept as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightloop.dataset.version import SPLITS, Split
from sightloop.errors import DatasetError

_UNIT = 1 << 64


@dataclass(frozen=True, slots=True)
class SplitShares:
    """How much of `train` an absent split takes, and the seed."""

    val_fraction: float
    test_fraction: float
    seed: int


def place_of(sha256: str, seed: int) -> float:
    """Where an image of this digest stands in 0..1."""
    text = f"{seed}:{sha256}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / _UNIT


def assign_splits(
    given: Mapping[str, Split], digests: Mapping[str, str], shares: SplitShares
) -> dict[str, Split]:
    """Decide the split of every image.

    Args:
        given: The split of each image as the dataset names it, by any unique name.
        digests: Hex SHA-256 of each image's bytes, by the same names.
        shares: For the splits that are absent.

    Returns:
        The split of each image. An absent split gets at least one image.

    Raises:
        DatasetError: `split_empty`: too few different images for three splits.
    """
    result = dict(given)
    places = {
        name: place_of(digests[name], shares.seed)
        for name, split in given.items()
        if split == "train"
    }
    ranges: tuple[tuple[Split, float, float], ...] = (
        ("test", 0.0, shares.test_fraction),
        ("val", shares.test_fraction, shares.test_fraction + shares.val_fraction),
    )
    absent = [one for one in ranges if one[0] not in given.values()]
    for split, low, high in absent:
        for name, place in places.items():
            if low <= place < high:
                result[name] = split
    made: tuple[Split, ...] = ("train", *(split for split, _, _ in absent))
    for split in made:
        if split not in result.values():
            _fill(result, places, split, made)
    _check(result)
    return result


def _fill(
    result: dict[str, Split], places: Mapping[str, float], split: Split, made: Sequence[Split]
) -> None:
    """Give an empty split one image, with its equals, of the made split that has most.

    Only sets of a few images come here: there chance may leave a split without any.
    """
    places_of = {
        one: sorted({place for name, place in places.items() if result[name] == one})
        for one in made
    }
    donor = max(made, key=lambda one: len(places_of[one]))
    if len(places_of[donor]) < 2:
        return
    moved = places_of[donor][-1 if split == "train" else 0]
    for name, place in places.items():
        if place == moved:
            result[name] = split


def _check(result: Mapping[str, Split]) -> None:
    counts = {split: list(result.values()).count(split) for split in SPLITS}
    empty: Sequence[str] = [split for split, count in counts.items() if not count]
    if empty:
        found = ", ".join(f"{count} in {split}" for split, count in counts.items())
        raise DatasetError(
            f"split {empty[0]}: expected at least one image in each of train, val and test, "
            f"found {found}; add different images or name the split in data.yaml",
            "split_empty",
        )

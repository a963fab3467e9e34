"""A dataset as values: which images, which labels, which split; nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One image with its label file.

    Attributes:
        name: Path below the dataset's root, posix, unique within its split.
        image: The image file.
        label: The YOLO label file; None where there is none (said by the check, never guessed).
        split: The part of the dataset it belongs to.
        label_text: The labels as YOLO text, where the source has another layout and no such file.
        stated_px: Width and height as the source states them; None where it does not.
    """

    name: str
    image: Path
    label: Path | None
    split: Split
    label_text: str | None = None
    stated_px: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images with labels, classes in the order of the class index."""

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]

    def of(self, split: Split) -> tuple[Item, ...]:
        """The items of one split."""
        return tuple(item for item in self.items if item.split == split)

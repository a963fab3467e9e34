"""Rules of suspicious labels: each sign is seen, and the usual is left in peace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightloop.dataset.inspection import Inspection
from sightloop.dataset.suspicious import find_suspicious
from sightloop.dataset.version import Item

CLASSES = ("pit", "spot")
Box = tuple[int, float, float, float, float]


def seen(*boxes: Box, size_px: tuple[int, int] | None = (100, 100), name: str = "a") -> Inspection:
    """Boxes as class, left, top, width, height in px of an image of 100 x 100."""
    rows = np.array([box[1:] for box in boxes], np.float64).reshape(-1, 4) / 100
    return Inspection(
        item=Item(name, Path(name), None, "train"),
        sha256=name,
        image_fault=None,
        size_px=size_px,
        look=None,
        boxes=np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:]]),
        classes=np.array([box[0] for box in boxes], np.int64),
        duplicate_boxes=0,
        label_faults=(),
    )


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0, 10, 10, 20, 20)], []),
        ([(0, 10, 10, 4, 4)], []),
        ([(0, 10, 10, 3.9, 20)], [("box_tiny", 0)]),
        ([(0, 0, 10, 100, 4)], []),
        ([(0, 0, 10, 100, 3.5)], [("box_aspect", 0), ("box_tiny", 0)]),
        ([(0, 10, 10, 20, 20), (1, 10, 10, 20, 21)], [("box_two_classes", 0)]),
        ([(0, 10, 10, 20, 20), (0, 10, 10, 20, 21)], []),
        ([(0, 10, 10, 20, 20), (1, 14, 10, 20, 20)], []),
    ],
)
def test_sign_is_seen_beyond_its_bound_alone(
    boxes: list[Box], expected: list[tuple[str, int]]
) -> None:
    found = find_suspicious(CLASSES, [seen(*boxes)])
    assert [(box.kind, box.index) for box in found] == expected


def usual(count: int) -> list[Inspection]:
    sizes = np.random.default_rng(0).uniform(18, 22, count)
    return [seen((0, 10, 10, size, size), name=f"n{i}") for i, size in enumerate(sizes)]


@pytest.mark.parametrize(("side", "word"), [(5.0, "smaller"), (80.0, "larger")])
def test_box_far_off_its_classs_size_is_seen(side: float, word: str) -> None:
    found = find_suspicious(CLASSES, [*usual(30), seen((0, 5, 5, side, side), name="odd")])
    assert [(box.kind, box.seen.item.name) for box in found] == [("box_size_unusual", "odd")]
    assert word in found[0].message


def test_size_is_not_judged_from_few_boxes_nor_across_classes() -> None:
    odd = seen((0, 5, 5, 5, 5), name="odd")
    assert find_suspicious(CLASSES, [*usual(10), odd]) == []
    assert find_suspicious(CLASSES, [*usual(30), seen((1, 5, 5, 5, 5))]) == []


def test_class_of_one_size_stays_quiet_about_a_little_more() -> None:
    same = [seen((0, 10, 10, 20, 20), name=f"n{i}") for i in range(30)]
    assert find_suspicious(CLASSES, [*same, seen((0, 5, 5, 40, 40))]) == []


def test_oddest_of_a_kind_comes_first() -> None:
    found = find_suspicious(CLASSES, [seen((0, 1, 1, 3, 9)), seen((0, 1, 1, 1, 9), name="b")])
    assert [box.seen.item.name for box in found] == ["b", "a"]


def test_image_that_cannot_be_used_is_left_to_the_check() -> None:
    assert find_suspicious(CLASSES, [seen((0, 1, 1, 1, 1), size_px=None)]) == []

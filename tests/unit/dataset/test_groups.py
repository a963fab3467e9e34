"""Rules of groups: what belongs together goes to one split, and stays there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightloop.dataset.groups import (
    groups_by_csv,
    groups_by_pattern,
    keys_of_sets,
    refuse_parted,
)
from sightloop.dataset.splits import SplitShares, assign_splits
from sightloop.dataset.version import Item, Split
from sightloop.errors import DatasetError

_SHARES = SplitShares(val_fraction=0.2, test_fraction=0.2, seed=1)


def items_of(names: Sequence[str]) -> list[Item]:
    return [Item(f"images/train/{name}", Path(name), None, "train") for name in names]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def splits_of(names: Sequence[str], groups: Sequence[str]) -> dict[str, Split]:
    keys = keys_of_sets([digest(name) for name in names], groups, [])
    given_splits: dict[str, Split] = dict.fromkeys(names, "train")
    return assign_splits(given_splits, dict(zip(names, keys, strict=True)), _SHARES)


@pytest.mark.parametrize("pattern", [r"^(plate\d+)_", r"plate\d+"])
def test_pattern_gives_its_bracket_or_all_of_it(pattern: str) -> None:
    items = items_of(["plate7_a.png", "plate12_b.png"])
    assert groups_by_pattern(items, pattern) == ["plate7", "plate12"]


@pytest.mark.parametrize("pattern", [r"^(cam\d)_", r"^(cam\d)?"])
def test_image_without_a_group_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(DatasetError, match=r"images/train/other\.png") as caught:
        groups_by_pattern(items_of(["cam1_a.png", "other.png"]), pattern)
    assert caught.value.reason == "group_missing"


def test_csv_gives_groups_by_whole_name_or_file_name(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("day,file\nmon,a.png\ntue,images/train/b.png\n")
    assert groups_by_csv(items_of(["a.png", "b.png"]), table, "day") == ["mon", "tue"]
    with pytest.raises(DatasetError, match=r"c\.png") as caught:
        groups_by_csv(items_of(["a.png", "c.png"]), table, "day")
    assert caught.value.reason == "group_missing"


@pytest.mark.parametrize(
    "data", [b"name,group\na.png,1\n", b"file,group\na.png,1\na.png,2\n", b"\xff\xfe\x00", b""]
)
def test_csv_that_says_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    table = tmp_path / "groups.csv"
    table.write_bytes(data)
    with pytest.raises(DatasetError, match=r"expected .*, found") as caught:
        groups_by_csv(items_of(["a.png"]), table, "group")
    assert caught.value.reason == "group_csv_invalid"


@settings(max_examples=30, deadline=None)
@given(count=st.integers(8, 40), added=st.integers(1, 30), size=st.integers(2, 6))
def test_images_of_a_group_stay_together_and_in_place_when_images_are_added(
    count: int, added: int, size: int
) -> None:
    names = [f"{number}.png" for number in range(count * size + added)]
    groups = [str(number // size) for number in range(len(names))]
    before = splits_of(names[: count * size], groups[: count * size])
    after = splits_of(names, groups)
    for splits in (before, after):
        places = {(groups[names.index(name)], split) for name, split in splits.items()}
        assert len(places) == len({group for group, _ in places})
    kept = {split for split in ("train", "val", "test") if list(before.values()).count(split) > 6}
    assert all(after[name] == split for name, split in before.items() if split in kept)


def test_equal_and_alike_images_share_a_key_across_groups() -> None:
    digests = [digest("x"), digest("x"), digest("y"), digest("z"), digest("w")]
    keys = keys_of_sets(digests, ["1", "2", "3", "4", "5"], [(2, 3)])
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]
    assert len({*keys}) == 3


def test_key_without_groups_is_the_images_own() -> None:
    digests = [digest(name) for name in "abc"]
    assert keys_of_sets(digests, None, []) == digests


def test_key_of_a_group_does_not_depend_on_its_images() -> None:
    assert keys_of_sets([digest("a")], ["g"], []) == keys_of_sets([digest("b")], ["g"], [])


def test_given_splits_that_part_a_group_are_refused() -> None:
    refuse_parted(["a", "a", "b"], ["train", "train", "val"])
    with pytest.raises(DatasetError, match="found 1 group") as caught:
        refuse_parted(["a", "a", "b"], ["train", "val", "val"])
    assert caught.value.reason == "group_across_splits"

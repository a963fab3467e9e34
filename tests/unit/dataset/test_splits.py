"""Rules of the seeded split."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightloop.dataset.splits import SplitShares, assign_splits, place_of
from sightloop.dataset.version import Split
from sightloop.errors import DatasetError

_SHARES = SplitShares(val_fraction=0.15, test_fraction=0.15, seed=7)


def _digests(count: int) -> dict[str, str]:
    return {f"i{n}": hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)}


def _all(split: Split, names: dict[str, str]) -> dict[str, Split]:
    return dict.fromkeys(names, split)


def test_given_splits_are_kept() -> None:
    digests = _digests(30)
    given_splits: dict[str, Split] = {
        name: ("train", "val", "test")[index % 3] for index, name in enumerate(digests)
    }
    assert assign_splits(given_splits, digests, _SHARES) == given_splits


def test_absent_splits_get_about_their_share() -> None:
    digests = _digests(4000)
    splits = list(assign_splits(_all("train", digests), digests, _SHARES).values())
    assert splits.count("val") == pytest.approx(600, rel=0.15)
    assert splits.count("test") == pytest.approx(600, rel=0.15)


def test_image_keeps_its_split_when_others_are_added() -> None:
    few, many = _digests(200), _digests(400)
    before = assign_splits(_all("train", few), few, _SHARES)
    after = assign_splits(_all("train", many), many, _SHARES)
    assert all(after[name] == split for name, split in before.items())


def test_image_keeps_its_place_in_test_whether_val_is_given_or_not() -> None:
    digests = _digests(200)
    without_val = assign_splits(_all("train", digests), digests, _SHARES)
    with_val = assign_splits(
        {**_all("train", digests), "v": "val"}, {**digests, "v": "0" * 64}, _SHARES
    )
    tests = {name for name, split in without_val.items() if split == "test"}
    assert tests == {name for name, split in with_val.items() if split == "test"}


def test_another_seed_is_another_split() -> None:
    digests = _digests(200)
    one = assign_splits(_all("train", digests), digests, _SHARES)
    other = assign_splits(_all("train", digests), digests, SplitShares(0.15, 0.15, 8))
    assert one != other


@settings(max_examples=50, deadline=None)
@given(count=st.integers(3, 12), seed=st.integers(0, 1000))
def test_no_split_is_empty_from_three_images_on(count: int, seed: int) -> None:
    digests = _digests(count)
    splits = assign_splits(_all("train", digests), digests, SplitShares(0.1, 0.1, seed))
    assert {*splits.values()} == {"train", "val", "test"}


def test_equal_images_stay_together() -> None:
    digests = _digests(60) | {f"copy{n}": digest for n, digest in enumerate(_digests(60).values())}
    splits = assign_splits(_all("train", digests), digests, _SHARES)
    assert all(splits[f"copy{n}"] == splits[f"i{n}"] for n in range(60))


def test_too_few_images_are_refused_with_the_counts() -> None:
    digests = _digests(2)
    with pytest.raises(DatasetError, match=r"expected at least one image in each") as caught:
        assign_splits(_all("train", digests), digests, _SHARES)
    assert caught.value.reason == "split_empty"


def test_place_is_the_same_for_ever() -> None:
    assert place_of("ab" * 32, 7) == pytest.approx(PLACE, abs=1e-9)


PLACE = int(hashlib.sha256(f"7:{'ab' * 32}".encode()).hexdigest()[:16], 16) / 2**64

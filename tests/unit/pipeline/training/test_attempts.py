from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.pipeline.training.attempts import (
    automatic_batch,
    first_batch,
    halved,
    seed_of_epoch,
)
from sightloop.pipeline.training.trainer import Recipe


@pytest.mark.parametrize(
    ("images", "batch"),
    [(0, 4), (12, 4), (119, 4), (120, 8), (240, 16), (959, 32), (960, 64), (100_000, 64)],
)
def test_automatic_batch_leaves_fifteen_steps_an_epoch(images: int, batch: int) -> None:
    assert automatic_batch(images) == batch


def test_given_batch_is_taken_and_zero_leaves_it_open(tmp_path: Path) -> None:
    assert first_batch(Recipe(batch=6), images=1000, kept=tmp_path) == 6
    assert first_batch(Recipe(batch=0), images=240, kept=tmp_path) == 16


def test_batch_that_fitted_is_remembered_and_never_raises_the_ordered_one(tmp_path: Path) -> None:
    assert halved(16, tmp_path) == 8
    assert first_batch(Recipe(batch=16), images=0, kept=tmp_path) == 8
    assert first_batch(Recipe(batch=2), images=0, kept=tmp_path) == 2


def test_one_image_is_not_halved(tmp_path: Path) -> None:
    assert halved(1, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"batch": 0}', '{"batch": "8"}'])
def test_damaged_memory_of_the_batch_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "batch.json").write_text(text)
    assert first_batch(Recipe(batch=16), images=0, kept=tmp_path) == 16


def test_epochs_and_seeds_have_seeds_of_their_own() -> None:
    seeds = {seed_of_epoch(seed, epoch) for seed in range(20) for epoch in range(200)}
    assert len(seeds) == 20 * 200
    assert 0 <= seed_of_epoch(2**40, 10**6) < 2**32

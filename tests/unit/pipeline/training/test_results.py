from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.errors import TrainerError
from sightloop.pipeline.training.results import (
    TrainingOrigin,
    read_origin,
    read_results,
    write_origin,
)
from sightloop.pipeline.training.trainer import Recipe


def _write(folder: Path, **changes: object) -> None:
    value: dict[str, object] = {
        "epochs": [{"epoch": 1, "metrics": {"train/loss": 1.0}}],
        "hyperparameters": Recipe(epochs=1).as_dict(),
        "starting_weights": None,
        "classes": ["pit", "spot"],
        "toolchain": {"torch": "2"},
        "seconds": 1.5,
        "trainer": "ultralytics",
        "batch": 8,
        "precision": "float32",
        "resumed_after": [],
    }
    (folder / "results.json").write_text(json.dumps(value | changes))
    (folder / "checkpoint.pt").write_bytes(b"weights")


def test_results_give_back_the_recipe(tmp_path: Path) -> None:
    _write(tmp_path)
    assert read_results(tmp_path).recipe == Recipe(epochs=1)


def test_release_states_seed_trainer_and_the_batch_that_fitted(tmp_path: Path) -> None:
    _write(tmp_path, hyperparameters=Recipe(epochs=1, batch=16, seed=7).as_dict())
    facts = read_results(tmp_path).facts
    assert (facts["seed"], facts["batch"], facts["batch_used"]) == (7, 16, 8)
    assert (facts["trainer"], facts["precision"]) == ("ultralytics", "float32")


@pytest.mark.parametrize(
    "change", [{"seconds": "long"}, {"unknown": 1}, {"epochs": None}, {"batch": 0}]
)
def test_results_of_another_form_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    _write(tmp_path, **change)
    with pytest.raises(TrainerError) as caught:
        read_results(tmp_path)
    assert caught.value.reason == "results_invalid"


def test_results_without_checkpoint_are_refused(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(TrainerError) as caught:
        read_results(tmp_path)
    assert caught.value.reason == "no_checkpoint"


def test_origin_survives_the_file(tmp_path: Path) -> None:
    origin = TrainingOrigin(run_id="r1", created="2026-01-01T00:00:00.000Z", git_commit=None)
    write_origin(tmp_path, origin)
    assert read_origin(tmp_path) == origin


def test_missing_origin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainerError):
        read_origin(tmp_path)

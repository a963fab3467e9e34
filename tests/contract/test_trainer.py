"""Every trainer keeps the promises of the kit; Ultralytics where it is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightloop.errors import TrainerError
from sightloop.pipeline.training.results import read_results
from sightloop.pipeline.training.trainer import Recipe, TrainJob, recipe_from
from sightloop.pipeline.training.trainer_process import (
    TrainerProcess,
    trainer_process,
)
from sightloop.testing.fake_trainer import FakeTrainer
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.testing.trainer_kit import Trained, TrainerKit, train_once

FAKE = "sightloop.testing.fake_trainer"


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plates")
    write_plate_dataset(folder, {"train": 12, "val": 4}, side_px=64)
    return folder


@pytest.fixture(scope="module")
def in_process(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("in-process")
    return train_once(FakeTrainer(), plates, folder, Recipe(side_px=64, epochs=3, device="cpu"))


@pytest.fixture(scope="module")
def own_process(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("own-process")
    trainer = TrainerProcess(module=FAKE, scratch=folder)
    return train_once(trainer, plates, folder, Recipe(side_px=64, epochs=3, device="cpu"))


@pytest.fixture(scope="module")
def ultralytics(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("ultralytics")
    recipe = Recipe(
        width=0.125,
        side_px=64,
        epochs=2,
        batch=6,
        close_mosaic=1,
        validate_every=2,
        device="cpu",
        seed=5,
    )
    return train_once(trainer_process("ultralytics", folder), plates, folder, recipe)


@pytest.fixture(scope="module")
def compact(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("compact")
    recipe = Recipe(
        width=0.125,
        side_px=64,
        epochs=2,
        batch=6,
        close_mosaic=1,
        validate_every=2,
        device="cpu",
        seed=5,
    )
    return train_once(trainer_process("compact", folder), plates, folder, recipe)


class TestInProcess(TrainerKit):
    @pytest.fixture
    def trained(self, in_process: Trained) -> Trained:
        return in_process


class TestOwnProcess(TrainerKit):
    @pytest.fixture
    def trained(self, own_process: Trained) -> Trained:
        return own_process


@pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None,
    reason="Ultralytics is not installed (extra `train`, AGPL-3.0)",
)
class TestUltralytics(TrainerKit):
    @pytest.fixture
    def trained(self, ultralytics: Trained) -> Trained:
        return ultralytics

    def test_licence_is_said_first(self, trained: Trained) -> None:
        assert "AGPL-3.0" in trained.progress[0][1]

    def test_nothing_private_stays_behind(self, trained: Trained) -> None:
        folder = trained.job.output.parent
        assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "training"]


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed (extra `train-compact`)",
)
class TestCompact(TrainerKit):
    @pytest.fixture
    def trained(self, compact: Trained) -> Trained:
        return compact

    def test_nothing_private_stays_behind(self, trained: Trained) -> None:
        folder = trained.job.output.parent
        assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "training"]

    def test_val_split_is_measured_when_due(self, trained: Trained) -> None:
        first, second = read_results(trained.job.output).epochs
        assert "val/map50_of_trainer" not in first.metrics
        assert "val/map50_of_trainer" in second.metrics

    def test_next_training_starts_from_its_checkpoint(
        self, trained: Trained, tmp_path: Path
    ) -> None:
        """At a rate of nearly nothing, what comes out is what went in."""
        recipe = replace(trained.job.recipe, epochs=1, learning_rate=1e-12, width=None)
        order = replace(
            trained.job, output=tmp_path, weights=trained.checkpoint, recipe=recipe, kept=None
        )
        trained.trainer.train(order, lambda _, text: None)
        assert read_results(tmp_path).starting_weights == "checkpoint.pt"
        tensors = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
        before = trained.trainer.infer(trained.checkpoint, tensors)
        after = trained.trainer.infer(tmp_path / "checkpoint.pt", tensors)
        assert np.abs(before - after).max() < 5.0  # px; fresh weights are tens of px away
        assert np.corrcoef(before[0, 4:].ravel(), after[0, 4:].ravel())[0, 1] > 0.9

    @pytest.mark.parametrize("name", ["architecture", "optimizer"])
    def test_what_it_does_not_know_is_refused_by_name(
        self, trained: Trained, tmp_path: Path, name: str
    ) -> None:
        recipe = recipe_from({**trained.job.recipe.as_dict(), name: "Other"})
        order = replace(trained.job, output=tmp_path, recipe=recipe, kept=None)
        with pytest.raises(TrainerError) as caught:
            trained.trainer.train(order, lambda _, text: None)
        assert caught.value.reason == "config_invalid"
        assert f"train.{name}" in caught.value.message
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("trainer", "library"), [("ultralytics", "ultralytics"), ("compact", "torch")]
)
def test_time_limit_ends_a_training_with_what_it_has(
    plates: Path, tmp_path: Path, trainer: str, library: str
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    output = tmp_path / "training"
    output.mkdir()
    recipe = Recipe(
        width=0.125,
        side_px=64,
        batch=6,
        epochs=100_000,
        validate_every=0,
        device="cpu",
        threads=1,
        time_limit_s=3.0,
    )
    trainer_process(trainer, tmp_path).train(
        TrainJob(plates, output, None, recipe), lambda _, text: None
    )
    assert 1 <= len(read_results(output).epochs) < 1000

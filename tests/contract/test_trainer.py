"""Every trainer keeps the promises of the kit; Ultralytics where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sightloop.pipeline.training.trainer import Recipe
from sightloop.pipeline.training.trainer_process import TrainerProcess, ultralytics_process
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
    return train_once(ultralytics_process(folder), plates, folder, recipe)


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

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.errors import ConfigError, DatasetError
from sightloop.pipeline.steps.train import train_with
from sightloop.pipeline.training.results import read_origin, read_results
from sightloop.testing.fake_trainer import FakeTrainer
from sightloop.testing.step_chain import SIDE_PX, StepChain


def test_training_names_run_and_recipe(tmp_path: Path) -> None:
    chain = StepChain(tmp_path)
    chain.dataset()
    chain.train()
    assert read_results(chain.out("training")).recipe.epochs == 2
    assert read_results(chain.out("training")).recipe.side_px == SIDE_PX
    assert read_origin(chain.out("training")).run_id == "run-1"


def test_starting_weights_reach_the_trainer(tmp_path: Path) -> None:
    chain = StepChain(tmp_path)
    chain.dataset()
    weights = tmp_path / "start.pt"
    weights.write_bytes(b"weights")
    context = chain.context(
        ("dataset",), ("training",), {"side_px": 96, "epochs": 1}, files={"weights": weights}
    )
    train_with(context, FakeTrainer())
    assert read_results(chain.out("training")).starting_weights == "start.pt"


def test_missing_weights_are_said_before_training(tmp_path: Path) -> None:
    chain = StepChain(tmp_path)
    chain.dataset()
    gone = {"weights": tmp_path / "gone.pt"}
    context = chain.context(("dataset",), ("training",), {"side_px": 96}, files=gone)
    with pytest.raises(DatasetError) as caught:
        train_with(context, FakeTrainer())
    assert caught.value.reason == "weights_missing"
    assert list(chain.out("training").iterdir()) == []


def test_unknown_parameter_is_refused(tmp_path: Path) -> None:
    chain = StepChain(tmp_path)
    chain.dataset()
    context = chain.context(("dataset",), ("training",), {"epoch": 1})
    with pytest.raises(ConfigError):
        train_with(context, FakeTrainer())

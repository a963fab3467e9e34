"""What every Trainer promises, as a test case: subclass it and say what to train on.

Needs pytest, so only tests import this file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sightloop._support.files import sha256_file
from sightloop.errors import TrainerError
from sightloop.pipeline.training.results import read_results
from sightloop.pipeline.training.trainer import (
    CHECKPOINT_NAME,
    NetworkContract,
    Recipe,
    Trainer,
    TrainJob,
)
from sightloop.runtime.onnx_backend import open_onnx


@dataclass(frozen=True, slots=True)
class Trained:
    """One training, exported.

    Attributes:
        trainer: What made it.
        job: What was ordered.
        progress: What was reported, in order.
        tree_before: Digest of every file of the dataset before the training.
        model: The exported file.
        contract: What the trainer says of it.
    """

    trainer: Trainer
    job: TrainJob
    progress: tuple[tuple[float, str], ...]
    tree_before: dict[str, str]
    model: Path
    contract: NetworkContract

    @property
    def checkpoint(self) -> Path:
        """The checkpoint it gave."""
        return self.job.output / CHECKPOINT_NAME


def train_once(trainer: Trainer, dataset: Path, folder: Path, recipe: Recipe) -> Trained:
    """Train and export, keeping what the kit looks at."""
    before = tree_of(dataset)
    output = folder / "training"
    output.mkdir(parents=True)
    job = TrainJob(dataset=dataset, output=output, weights=None, recipe=recipe)
    progress: list[tuple[float, str]] = []
    trainer.train(job, lambda fraction, text: progress.append((fraction, text)))
    model = folder / "model.onnx"
    contract = trainer.export(output / CHECKPOINT_NAME, model, side_px=recipe.side_px)
    return Trained(trainer, job, tuple(progress), before, model, contract)


def tree_of(folder: Path) -> dict[str, str]:
    """Digest of every file below `folder`, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


class TrainerKit:
    """The promises of `pipeline/training/trainer.py`."""

    @pytest.fixture
    def trained(self) -> Trained:
        """One training of two epochs or more, by `train_once`; may be shared by all tests."""
        raise NotImplementedError("override trained in the subclass")

    def test_dataset_is_never_written(self, trained: Trained) -> None:
        assert tree_of(trained.job.dataset) == trained.tree_before

    def test_results_tell_every_epoch_and_the_recipe(self, trained: Trained) -> None:
        results = read_results(trained.job.output)
        epochs = trained.job.recipe.epochs
        assert [one.epoch for one in results.epochs] == list(range(1, epochs + 1))
        assert all(one.metrics for one in results.epochs)
        assert results.recipe == trained.job.recipe
        assert results.toolchain
        assert results.starting_weights is None

    def test_results_state_seed_batch_and_precision(self, trained: Trained) -> None:
        results, recipe = read_results(trained.job.output), trained.job.recipe
        assert results.facts["seed"] == recipe.seed
        assert results.batch == recipe.batch
        assert results.resumed_after == ()
        assert results.precision == "float32" or recipe.device != "cpu"

    def test_only_what_is_promised_is_written(self, trained: Trained) -> None:
        names = sorted(path.name for path in trained.job.output.iterdir())
        assert names == ["checkpoint.pt", "results.json"]

    def test_progress_rises_to_the_end(self, trained: Trained) -> None:
        fractions = [fraction for fraction, _ in trained.progress]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert len(fractions) >= trained.job.recipe.epochs

    def test_exported_file_is_what_the_contract_says(self, trained: Trained) -> None:
        backend = open_onnx(trained.model)
        found, side = backend.contract, trained.job.recipe.side_px
        backend.close()
        stated = trained.contract
        assert (found.input_name, found.output_name) == (stated.input_name, stated.output_name)
        assert found.input_shape == (1, 3, side, side)
        assert found.output_shape == stated.output_shape
        assert stated.output_shape[:2] == (1, 4 + len(stated.classes))
        assert stated.side_px == side

    def test_classes_are_those_of_the_dataset(self, trained: Trained) -> None:
        assert trained.contract.classes == read_results(trained.job.output).classes

    def test_checkpoint_answers_like_its_export(self, trained: Trained) -> None:
        side = trained.job.recipe.side_px
        tensors = np.random.default_rng(0).random((3, 3, side, side), np.float32)
        raw = trained.trainer.infer(trained.checkpoint, tensors)
        backend = open_onnx(trained.model)
        for index in range(3):
            answer = backend.run(tensors[index : index + 1])
            assert np.allclose(raw[index : index + 1], answer, rtol=1e-3, atol=1e-2)
        backend.close()
        assert raw.shape == (3, *trained.contract.output_shape[1:])
        assert raw.dtype == np.float32

    def test_foreign_checkpoint_is_refused(self, trained: Trained, tmp_path: Path) -> None:
        foreign = tmp_path / "foreign.pt"
        foreign.write_text(json.dumps("no checkpoint"))
        with pytest.raises(TrainerError):
            trained.trainer.export(foreign, tmp_path / "model.onnx", side_px=160)
        assert not (tmp_path / "model.onnx").exists()

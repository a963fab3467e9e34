"""A training that is killed or runs out of memory goes on from its last finished epoch.

Real trainings of slim networks on rendered plates. Invariant of all tests here: what comes of an
interrupted training is what an undisturbed one gives, as far as the batch stayed the same.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from sightloop.config.workspace import open_workspace
from sightloop.pipeline.config import load_config
from sightloop.pipeline.display import SilentDisplay
from sightloop.pipeline.run import run_pipeline
from sightloop.pipeline.training.results import TrainingResults, read_results
from sightloop.pipeline.training.trainer import Recipe, TrainJob
from sightloop.pipeline.training.trainer_process import TrainerProcess
from sightloop.testing.plate_dataset import write_plate_dataset

EPOCHS = 4
SIDE_PX = 96
TRAINERS = [
    pytest.param(
        "ultralytics",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("ultralytics") is None,
            reason="Ultralytics is not installed (extra `train`, AGPL-3.0)",
        ),
    ),
    pytest.param(
        "compact",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("torch") is None,
            reason="torch is not installed (extra `train-compact`)",
        ),
    ),
]
needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed (extra `registry`)"
)

# Kills the run, and with it the trainer, when the trainer reports the end of an epoch.
_KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from sightloop.config.workspace import open_workspace
from sightloop.pipeline.config import load_config
from sightloop.pipeline.display import SilentDisplay
from sightloop.pipeline.run import run_pipeline

class Display(SilentDisplay):
    def working(self, step, fraction, text):
        if text.startswith("epoch 2/"):
            os.kill(os.getpid(), signal.SIGKILL)

run_pipeline(load_config(Path(sys.argv[1])), open_workspace(Path(sys.argv[2])), display=Display())
"""

# The trainer itself, with a memory that holds four images a step from the second epoch on.
_STARVED = {
    "ultralytics": """
import sys
from sightloop.pipeline.training import ultralytics_trainer
from sightloop.pipeline.training.child import run_child

def train(job, emit):
    import torch
    from ultralytics.models.yolo.detect import DetectionTrainer

    prepare = DetectionTrainer.preprocess_batch

    def starved(self, batch):
        if self.epoch >= 1 and len(batch["img"]) > 4:
            torch.empty(1 << 50, dtype=torch.uint8)
        return prepare(self, batch)

    DetectionTrainer.preprocess_batch = starved
    return ultralytics_trainer.train(job, emit)

raise SystemExit(run_child({"train": train}, sys.argv[1:]))
""",
    "compact": """
import sys
from sightloop.pipeline.training.child import run_child
from sightloop.pipeline.training.compact_loop import Loop
from sightloop.pipeline.training.compact_trainer import train

learn = Loop._learn

def starved(self, drawn, gather):
    import torch

    if self._diary.epochs and len(drawn) > 4:
        torch.empty(1 << 50, dtype=torch.uint8)
    return learn(self, drawn, gather)

Loop._learn = starved
raise SystemExit(run_child({"train": train}, sys.argv[1:]))
""",
}


@dataclass
class Watching(SilentDisplay):
    """Keeps what the step `train` says."""

    said: list[str]

    def working(self, step: str, fraction: float, text: str) -> None:
        if step == "train":
            self.said.append(text)


def _config(folder: Path, trainer: str) -> Path:
    write_plate_dataset(folder / "plates", {"train": 16, "val": 6, "test": 8}, side_px=SIDE_PX)
    path = folder / "plate.toml"
    path.write_text(
        f"""
line = "plate"
semver = "1.0.0"
data = "plates/data.yaml"
[train]
trainer = "{trainer}"
width = 0.125
side_px = {SIDE_PX}
epochs = {EPOCHS}
batch = 8
nominal_batch = 8
close_mosaic = 1
validate_every = 0
seed = 3
device = "cpu"
threads = 1
[calibrate]
frames = 4
[calibrate.tolerances]
# Four epochs give scores so alike that rounding changes which of two boxes is kept.
matched_min = 0.5
label_recall_min = 0.0
[evaluate]
score = 0.0001
"""
    )
    return path


def _results(workspace: Path) -> TrainingResults:
    (training,) = (workspace / "cache" / "train").glob("*/training")
    return read_results(training)


def _graph(workspace: Path) -> bytes:
    """The exported network with its weights; the file's own metadata names the hour."""
    (model,) = (workspace / "cache" / "export").glob("*/model/model.onnx")
    graph: bytes = onnx.load(str(model)).graph.SerializeToString(deterministic=True)
    return graph


def _epochs_said(said: list[str]) -> list[int]:
    return [int(found[1]) for text in said if (found := re.match(r"epoch (\d+)/", text))]


@needs_mlflow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
@pytest.mark.parametrize("trainer", TRAINERS)
def test_killed_training_goes_on_and_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, trainer: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(tmp_path, trainer)
    command = [sys.executable, "-c", _KILLED_RUN, str(config), str(tmp_path / "killed")]
    killed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert killed.returncode == -9, killed.stderr

    said: list[str] = []
    made = run_pipeline(
        load_config(config), open_workspace(tmp_path / "killed"), display=Watching(said)
    )
    assert _epochs_said(said) == [3, 4]  # epochs 1 and 2 are not trained again
    assert list((tmp_path / "killed" / "unfinished").glob("*/*")) == []

    run_pipeline(load_config(config), open_workspace(tmp_path / "undisturbed"))
    found, expected = _results(tmp_path / "killed"), _results(tmp_path / "undisturbed")
    assert (found.resumed_after, expected.resumed_after) == ((2,), ())
    assert [one.metrics for one in found.epochs] == [one.metrics for one in expected.epochs]
    assert _graph(tmp_path / "killed") == _graph(tmp_path / "undisturbed")
    assert [one for one in caplog.records if one.message == "trainer_network_refused"] == []

    facts = json.loads((made.bundle / "manifest.json").read_bytes())["lineage"]["hyperparameters"]
    assert (facts["seed"], facts["trainer"], facts["batch_used"]) == (3, trainer, 8)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_training_out_of_memory_goes_on_with_half_the_batch_from_its_last_epoch(
    tmp_path: Path,
    trainer: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "starved_trainer.py").write_text(_STARVED[trainer])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    write_plate_dataset(tmp_path / "plates", {"train": 16, "val": 6}, side_px=SIDE_PX)
    (tmp_path / "output").mkdir()
    recipe = Recipe(
        width=0.125,
        side_px=SIDE_PX,
        epochs=3,
        batch=8,
        nominal_batch=8,
        device="cpu",
        threads=1,
    )
    said: list[str] = []
    TrainerProcess(module="starved_trainer", scratch=tmp_path).train(
        TrainJob(tmp_path / "plates", tmp_path / "output", None, recipe, tmp_path / "kept"),
        lambda _, text: said.append(text),
    )
    assert _epochs_said(said) == [1, 2, 3]
    assert "out of memory with batch 8, goes on with 4" in said
    results = read_results(tmp_path / "output")
    assert (results.batch, results.recipe.batch, results.resumed_after) == (4, 8, (1,))
    assert [one.metrics["train/batch"] for one in results.epochs] == [8.0, 4.0, 4.0]
    # Every way out was watched (test_trainer_process.py), and the training asked for none.
    assert [one for one in caplog.records if one.message == "trainer_network_refused"] == []

"""The permissive trainer learns, and nearly as well as the licensed one on the demo's images."""

from __future__ import annotations

import importlib.util
import resource
from dataclasses import dataclass
from pathlib import Path

import pytest

from sightloop.dataset.yolo import read_yolo
from sightloop.demo.rendered_dataset import FIRST_PLAN, render_dataset
from sightloop.demo.training import first_pipeline
from sightloop.pipeline.evaluation import evaluate_items
from sightloop.pipeline.exported_model import contract_of
from sightloop.pipeline.training.trainer import (
    CHECKPOINT_NAME,
    Recipe,
    TrainJob,
    Value,
    recipe_from,
)
from sightloop.pipeline.training.trainer_process import trainer_process
from sightloop.runtime.onnx_backend import open_onnx
from sightloop.testing.plate_dataset import write_plate_dataset

MAP50_BEHIND_MAX = 0.10
CPU_RATIO_MAX = 1.5

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed (extra `train-compact`)",
)


@dataclass(frozen=True)
class Found:
    """What a training gave, and what it took."""

    map50: float
    cpu_s: float


def _train_and_judge(trainer: str, data_yaml: Path, folder: Path, recipe: Recipe) -> Found:
    output = folder / trainer
    output.mkdir()
    process = trainer_process(trainer, folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process.train(TrainJob(data_yaml.parent, output, None, recipe), lambda _, text: None)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    model = output / "model.onnx"
    network = process.export(output / CHECKPOINT_NAME, model, side_px=recipe.side_px)
    backend = open_onnx(model)
    found = evaluate_items(backend, contract_of(network), read_yolo(data_yaml).of("test"))
    backend.close()
    assert found.report.map50 is not None
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Found(found.report.map50, cpu_s)


def test_compact_trainer_learns_on_torch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("ultralytics", "torchvision"):
        (tmp_path / "poison" / other).mkdir(parents=True)
        (tmp_path / "poison" / other / "__init__.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "poison"), prepend=":")
    data = write_plate_dataset(tmp_path / "plates", {"train": 64, "val": 4, "test": 24}, side_px=96)
    recipe = Recipe(
        width=0.125,
        side_px=96,
        epochs=20,
        batch=8,
        nominal_batch=8,
        learning_rate=0.004,
        warmup_epochs=1.0,
        mosaic=0.0,
        zoom=0.2,
        validate_every=0,
        device="cpu",
        threads=1,
    )
    found = _train_and_judge("compact", data, tmp_path, recipe)
    assert found.map50 >= 0.6


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None,
    reason="Ultralytics is not installed (extra `train`, AGPL-3.0)",
)
def test_compact_trainer_is_close_to_ultralytics_on_the_demos_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints the figures of docs/adr/0008-a-permissive-trainer.md."""
    dataset = render_dataset(tmp_path / "metal", FIRST_PLAN)
    settings: dict[str, Value] = {**first_pipeline(dataset.data_yaml)["train"], "threads": 1}
    recipes = {
        "ultralytics": recipe_from(settings),
        "compact": recipe_from({**settings, "architecture": "compact"}),
    }
    found = {
        trainer: _train_and_judge(trainer, dataset.data_yaml, tmp_path, recipe)
        for trainer, recipe in recipes.items()
    }
    with capsys.disabled():
        print(found)  # noqa: T201
    assert found["compact"].map50 >= found["ultralytics"].map50 - MAP50_BEHIND_MAX
    assert found["compact"].cpu_s <= CPU_RATIO_MAX * found["ultralytics"].cpu_s

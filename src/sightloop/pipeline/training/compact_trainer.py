"""The permissive trainer: trains, exports and runs the compact network, on torch alone.

Run as `python -m sightloop.pipeline.training.compact_trainer VERB JOB PARENT` by
`trainer_process.py`; files in, files out. Nothing here is AGPL: torch is BSD-3-Clause, the network
is our own (`compact_network.py`). Importing this file imports no torch. A checkpoint is tensors
and plain values; reading one runs no code.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from sightloop._support.files import write_json_atomic
from sightloop.dataset.labels import read_labels
from sightloop.dataset.version import Dataset, Item
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import ConfigError, MissingExtraError, TrainerError
from sightloop.pipeline.training.attempts import STATE_NAME
from sightloop.pipeline.training.child import Emit, Job, run_child
from sightloop.pipeline.training.compact_loop import Loop
from sightloop.pipeline.training.compact_network import build_network
from sightloop.pipeline.training.compact_samples import Samples
from sightloop.pipeline.training.diary import Diary
from sightloop.pipeline.training.torch_state import device_of, read_state, save_state
from sightloop.pipeline.training.trainer import (
    CHECKPOINT_NAME,
    RESULTS_NAME,
    Recipe,
    recipe_from,
)
from sightloop.vision.average_precision import evaluate
from sightloop.vision.decode import decode_image
from sightloop.vision.postprocess import decode_output
from sightloop.vision.preprocess import prepare

NAME: Final = "compact"
DEFAULT_WIDTH: Final = 0.25
OPSET: Final = 17
INPUT_NAME: Final = "images"
OUTPUT_NAME: Final = "output0"
_FORMAT: Final = "sightloop.compact/1"
_TOOLCHAIN: Final = ("torch", "numpy", "onnx")
_INFER_BATCH: Final = 8
_SCORE_MIN: Final = 0.001
_IOU: Final = 0.7


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network as it lies in a file.

    Attributes:
        classes: Names by index.
        width: Multiplier of its channels.
        weights: Its tensors by name.
    """

    classes: tuple[str, ...]
    width: float
    weights: Mapping[str, Any]


def check_installed() -> None:
    """Say what to install where torch is absent; imports nothing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "the compact trainer needs torch, which is not installed; install it with "
            "`pip install 'sightloop[train-compact]'`"
        )


def train(job: Job, emit: Emit) -> Mapping[str, object]:
    """Train as the job's recipe says; write checkpoint.pt and results.json."""
    import torch

    values = job["recipe"]
    assert isinstance(values, dict)
    recipe = recipe_from(values)
    _check_recipe(recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    dataset = read_yolo(Path(str(job["dataset"])) / "data.yaml")
    weights = Path(str(job["weights"])) if job["weights"] else None
    emit(0.0, "training the compact network")
    width, network = _starting_network(dataset, recipe, weights)
    kept, output = Path(str(job["kept"])), Path(str(job["output"]))
    state = read_state(kept / STATE_NAME)
    diary = Diary(int(str(job["batch"])), state["log"] if state else None)
    samples = Samples(dataset.of("train"), recipe, class_count=len(dataset.classes))
    loop = Loop(network, samples, recipe, diary=diary, device=device_of(recipe.device))
    if state:
        loop.restore(state)
    val = dataset.of("val")
    loop.run(kept, measure=lambda one: _measure(one, val, dataset, recipe), told=emit)
    trained = {name: value.cpu() for name, value in loop.average.state_dict().items()}
    _save_checkpoint(Checkpoint(dataset.classes, width, trained), output / CHECKPOINT_NAME)
    results = {
        **diary.results(recipe),
        "starting_weights": weights.name if weights else None,
        "classes": dataset.classes,
        "toolchain": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in _TOOLCHAIN},
        },
        "trainer": NAME,
        "precision": "mixed" if loop.mixed else "float32",
    }
    write_json_atomic(output / RESULTS_NAME, results)
    return {}


def export(job: Job, emit: Emit) -> Mapping[str, object]:
    """Write the checkpoint as ONNX: raw layout, static shape, batch of one."""
    import torch

    checkpoint, network = _load_network(Path(str(job["checkpoint"])))
    side_px, output = int(str(job["side_px"])), Path(str(job["output"]))
    example = torch.zeros(1, 3, side_px, side_px)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every size that is a number
        shape = list(network(example).shape)
        torch.onnx.export(
            network,
            (example,),
            str(output),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            dynamo=False,
        )
    return {
        "input_name": INPUT_NAME,
        "output_name": OUTPUT_NAME,
        "output_shape": shape,
        "classes": checkpoint.classes,
    }


def infer(job: Job, emit: Emit) -> Mapping[str, object]:
    """Run the checkpoint itself over saved tensors; save its raw outputs."""
    _, network = _load_network(Path(str(job["checkpoint"])))
    tensors = np.load(str(job["tensors"]), allow_pickle=False)
    np.save(str(job["output"]), _raw_of(network, tensors), allow_pickle=False)
    return {}


def _check_recipe(recipe: Recipe) -> None:
    if recipe.architecture not in ("", NAME):
        raise ConfigError(
            f"train.architecture: expected {NAME!r} or none with the compact trainer, found "
            f"{recipe.architecture!r}; remove it, or set train.trainer to another"
        )


def _starting_network(dataset: Dataset, recipe: Recipe, weights: Path | None) -> tuple[float, Any]:
    """The width, and a network of it: fresh, or with what fits of given weights."""
    classes = len(dataset.classes)
    if weights is None:
        width = recipe.width or DEFAULT_WIDTH
        return width, build_network(classes, width=width)
    checkpoint = _read_checkpoint(weights)
    network = build_network(classes, width=checkpoint.width)
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in checkpoint.weights.items()
        if name in own and own[name].shape == value.shape
    }
    network.load_state_dict({**own, **fitting})
    return checkpoint.width, network


def _save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    state = {
        "format": _FORMAT,
        "classes": list(checkpoint.classes),
        "width": checkpoint.width,
        "weights": dict(checkpoint.weights),
    }
    save_state(path, state)


def _read_checkpoint(path: Path) -> Checkpoint:
    """Read what `train` wrote.

    Raises:
        TrainerError: `weights_unloadable`: it is no checkpoint of this trainer.
    """
    state = read_state(path)
    if state is None or state.get("format") != _FORMAT:
        raise TrainerError(
            f"weights {path}: expected a checkpoint (.pt) of the compact trainer, found none; set "
            "train.weights to one, or leave it empty to start from random weights",
            reason="weights_unloadable",
        )
    return Checkpoint(tuple(state["classes"]), float(state["width"]), state["weights"])


def _load_network(path: Path) -> tuple[Checkpoint, Any]:
    checkpoint = _read_checkpoint(path)
    network = build_network(len(checkpoint.classes), width=checkpoint.width)
    network.load_state_dict(checkpoint.weights)
    return checkpoint, network.eval()


def _raw_of(network: Any, tensors: Any) -> Any:
    """Raw outputs, (n, 4 + C, N) float32, of tensors (n, 3, S, S) float32, a few at a time."""
    import torch

    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(tensors), _INFER_BATCH):
            given = torch.from_numpy(tensors[start : start + _INFER_BATCH]).to(device)
            parts.append(network(given).float().cpu().numpy())
    return np.concatenate(parts)


def _measure(
    network: Any, items: Sequence[Item], dataset: Dataset, recipe: Recipe
) -> dict[str, float]:
    """The trainer's own figures on the val split, for the curves; the pipeline judges anew."""
    labels, found = [], []
    for item in items:
        frame = decode_image(item.image.read_bytes())
        height, width = frame.shape[:2]
        tensor, placement = prepare(frame, side_px=recipe.side_px)
        detections = decode_output(
            _raw_of(network, tensor),
            layout="raw",
            score_threshold=_SCORE_MIN,
            iou_threshold=_IOU,
            max_candidates=30_000,
            max_detections=100,
        )
        boxes = placement.to_frame(detections.boxes, width_px=width, height_px=height)
        found.append(type(detections)(boxes, detections.scores, detections.classes))
        labels.append(
            read_labels(
                item.label, width_px=width, height_px=height, class_count=len(dataset.classes)
            )
        )
    report = evaluate(labels, found, class_count=len(dataset.classes))
    figures = {
        "val/map50_of_trainer": report.map50,
        "val/map50_95_of_trainer": report.map50_95,
    }
    return {name: value for name, value in figures.items() if value is not None}


if __name__ == "__main__":
    raise SystemExit(run_child({"train": train, "export": export, "infer": infer}, sys.argv[1:]))

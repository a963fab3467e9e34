"""The one door to Ultralytics and torch: trains, exports and runs a YOLO detector.

Run as `python -m sightloop.pipeline.training.ultralytics_trainer VERB JOB PARENT` by
`trainer_process.py`; files in, files out. Ultralytics is AGPL-3.0 and therefore an extra that is
never imported into the pipeline's own process: importing this file imports neither it nor torch.

It trains on a private copy (Ultralytics writes caches beside the labels and repairs images in
place), goes on from what an earlier attempt kept (`ultralytics_resume.py`), takes the final
checkpoint, and reaches no network: settings, synchronisation,
integrations, downloads and installations are all off. Descriptions of networks are those of the
installed package; a width is set on the loaded description.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from sightloop._support.files import write_json_atomic
from sightloop.errors import MissingExtraError, TrainerError
from sightloop.pipeline.training.attempts import STATE_NAME
from sightloop.pipeline.training.child import Emit, Job, run_child
from sightloop.pipeline.training.diary import Diary
from sightloop.pipeline.training.torch_state import (
    device_of,
    has_bfloat16,
    read_state,
    save_state,
)
from sightloop.pipeline.training.trainer import (
    CHECKPOINT_NAME,
    RESULTS_NAME,
    Recipe,
    recipe_from,
)
from sightloop.pipeline.training.ultralytics_resume import (
    begin_epoch,
    restore_state,
    state_of,
)

NAME: Final = "ultralytics"
DEFAULT_ARCHITECTURE: Final = "yolov8n"

LICENCE_NOTICE: Final = (
    "training with Ultralytics, which is AGPL-3.0: docs/licensing.md says what that means"
)
OPSET: Final = 17
_INTEGRATIONS: Final = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_TOOLCHAIN: Final = ("ultralytics", "torch", "numpy", "onnx")
_DISTRIBUTIONS: Final = {"ultralytics": "ultralytics-opencv-headless"}
_INFER_BATCH: Final = 8


def check_installed() -> None:
    """Say what to install where Ultralytics is absent; imports nothing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise MissingExtraError(
            "training needs Ultralytics (AGPL-3.0), which is not installed; install it with "
            "`pip install 'sightloop[train]'`"
        )


def train(job: Job, emit: Emit) -> Mapping[str, object]:
    """Train as the job's recipe says; write checkpoint.pt and results.json."""
    _seal()
    recipe = recipe_from(_mapping(job["recipe"]))
    private, output = Path(str(job["private"])), Path(str(job["output"]))
    emit(0.0, LICENCE_NOTICE)
    weights = str(job["weights"]) if job["weights"] else None
    if weights:
        _check_weights(Path(weights))
    data_yaml, classes = _private_copy(Path(str(job["dataset"])), private / "data")
    kept = Path(str(job["kept"]))
    state = read_state(kept / STATE_NAME)
    diary = Diary(int(str(job["batch"])), state["log"] if state else None)
    trainer = _trainer_for(recipe, data_yaml, private=private, weights=weights, batch=diary.batch)
    _watch(trainer, recipe.validate_every, diary, kept, emit)
    trainer.add_callback("on_train_start", lambda _: _use_threads(recipe.threads))
    if state:
        restore = partial(restore_state, state=state, spent_s=diary.spent_s)
        trainer.add_callback("on_train_start", restore)
    trainer.add_callback("on_train_epoch_start", lambda one: begin_epoch(one, recipe.seed))
    trainer.train()
    if recipe.time_limit_s and not trainer.last.exists():
        trainer.save_model()  # by itself it saves the last epoch by number, not by time
    _write_checkpoint(trainer.last, output / CHECKPOINT_NAME)
    results = {
        **diary.results(recipe),
        "starting_weights": Path(weights).name if weights else None,
        "classes": classes,
        "toolchain": _toolchain(),
        "trainer": NAME,
        "precision": "mixed" if trainer.args.amp else "float32",
    }
    write_json_atomic(output / RESULTS_NAME, results)
    return {}


def export(job: Job, emit: Emit) -> Mapping[str, object]:
    """Write the checkpoint as ONNX: raw layout, static shape, batch of one."""
    _seal()
    from ultralytics import YOLO

    private, side_px = Path(str(job["private"])), int(str(job["side_px"]))
    copy = private / CHECKPOINT_NAME  # the exporter writes beside its source
    shutil.copyfile(str(job["checkpoint"]), copy)
    model = YOLO(str(copy), task="detect")
    made = model.export(
        format="onnx",
        imgsz=side_px,
        opset=OPSET,
        simplify=False,
        dynamic=False,
        nms=None,  # raw layout; False would mean an NMS-free head, True a baked one
        device="cpu",
        verbose=False,
    )
    classes = [str(model.names[index]) for index in sorted(model.names)]
    answer = _contract_of(Path(str(made)), classes, side_px=side_px)
    shutil.move(str(made), str(job["output"]))
    return answer


def infer(job: Job, emit: Emit) -> Mapping[str, object]:
    """Run the checkpoint itself over saved tensors; save its raw outputs."""
    _seal()
    import torch
    from ultralytics.nn.tasks import load_checkpoint

    network, _ = load_checkpoint(str(job["checkpoint"]), device="cpu")
    network = network.float().eval()
    head = network.model[-1]
    if getattr(head, "end2end", False):
        head.end2end = False
    tensors = np.load(str(job["tensors"]), allow_pickle=False)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(tensors), _INFER_BATCH):
            given = torch.from_numpy(tensors[start : start + _INFER_BATCH])
            answer = network(given)
            raw = answer[0] if isinstance(answer, tuple | list) else answer
            parts.append(raw.float().numpy())
            emit(min(1.0, (start + _INFER_BATCH) / len(tensors)), "checkpoint inference")
    np.save(str(job["output"]), np.concatenate(parts).astype(np.float32), allow_pickle=False)
    return {}


def _seal() -> None:
    """Import Ultralytics with everything off that leaves this process."""
    check_installed()
    from ultralytics.data import utils as data_utils
    from ultralytics.utils import SETTINGS

    off = dict.fromkeys(_INTEGRATIONS, False)
    SETTINGS.update({"sync": False, "vscode_msg": False, "openvino_msg": False, **off})
    data_utils.check_font = lambda _: None  # fetches a font for pictures that nobody draws here


def _check_weights(weights: Path) -> None:
    """Fail early and in words: the framework's own errors on a foreign file are riddles."""
    from ultralytics.nn.tasks import load_checkpoint

    fault = "no archive of PyTorch"
    if zipfile.is_zipfile(weights):
        try:
            load_checkpoint(str(weights), device="cpu")
            return
        except (TypeError, RuntimeError, KeyError, AttributeError, EOFError) as error:
            fault = f"{type(error).__name__}: {error}"
    raise TrainerError(
        f"weights {weights}: expected an Ultralytics detector checkpoint (.pt), found {fault}; "
        "set train.weights to one, or leave it empty to start from random weights",
        reason="weights_unloadable",
    )


def _private_copy(dataset: Path, copy: Path) -> tuple[Path, list[str]]:
    """Copy the train and val splits; give the copy's data.yaml and the class names."""
    described = yaml.safe_load((dataset / "data.yaml").read_text())
    names = described["names"]
    classes = [names[index] for index in sorted(names)] if isinstance(names, dict) else list(names)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            source = dataset / kind / split
            if not source.is_dir():
                raise TrainerError(
                    f"dataset {dataset}: expected the folder {kind}/{split}, found none; "
                    "train on the output of the step `split`",
                    reason="dataset_layout",
                )
            shutil.copytree(source, copy / kind / split, copy_function=shutil.copyfile)
    value = {
        "path": str(copy),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(classes)),
    }
    data_yaml = copy / "data.yaml"
    data_yaml.write_text(yaml.safe_dump(value))
    return data_yaml, [str(name) for name in classes]


def _trainer_for(
    recipe: Recipe, data_yaml: Path, *, private: Path, weights: str | None, batch: int
) -> Any:
    """A DetectionTrainer with its network described but not yet built."""
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.nn.tasks import yaml_model_load

    named = f"{recipe.architecture or DEFAULT_ARCHITECTURE}.yaml"
    device = device_of(recipe.device)
    trainer = DetectionTrainer(
        overrides={
            "model": weights or named,
            "data": str(data_yaml),
            "project": str(private),
            "name": "run",
            "pretrained": weights is not None,
            **_overrides(recipe),
            "batch": batch,
            "device": device,
            # `bf16`, not true: that would fetch a network to check mixed precision with.
            "amp": "bf16" if recipe.mixed_precision and has_bfloat16(device) else False,
        }
    )
    if weights is None:
        description = yaml_model_load(named)
        if recipe.width is not None:
            scale = description["scale"]
            depth, _, most = description["scales"][scale]
            description["scales"] = {scale: [depth, recipe.width, most]}
        trainer.model = description
    return trainer


def _use_threads(count: int) -> None:
    """Set torch's threads; only when the training begins does nothing reset them any more."""
    import torch

    torch.set_num_threads(count or os.cpu_count() or 1)


def _overrides(recipe: Recipe) -> dict[str, object]:
    return {
        "task": "detect",
        "epochs": recipe.epochs,
        "time": recipe.time_limit_s / 3600 if recipe.time_limit_s else None,
        "imgsz": recipe.side_px,
        "optimizer": recipe.optimizer,
        "lr0": recipe.learning_rate,
        "lrf": recipe.final_rate_fraction,
        "weight_decay": recipe.weight_decay,
        "warmup_epochs": recipe.warmup_epochs,
        "nbs": recipe.nominal_batch,
        "mosaic": recipe.mosaic,
        "close_mosaic": recipe.close_mosaic,
        "fliplr": recipe.flip_horizontal,
        "flipud": recipe.flip_vertical,
        "hsv_h": recipe.hue,
        "hsv_s": recipe.saturation,
        "hsv_v": recipe.brightness,
        "scale": recipe.zoom,
        "translate": recipe.shift,
        "seed": recipe.seed,
        "deterministic": True,
        "workers": 0,
        "cache": "ram",
        "plots": False,
        "patience": 0,
        "save": False,  # the last epoch is saved all the same, and only that is judged
        "val": recipe.validate_every > 0,
        "verbose": False,
        "exist_ok": True,
    }


def _watch(trainer: Any, every: int, diary: Diary, kept: Path, emit: Emit) -> None:
    """Collect what every epoch measured, and measure on the val split only when it is due."""
    measure = trainer.validate
    measured: dict[str, float] = {}

    def validate() -> tuple[dict[str, float], float | None]:
        measured.clear()
        done = trainer.epoch + 1
        if every and (done % every == 0 or done >= trainer.epochs):
            found, fitness = measure()
            measured.update({f"val/{_short(name)}": float(value) for name, value in found.items()})
            return dict(found), fitness
        return {}, None

    def collect(current: Any) -> None:
        losses = {f"train/{name}": float(value) for name, value in current.tloss.items()}
        rate = {"train/learning_rate": float(current.optimizer.param_groups[0]["lr"])}
        metrics = {**losses, **rate, **measured}
        done = current.epoch + 1
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        diary.add(finite)
        if not current.stop:  # after the last epoch there is nothing to go on with
            save_state(kept / STATE_NAME, state_of(current) | {"log": diary.log()})
        total = sum(losses.values())
        emit(min(1.0, done / current.epochs), f"epoch {done}/{current.epochs}, loss {total:.2f}")

    trainer.validate = validate
    trainer.final_eval = lambda: None
    trainer.add_callback("on_fit_epoch_end", collect)


def _short(name: str) -> str:
    """`metrics/mAP50(B)` as `map50_of_trainer`: the trainer's own measure, not the gate's."""
    kind, _, rest = name.partition("/")
    if kind != "metrics":
        return rest or name
    return rest.removesuffix("(B)").lower().replace("-", "_") + "_of_trainer"


def _write_checkpoint(last: Path, target: Path) -> None:
    """Keep the averaged weights of the last epoch and nothing of where they were made."""
    import torch
    from ultralytics.utils.torch_utils import strip_optimizer

    if not last.exists():
        raise TrainerError(
            "training ended without a checkpoint; the loss was probably not finite: lower "
            "train.learning_rate",
            reason="no_checkpoint",
        )
    stripped = strip_optimizer(last)
    network = stripped["model"]
    if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
        raise TrainerError(
            "training gave weights that are not finite; lower train.learning_rate",
            reason="weights_not_finite",
        )
    network.args = {"imgsz": stripped["train_args"]["imgsz"], "task": "detect"}
    kept = ("epoch", "model", "version", "license")
    checkpoint = {name: stripped[name] for name in kept}
    temporary = target.with_suffix(".tmp")
    torch.save(checkpoint | {"ema": None, "train_args": network.args}, temporary)
    os.replace(temporary, target)


def _contract_of(model: Path, classes: list[str], *, side_px: int) -> dict[str, object]:
    """Read names and shapes from the file and hold them against what was ordered."""
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    shapes = [
        [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    ]
    rows = 4 + len(classes)
    wanted = f"one input (1, 3, {side_px}, {side_px}) and one output (1, {rows}, N)"
    fits = len(shapes) == 2 and shapes[0] == [1, 3, side_px, side_px] and len(shapes[1]) == 3
    if not fits or shapes[1][:2] != [1, rows] or shapes[1][2] <= 6:
        raise TrainerError(
            f"exported network: expected {wanted}, found {shapes}; only detectors with the raw "
            "layout are supported",
            reason="export_contract",
        )
    return {
        "input_name": graph.input[0].name,
        "output_name": graph.output[0].name,
        "output_shape": shapes[1],
        "classes": classes,
    }


def _toolchain() -> dict[str, str]:
    found = {name: version(_DISTRIBUTIONS.get(name, name)) for name in _TOOLCHAIN}
    return {"python": sys.version.split()[0], **found}


def _mapping(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


if __name__ == "__main__":
    raise SystemExit(run_child({"train": train, "export": export, "infer": infer}, sys.argv[1:]))

"""A trainer without a framework: what it "trains" is a tiny detector that is right from the start.

`FakeTrainer` works in the caller's process; run as a module it is the child of a
`TrainerProcess`, with ways to fail that a real framework has: name one as the recipe's
architecture (`raises`, `dies`, `hangs`, `starves` with more than four images a step, `phones`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop._support.files import write_json_atomic
from sightloop.errors import TrainerError
from sightloop.pipeline.training.child import Emit, Job, run_child
from sightloop.pipeline.training.trainer import (
    CHECKPOINT_NAME,
    RESULTS_NAME,
    NetworkContract,
    Progress,
    TrainJob,
    recipe_from,
)
from sightloop.testing.plates import PLATE_CLASSES
from sightloop.testing.tiny_detectors import build_tiny_detector
from sightloop.testing.tiny_network import (
    INPUT_NAME,
    OUTPUT_NAME,
    TinyNetwork,
    reference_output,
)

ARCHITECTURE: Final = "tiny"


@dataclass(frozen=True, slots=True)
class FakeTrainer:
    """A `Trainer` of tiny detectors for rendered plates.

    Attributes:
        variant: Which tiny detector every training gives.
    """

    variant: int = 0

    def train(self, job: TrainJob, progress: Progress) -> None:
        if not (job.dataset / "data.yaml").is_file():
            raise TrainerError(f"dataset {job.dataset}: expected data.yaml, found none")
        epochs = []
        for epoch in range(1, job.recipe.epochs + 1):
            epochs.append({"epoch": epoch, "metrics": {"train/loss": 1.0 / epoch}})
            progress(epoch / job.recipe.epochs, f"epoch {epoch}/{job.recipe.epochs}")
        checkpoint = {"variant": self.variant, "side_px": job.recipe.side_px}
        write_json_atomic(job.output / CHECKPOINT_NAME, checkpoint)
        results = {
            "epochs": epochs,
            "hyperparameters": job.recipe.as_dict(),
            "starting_weights": job.weights.name if job.weights else None,
            "classes": PLATE_CLASSES,
            "toolchain": {"fake_trainer": "1"},
            "seconds": 0.0,
            "trainer": "fake",
            "batch": job.recipe.batch or 1,
            "precision": "float32",
            "resumed_after": [],
        }
        write_json_atomic(job.output / RESULTS_NAME, results)

    def export(self, checkpoint: Path, output: Path, *, side_px: int) -> NetworkContract:
        network = _network_of(checkpoint)
        if network.side_px != side_px:
            raise TrainerError(f"expected side {network.side_px} px, found {side_px}")
        build_tiny_detector(output, variant=network.variant, side_px=side_px)
        return NetworkContract(
            input_name=INPUT_NAME,
            output_name=OUTPUT_NAME,
            output_shape=network.output_shape,
            side_px=side_px,
            classes=PLATE_CLASSES,
        )

    def infer(self, checkpoint: Path, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        network = _network_of(checkpoint)
        return np.concatenate(
            [reference_output(tensors[i : i + 1], network) for i in range(len(tensors))]
        )


def _network_of(checkpoint: Path) -> TinyNetwork:
    try:
        value = json.loads(checkpoint.read_text())
        return TinyNetwork(variant=value["variant"], side_px=value["side_px"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainerError(f"checkpoint {checkpoint}: expected one of this trainer") from error


def _train(job: Job, emit: Emit) -> Mapping[str, object]:
    recipe = job["recipe"]
    assert isinstance(recipe, dict)
    print("a framework's own words")  # noqa: T201  # must not be taken for an event
    emit(0.0, f"pid {os.getpid()} niceness {os.nice(0)}")
    if recipe["architecture"] == "raises":
        raise RuntimeError("the loss exploded")
    if recipe["architecture"] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    while recipe["architecture"] == "hangs":
        signal.pause()
    if recipe["architecture"] == "starves" and int(str(job["batch"])) > 4:
        np.empty(1 << 50, np.uint8)
    if recipe["architecture"] == "phones":
        _phone()
    weights = job["weights"]
    order = TrainJob(
        dataset=Path(str(job["dataset"])),
        output=Path(str(job["output"])),
        weights=Path(str(weights)) if weights else None,
        recipe=recipe_from(recipe),
    )
    FakeTrainer().train(order, emit)
    results = json.loads((order.output / RESULTS_NAME).read_bytes())
    write_json_atomic(order.output / RESULTS_NAME, results | {"batch": job["batch"]})
    return {}


def _phone() -> None:
    """Ask for all that a trainer may not have; each is refused like a fault of the system."""
    attempts: list[Callable[[], object]] = [
        lambda: urllib.request.urlopen("http://192.0.2.1/weights.pt", timeout=1),
        lambda: socket.create_connection(("example.org", 443), timeout=1),
        lambda: subprocess.run([sys.executable, "-m", "pip", "install", "nothing"], check=False),
        lambda: os.system("curl http://192.0.2.1"),
    ]
    for attempt in attempts:
        with contextlib.suppress(OSError):
            attempt()
            raise AssertionError("a trainer reached out")
    subprocess.run([sys.executable, "-c", ""], check=True)  # nothing wrong with a program as such


def _export(job: Job, emit: Emit) -> Mapping[str, object]:
    output, side_px = Path(str(job["output"])), int(str(job["side_px"]))
    network = FakeTrainer().export(Path(str(job["checkpoint"])), output, side_px=side_px)
    return {
        "input_name": network.input_name,
        "output_name": network.output_name,
        "output_shape": network.output_shape,
        "classes": network.classes,
    }


def _infer(job: Job, emit: Emit) -> Mapping[str, object]:
    tensors = np.load(str(job["tensors"]), allow_pickle=False)
    raw = FakeTrainer().infer(Path(str(job["checkpoint"])), tensors)
    np.save(str(job["output"]), raw, allow_pickle=False)
    return {}


if __name__ == "__main__":
    verbs = {"train": _train, "export": _export, "infer": _infer}
    raise SystemExit(run_child(verbs, sys.argv[1:]))

"""The step `calibrate`: frames, and what the trainer's checkpoint and people say is in them.

Reads `dataset`, `training` and `model` (its contract alone: the exported network is never run
here, or it would vouch for itself); writes the folder `calibration`: frames/, expected.json.
The frames' bytes are those of the dataset, unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from sightloop._support.files import write_bytes_atomic
from sightloop.dataset.copying import read_copy
from sightloop.dataset.version import Item, Split
from sightloop.errors import DatasetError
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.evaluation import LabelledFrame, prepare_for, read_frame, read_output
from sightloop.pipeline.exported_model import read_exported
from sightloop.pipeline.training.results import read_results
from sightloop.pipeline.training.trainer import CHECKPOINT_NAME, Trainer
from sightloop.pipeline.training.trainer_process import trainer_process
from sightloop.release.calibration import Expected, FrameExpectation, expected_to_bytes

FRAMES_NAME = "frames"
EXPECTED_FILE = "expected.json"
SPLIT: Final[Split] = "val"


def run(context: StepContext) -> None:
    """Calibrate with the trainer that trained."""
    trainer = read_results(context.inputs["training"]).trainer
    with context.scratch() as scratch:
        calibrate_with(context, trainer_process(trainer, scratch))


def calibrate_with(context: StepContext, trainer: Trainer) -> None:
    """Calibrate with a given trainer.

    Raises:
        DatasetError: The split has no labelled image.
        TrainerError: The checkpoint cannot be run.
    """
    contract = read_exported(context.inputs["model"]).contract
    dataset = read_copy(context.inputs["dataset"])
    class_count = len(contract.classes)
    labelled = [_without_pixels(item, class_count=class_count) for item in dataset.of(SPLIT)]
    picked = choose_frames(labelled, count=context.integer("frames"), class_count=class_count)
    chosen = [read_frame(frame.item, class_count=class_count) for frame in picked]
    if not chosen:
        raise DatasetError(
            f"calibration: expected labelled images in the split {SPLIT}, found none",
            reason="split_empty",
        )
    prepared = [prepare_for(contract, frame.frame) for frame in chosen]
    tensors = np.concatenate([tensor for tensor, _ in prepared])
    context.report(0.3, f"checkpoint on {len(chosen)} frames")
    raws = trainer.infer(context.inputs["training"] / CHECKPOINT_NAME, tensors)
    threshold = context.number("score")
    expectations = []
    for number, (frame, (_, placement)) in enumerate(zip(chosen, prepared, strict=True)):
        found = read_output(
            raws[number : number + 1],
            contract,
            frame,
            placement=placement,
            score_threshold=threshold,
        )
        name = f"{number:03d}{PurePosixPath(frame.item.name).suffix.lower()}"
        write_bytes_atomic(context.outputs["calibration"] / FRAMES_NAME / name, frame.data)
        expectations.append(
            FrameExpectation(name, frame.width_px, frame.height_px, frame.labels, found)
        )
    write_bytes_atomic(
        context.outputs["calibration"] / EXPECTED_FILE,
        expected_to_bytes(Expected(tuple(expectations))),
    )


def choose_frames(
    frames: Sequence[LabelledFrame], *, count: int, class_count: int
) -> list[LabelledFrame]:
    """Pick frames spread over the classes, by labels and names alone, never by any answer.

    Classes take turns, the rarest first; within a class the frames are taken evenly over the
    names in order. Frames without labels are not taken.
    """
    labelled = sorted((frame for frame in frames if len(frame.labels)), key=_name_of)
    by_class = [
        [frame for frame in labelled if index in frame.labels.classes]
        for index in range(class_count)
    ]
    turns = [_evenly(members, count) for members in sorted(by_class, key=len) if members]
    chosen: dict[str, LabelledFrame] = {}
    for place in range(count):
        for members in turns:
            if place < len(members) and len(chosen) < count:
                chosen.setdefault(members[place].item.name, members[place])
    return sorted(chosen.values(), key=_name_of)


def _without_pixels(item: Item, *, class_count: int) -> LabelledFrame:
    """A frame to choose by its labels: a large split is never held in memory."""
    nothing = np.zeros((1, 1, 3), np.uint8)
    return replace(read_frame(item, class_count=class_count), data=b"", frame=nothing)


def _evenly(members: Sequence[LabelledFrame], count: int) -> list[LabelledFrame]:
    step = max(1.0, len(members) / count)
    return [members[int(place * step)] for place in range(min(count, len(members)))]


def _name_of(frame: LabelledFrame) -> str:
    return frame.item.name

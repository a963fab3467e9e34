"""A dataset of rendered plates in the YOLO layout, for tests of the pipeline without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from sightloop.dataset.version import Split
from sightloop.testing.plates import PLATE_CLASSES, render_plate
from sightloop.vision.decode import encode_png
from sightloop.vision.detections import Labels


def write_plate_dataset(
    folder: Path, counts: Mapping[Split, int], *, side_px: int = 160, first_seed: int = 0
) -> Path:
    """Write images/SPLIT, labels/SPLIT and data.yaml.

    Args:
        folder: Where to; created.
        counts: Plates a split; a split of none is not named.
        side_px: Side of the plates.
        first_seed: Seed of the first plate; the next ones count up, over all splits.

    Returns:
        The data.yaml.
    """
    seed = first_seed
    named = {split: count for split, count in counts.items() if count}
    for split, count in named.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(count):
            frame, marked = render_plate(seed, side_px=side_px)
            (images / f"plate-{number:03d}.png").write_bytes(encode_png(frame))
            (labels / f"plate-{number:03d}.txt").write_text(_lines(marked, side_px))
            seed += 1
    described: dict[str, object] = {split: f"images/{split}" for split in named}
    described |= {"path": ".", "names": dict(enumerate(PLATE_CLASSES))}
    data_yaml = folder / "data.yaml"
    data_yaml.write_text(yaml.safe_dump(described))
    return data_yaml


def _lines(labels: Labels, side_px: int) -> str:
    boxes = labels.boxes.astype(np.float64) / side_px
    rows = []
    for index, (left, top, right, bottom) in zip(
        labels.classes.tolist(), boxes.tolist(), strict=True
    ):
        centre = (left + right) / 2, (top + bottom) / 2
        values = (*centre, right - left, bottom - top)
        rows.append(f"{index} " + " ".join(f"{value:.7f}" for value in values) + "\n")
    return "".join(rows)

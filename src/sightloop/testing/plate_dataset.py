"""Rendered plates as a dataset, YOLO or COCO, for tests of the pipeline without training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from sightloop._support.files import write_json_atomic
from sightloop.dataset.version import SPLITS, Split
from sightloop.dataset.yolo import read_labels, read_yolo
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


def turn_into_coco(data_yaml: Path, *, side_px: int = 160) -> Path:
    """Write the labels of a plate dataset as COCO files and take its YOLO files away.

    Args:
        data_yaml: Of `write_plate_dataset`.
        side_px: Side of the plates.

    Returns:
        The folder, with `annotations/instances_SPLIT.json`.
    """
    dataset = read_yolo(data_yaml)
    annotations = dataset.root / "annotations"
    annotations.mkdir()
    for split in SPLITS:
        images: list[dict[str, object]] = []
        boxes: list[dict[str, object]] = []
        for number, item in enumerate(dataset.of(split)):
            size = {"width": side_px, "height": side_px}
            images.append({"id": number, "file_name": item.image.name, **size})
            marked = read_labels(item.label, width_px=side_px, height_px=side_px, class_count=2)
            for (x1, y1, x2, y2), index in zip(
                marked.boxes.tolist(), marked.classes.tolist(), strict=True
            ):
                where = {
                    "image_id": number,
                    "category_id": index,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
                boxes.append({"id": len(boxes), **where})
        if images:
            named = [{"id": index, "name": name} for index, name in enumerate(dataset.classes)]
            value = {"images": images, "annotations": boxes, "categories": named}
            write_json_atomic(annotations / f"instances_{split}.json", value)
    shutil.rmtree(dataset.root / "labels")
    data_yaml.unlink()
    return dataset.root

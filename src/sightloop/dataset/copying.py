"""A dataset written out whole: images/<split>, labels/<split>, data.yaml, dataset.json.

Files are copied byte for byte, never linked: whoever writes beside the copy cannot touch the
original. Labels of another layout are written as YOLO text. The copy reads like any YOLO dataset
and has the same version wherever it lies.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import yaml

from sightloop._support.files import write_json_atomic
from sightloop.dataset.fingerprint import Progress, dataset_version, no_progress
from sightloop.dataset.version import SPLITS, Dataset, Item, Split
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError

DATA_YAML = "data.yaml"
DATASET_JSON = "dataset.json"


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """dataset.json: what a copied dataset is.

    Attributes:
        classes: In the order of the class index.
        version: `dataset_version` of the copy.
        source: Where the user's data.yaml lay when it was read; for people, not for programs.
        counts: Images by split.
        originals: Name of each image in the copy to its name in the user's dataset.
        stated_px: Name of each image in the copy to the (width, height) that its source states,
            for images whose source states them.
    """

    classes: tuple[str, ...]
    version: str
    source: str
    counts: Mapping[str, int]
    originals: Mapping[str, str]
    stated_px: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def copy_dataset(
    dataset: Dataset, folder: Path, *, source: str, progress: Progress = no_progress
) -> Dataset:
    """Write `dataset` into the empty `folder`.

    Args:
        dataset: What to copy; the `split` of each item says where it goes.
        folder: Exists and is empty.
        source: What dataset.json names as the origin.
        progress: Takes the fraction done.

    Returns:
        The copy, read back.

    Raises:
        DatasetError: `dataset_changed`: a file vanished while it was copied.
    """
    targets = _targets(dataset.items)
    for split in SPLITS:
        if dataset.of(split):
            (folder / "images" / split).mkdir(parents=True)
            (folder / "labels" / split).mkdir(parents=True)
    for done, item in enumerate(dataset.items, start=1):
        _copy_item(item, folder, targets[item.split, item.name])
        progress(0.9 * done / len(dataset.items))
    _write_data_yaml(dataset, folder)
    copy = replace(read_yolo(folder / DATA_YAML), root=folder)
    info = DatasetInfo(
        classes=dataset.classes,
        version=dataset_version(copy),
        source=source,
        counts={split: len(copy.of(split)) for split in SPLITS},
        originals={f"images/{split}/{target}": name for (split, name), target in targets.items()},
        stated_px={
            f"images/{item.split}/{targets[item.split, item.name]}": item.stated_px
            for item in dataset.items
            if item.stated_px
        },
    )
    _write_info(folder, info)
    progress(1.0)
    return copy


def read_info(folder: Path) -> DatasetInfo:
    """Read dataset.json of a copied dataset.

    Raises:
        DatasetError: It is missing or says something else.
    """
    path = folder / DATASET_JSON
    try:
        value = json.loads(path.read_bytes())
        return DatasetInfo(
            classes=tuple(value["classes"]),
            version=value["version"],
            source=value["source"],
            counts=value["counts"],
            originals=value["originals"],
            stated_px={
                name: (int(width), int(height))
                for name, (width, height) in value.get("stated_px", {}).items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: expected what the ingest step writes, found: {error!r}; run the step again",
            "dataset_info_invalid",
        ) from error


def read_copy(folder: Path) -> Dataset:
    """Read a copied dataset with its images under the names that the user knows.

    Raises:
        DatasetError: It is not what `copy_dataset` wrote.
    """
    info = read_info(folder)
    dataset = read_yolo(folder / DATA_YAML)
    items = tuple(
        replace(
            item,
            name=info.originals.get(item.name, item.name),
            stated_px=info.stated_px.get(item.name),
        )
        for item in dataset.items
    )
    return replace(dataset, items=items)


def _write_info(folder: Path, info: DatasetInfo) -> None:
    value = {
        "classes": list(info.classes),
        "version": info.version,
        "source": info.source,
        "counts": dict(info.counts),
        "originals": dict(info.originals),
        "stated_px": {name: list(size) for name, size in info.stated_px.items()},
    }
    write_json_atomic(folder / DATASET_JSON, value)


def _targets(items: Sequence[Item]) -> dict[tuple[Split, str], PurePosixPath]:
    """Path of each image below images/<split>: short where possible, never shared.

    Two images may share a label only if they did so before.
    """
    targets: dict[tuple[Split, str], PurePosixPath] = {}
    label_of: dict[tuple[Split, PurePosixPath], tuple[Path | None, str | None]] = {}
    taken: set[tuple[Split, PurePosixPath]] = set()
    for item in sorted(items, key=lambda one: (one.split, one.name)):
        target = _short(item)
        stem = item.split, target.with_suffix("")
        label = item.label, item.label_text
        other_label = stem in label_of and label_of[stem] != label
        if other_label or (item.split, target) in taken:
            prefix = hashlib.sha256(item.name.encode()).hexdigest()[:12]
            target = target.with_name(f"{prefix}-{target.name}")
            stem = item.split, target.with_suffix("")
        label_of[stem] = label
        taken.add((item.split, target))
        targets[item.split, item.name] = target
    return targets


def _short(item: Item) -> PurePosixPath:
    """The item's name without the folders that the copy adds again."""
    parts = PurePosixPath(item.name).parts
    kept = [part for part in parts[:-1] if part not in ("images", "/", *SPLITS)]
    return PurePosixPath(*kept, parts[-1])


def _copy_item(item: Item, folder: Path, target: PurePosixPath) -> None:
    image = folder / "images" / item.split / target
    label = (folder / "labels" / item.split / target).with_suffix(".txt")
    try:
        image.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.image, image)
        if item.label_text is not None:
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(item.label_text.encode())
        elif item.label:
            label.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.label, label)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{error.filename}: expected the file found a moment ago, found none; keep the dataset "
            "still while it is read, and run again",
            "dataset_changed",
        ) from error


def _write_data_yaml(dataset: Dataset, folder: Path) -> None:
    value: dict[str, object] = {"path": "."}
    value |= {split: f"images/{split}" for split in SPLITS if dataset.of(split)}
    value["names"] = dict(enumerate(dataset.classes))
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    (folder / DATA_YAML).write_text(text, encoding="utf-8")

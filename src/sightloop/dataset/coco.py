"""Datasets in the COCO layout: JSON files of images, categories and annotations.

A split is one JSON file: `train`, `val` (or `valid`) or `test` in its name or its folder's; a file
that names none is `train`. Classes are the categories in the order of their ids. Each annotation's
box becomes a line of YOLO text, faulty ones too, so that the check finds and shows them; crowd
regions are left out, as trainers do. Nothing is written and no image is decoded here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from sightloop.dataset.version import SPLITS, Dataset, Item, Split
from sightloop.errors import DatasetError

_SPLIT_OF_WORD: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_SHOWN = 3
_SIDE_MAX_PX = 1 << 20
_NUMBER_MAX = 1 << 53
"""Whole numbers beyond it are no pixels, and may be more than a float holds."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as its annotation file names it."""

    number: int
    name: str
    size_px: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Source:
    """One annotation file, read."""

    path: Path
    images: Sequence[dict[str, Any]]
    annotations: Sequence[dict[str, Any]]
    classes: tuple[str, ...]
    index_of: Mapping[int, int]


def read_coco(path: Path) -> Dataset:
    """Read one annotation file, or the annotation files of a folder.

    In a folder they lie in `annotations/`, in it, or one level below (`train/_annotations.json`);
    where some are called `instances...`, the others are left out. An image is looked for beside
    its annotation file, in `images/`, and in the folders named like the split.

    Raises:
        DatasetError: `coco_layout`: no annotation files, or two for one split; `coco_invalid`: a
            file does not say what it must; `classes_missing`, `image_missing`, `split_empty`.
    """
    root = Path(os.path.abspath(path if path.is_dir() else path.parent))
    if path.is_file() and root.name == "annotations":
        root = root.parent
    items: list[Item] = []
    first: _Source | None = None
    for split, annotation_file in _annotation_files(path).items():
        source = _read_source(annotation_file)
        first = first or source
        if source.classes != first.classes:
            raise _invalid(
                source.path,
                f"expected the categories of {first.path.name} in the order of their ids, found "
                f"others: {_listed(sorted({*source.classes} ^ {*first.classes}))}",
            )
        items.extend(_items(source, root, split))
    if first is None or not any(item.split == "train" for item in items):
        raise DatasetError(
            f"{path}: expected annotations for `train`, found those of "
            f"{_listed(sorted({item.split for item in items}))}; rename the file",
            "coco_layout",
        )
    return Dataset(root=root, classes=first.classes, items=tuple(items))


def _annotation_files(path: Path) -> dict[Split, Path]:
    if not path.is_dir():
        return {_split_of(path) or "train": path}
    found = next(filter(None, (_json_below(path, *below) for below in _PLACES)), [])
    if not found:
        raise DatasetError(
            f"{path}: expected data.yaml (YOLO) or annotation files such as "
            "annotations/instances_train.json (COCO), found neither; name another file or folder",
            "coco_layout",
        )
    files: dict[Split, Path] = {}
    for file in found:
        split = _split_of(file) or _split_of(file.parent) or "train"
        if split in files:
            raise DatasetError(
                f"{path}: expected one annotation file a split, found {files[split].name} and "
                f"{file.name} for {split}; name one of them in `data`, or move the other away",
                "coco_layout",
            )
        files[split] = file
    return {split: files[split] for split in SPLITS if split in files}


_PLACES = (("annotations", "*.json"), (".", "*.json"), (".", "*/*.json"))


def _json_below(folder: Path, place: str, pattern: str) -> list[Path]:
    found = sorted((folder / place).glob(pattern))
    return [file for file in found if file.name.startswith("instances")] or found


def _split_of(path: Path) -> Split | None:
    words = re.findall(r"[a-z]+", path.name.lower())
    return next((_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD), None)


def _read_source(path: Path) -> _Source:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(
            f"{path}: expected an annotation file, found: {error.strerror}; name another file",
            "coco_invalid",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"expected JSON, found: {error}") from error
    if not isinstance(value, dict):
        raise _invalid(path, f"expected keys such as `images`, found {value!r:.60}")
    categories = _rows(value, "categories", path)
    if not categories:
        raise DatasetError(
            f"{path}: categories: expected the classes, found none; add them", "classes_missing"
        )
    names = {_id_of(row, "categories", path): row.get("name") for row in categories}
    texts = [name.strip() if isinstance(name, str) else "" for _, name in sorted(names.items())]
    if len({*texts, ""}) != len(categories) + 1:
        raise _invalid(path, "categories: an id or a name stands twice, or one has no name")
    return _Source(
        path=path,
        images=_rows(value, "images", path),
        annotations=_rows(value, "annotations", path),
        classes=tuple(texts),
        index_of={number: index for index, number in enumerate(sorted(names))},
    )


def _rows(value: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    rows = value.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _invalid(path, f"{key}: expected a list of objects, found {rows!r:.60}")
    return rows


def _id_of(row: Mapping[str, Any], key: str, path: Path) -> int:
    number = row.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise _invalid(path, f"{key}: expected a whole number as `id`, found {number!r:.40}")
    return number


def _items(source: _Source, root: Path, split: Split) -> Iterator[Item]:
    if not source.images:
        raise DatasetError(
            f"{source.path}: images: expected images for {split}, found none; add images or move "
            "the file away",
            "split_empty",
        )
    images = [_image_of(row, source.path) for row in source.images]
    if len({image.number for image in images}) != len(images):
        raise _invalid(source.path, "images: expected each id once, found one twice")
    texts = _label_texts(source, images)
    folders = _image_folders(source.path, root, split)
    missing = []
    for image in images:
        place = next((one for one in (f / image.name for f in folders) if one.is_file()), None)
        if place is None:
            missing.append(image.name)
            continue
        inside = place.is_relative_to(root)
        yield Item(
            name=place.relative_to(root).as_posix() if inside else f"{split}/{image.name}",
            image=place,
            label=None,
            split=split,
            label_text=texts[image.number],
            stated_px=image.size_px,
        )
    if missing:
        raise DatasetError(
            f"{source.path}: expected {len(images)} images, found {len(missing)} of them missing: "
            f"{_listed(missing)}; looked in {', '.join(str(folder) for folder in folders)}; put "
            "them there or remove their entries",
            "image_missing",
        )


def _image_of(row: Mapping[str, Any], path: Path) -> _Image:
    number = _id_of(row, "images", path)
    name, width, height = row.get("file_name"), row.get("width"), row.get("height")
    if not isinstance(name, str) or not _is_below(name):
        raise _invalid(
            path, f"images, id {number}: expected a file_name below the folder, found {name!r:.80}"
        )
    if not (_is_side(width) and _is_side(height)):
        raise _invalid(
            path,
            f"images, id {number}: expected width and height in pixels, found {width!r:.20} and "
            f"{height!r:.20}",
        )
    return _Image(number, name, (width, height))


def _is_side(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value <= _SIDE_MAX_PX


def _is_below(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\0" not in name


def _image_folders(path: Path, root: Path, split: Split) -> list[Path]:
    """Where images may lie, first the likeliest; `instances_train2017` also names `train2017`."""
    words = {split, path.stem.removeprefix("instances_"), path.parent.name}
    words |= {word for word, named in _SPLIT_OF_WORD.items() if named == split}
    near = [path.parent, path.parent / "images", root, root / "images"]
    below = [place / word for place in (root / "images", root) for word in sorted(words)]
    return [folder for folder in dict.fromkeys((*near, *below)) if folder.is_dir()]


def _label_texts(source: _Source, images: Sequence[_Image]) -> dict[int, str]:
    """YOLO text by image id; a line an annotation, in the order of the file."""
    sizes = {image.number: image.size_px for image in images}
    lines: dict[int, list[str]] = {number: [] for number in sizes}
    faults = []
    for place, row in enumerate(source.annotations, start=1):
        image, category, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
        if not isinstance(image, int) or image not in sizes:
            faults.append(f"annotation {place}: image_id {image!r:.40} is not in images")
        elif not isinstance(category, int) or category not in source.index_of:
            faults.append(f"annotation {place}: category_id {category!r:.40} is not in categories")
        elif not _is_box(box):
            faults.append(f"annotation {place}: bbox {box!r:.60} is not four numbers")
        elif not row.get("iscrowd"):
            lines[image].append(_line(source.index_of[category], box, sizes[image]))
    if faults:
        raise _invalid(
            source.path,
            f"annotations: expected known images and categories and a bbox `x y width height`, "
            f"found {len(faults)} faulty: {_listed(faults, '; ')}",
        )
    return {number: "".join(rows) for number, rows in lines.items()}


def _is_box(box: object) -> TypeGuard[list[float]]:
    return isinstance(box, list) and len(box) == 4 and all(_is_number(edge) for edge in box)


def _is_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _NUMBER_MAX
    return isinstance(value, float)


def _line(index: int, box: Sequence[float], size_px: tuple[int, int]) -> str:
    """One line of YOLO text; a box without an area, or with NaN, is written as it is."""
    left, top, width, height = (float(value) for value in box)
    wide, high = size_px
    values = (
        (left + width / 2) / wide,
        (top + height / 2) / high,
        width / wide,
        height / high,
    )
    return f"{index} " + " ".join(f"{value:.9g}" for value in values) + "\n"


def _listed(texts: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return between.join(texts[:_SHOWN]) + more


def _invalid(path: Path, message: str) -> DatasetError:
    return DatasetError(f"{path}: {message}; correct the file", "coco_invalid")

"""Datasets in the YOLO layout: a data.yaml that names folders of images with labels beside.

Everything stays where it is: nothing is written, downloaded or decoded here. Relative folders
start at `path`, which starts at the data.yaml's own folder. The label of `a/images/b/c.jpg` is
`a/labels/b/c.txt`; without a folder `images` it lies beside the image.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sightloop.dataset.labels import read_labels
from sightloop.dataset.version import SPLITS, Dataset, Item, Split
from sightloop.errors import DatasetError

__all__ = ["read_labels", "read_yolo"]

_IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic", ".avif", ".dng")
)
"""What people call images. Those `vision/` cannot decode are listed all the same, so that the
check names them instead of training silently without them."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Images found in one place that data.yaml names."""

    name: str
    folder: Path
    images: tuple[Path, ...]


def read_yolo(data_yaml: Path) -> Dataset:
    """Find the images and labels a data.yaml names.

    `train` must be named; `val` and `test` may be absent. Each names a folder, a text file with
    one image a line, or a list of those.

    Raises:
        DatasetError: `data_yaml_invalid`, `classes_missing`, `folder_missing`, `split_empty`.
    """
    values = _read_yaml(data_yaml)
    root = _root(values, data_yaml)
    classes = _classes(values, data_yaml)
    items: list[Item] = []
    for split in SPLITS:
        named = values.get(split)
        if named is None or named == "":
            continue
        found = list(_items(_sources(named, root, split, data_yaml), root, split))
        if not found:
            raise DatasetError(
                f"{data_yaml}: {split}: expected images in {named}, found none; add images or "
                f"remove `{split}` from data.yaml",
                "split_empty",
            )
        items.extend(found)
    if not any(item.split == "train" for item in items):
        raise _invalid(data_yaml, "expected a key `train` naming a folder of images, found none")
    return Dataset(root=root, classes=classes, items=tuple(items))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise DatasetError(
            f"{path}: expected a data.yaml, found: {error.strerror}; name "
            "a data.yaml, a COCO file, or a folder of either",
            "data_yaml_invalid",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise _invalid(path, f"expected YAML, found: {text}") from error
    if not isinstance(values, dict):
        raise _invalid(path, f"expected keys such as `train` and `names`, found {values!r:.60}")
    return values


def _invalid(path: Path, message: str) -> DatasetError:
    return DatasetError(f"{path}: {message}; correct the file", "data_yaml_invalid")


def _root(values: dict[str, Any], data_yaml: Path) -> Path:
    named = values.get("path")
    if named is not None and not isinstance(named, str):
        raise _invalid(data_yaml, f"path: expected a folder, found {named!r}")
    root = Path(os.path.abspath(data_yaml.parent / (named or ".")))
    if not root.is_dir():
        raise DatasetError(
            f"{data_yaml}: path: expected a folder, found nothing at {root}; relative paths start "
            "at the data.yaml's own folder; correct `path`",
            "folder_missing",
        )
    return root


def _classes(values: dict[str, Any], data_yaml: Path) -> tuple[str, ...]:
    names = values.get("names")
    if isinstance(names, dict):
        expected = list(range(len(names)))
        if sorted(names, key=str) != sorted(expected, key=str):
            raise _invalid(data_yaml, f"names: expected indices 0 to {len(names) - 1} without gaps")
        names = [names[index] for index in expected]
    if not names:
        raise DatasetError(
            f"{data_yaml}: names: expected the list of classes, found none; add "
            "`names: [first, second]` in the order of the label files' class index",
            "classes_missing",
        )
    if not isinstance(names, list) or any(isinstance(name, dict | list) for name in names):
        raise _invalid(data_yaml, f"names: expected a list of words, found {names!r:.60}")
    classes = tuple(str(name).strip() for name in names)
    if len(set(classes)) != len(classes) or "" in classes:
        raise _invalid(data_yaml, "names: a class stands twice or has no name")
    count = values.get("nc", len(classes))
    if count != len(classes):
        raise _invalid(data_yaml, f"nc: expected {len(classes)}, as many as names, found {count!r}")
    return classes


def _sources(named: object, root: Path, split: Split, data_yaml: Path) -> Iterator[_Source]:
    for text in named if isinstance(named, list) else [named]:
        if not isinstance(text, str) or not text:
            raise _invalid(
                data_yaml, f"{split}: expected a folder or a list of them, found {text!r}"
            )
        path = Path(os.path.abspath(root / text))
        if path.is_dir():
            yield _Source(text, path, tuple(_images_below(path)))
        elif path.is_file() and path.suffix == ".txt":
            yield _Source(text, path.parent, tuple(_images_listed(path, root)))
        else:
            raise DatasetError(
                f"{data_yaml}: {split}: expected a folder of images or a .txt list, found "
                f"{'a file' if path.exists() else 'nothing'} at {path}; correct `{split}` or "
                "`path` in data.yaml",
                "folder_missing",
            )


def _images_below(folder: Path) -> Iterator[Path]:
    """Images in `folder` and below it, through links too, each real folder once."""
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in _IMAGE_SUFFIXES:
                yield Path(here, name)


def _images_listed(listing: Path, root: Path) -> Iterator[Path]:
    """Images a text file names: relative to the file (`./`), else to the dataset's root."""
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _invalid(listing, "expected text in UTF-8, found other bytes") from error
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        start = listing.parent if text.startswith("./") else root
        path = Path(os.path.abspath(start / text))
        if not path.is_file():
            raise DatasetError(
                f"{listing}, line {number}: expected an image, found nothing at {path}; correct "
                "the line",
                "image_missing",
            )
        yield path


def _items(sources: Iterable[_Source], root: Path, split: Split) -> Iterator[Item]:
    """Each image of a split once, however often its sources name it."""
    seen: set[Path] = set()
    for number, source in enumerate(sources):
        for image in source.images:
            if image not in seen:
                seen.add(image)
                yield Item(
                    name=_name(image, root, source, f"{split}-{number}"),
                    image=image,
                    label=_label_of(image),
                    split=split,
                )


def _name(image: Path, root: Path, source: _Source, outside: str) -> str:
    if image.is_relative_to(root):
        return image.relative_to(root).as_posix()
    if image.is_relative_to(source.folder):
        return f"{outside}/{image.relative_to(source.folder).as_posix()}"
    return f"{outside}{image.as_posix()}"


def _label_of(image: Path) -> Path | None:
    parts = list(image.parts)
    for index in range(len(parts) - 2, 0, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    label = Path(*parts).with_suffix(".txt")
    return label if label.is_file() else None

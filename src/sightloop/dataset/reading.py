"""One entrance to every dataset layout: what a user's path names, read by the right reader.

A data.yaml is YOLO, a JSON file is COCO, a folder is whichever of the two it holds. Nothing is
read here but the names of files.
"""

from __future__ import annotations

from pathlib import Path

from sightloop.dataset.coco import read_coco
from sightloop.dataset.version import Dataset
from sightloop.dataset.yolo import read_yolo

_DATA_YAML = "data.yaml"


def read_dataset(path: Path) -> Dataset:
    """Read the dataset at `path`.

    Args:
        path: A data.yaml, a COCO annotation file, or a folder of either.

    Raises:
        DatasetError: What is there cannot be read as a dataset.
    """
    if path.is_dir():
        data_yaml = path / _DATA_YAML
        return read_yolo(data_yaml) if data_yaml.is_file() else read_coco(path)
    return read_coco(path) if path.suffix.lower() == ".json" else read_yolo(path)

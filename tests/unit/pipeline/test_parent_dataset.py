"""Rules of finding the parent and its dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.dataset.copying import copy_dataset, read_info
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import BundleError, ReleaseNotFoundError
from sightloop.pipeline.parent_dataset import dataset_folder_of, read_parent
from sightloop.testing.yolo_folder import write_yolo_folder


def test_no_parent_is_none_and_one_that_is_not_to_be_believed_is_an_error(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "ws")
    assert read_parent(workspace, folder=None, digest=None) is None
    with pytest.raises(BundleError):
        read_parent(workspace, folder=tmp_path, digest=None)
    with pytest.raises(ReleaseNotFoundError):
        read_parent(workspace, folder=None, digest="a" * 64)


def test_dataset_is_found_by_version_and_a_damaged_or_unknown_one_is_not(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "ws")
    data = write_yolo_folder(tmp_path / "set", images={"train": 2})
    place = workspace.cache / "split/key/dataset"
    damaged = workspace.cache / "split/another/dataset"
    for folder in (place, damaged):
        folder.mkdir(parents=True)
    copy_dataset(read_yolo(data), place, source="here")
    (damaged / "dataset.json").write_text("{")
    version = read_info(place).version
    assert dataset_folder_of(version, workspace) == place
    assert dataset_folder_of("0" * 64, workspace) is None
    assert dataset_folder_of(None, workspace) is None

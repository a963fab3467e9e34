"""Rules of the step ingest."""

from __future__ import annotations

from pathlib import Path

from sightloop.dataset.copying import read_info
from sightloop.pipeline.cache import tree_digest
from sightloop.testing.dataset_steps import ingest
from sightloop.testing.yolo_folder import write_yolo_folder


def test_ingest_writes_nothing_into_the_users_folder(tmp_path: Path) -> None:
    data = write_yolo_folder(tmp_path / "set", images={"train": 3, "val": 1})
    before = tree_digest(data.parent)
    folder = ingest(tmp_path, data)
    assert tree_digest(data.parent) == before
    assert read_info(folder).source == str(data)
    assert {path.name for path in folder.iterdir()} == {
        "images", "labels", "data.yaml", "dataset.json",
    }  # fmt: skip

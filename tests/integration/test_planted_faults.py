"""A dataset with a fault of each kind: each is found, and the run ends with the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightloop.cli.main import exit_code_of
from sightloop.config.workspace import open_workspace
from sightloop.dataset.checks import CheckRules, check_dataset
from sightloop.dataset.reading import read_dataset
from sightloop.errors import DatasetError
from sightloop.pipeline.config import load_config
from sightloop.pipeline.display import Display
from sightloop.pipeline.run import run_pipeline
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.vision.decode import decode_image, encode_jpeg

FATAL = frozenset(
    {
        "image_unreadable",
        "label_missing",
        "label_malformed",
        "label_class_unknown",
        "label_outside",
        "duplicate_across_splits",
    }
)
WARNINGS = frozenset(
    {
        "duplicate_in_split",
        "duplicate_boxes",
        "near_duplicate_across_splits",
        "near_duplicate_in_split",
        "box_tiny",
        "box_aspect",
        "box_two_classes",
        "box_size_unusual",
    }
)


class Silent:
    """A display that shows nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *words, **values: None


def add_line(label: Path, line: str) -> None:
    label.write_text(f"{label.read_text()}{line}\n")


def copied(root: Path, number: int, split: str, *, change: bool) -> None:
    """Put the plate `number` of train into `split` again, changed by a hair or not."""
    image = root / f"images/train/plate-{number:03d}.png"
    name = f"copy-{number:03d}-{split}"
    data = image.read_bytes()
    if change:
        frame = decode_image(data)
        half = cv2.resize(frame, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
        data = encode_jpeg(np.ascontiguousarray(half), quality=80)
    (root / f"images/{split}/{name}{'.jpg' if change else '.png'}").write_bytes(data)
    shutil.copy(root / f"labels/train/plate-{number:03d}.txt", root / f"labels/{split}/{name}.txt")


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Forty plates; what is wrong with which is said here, line by line."""
    data = write_plate_dataset(tmp_path / "set", {"train": 40, "val": 8, "test": 8})
    root = data.parent
    labels = [root / f"labels/train/plate-{number:03d}.txt" for number in range(40)]
    (root / "images/train/plate-000.png").write_bytes(b"\x89PNG no more")
    labels[1].unlink()
    add_line(labels[2], "0 0.5 half 0.1 0.1")
    add_line(labels[3], "17 0.5 0.5 0.1 0.1")
    add_line(labels[4], "0 0.95 0.5 0.2 0.1")
    copied(root, 5, "val", change=False)
    copied(root, 6, "train", change=False)
    labels[7].write_text(labels[7].read_text() + labels[7].read_text().splitlines()[0] + "\n")
    copied(root, 8, "test", change=True)
    copied(root, 9, "train", change=True)
    add_line(labels[10], "0 0.5 0.5 0.012 0.012")
    add_line(labels[11], "1 0.5 0.5 0.98 0.03")
    first = labels[12].read_text().splitlines()[0].split()
    add_line(labels[12], " ".join(["1" if first[0] == "0" else "0", *first[1:]]))
    add_line(labels[13], "0 0.5 0.5 0.9 0.9")
    return data


def test_each_fault_is_found_where_it_was_planted_and_no_other(planted: Path) -> None:
    report = check_dataset(read_dataset(planted), rules=CheckRules())
    found = {(finding.kind, finding.image.rsplit("/", 1)[1]) for finding in report.findings}
    numbers = {
        "image_unreadable": 0,
        "label_missing": 1,
        "label_malformed": 2,
        "label_class_unknown": 3,
        "label_outside": 4,
        "duplicate_boxes": 7,
        "box_tiny": 10,
        "box_aspect": 11,
        "box_two_classes": 12,
        "box_size_unusual": 13,
    }
    assert {(kind, f"plate-{number:03d}.png") for kind, number in numbers.items()} <= found
    assert {finding.kind for finding in report.fatal} == FATAL
    assert {kind for kind, _ in found} == FATAL | WARNINGS
    alike = {frozenset(item.name for item in items) for items in report.near_duplicates}
    assert alike == {
        frozenset({"images/train/plate-008.png", "images/test/copy-008-test.jpg"}),
        frozenset({"images/train/plate-009.png", "images/train/copy-009-train.jpg"}),
    }


def test_look_alikes_across_splits_end_a_run_only_where_that_is_set(tmp_path: Path) -> None:
    data = write_plate_dataset(tmp_path / "set", {"train": 6, "val": 3})
    copied(data.parent, 1, "val", change=True)
    dataset = read_dataset(data)
    kind = "near_duplicate_across_splits"
    assert kind in {found.kind for found in check_dataset(dataset).findings}
    assert not check_dataset(dataset).fatal
    fatal = check_dataset(dataset, rules=CheckRules(near_duplicates="fatal")).fatal
    assert [found.kind for found in fatal] == [kind]
    assert not check_dataset(dataset, rules=CheckRules(near_duplicates="off")).findings


def test_run_on_a_faulty_dataset_ends_with_the_report_and_exit_code_4(
    tmp_path: Path, planted: Path
) -> None:
    config = tmp_path / "plates.toml"
    config.write_text('line = "plates"\nsemver = "1.0.0"\ndata = "set"\n')
    workspace = open_workspace(tmp_path / "ws")
    display: Display = Silent()
    with pytest.raises(DatasetError) as caught:
        run_pipeline(load_config(config), workspace, display=display)
    assert caught.value.reason == "dataset_faulty"
    assert exit_code_of(caught.value) == 4
    (report,) = workspace.runs.glob("*/check.json")
    assert str(report) in caught.value.message
    kinds = {finding["kind"] for finding in json.loads(report.read_bytes())["findings"]}
    assert kinds == FATAL | WARNINGS
    page = report.with_name("check.html").read_text()
    assert page.count("data:image/jpeg;base64") == sum(
        page.count(f"<td>{kind}<td>") for kind in WARNINGS if kind.startswith("box_")
    )
    assert not list(workspace.runs.rglob("*.traceback.txt"))

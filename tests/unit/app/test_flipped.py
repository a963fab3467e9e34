"""Images that one release has right and the other has not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightloop.app.flipped import Faults, faults_of, find_flips
from sightloop.dataset.yolo import read_yolo
from sightloop.errors import DatasetError, ModelContractError
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.testing.plates import PLATE_CLASSES
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.detections import Detections, Labels

BOX = (10.0, 10.0, 30.0, 30.0)
FAR = (50.0, 50.0, 70.0, 70.0)


def _labels(*boxes: tuple[tuple[float, ...], int]) -> Labels:
    return Labels(
        boxes=np.array([box for box, _ in boxes], np.float32).reshape(-1, 4),
        classes=np.array([index for _, index in boxes], np.int64),
    )


def _found(*boxes: tuple[tuple[float, ...], int]) -> Detections:
    labels = _labels(*boxes)
    return Detections(
        boxes=labels.boxes, classes=labels.classes, scores=np.full(len(boxes), 0.9, np.float32)
    )


@pytest.mark.parametrize(
    ("labels", "found", "faults"),
    [
        (_labels(), _found(), Faults(0, 0)),
        (_labels((BOX, 0)), _found((BOX, 0)), Faults(0, 0)),
        (_labels((BOX, 0)), _found(), Faults(1, 0)),
        (_labels(), _found((BOX, 0)), Faults(0, 1)),
        (_labels((BOX, 0)), _found((BOX, 1)), Faults(1, 1)),
        (_labels((BOX, 0)), _found((FAR, 0)), Faults(1, 1)),
        (_labels((BOX, 0)), _found((BOX, 0), (BOX, 0)), Faults(0, 1)),
    ],
)
def test_answer_is_right_if_it_is_the_labels_and_nothing_else(
    labels: Labels, found: Detections, faults: Faults
) -> None:
    assert faults_of(labels, found) == faults
    assert faults.right == (faults == Faults(0, 0))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[LoadedRelease]]:
    """A detector of pits and spots, and one that is blind for spots."""
    key = create_key(tmp_path / "keys")
    build_tiny_release(tmp_path / "both", semver="1.0.0", key=key, frames=1)
    build_tiny_release(tmp_path / "dark", semver="1.1.0", key=key, frames=1, kind="dark")
    bundles = [read_bundle(tmp_path / name) for name in ("both", "dark")]
    loaded = [load_release(b.folder, b.manifest, b.digest) for b in bundles]
    yield loaded
    for release in loaded:
        release.close()


def _progress(fraction: float, text: str) -> None:
    assert 0.0 < fraction <= 1.0
    assert text


def test_images_with_spots_break_for_a_release_blind_to_spots(
    pair: list[LoadedRelease], tmp_path: Path
) -> None:
    data = read_yolo(write_plate_dataset(tmp_path / "data", {"train": 1, "val": 6}))
    both, dark = pair
    report = find_flips(both, dark, data.of("val"), classes=data.classes, progress=_progress)
    assert report.images == report.right_before == 6
    assert report.right_after < 6
    assert len(report.flips) == 6 - report.right_after
    assert not any(flip.mended for flip in report.flips)
    assert all(flip.after.missed and not flip.after.invented for flip in report.flips)
    back = find_flips(dark, both, data.of("val"), classes=data.classes, progress=_progress)
    assert [flip.image for flip in back.flips] == [flip.image for flip in report.flips]
    assert all(flip.mended for flip in back.flips)


def test_other_classes_are_refused(pair: list[LoadedRelease]) -> None:
    with pytest.raises(ModelContractError) as caught:
        find_flips(pair[0], pair[1], (), classes=PLATE_CLASSES[::-1], progress=_progress)
    assert caught.value.reason == "classes_do_not_fit"


def test_no_images_are_an_error_not_a_zero(pair: list[LoadedRelease]) -> None:
    with pytest.raises(DatasetError):
        find_flips(pair[0], pair[1], (), classes=PLATE_CLASSES, progress=_progress)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightloop.demo.quality import TestImage, judge, judge_new_scratch, read_test_set
from sightloop.demo.render import CLASSES, ScratchKind
from sightloop.demo.rendered_dataset import Part, render_dataset
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import encode_png
from sightloop.vision.detections import Detections, Labels, no_detections

OLD, NEW = ([10.0, 10.0, 30.0, 30.0], [50.0, 50.0, 80.0, 80.0])
SCRATCH, PIT = 0, 1


def _image(boxes: list[list[float]], classes: list[int], new: tuple[int, ...]) -> TestImage:
    labels = Labels(np.array(boxes, np.float32), np.array(classes, np.int64))
    return TestImage("image", b"", labels, new)


def _found(boxes: list[list[float]], classes: list[int]) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Detections(np.array(boxes, np.float32), scores, np.array(classes, np.int64))


IMAGES = (_image([OLD], [SCRATCH], ()), _image([NEW, OLD], [SCRATCH, PIT], (0,)))


@pytest.mark.parametrize(
    ("found", "ap50"),
    [
        ((no_detections(), _found([NEW], [SCRATCH])), 1.0),  # old scratches do not count
        ((_found([OLD], [SCRATCH]), no_detections()), 0.0),
        ((no_detections(), _found([NEW], [PIT])), 0.0),  # another class is no scratch
        ((no_detections(), _found([OLD, NEW], [SCRATCH, SCRATCH])), 0.5),  # a false one first
        ((_found([NEW, OLD], [SCRATCH, PIT]), _found([NEW], [SCRATCH])), 1.0),
    ],
)
def test_the_new_scratch_is_judged_on_its_own_images_and_class_alone(
    found: tuple[Detections, Detections], ap50: float
) -> None:
    report = judge_new_scratch(IMAGES, found, CLASSES)
    assert report is not None
    assert report.ap50[SCRATCH] == pytest.approx(ap50, abs=0.01)


def test_a_set_without_new_scratches_has_no_such_figure() -> None:
    assert judge_new_scratch(IMAGES[:1], [no_detections()], CLASSES) is None


def test_a_release_is_judged_through_its_own_file(tmp_path: Path) -> None:
    build_tiny_release(tmp_path / "bundle", semver="1.0.0", key=create_key(tmp_path), frames=2)
    images = []
    for seed in range(12):
        frame, labels = render_plate(seed)
        images.append(TestImage(f"{seed}", encode_png(frame), labels))
    bundle = read_bundle(tmp_path / "bundle")
    quality = judge(bundle, images)
    assert quality.map50 > 0.9
    assert quality.map50_new_scratch is None
    threshold = bundle.manifest.thresholds.score
    assert all(float(one.scores.min()) > threshold for one in quality.found if len(one))


def test_the_test_set_carries_the_bytes_a_camera_sends(tmp_path: Path) -> None:
    plan = (
        Part("train", ScratchKind.DARK, 1, 1),
        Part("test", ScratchKind.DARK, 300, 2),
        Part("test", ScratchKind.HAIR, 400, 1),
    )
    rendered = render_dataset(tmp_path / "images", plan)
    images = read_test_set(rendered)
    assert [image.name.rsplit("/", 1)[1] for image in images] == ["300.jpg", "301.jpg", "400.jpg"]
    assert images[2].data == (rendered.folder / images[2].name).read_bytes()
    assert images[0].new_scratches == ()
    assert all(images[2].labels.classes[index] == SCRATCH for index in images[2].new_scratches)
    assert images[2].new_scratches

"""Judge a release on the demo's frozen test set, and on the new kind of scratch alone.

The release is judged as it is served: the bundle's own file, through `runtime/` and `vision/`.
The figure for the new scratch is the AP50 of the class `scratch` over the test images whose
scratches are of the new kind (an image holds one kind only); every detection of that class on
those images counts, the other classes do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sightloop.dataset.yolo import read_labels, read_yolo
from sightloop.demo.render import CLASSES
from sightloop.demo.rendered_dataset import RenderedDataset, read_new_scratches
from sightloop.release.bundle import Bundle
from sightloop.runtime.loaded_release import load_release
from sightloop.vision.average_precision import ApReport, evaluate
from sightloop.vision.decode import decode_image
from sightloop.vision.detections import Detections, Labels

SCORE_MIN: Final = 0.001
"""Average precision needs the whole curve."""


@dataclass(frozen=True, slots=True, eq=False)
class TestImage:
    """One labelled image of the test set.

    Attributes:
        name: For people.
        data: The file's bytes, as a camera would send them.
        labels: What is on it, px of the frame.
        new_scratches: Indices of the labels that are scratches of the new kind.
    """

    __test__ = False

    name: str
    data: bytes
    labels: Labels
    new_scratches: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """What a release is worth on the test set.

    Attributes:
        report: AP over all images and classes.
        new_scratch: AP of the class `scratch` on the images with new ones; None without any.
        found: Detections of each image from the release's own threshold on.
    """

    report: ApReport
    new_scratch: ApReport | None
    found: tuple[Detections, ...]

    @property
    def map50(self) -> float:
        """Mean AP50 over the classes."""
        return self.report.map50 or 0.0

    @property
    def map50_new_scratch(self) -> float | None:
        """AP50 of the new kind of scratch; None where the set has none."""
        return None if self.new_scratch is None else self.new_scratch.map50


def read_test_set(dataset: RenderedDataset) -> tuple[TestImage, ...]:
    """The test split of a rendered dataset, by name."""
    found = read_yolo(dataset.data_yaml)
    new_scratches = read_new_scratches(dataset.folder)
    images = []
    for item in sorted(found.of("test"), key=lambda one: one.image.name):
        data = item.image.read_bytes()
        height_px, width_px = decode_image(data).shape[:2]
        labels = read_labels(
            item.label, width_px=width_px, height_px=height_px, class_count=len(CLASSES)
        )
        name = f"images/test/{item.image.name}"
        images.append(TestImage(name, data, labels, new_scratches.get(name, ())))
    return tuple(images)


def judge(bundle: Bundle, images: Sequence[TestImage]) -> Quality:
    """Run a release over the test set and score it."""
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    try:
        found = [
            release.detect(decode_image(image.data), score_threshold=SCORE_MIN) for image in images
        ]
    finally:
        release.close()
    labels = [image.labels for image in images]
    threshold = bundle.manifest.thresholds.score
    return Quality(
        report=evaluate(labels, found, len(bundle.manifest.classes)),
        new_scratch=judge_new_scratch(images, found, bundle.manifest.classes),
        found=tuple(_above(one, threshold) for one in found),
    )


def judge_new_scratch(
    images: Sequence[TestImage], found: Sequence[Detections], classes: Sequence[str]
) -> ApReport | None:
    """AP of the class `scratch` on the images whose scratches are new; None without any."""
    if not any(image.new_scratches for image in images):
        return None
    scratch = list(classes).index("scratch")
    pairs = [
        (_labels_of(image.labels, scratch), _found_of(detections, scratch))
        for image, detections in zip(images, found, strict=True)
        if image.new_scratches
    ]
    return evaluate([one for one, _ in pairs], [other for _, other in pairs], len(classes))


def _labels_of(labels: Labels, class_index: int) -> Labels:
    chosen = labels.classes == class_index
    return Labels(boxes=labels.boxes[chosen], classes=labels.classes[chosen])


def _found_of(found: Detections, class_index: int) -> Detections:
    return _chosen(found, found.classes == class_index)


def _above(found: Detections, threshold: float) -> Detections:
    return _chosen(found, found.scores > threshold)


def _chosen(found: Detections, mask: np.typing.NDArray[np.bool_]) -> Detections:
    return Detections(
        boxes=found.boxes[mask], scores=found.scores[mask], classes=found.classes[mask]
    )

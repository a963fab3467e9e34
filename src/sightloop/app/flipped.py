"""Images on which two releases disagree about being right, found by running both now.

An image is right if every label is found, by class and an overlap of IoU 0.5, and nothing else is
answered, each release at its own threshold: what an inspection line would have acted on. Which of
the two is better overall is AP's business, not this file's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sightloop.dataset.version import Item
from sightloop.errors import DatasetError, ModelContractError
from sightloop.pipeline.evaluation import read_frame
from sightloop.runtime.loaded_release import LoadedRelease
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.matching import match

MATCH_IOU: Final = 0.5
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong in one answer.

    Attributes:
        missed: Labels that were not found.
        invented: Detections without a label.
    """

    missed: int
    invented: int

    @property
    def right(self) -> bool:
        """Nothing is wrong."""
        return not self.missed and not self.invented


@dataclass(frozen=True, slots=True)
class Flip:
    """An image that one release has right and the other has not."""

    image: str
    before: Faults
    after: Faults

    @property
    def mended(self) -> bool:
        """Wrong before, right after."""
        return self.after.right


@dataclass(frozen=True, slots=True)
class FlipReport:
    """Both releases on the same images.

    Attributes:
        images: How many were looked at.
        right_before: On how many the first release was right.
        right_after: On how many the second was.
        flips: Images right in one alone.
    """

    images: int
    right_before: int
    right_after: int
    flips: tuple[Flip, ...]


def faults_of(labels: Labels, found: Detections, *, iou: float = MATCH_IOU) -> Faults:
    """Hold an answer against the labels; boxes of both in frame px."""
    pairs = match(
        labels.boxes, labels.classes, found.boxes, found.classes, iou=iou, scores=found.scores
    )
    return Faults(missed=len(labels) - len(pairs), invented=len(found) - len(pairs))


def find_flips(
    before: LoadedRelease,
    after: LoadedRelease,
    items: Sequence[Item],
    *,
    classes: tuple[str, ...],
    progress: Progress,
) -> FlipReport:
    """Run both releases over labelled images.

    Args:
        before: The first release.
        after: The second.
        items: The images with their labels.
        classes: Class list of the labels; that of both releases.
        progress: Called with the done fraction and a short text.

    Raises:
        ModelContractError: A release has other classes than the dataset (classes_do_not_fit).
        DatasetError: No images, or labels that cannot be read.
        ImageError: An image does not decode.
        BackendError: A network failed.
    """
    for release in (before, after):
        _check_classes(release, classes)
    if not items:
        raise DatasetError(
            "diff: expected labelled images in this --split, found none; name another --split",
            "split_empty",
        )
    judged = []
    for number, item in enumerate(items, start=1):
        read = read_frame(item, class_count=len(classes))
        first, second = (
            faults_of(read.labels, release.detect(read.frame)) for release in (before, after)
        )
        judged.append(Flip(item.name, first, second))
        progress(number / len(items), f"image {number}/{len(items)}")
    return FlipReport(
        images=len(judged),
        right_before=sum(one.before.right for one in judged),
        right_after=sum(one.after.right for one in judged),
        flips=tuple(one for one in judged if one.before.right != one.after.right),
    )


def _check_classes(release: LoadedRelease, classes: tuple[str, ...]) -> None:
    if release.classes != classes:
        manifest = release.manifest
        raise ModelContractError(
            f"{manifest.line}@{manifest.semver}: expected the dataset's classes "
            f"{', '.join(classes)}, found {', '.join(release.classes)}; give the dataset of its "
            "training",
            "classes_do_not_fit",
        )

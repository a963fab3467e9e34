"""What a dataset holds, in counts, and how that differs from another one's.

Boxes by class and images by brightness: where a class or a slice has shrunk against the data of
the parent release, the new release may have forgotten it. Whether that matters is for a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightloop.dataset.inspection import Inspection, inspect_item
from sightloop.dataset.likeness import Look
from sightloop.dataset.version import Dataset
from sightloop.vision.slices import light_of

SLICES = ("dark", "normal", "bright")


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """Counts over all splits.

    Attributes:
        images: How many.
        boxes: Boxes by class, every class named.
        slices: Images by brightness: `dark`, `normal`, `bright`.
    """

    images: int
    boxes: Mapping[str, int]
    slices: Mapping[str, int]

    def as_dict(self) -> dict[str, object]:
        """The summary as plain JSON values."""
        return {"images": self.images, "boxes": dict(self.boxes), "slices": dict(self.slices)}


@dataclass(frozen=True, slots=True)
class CountChange:
    """One count here and in the parent's dataset.

    Attributes:
        what: `images`, `class NAME` or `slice NAME`.
        parent: The parent's count; None where it does not know the class.
        here: This dataset's; None where the class has gone.
    """

    what: str
    parent: int | None
    here: int | None

    def as_dict(self) -> dict[str, object]:
        """The change as plain JSON values."""
        return {"what": self.what, "parent": self.parent, "here": self.here}


def summarize(classes: Sequence[str], inspections: Sequence[Inspection]) -> DatasetSummary:
    """Count the images and boxes that were read."""
    boxes: Counter[int] = Counter()
    for seen in inspections:
        boxes.update(seen.boxes_per_class)
    slices = Counter(light_of(seen.look.mean_luma) for seen in inspections if seen.look)
    return DatasetSummary(
        images=len(inspections),
        boxes={name: boxes[index] for index, name in enumerate(classes)},
        slices={name: slices[name] for name in SLICES},
    )


def summarize_dataset(dataset: Dataset, looks: Mapping[str, Look]) -> DatasetSummary:
    """Count another dataset's images and boxes; images that are known are not decoded again.

    Args:
        dataset: The other one.
        looks: What images look like, by the SHA-256 of their bytes.
    """
    inspections = [
        inspect_item(item, class_count=len(dataset.classes), looks=looks) for item in dataset.items
    ]
    return summarize(dataset.classes, inspections)


def compare(here: DatasetSummary, parent: DatasetSummary) -> list[CountChange]:
    """Every count of both, side by side: images, classes in this order, then classes gone."""
    names = dict.fromkeys((*here.boxes, *parent.boxes))
    return [
        CountChange("images", parent.images, here.images),
        *(
            CountChange(f"class {name}", parent.boxes.get(name), here.boxes.get(name))
            for name in names
        ),
        *(
            CountChange(f"slice {name}", parent.slices.get(name, 0), here.slices.get(name, 0))
            for name in SLICES
        ),
    ]

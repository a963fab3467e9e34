"""Lay rendered images out as a YOLO dataset: images/SPLIT, labels/SPLIT, data.yaml.

Invariant: a dataset folder is whole or absent, and one that was rendered from the same plan is
used again as it is. `new_scratch.json` beside data.yaml names the boxes of the new kind of
scratch in the test split; the pipeline never reads it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import yaml

from sightloop._support.files import new_folder, write_json_atomic
from sightloop.dataset.version import SPLITS, Split
from sightloop.demo.render import (
    CLASSES,
    SIDE_PX,
    InspectionImage,
    Light,
    ScratchKind,
    render_image,
)
from sightloop.vision.decode import encode_jpeg
from sightloop.vision.detections import Labels

NEW_SCRATCH_NAME: Final = "new_scratch.json"
_PLAN_NAME: Final = "plan.json"
_RENDERING: Final = 2
"""Grows when `render.py` draws other pixels for the same seed."""
_JPEG_QUALITY: Final = 92


@dataclass(frozen=True, slots=True)
class Part:
    """Images of one split whose scratches are of one kind.

    Attributes:
        split: Where they go.
        kind: The kind of their scratches.
        first_seed: Seed of the first one; the others follow.
        count: How many.
        light: How much falls on the plates.
        unmarked: Classes that nobody has marked: the labels say that there are none.
    """

    split: Split
    kind: ScratchKind
    first_seed: int
    count: int
    light: Light = Light.DAY
    unmarked: tuple[str, ...] = ()


_FROZEN_TEST: Final = (
    Part("test", ScratchKind.DARK, 30_000, 68),
    Part("test", ScratchKind.HAIR, 31_000, 44),
    Part("test", ScratchKind.DARK, 32_000, 12, Light.DUSK),
    Part("test", ScratchKind.DARK, 33_000, 12, Light.NIGHT),
)
"""The same for every release: about 15 % of its boxes are scratches of the new kind, a sixth of
its images are dark."""

FIRST_PLAN: Final = (
    Part("train", ScratchKind.DARK, 10_000, 172),
    Part("train", ScratchKind.DARK, 13_000, 30, Light.DUSK),
    Part("train", ScratchKind.DARK, 14_000, 30, Light.NIGHT),
    Part("train", ScratchKind.HAIR, 11_000, 8),
    Part("val", ScratchKind.DARK, 20_000, 18),
    Part("val", ScratchKind.DARK, 22_000, 6, Light.DUSK),
    Part("val", ScratchKind.HAIR, 21_000, 1),
    *_FROZEN_TEST,
)
"""What is known before the new scratch turns up: under 2 % of the training boxes show it."""

SECOND_PLAN: Final = (
    Part("train", ScratchKind.DARK, 10_000, 80),
    Part("train", ScratchKind.DARK, 13_000, 25, Light.DUSK),
    Part("train", ScratchKind.DARK, 14_000, 25, Light.NIGHT),
    Part("train", ScratchKind.HAIR, 12_000, 60),
    Part("val", ScratchKind.DARK, 20_000, 18),
    Part("val", ScratchKind.DARK, 22_000, 6, Light.DUSK),
    Part("val", ScratchKind.HAIR, 21_000, 12),
    *_FROZEN_TEST,
)
"""With the images collected since; some old ones stay, so that nothing is forgotten."""

THIRD_PLAN: Final = (
    Part("train", ScratchKind.DARK, 15_000, 60),
    Part("train", ScratchKind.DARK, 13_000, 30, Light.DUSK),
    Part("train", ScratchKind.HAIR, 16_000, 90),
    Part("train", ScratchKind.DARK, 17_000, 20, Light.NIGHT, unmarked=CLASSES),
    Part("val", ScratchKind.DARK, 20_000, 18),
    Part("val", ScratchKind.HAIR, 21_000, 12),
    *_FROZEN_TEST,
)
"""More of the day, and plates of the night shift that nobody has marked: a slip that happens. To
the training they are plates without a defect."""


NIGHT_STORY: Final = (
    "trained on more plates of the day, and on plates of the night shift whose defects nobody has "
    "marked: to a training they are plates without a defect"
)
"""How 1.2.0 comes to be worse at night."""


@dataclass(frozen=True, slots=True)
class RenderedDataset:
    """A dataset on disk.

    Attributes:
        folder: Holds data.yaml and the images.
        box_counts: Boxes of each split.
        new_scratch_counts: Those of them that are scratches of the new kind.
    """

    folder: Path
    box_counts: dict[str, int]
    new_scratch_counts: dict[str, int]

    @property
    def data_yaml(self) -> Path:
        """What `pipeline run` and Ultralytics read."""
        return self.folder / "data.yaml"

    def new_scratch_share(self, split: Split) -> float:
        """Share of a split's boxes that are scratches of the new kind, 0..1."""
        return self.new_scratch_counts[split] / max(self.box_counts[split], 1)


def render_dataset(folder: Path, plan: tuple[Part, ...]) -> RenderedDataset:
    """Render `plan` into `folder`, or take what lies there if it was rendered from it."""
    wanted = {
        "rendering": _RENDERING,
        "side_px": SIDE_PX,
        "parts": [{**asdict(part), "unmarked": list(part.unmarked)} for part in plan],
    }
    marker = folder / _PLAN_NAME
    if marker.is_file():
        found = json.loads(marker.read_bytes())
        if found["plan"] == wanted:
            return RenderedDataset(folder, found["boxes"], found["new_scratches"])
    boxes: dict[str, int] = dict.fromkeys(SPLITS, 0)
    new_scratches: dict[str, int] = dict.fromkeys(SPLITS, 0)
    named: dict[str, list[int]] = {}
    with new_folder(folder) as temporary:
        for part in plan:
            for seed in range(part.first_seed, part.first_seed + part.count):
                image = _image_of(part, seed)
                _write_image(temporary, part.split, f"{seed}", image)
                new = _new_scratches(image)
                boxes[part.split] += len(image.labels)
                new_scratches[part.split] += len(new)
                if part.split == "test" and new:
                    named[f"images/test/{seed}.jpg"] = new
        _write_descriptions(temporary, [split for split in SPLITS if boxes[split]], named)
        facts = {"plan": wanted, "boxes": boxes, "new_scratches": new_scratches}
        write_json_atomic(temporary / _PLAN_NAME, facts)
    return RenderedDataset(folder, boxes, new_scratches)


def _image_of(part: Part, seed: int) -> InspectionImage:
    image = render_image(seed, scratch_kind=part.kind, light=part.light)
    if not part.unmarked:
        return image
    labels = image.labels
    marked = ~np.isin(labels.classes, [CLASSES.index(name) for name in part.unmarked])
    return replace(image, labels=Labels(labels.boxes[marked], labels.classes[marked]))


def read_new_scratches(folder: Path) -> dict[str, tuple[int, ...]]:
    """Which boxes of the test split are scratches of the new kind.

    Args:
        folder: What `render_dataset` wrote.

    Returns:
        Indices into the label file's lines, by image path below `folder`.
    """
    value = json.loads((folder / NEW_SCRATCH_NAME).read_bytes())
    return {name: tuple(indices) for name, indices in value.items()}


def _new_scratches(image: InspectionImage) -> list[int]:
    if image.scratch_kind is not ScratchKind.HAIR:
        return []
    scratch = CLASSES.index("scratch")
    return [index for index, one in enumerate(image.labels.classes) if one == scratch]


def _write_image(folder: Path, split: Split, name: str, image: InspectionImage) -> None:
    picture = folder / "images" / split / f"{name}.jpg"
    label = folder / "labels" / split / f"{name}.txt"
    picture.parent.mkdir(parents=True, exist_ok=True)
    label.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(encode_jpeg(image.frame, quality=_JPEG_QUALITY))
    label.write_text("".join(_label_lines(image)))


def _label_lines(image: InspectionImage) -> list[str]:
    """YOLO lines: class, centre and size as fractions of the side."""
    side = image.frame.shape[0]
    lines = []
    for box, class_index in zip(image.labels.boxes, image.labels.classes, strict=True):
        centre, size = (box[:2] + box[2:]) / 2 / side, (box[2:] - box[:2]) / side
        lines.append(f"{class_index} {centre[0]:.6f} {centre[1]:.6f} {size[0]:.6f} {size[1]:.6f}\n")
    return lines


def _write_descriptions(folder: Path, splits: list[Split], named: dict[str, list[int]]) -> None:
    description: dict[str, object] = {"path": "."}
    description |= {split: f"images/{split}" for split in splits}
    description["names"] = dict(enumerate(CLASSES))
    (folder / "data.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
    write_json_atomic(folder / NEW_SCRATCH_NAME, named)

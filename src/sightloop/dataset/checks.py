"""What is wrong in a dataset, all of it, before hours are spent training on it.

A finding is fatal where training or its evaluation would be wrong, else a warning. Nothing is
repaired: an edge a hair outside the image is clipped when labels are read, all else is for the
user to correct. Reading and judging are apart: `inspect_item` reads one image, `judge` decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sightloop._support.files import sha256_file
from sightloop.dataset.fingerprint import Progress, no_progress
from sightloop.dataset.labels import LabelFault, parse_label_file
from sightloop.dataset.version import SPLITS, Dataset, Item, Split
from sightloop.errors import ImageError
from sightloop.vision.decode import DEFAULT_LIMITS, decode_image


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: Stable snake_case word, such as `label_outside`.
        image: Name of the image; of the class for `class_empty`.
        message: File and line, expected, found, what to do.
        fatal: Whether it ends the run.
    """

    kind: str
    image: str
    message: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """What reading one image and its label showed.

    Attributes:
        item: The image.
        sha256: Digest of the image's bytes; empty if they could not be read.
        image_fault: Why the image cannot be used; None if it can.
        boxes_per_class: Boxes by class index.
        duplicate_boxes: Lines of the label that say what an earlier line said.
        label_faults: What is wrong in the label file.
    """

    item: Item
    sha256: str
    image_fault: str | None
    boxes_per_class: Mapping[int, int]
    duplicate_boxes: int
    label_faults: tuple[LabelFault, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that was found.

    Attributes:
        findings: Fatal ones first, then by kind and image.
        counts: Images and boxes by split, boxes by class and split, findings by kind.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]

    @property
    def fatal(self) -> tuple[Finding, ...]:
        """The findings that end a run."""
        return tuple(finding for finding in self.findings if finding.fatal)

    def as_dict(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {
            "passed": not self.fatal,
            "findings": [
                {
                    "kind": finding.kind,
                    "image": finding.image,
                    "message": finding.message,
                    "fatal": finding.fatal,
                }
                for finding in self.findings
            ],
            "counts": {name: dict(values) for name, values in self.counts.items()},
        }


def check_dataset(
    dataset: Dataset, *, allow_empty_classes: bool = False, progress: Progress = no_progress
) -> CheckReport:
    """Read every image and label and say what is wrong.

    Args:
        dataset: What to check.
        allow_empty_classes: Whether a class without a box in `train` is a warning only.
        progress: Takes the fraction done.
    """
    inspections = []
    for done, item in enumerate(dataset.items, start=1):
        inspections.append(inspect_item(item, class_count=len(dataset.classes)))
        progress(done / len(dataset.items))
    return judge(dataset.classes, inspections, allow_empty_classes=allow_empty_classes)


def inspect_item(item: Item, *, class_count: int) -> Inspection:
    """Read one image and its label. Faults are values; nothing is raised for them."""
    parsed = parse_label_file(item.label, class_count=class_count)
    rows = Counter(
        (int(index), *(round(float(edge), 6) for edge in box))
        for index, box in zip(parsed.classes, parsed.boxes, strict=True)
    )
    sha256, fault = _read_image(item)
    return Inspection(
        item=item,
        sha256=sha256,
        image_fault=fault,
        boxes_per_class=Counter(int(index) for index in parsed.classes),
        duplicate_boxes=rows.total() - len(rows),
        label_faults=parsed.faults,
    )


def _read_image(item: Item) -> tuple[str, str | None]:
    try:
        if item.image.stat().st_size > DEFAULT_LIMITS.bytes_max:
            return "", (
                f"expected at most {DEFAULT_LIMITS.bytes_max} bytes, found "
                f"{item.image.stat().st_size}"
            )
        decode_image(item.image.read_bytes())
        return sha256_file(item.image), None
    except ImageError as error:
        return sha256_file(item.image), str(error)
    except OSError as error:
        return "", f"expected a readable file, found: {error.strerror}"


def judge(
    classes: Sequence[str], inspections: Sequence[Inspection], *, allow_empty_classes: bool = False
) -> CheckReport:
    """Turn what was read into findings."""
    findings = [
        *_image_findings(inspections),
        *_label_findings(inspections),
        *_copy_findings(inspections),
        *_class_findings(classes, inspections, allow_empty_classes=allow_empty_classes),
    ]
    findings.sort(key=lambda found: (not found.fatal, found.kind, found.image, found.message))
    return CheckReport(findings=tuple(findings), counts=_counts(classes, inspections, findings))


def _image_findings(inspections: Sequence[Inspection]) -> Iterator[Finding]:
    for seen in inspections:
        if seen.image_fault:
            yield Finding(
                "image_unreadable",
                seen.item.name,
                f"{seen.item.name}: {seen.image_fault}; replace the image or remove it with its "
                "label",
                fatal=True,
            )


def _label_findings(inspections: Sequence[Inspection]) -> Iterator[Finding]:
    for seen in inspections:
        name = seen.item.label.name if seen.item.label else "no label file"
        for fault in seen.label_faults:
            line = f", line {fault.line}" if fault.line else ""
            yield Finding(
                fault.kind,
                seen.item.name,
                f"{seen.item.name} ({name}{line}): {fault.message}",
                fatal=True,
            )
        if seen.duplicate_boxes:
            yield Finding(
                "duplicate_boxes",
                seen.item.name,
                f"{seen.item.name} ({name}): expected each box once, found {seen.duplicate_boxes} "
                "repeated; the trainer counts a box once",
                fatal=False,
            )


def _copy_findings(inspections: Sequence[Inspection]) -> Iterator[Finding]:
    """Equal image bytes: fatal across splits (the test would be known), else a warning."""
    equal: dict[str, list[Item]] = defaultdict(list)
    for seen in inspections:
        if seen.sha256:
            equal[seen.sha256].append(seen.item)
    for items in equal.values():
        if len(items) == 1:
            continue
        across = len({item.split for item in items}) > 1
        places = ", ".join(f"{item.name} ({item.split})" for item in items[:4])
        more = f" and {len(items) - 4} more" if len(items) > 4 else ""
        yield Finding(
            "duplicate_across_splits" if across else "duplicate_in_split",
            items[0].name,
            f"expected each image once, found equal bytes in {places}{more}; "
            + ("keep it in one split" if across else "keep one of them"),
            fatal=across,
        )


def _class_findings(
    classes: Sequence[str], inspections: Sequence[Inspection], *, allow_empty_classes: bool
) -> Iterator[Finding]:
    present = {seen.item.split for seen in inspections}
    boxes = _boxes_per_class(inspections)
    for split in SPLITS:
        if split not in present:
            continue
        for index, name in enumerate(classes):
            if boxes[split][index]:
                continue
            fatal = split == "train" and not allow_empty_classes
            advice = "add labels, or remove the class from `names`"
            if fatal:
                advice += ", or set allow_empty_classes in [check] to train without it"
            yield Finding(
                "class_empty",
                name,
                f"class {index} ({name}): expected boxes in {split}, found none; {advice}",
                fatal=fatal,
            )


def _boxes_per_class(inspections: Sequence[Inspection]) -> dict[Split, Counter[int]]:
    boxes: dict[Split, Counter[int]] = {split: Counter() for split in SPLITS}
    for seen in inspections:
        boxes[seen.item.split].update(seen.boxes_per_class)
    return boxes


def _counts(
    classes: Sequence[str], inspections: Sequence[Inspection], findings: Sequence[Finding]
) -> dict[str, dict[str, int]]:
    boxes = _boxes_per_class(inspections)
    images = Counter(seen.item.split for seen in inspections)
    counts: dict[str, dict[str, int]] = {
        "images": {split: images[split] for split in SPLITS},
        "boxes": {split: boxes[split].total() for split in SPLITS},
        "findings": dict(Counter(found.kind for found in findings)),
    }
    for split in SPLITS:
        counts[f"boxes_{split}"] = {name: boxes[split][index] for index, name in enumerate(classes)}
    return counts

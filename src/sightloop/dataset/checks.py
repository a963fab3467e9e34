"""What is wrong in a dataset, all of it, before hours are spent training on it.

A finding is fatal where training or its evaluation would be wrong, else a warning. Nothing is
repaired: an edge a hair outside the image is clipped when labels are read, all else is for the
user to correct. Reading and judging are apart: `inspection.py` reads an image, `judge` decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sightloop.dataset.fingerprint import Progress, no_progress
from sightloop.dataset.inspection import Inspection, inspect_item
from sightloop.dataset.likeness import Look, alike_pairs, clusters
from sightloop.dataset.summary import DatasetSummary, summarize
from sightloop.dataset.suspicious import SuspiciousBox, find_suspicious
from sightloop.dataset.version import SPLITS, Dataset, Item, Split
from sightloop.errors import ConfigError

NearDuplicates = Literal["off", "warn", "fatal"]
_SHOWN = 4


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
class CheckRules:
    """What may pass.

    Attributes:
        allow_empty_classes: Whether a class without a box in `train` is a warning only.
        near_duplicates: What images that look alike in two splits are: `fatal`, `warn`, or `off`:
            not looked for.
    """

    allow_empty_classes: bool = False
    near_duplicates: NearDuplicates = "warn"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Everything that was found.

    Attributes:
        findings: Fatal ones first, then by kind and image.
        counts: Images and boxes by split, boxes by class and split, findings by kind.
        summary: Images, boxes by class and slices over all splits.
        near_duplicates: Images that look alike, a tuple for each set of them.
        looks: What each image looks like, by the SHA-256 of its bytes.
        suspicious: The boxes behind the findings of suspicious labels, for pictures.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]
    summary: DatasetSummary
    near_duplicates: tuple[tuple[Item, ...], ...]
    looks: Mapping[str, Look]
    suspicious: tuple[SuspiciousBox, ...]

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
            "summary": self.summary.as_dict(),
            "near_duplicates": [
                [f"{item.split}/{item.name}" for item in items] for items in self.near_duplicates
            ],
        }


def near_duplicates_from(text: str) -> NearDuplicates:
    """The rule that a setting names.

    Raises:
        ConfigError: `near_duplicates_unknown`: there is no such rule.
    """
    for known in get_args(NearDuplicates):
        if text == known:
            rule: NearDuplicates = known
            return rule
    raise ConfigError(
        f"near_duplicates: expected off, warn or fatal, found {text!r}", "near_duplicates_unknown"
    )


def check_dataset(
    dataset: Dataset, *, rules: CheckRules = CheckRules(), progress: Progress = no_progress
) -> CheckReport:
    """Read every image and label and say what is wrong.

    Args:
        dataset: What to check.
        rules: What may pass.
        progress: Takes the fraction done.
    """
    inspections = []
    for done, item in enumerate(dataset.items, start=1):
        inspections.append(inspect_item(item, class_count=len(dataset.classes)))
        progress(done / len(dataset.items))
    return judge(dataset.classes, inspections, rules)


def judge(
    classes: Sequence[str], inspections: Sequence[Inspection], rules: CheckRules = CheckRules()
) -> CheckReport:
    """Turn what was read into findings."""
    alike = () if rules.near_duplicates == "off" else find_near_duplicates(inspections)
    suspicious = find_suspicious(classes, inspections)
    findings = [
        *_image_findings(inspections),
        *_label_findings(inspections),
        *_copy_findings(inspections),
        *_alike_findings(alike, fatal=rules.near_duplicates == "fatal"),
        *_suspicious_findings(suspicious),
        *_class_findings(classes, inspections, allow_empty_classes=rules.allow_empty_classes),
    ]
    findings.sort(key=lambda found: (not found.fatal, found.kind, found.image, found.message))
    return CheckReport(
        findings=tuple(findings),
        counts=_counts(classes, inspections, findings),
        summary=summarize(classes, inspections),
        near_duplicates=alike,
        looks={seen.sha256: seen.look for seen in inspections if seen.look},
        suspicious=tuple(suspicious),
    )


def find_near_duplicates(inspections: Sequence[Inspection]) -> tuple[tuple[Item, ...], ...]:
    """Sets of images that look alike; of images with equal bytes only the first is compared."""
    first = {seen.sha256: seen for seen in reversed(inspections)}
    shown = [(seen.item, seen.look) for seen in inspections if first[seen.sha256] is seen]
    compared = [(item, look) for item, look in shown if look is not None]
    pairs = list(alike_pairs([look for _, look in compared]))
    return tuple(
        tuple(compared[index][0] for index in members) for members in clusters(len(compared), pairs)
    )


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
        elif seen.item.stated_px not in (None, seen.size_px):
            yield Finding(
                "image_size_differs",
                seen.item.name,
                f"{seen.item.name}: expected the size that the annotations state, "
                f"{_size(seen.item.stated_px)}, found an image of {_size(seen.size_px)}; its boxes "
                "are not in its place: correct width and height, or give the image they are of",
                fatal=True,
            )


def _size(size_px: tuple[int, int] | None) -> str:
    return f"{size_px[0]} x {size_px[1]} px" if size_px else "unknown"


def _label_findings(inspections: Sequence[Inspection]) -> Iterator[Finding]:
    for seen in inspections:
        name = _label_name(seen.item)
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


def _label_name(item: Item) -> str:
    if item.label_text is not None:
        return "annotations of the image"
    return item.label.name if item.label else "no label file"


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
        yield Finding(
            "duplicate_across_splits" if across else "duplicate_in_split",
            items[0].name,
            f"expected each image once, found equal bytes in {_places(items)}; "
            + ("keep it in one split" if across else "keep one of them"),
            fatal=across,
        )


def _alike_findings(alike: Sequence[Sequence[Item]], *, fatal: bool) -> Iterator[Finding]:
    """Images that look alike: across splits the test is half known before it is taken."""
    for items in alike:
        across = len({item.split for item in items}) > 1
        yield Finding(
            "near_duplicate_across_splits" if across else "near_duplicate_in_split",
            items[0].name,
            f"expected different pictures, found {len(items)} that look alike: {_places(items)}; "
            + ("keep them in one split" if across else "keep one of them, or leave them together"),
            fatal=across and fatal,
        )


def _suspicious_findings(suspicious: Sequence[SuspiciousBox]) -> Iterator[Finding]:
    for box in suspicious:
        item = box.seen.item
        yield Finding(
            box.kind,
            item.name,
            f"{item.name} ({_label_name(item)}, box {box.index + 1}): {box.message}; look at its "
            "picture and correct the label if it is wrong",
            fatal=False,
        )


def _places(items: Sequence[Item]) -> str:
    places = ", ".join(f"{item.name} ({item.split})" for item in items[:_SHOWN])
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return places + more


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

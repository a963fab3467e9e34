"""The step `split`: train, val and test, none of them empty.

Reads `dataset`, `report` (so that only a checked dataset is split, and for the images that look
alike) and the outside file `groups` where the user gives one; writes `dataset`, a copy in which
absent splits are made from train by the rules of `dataset/splits.py` and `dataset/groups.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightloop._support.files import sha256_file
from sightloop.dataset.check_report import REPORT_NAME
from sightloop.dataset.copying import copy_dataset, read_copy, read_info
from sightloop.dataset.groups import (
    groups_by_csv,
    groups_by_pattern,
    keys_of_sets,
    refuse_parted,
)
from sightloop.dataset.splits import SplitShares, assign_splits
from sightloop.dataset.version import Item
from sightloop.errors import StepFailedError
from sightloop.pipeline.context import StepContext


def run(context: StepContext) -> None:
    """Give every image its split.

    Raises:
        DatasetError: `split_empty`: too few images; `group_missing`, `group_csv_invalid`;
            `group_across_splits`: splits that are given part a group.
    """
    folder = context.inputs["dataset"]
    dataset = read_copy(folder)
    names = [f"{item.split}/{item.name}" for item in dataset.items]
    groups = _groups(context, dataset.items)
    if groups is not None:
        refuse_parted(groups, [item.split for item in dataset.items])
    keys = keys_of_sets(
        [sha256_file(item.image) for item in dataset.items],
        groups,
        _alike(context.inputs["report"] / REPORT_NAME, names),
    )
    splits = assign_splits(
        {name: item.split for name, item in zip(names, dataset.items, strict=True)},
        dict(zip(names, keys, strict=True)),
        SplitShares(
            val_fraction=context.number("val_fraction"),
            test_fraction=context.number("test_fraction"),
            seed=context.integer("seed"),
        ),
    )
    items = tuple(
        replace(item, split=splits[name]) for name, item in zip(names, dataset.items, strict=True)
    )
    copy = copy_dataset(
        replace(dataset, items=items),
        context.outputs["dataset"],
        source=read_info(folder).source,
        progress=lambda fraction: context.report(fraction, "copying"),
    )
    counts = {split: len(copy.of(split)) for split in ("train", "val", "test")}
    context.report(1.0, ", ".join(f"{count} {split}" for split, count in counts.items()))


def _groups(context: StepContext, items: Sequence[Item]) -> list[str] | None:
    """The user's group of each image; None where no rule is given."""
    if table := context.files.get("groups"):
        return groups_by_csv(items, table, context.text("group_column"))
    pattern = context.text("group_pattern")
    return groups_by_pattern(items, pattern) if pattern else None


def _alike(report: Path, names: Sequence[str]) -> list[list[int]]:
    """Sets of indices of images that the check found to look alike."""
    places = {name: index for index, name in enumerate(names)}
    try:
        value: Any = json.loads(report.read_bytes())
        return [[places[name] for name in members] for members in value["near_duplicates"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StepFailedError(
            f"{report}: expected the report of the step check on this dataset, found: {error!r}; "
            "run check again",
            "check_report_invalid",
        ) from error

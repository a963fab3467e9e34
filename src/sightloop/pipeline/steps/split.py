"""The step `split`: train, val and test, none of them empty.

Reads `dataset` (and `report`, so that only a checked dataset is split); writes `dataset`, a copy
in which absent splits are made from train by the rule of `dataset/splits.py`.
"""

from __future__ import annotations

from dataclasses import replace

from sightloop._support.files import sha256_file
from sightloop.dataset.copying import copy_dataset, read_copy, read_info
from sightloop.dataset.splits import SplitShares, assign_splits
from sightloop.pipeline.context import StepContext


def run(context: StepContext) -> None:
    """Give every image its split.

    Raises:
        DatasetError: `split_empty`: too few images.
    """
    folder = context.inputs["dataset"]
    dataset = read_copy(folder)
    names = [f"{item.split}/{item.name}" for item in dataset.items]
    splits = assign_splits(
        {name: item.split for name, item in zip(names, dataset.items, strict=True)},
        {name: sha256_file(item.image) for name, item in zip(names, dataset.items, strict=True)},
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

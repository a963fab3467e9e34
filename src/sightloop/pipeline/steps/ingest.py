"""The step `ingest`: a byte-for-byte copy of the user's dataset inside the workspace.

Reads the outside file `data` (a data.yaml or COCO annotations, and all they name), which is never
written; writes the folder `dataset` in the YOLO layout, which everything after it reads.
Whether the data is any good is `check`'s.
"""

from __future__ import annotations

from sightloop.dataset.copying import copy_dataset
from sightloop.dataset.reading import read_dataset
from sightloop.pipeline.context import StepContext


def run(context: StepContext) -> None:
    """Copy the dataset."""
    data = context.files["data"]
    dataset = read_dataset(data)
    count = len(dataset.items)
    copy_dataset(
        dataset,
        context.outputs["dataset"],
        source=str(data),
        progress=lambda fraction: context.report(
            fraction, f"{fraction * count:.0f}/{count} images"
        ),
    )

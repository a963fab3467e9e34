"""The version of a dataset: a digest of its content, wherever it lies.

Two datasets have one version exactly when classes, names, splits, image bytes and label bytes
are equal. Folders, times and the order in which files were found do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from sightloop._support.files import sha256_file
from sightloop.dataset.version import Dataset, Item

Progress = Callable[[float], None]


def no_progress(fraction: float) -> None:
    """Progress that nobody wants."""


def dataset_version(dataset: Dataset, *, progress: Progress = no_progress) -> str:
    """Hex SHA-256 over classes and the sorted (split, name, image digest, label digest).

    Args:
        dataset: What to identify; every file of it is read.
        progress: Takes the fraction done.

    Raises:
        OSError: A file vanished.
    """
    rows = []
    for done, item in enumerate(dataset.items, start=1):
        rows.append([item.split, item.name, *item_digests(item)])
        progress(done / len(dataset.items))
    value = {"classes": list(dataset.classes), "items": sorted(rows)}
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def item_digests(item: Item) -> tuple[str, str]:
    """Hex SHA-256 of the image's bytes and of the label's; empty text for no label file."""
    if item.label_text is not None:
        return sha256_file(item.image), hashlib.sha256(item.label_text.encode()).hexdigest()
    return sha256_file(item.image), sha256_file(item.label) if item.label else ""

"""The user's own condition on frames: a column of a CSV beside data.yaml.

Invariant: an image gets the value of exactly one row, or none. Nobody guesses: a table that does
not speak of the judged images at all, or contradicts itself, is an error.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from sightloop.dataset.version import Item
from sightloop.errors import DatasetError
from sightloop.vision.slices import FrameFacts

_NAME_COLUMNS: Final = ("image", "file")


def read_column(path: Path, column: str) -> dict[str, str]:
    """Read the value of each image.

    Args:
        path: A CSV with a head line; its column `image` or `file` names the image: its path below
            the dataset's root, or its bare name.
        column: The column with the values. An empty value is none.

    Returns:
        Value by the image's name as it stands there.

    Raises:
        DatasetError: `slices_invalid`: unreadable, a column is missing, or an image has two values.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            head, rows = tuple(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _invalid(path, f"a CSV in UTF-8, found: {error}") from error
    names = [name for name in _NAME_COLUMNS if name in head]
    if not names or column not in head:
        wanted = f"a head line with `image` or `file`, and `{column}`"
        raise _invalid(path, f"{wanted}, found {', '.join(head) or 'nothing'}")
    values: dict[str, str] = {}
    for row in rows:
        name, value = (row[names[0]] or "").strip(), (row[column] or "").strip()
        if name and value and values.setdefault(name, value) != value:
            raise _invalid(path, f"one value an image, found {values[name]} and {value}: {name}")
    return values


def with_values(
    facts: Sequence[FrameFacts], items: Sequence[Item], values: Mapping[str, str], *, path: Path
) -> tuple[FrameFacts, ...]:
    """Put each image's value to its facts, by its path or else by its bare name.

    Args:
        facts: By item.
        items: Under the names that the user knows.
        values: Of `read_column`.
        path: The table, for the message.

    Raises:
        DatasetError: `slices_invalid`: no image has a value.
    """
    found = [values.get(item.name) or values.get(PurePosixPath(item.name).name) for item in items]
    if not any(found):
        named = next(iter(values), "none")
        example = f"such as {items[0].name}, found {named}"
        raise _invalid(path, f"values for images of the judged split, {example}")
    return tuple(
        one if value is None else replace(one, value=value)
        for one, value in zip(facts, found, strict=True)
    )


def with_table(
    facts: Sequence[FrameFacts], items: Sequence[Item], path: Path | None, *, column: str
) -> tuple[FrameFacts, ...]:
    """The facts with the values of the table at `path`, or as they are where there is none.

    Raises:
        DatasetError: `slices_invalid`: see `read_column` and `with_values`.
    """
    if path is None:
        return tuple(facts)
    return with_values(facts, items, read_column(path, column), path=path)


def _invalid(path: Path, text: str) -> DatasetError:
    return DatasetError(f"{path}: expected {text}; correct the table", "slices_invalid")

"""Which images belong together and must not be parted: the same plate, camera, day, video.

A group is what the user says by a pattern on file names or a column of a CSV. Equal images and
images that look alike belong together by themselves. The key of a set decides where it goes: that
of a user's group comes from the group's name alone, so a group stays where it is when images are
added to it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sightloop.dataset.likeness import clusters
from sightloop.dataset.version import Item, Split
from sightloop.errors import DatasetError

FILE_COLUMN = "file"
_SHOWN = 3


def groups_by_pattern(items: Sequence[Item], pattern: str) -> list[str]:
    """The group of each image: what `pattern` finds in its file name.

    Args:
        items: The images.
        pattern: Regular expression; its first bracket is the group, or all of it without one.

    Raises:
        DatasetError: `group_missing`: a name in which nothing is found.
    """
    found = [_group_in(PurePosixPath(item.name).name, pattern) for item in items]
    _refuse_missing(
        [item.name for item, group in zip(items, found, strict=True) if not group],
        f"split.group_pattern: expected {pattern!r} to find a group in every file name",
    )
    return found


def _group_in(name: str, pattern: str) -> str:
    match = re.search(pattern, name)
    return (match.group(1 if match.re.groups else 0) or "") if match else ""


def groups_by_csv(items: Sequence[Item], path: Path, column: str) -> list[str]:
    """The group of each image: what `column` says in the row whose `file` is the image's name.

    `file` is the name below the dataset's root or the file name alone; where splits share a file
    name, the whole one is needed.

    Raises:
        DatasetError: `group_csv_invalid`: no such columns, or a file twice with two groups;
            `group_missing`: an image without a row.
    """
    groups = _read_csv(path, column)
    found = [
        groups.get(item.name) or groups.get(PurePosixPath(item.name).name) or "" for item in items
    ]
    _refuse_missing(
        [item.name for item, group in zip(items, found, strict=True) if not group],
        f"{path}: expected a row with a group in column {column!r} for every image",
    )
    return found


def _read_csv(path: Path, column: str) -> dict[str, str]:
    groups: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            names = list(reader.fieldnames or ())
            if FILE_COLUMN not in names or column not in names:
                raise _invalid(path, f"columns {FILE_COLUMN} and {column}", f"{names}")
            for row in reader:
                name, group = (row[FILE_COLUMN] or "").strip(), (row[column] or "").strip()
                if groups.setdefault(name, group) != group:
                    raise _invalid(
                        path,
                        f"one group for {name} (give the name below the dataset's root where "
                        "splits share a file name)",
                        f"{groups[name]} and {group}",
                    )
    except OSError as error:
        raise _invalid(path, "a CSV file", str(error.strerror)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _invalid(path, "a CSV file in UTF-8", str(error)) from error
    return groups


def _invalid(path: Path, expected: str, found: str) -> DatasetError:
    return DatasetError(
        f"{path}: expected {expected}, found {found}; correct split.group_csv, "
        "split.group_column or the file",
        "group_csv_invalid",
    )


def _refuse_missing(names: Sequence[str], expected: str) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise DatasetError(
            f"{expected}, found none for {', '.join(names[:_SHOWN])}{more}; correct the setting "
            "or the names",
            "group_missing",
        )


def keys_of_sets(
    digests: Sequence[str], groups: Sequence[str] | None, alike: Iterable[Sequence[int]]
) -> list[str]:
    """The key of each image's set: equal for images that must stay together.

    Args:
        digests: Hex SHA-256 of each image's bytes.
        groups: The user's group of each image, or None.
        alike: Sets of indices of images that look alike.

    Returns:
        A hex SHA-256 for each image: of the group's name where the user gave groups, else the
        image's own; the least of them where sets are joined.
    """
    own = [_group_key(group) for group in groups] if groups is not None else list(digests)
    together: dict[str, list[int]] = defaultdict(list)
    for index, (digest, key) in enumerate(zip(digests, own, strict=True)):
        together[f"image {digest}"].append(index)
        together[f"group {key}"].append(index)
    sets = [*together.values(), *alike]
    pairs = [(members[0], other) for members in sets for other in members[1:]]
    keys = list(own)
    for members in clusters(len(own), pairs):
        key = min(own[index] for index in members)
        for index in members:
            keys[index] = key
    return keys


def _group_key(group: str) -> str:
    return hashlib.sha256(f"group:{group}".encode()).hexdigest()


def refuse_parted(groups: Sequence[str], splits: Sequence[Split]) -> None:
    """Refuse splits that part a group.

    Raises:
        DatasetError: `group_across_splits`.
    """
    places: Mapping[str, set[Split]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        places[group].add(split)
    parted = sorted(group for group, found in places.items() if len(found) > 1)
    if parted:
        more = f" and {len(parted) - _SHOWN} more" if len(parted) > _SHOWN else ""
        raise DatasetError(
            f"expected all images of a group in one split, found {len(parted)} group(s) in "
            f"several: {', '.join(parted[:_SHOWN])}{more}; correct the splits that are given, or "
            "remove them to have them made",
            "group_across_splits",
        )

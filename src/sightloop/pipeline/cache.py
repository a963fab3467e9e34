"""The content-addressed cache of step outputs.

The key of a step is known before it starts: its declaration, parameters, code and the content
of everything it reads. Where files lie, when they were written and in which order parameters
stand does not count. Invariant: an entry is published whole, and is handed out only after its
files have been compared with what was published; an entry that differs is a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightloop._support.files import new_folder, sha256_file, write_json_atomic
from sightloop.dataset.fingerprint import dataset_version
from sightloop.dataset.reading import read_dataset
from sightloop.errors import ConfigError, StepFailedError
from sightloop.pipeline.step import OutsideFile, Step

_SCHEMA: Final = "sightloop.step/1"
_META: Final = "step.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """The published outputs of a step.

    Attributes:
        folder: Where they lie.
        outputs: Path by output name.
        digests: Content digest by output name.
    """

    folder: Path
    outputs: Mapping[str, Path]
    digests: Mapping[str, str]


class _AlreadyPublished(Exception):  # noqa: N818 - a signal, not an error
    """Another process has published the same key meanwhile."""


def step_key(step: Step, *, code: str, inputs: Mapping[str, str], files: Mapping[str, str]) -> str:
    """The cache key of a step: hex SHA-256.

    Args:
        step: The declaration; the paths in `step.files` do not count.
        code: Digest of the code behind it.
        inputs: Content digest of each input, by its name.
        files: Content digest of each outside file, by its name.
    """
    value = {
        "schema": _SCHEMA,
        "name": step.name,
        "outputs": sorted([output.name, output.kind, output.suffix] for output in step.outputs),
        "parameters": dict(step.parameters),
        "code": code,
        "inputs": dict(inputs),
        "files": dict(files),
    }
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def tree_digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, or of every path, kind and content below a folder.

    Raises:
        ConfigError: `path_missing`: nothing is there.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise ConfigError(f"{path}: expected a file or folder, found none", "path_missing")
    rows = sorted(_rows(path))
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def _rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    for here, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(here, name)
            place = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield place, "link", os.readlink(path)
            elif stat.S_ISDIR(mode):
                yield place, "folder", ""
            else:
                yield place, "file", sha256_file(path)


def outside_digest(name: str, file: OutsideFile) -> str:
    """Content digest of what a step reads from outside.

    Raises:
        ConfigError: `file_missing`: nothing is there, or it is not of its kind.
        DatasetError: The dataset cannot be read.
    """
    if file.kind == "dataset":
        return dataset_version(read_dataset(Path(file.path)))
    check_outside(name, file)
    return tree_digest(Path(file.path))


def check_outside(name: str, file: OutsideFile) -> None:
    """Refuse an outside file that is not there. Datasets are left to their reader.

    Raises:
        ConfigError: `file_missing`: nothing is there, or it is not of its kind.
    """
    path = Path(file.path)
    if file.kind != "dataset" and not (path.is_file() if file.kind == "file" else path.is_dir()):
        raise ConfigError(
            f"{name}: expected a {file.kind}, found none at {path}; correct the path in the config",
            "file_missing",
        )


class StepCache:
    """Entries below one folder: STEP/KEY. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder_of(self, step: Step, key: str) -> Path:
        """Where the entry of this key lies, if it is here."""
        return self.root / step.name / key

    def find(self, step: Step, key: str) -> Entry | None:
        """Give the entry of a key, its files verified; None if there is none to trust."""
        folder = self.folder_of(step, key)
        return read_entry(folder, step, key) if folder.exists() else None

    @contextlib.contextmanager
    def publishing(self, step: Step, key: str) -> Iterator[Mapping[str, Path]]:
        """Give paths to write the outputs to; they become the entry when the block ends.

        An entry that another process has published meanwhile stays, and these are dropped.

        Raises:
            StepFailedError: `output_missing`: an output was not written.
        """
        with (
            contextlib.suppress(_AlreadyPublished),
            publishing(self.folder_of(step, key), step, key) as outputs,
        ):
            yield outputs
            if self.find(step, key) is not None:
                raise _AlreadyPublished


@contextlib.contextmanager
def publishing(folder: Path, step: Step, key: str) -> Iterator[Mapping[str, Path]]:
    """Give paths for the outputs of `step`; `folder` appears whole when the block ends."""
    with new_folder(folder) as temporary:
        outputs = {output.name: temporary / output.file_name for output in step.outputs}
        for output in step.outputs:
            if output.kind == "folder":
                outputs[output.name].mkdir()
        yield outputs
        _check_written(step, outputs)
        digests = {name: tree_digest(path) for name, path in outputs.items()}
        meta = {"schema": _SCHEMA, "step": step.name, "key": key, "outputs": digests}
        write_json_atomic(temporary / _META, meta)


def _check_written(step: Step, outputs: Mapping[str, Path]) -> None:
    for output in step.outputs:
        path = outputs[output.name]
        if not (path.is_dir() if output.kind == "folder" else path.is_file()):
            raise StepFailedError(
                f"step {step.name}: expected it to write the {output.kind} {output.name!r}, found "
                f"none; this is a fault of {step.module}",
                "output_missing",
            )


def read_entry(folder: Path, step: Step, key: str) -> Entry | None:
    """Read published outputs and compare them with what was published; None if they differ."""
    outputs = {output.name: folder / output.file_name for output in step.outputs}
    try:
        meta: Any = json.loads((folder / _META).read_bytes())
        expected = meta["outputs"]
        found = {name: tree_digest(path) for name, path in outputs.items()}
        sound = meta["key"] == key and found == expected
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        sound = False
    if not sound:
        _log.warning("cache_entry_damaged", extra={"step": step.name, "folder": str(folder)})
        return None
    return Entry(folder=folder, outputs=outputs, digests=found)

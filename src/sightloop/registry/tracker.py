"""What a tracker is: it keeps what a pipeline run used and measured, for people to compare.

Invariant: a run is recorded once; a record that was interrupted is never taken for a whole one.
Nothing is decided from what a tracker holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """What one epoch measured."""

    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """The dataset a run trained on.

    Attributes:
        name: Name people know it by.
        version: Full fingerprint of its content.
        source: Where it came from.
    """

    name: str
    version: str
    source: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything worth keeping of a run that made a release.

    Attributes:
        line: Model line; runs are grouped by it.
        name: What people call the run.
        digest: The release's digest: the record's identity, by which a repetition is known.
        dataset: What it trained on.
        parameters: Hyperparameters and settings.
        tags: Facts to search by: semver, code version, ...
        metrics: Final figures.
        epochs: Figures by epoch, in order.
        artifacts: Files and folders to keep, by the folder they go to (`""` is the top).
    """

    line: str
    name: str
    digest: str
    dataset: DatasetUse
    parameters: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: Sequence[EpochMetrics] = ()
    artifacts: Sequence[tuple[Path, str]] = ()


class Tracker(Protocol):
    """Where runs are recorded. Methods raise `RegistryError` when it fails."""

    def record(self, run: RunRecord) -> str:
        """Keep a run and give its id; the same digest again gives the id it has."""

    def find(self, line: str, digest: str) -> str | None:
        """Id of the whole record of the run that made this release, if there is one."""

"""What the readers of an embedded detector read: loaded releases, and who of them answers.

Invariant: a release is closed only under its own lock and only once; who holds the lock finds it
either whole or gone, and then takes the table anew. Nothing is loaded, judged or written down here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightloop.runtime.loaded_release import LoadedRelease
from sightloop.serving.history import ReleaseId
from sightloop.vision.detections import Detections


@dataclass(frozen=True, slots=True, eq=False)
class FrameAnswer:
    """What was found in one frame, and by whom.

    Attributes:
        release: The release that computed it.
        classes: Its class names, in the order of the class index.
        detections: Boxes in pixels of the frame, best first.
    """

    release: ReleaseId
    classes: tuple[str, ...]
    detections: Detections

    def to_supervision(self) -> Any:
        """As `supervision.Detections`, with class names.

        Raises:
            MissingExtraError: `supervision` is not installed.
        """
        return self.detections.to_supervision(self.classes)


class Held:
    """A loaded release in a slot. Its lock is the lease: one reader at a time has it.

    A loaded network is for one thread at a time, so readers of the same release take turns.
    """

    __slots__ = ("_loaded", "classes", "lock", "release")

    def __init__(self, loaded: LoadedRelease) -> None:
        self.release = ReleaseId(loaded.manifest.semver, loaded.digest)
        self.classes = loaded.classes
        self.lock = threading.Lock()
        self._loaded: LoadedRelease | None = loaded

    @property
    def loaded(self) -> LoadedRelease | None:
        """The release, for who holds the lock; None once it is closed."""
        return self._loaded

    def close(self) -> None:
        """Drain: wait for the reader that has the lease, then give the network's memory back."""
        with self.lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()


@dataclass(frozen=True, slots=True, eq=False)
class HeldTable:
    """Who answers.

    Attributes:
        champion: Answers every frame; None once the detector is closed.
        previous: The last champion, loaded.
        order: Grows with each change; an update ordered under an older number may not switch.
    """

    champion: Held | None = None
    previous: Held | None = None
    order: int = 0


def succeeded(table: HeldTable, candidate: Held) -> tuple[HeldTable, Held | None]:
    """The table after an update, and the release that is replaced for good."""
    return HeldTable(candidate, table.champion, table.order + 1), table.previous


def exchanged(table: HeldTable) -> HeldTable:
    """The table after a rollback: champion and previous change places."""
    return HeldTable(table.previous, table.champion, table.order + 1)


class HeldSlot:
    """The current table, and the way readers go through it. Any number of threads may read."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table = HeldTable()

    def ask(self, frame: NDArray[np.uint8]) -> tuple[Held, Detections] | None:
        """Answer a frame, (H, W, 3) uint8 RGB, and say who did; None when there is nobody."""
        while (held := self.table.champion) is not None:
            with held.lock:
                loaded = held.loaded
                if loaded is not None:
                    return held, loaded.detect(frame)
            # Replaced and closed between the two lines above: the table names another by now.
        return None

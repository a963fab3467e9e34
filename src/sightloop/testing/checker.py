"""Check every answer of a camera: computed again with the release that it names.

An answer is *mixed* when its detections are not those of the release it names, *stale* when it was
asked for after an order's acknowledgement and names another release than the one switched to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightloop.release.bundle import read_bundle
from sightloop.runtime.loaded_release import LoadedRelease, detections_as_json, load_release
from sightloop.testing.camera import FrameRecord

BOX_TOLERANCE_PX = 1e-3
SCORE_TOLERANCE = 1e-5
Found = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Switch:
    """One acknowledged change of the champion. CLOCK_MONOTONIC seconds."""

    order_s: float
    ack_s: float
    digest: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Counts over all frames of a camera.

    Attributes:
        sent: Frames due.
        answered: With status 200.
        checked: Computed again.
        lost: Not answered, or with an error.
        mixed: Detections of another release than the one named.
        stale: Of another release than the one acknowledged before the frame was sent.
        faults: The first few, in words.
    """

    sent: int
    answered: int
    checked: int
    lost: int
    mixed: int
    stale: int
    faults: tuple[str, ...]


def check_records(
    records: Sequence[FrameRecord],
    images: Sequence[bytes],
    *,
    switches: Sequence[Switch],
    folder_of: Callable[[str], Path],
) -> CheckResult:
    """Compute every answer again.

    Args:
        records: Of the camera.
        images: What it sent, by index.
        switches: Acknowledged switches, in order.
        folder_of: Where the release of a digest lies.
    """
    oracle = _Oracle(images, folder_of)
    faults: list[str] = []
    lost = mixed = 0
    for record in records:
        if not record.answered:
            lost += 1
            faults.append(f"frame {record.seq}: lost: {record.status} {record.body}")
            continue
        expected = oracle.detections(record.digest or "", record.image)
        if not same_detections(expected, record.body["detections"]):
            mixed += 1
            faults.append(f"frame {record.seq}: not what release {record.digest} finds")
    stale = stale_frames(records, switches)
    faults += [f"frame {record.seq}: stale: {record.digest}" for record in stale]
    return CheckResult(
        sent=len(records),
        answered=len(records) - lost,
        checked=len(records) - lost,
        lost=lost,
        mixed=mixed,
        stale=len(stale),
        faults=tuple(faults[:20]),
    )


def stale_frames(records: Sequence[FrameRecord], switches: Sequence[Switch]) -> list[FrameRecord]:
    """Answers that name another release than the one acknowledged before they were sent."""
    stale = []
    for index, switch in enumerate(switches):
        after = switches[index + 1].order_s if index + 1 < len(switches) else float("inf")
        stale += [
            record
            for record in records
            if record.answered
            and switch.ack_s < record.sent_s < after
            and (record.answered_s or 0.0) < after
            and record.digest != switch.digest
        ]
    return stale


def same_detections(expected: Found, found: Found) -> bool:
    """Whether two lists of detections (as in an answer) agree within rounding."""
    return len(expected) == len(found) and all(
        _same(one, other) for one, other in zip(expected, found, strict=True)
    )


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    box_px = max(
        abs(a - b) for a, b in zip(_floats(one["box"]), _floats(other["box"]), strict=True)
    )
    score = abs(_floats([one["score"]])[0] - _floats([other["score"]])[0])
    same_class = one["class"] == other["class"]
    return same_class and score <= SCORE_TOLERANCE and box_px <= BOX_TOLERANCE_PX


def _floats(values: object) -> list[float]:
    assert isinstance(values, list)
    return [float(value) for value in values]


class _Oracle:
    """What each release finds in each image; computed once, kept."""

    def __init__(self, images: Sequence[bytes], folder_of: Callable[[str], Path]) -> None:
        self._images = images
        self._folder_of = folder_of
        self._loaded: dict[str, LoadedRelease] = {}
        self._known: dict[tuple[str, int], Found] = {}

    def detections(self, digest: str, image: int) -> Found:
        key = (digest, image)
        if key not in self._known:
            loaded = self._release(digest)
            answer = loaded.answer(self._images[image])
            self._known[key] = detections_as_json(answer.detections, loaded.classes)
        return self._known[key]

    def _release(self, digest: str) -> LoadedRelease:
        if digest not in self._loaded:
            folder = self._folder_of(digest)
            bundle = read_bundle(folder)
            if bundle.digest != digest:
                raise ValueError(f"{folder}: expected release {digest}, found {bundle.digest}")
            self._loaded[digest] = load_release(folder, bundle.manifest, bundle.digest)
        return self._loaded[digest]

"""What a live-replaceable detector costs in the user's own process, and whether it keeps memory.

*Overhead*: calls through `Detector` and to the release itself in pairs, with a release that answers
at once: beside a real network the difference is a thousandth of a frame's own noise. *Updates*: a
real detector is replaced back and forth while frames are asked at a camera's pace; every answer is
compared with what the release that it names finds.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop._support.clock import SystemClock
from sightloop.errors import ServingError
from sightloop.release.manifest import Manifest
from sightloop.runtime.backend import ModelContract
from sightloop.runtime.loaded_release import LoadedRelease, detections_as_json
from sightloop.runtime.memory import give_memory_back, resident_bytes
from sightloop.serving.embedded import Detector
from sightloop.serving.embedded_slot import FrameAnswer, Held, HeldTable
from sightloop.testing.checker import same_detections
from sightloop.testing.figures import percentile
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic
from sightloop.vision.detections import Detections, no_detections

UPDATES: Final = 50
OVERHEAD_MAX_US: Final = 1.0
GROWN_MAX_MIB: Final = 5.0
_PAIRS: Final = 300
_CALLS_A_PAIR: Final = 200
_BLOCKS: Final = 10
_FRAMES: Final = 8
_PACE_S: Final = 0.01
_MIB: Final = 1 << 20
_FOUND: Final = no_detections()

Frame = NDArray[np.uint8]


def bench_embedded(updates: int | None, say: Callable[[str], None]) -> dict[str, object]:
    """Measure; everything it writes goes when it ends.

    Args:
        updates: How many; 50 when None.
        say: Progress, for people.
    """
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name:
        traffic = tiny_traffic(Path(name), images=1)
        say("overhead: calls in pairs")
        figures = _overhead(traffic)
        return {
            "bench": "embedded",
            **figures,
            **_updates(traffic, UPDATES if updates is None else updates, say),
        }


class _NoBackend:
    """A network that is never run."""

    def __init__(self, manifest: Manifest) -> None:
        self.contract = ModelContract(
            input_name=manifest.input.name,
            input_shape=tuple(manifest.input.shape),
            output_name=manifest.output.name,
            output_shape=tuple(manifest.output.shape),
        )

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return tensor

    def close(self) -> None:
        """Nothing is held."""


class _AtOnce(LoadedRelease):
    """A release that finds nothing, at once."""

    def detect(self, frame: Frame, *, score_threshold: float | None = None) -> Detections:
        return _FOUND


def _overhead(traffic: Traffic) -> dict[str, object]:
    frame = render_plate(0)[0]
    with Detector(f"{traffic.line}@1.0.0", workspace=traffic.workspace.root) as detector:
        champion = detector.slot.table.champion
        assert champion is not None, "it is open"
        assert champion.loaded is not None, "nobody has closed it"
        manifest = champion.loaded.manifest
        bare = _AtOnce(_NoBackend(manifest), manifest, champion.loaded.digest)
        table = detector.slot.table
        detector.slot.table = HeldTable(Held(bare))
        differences = list(_paired_us(detector, bare.detect, frame))
        detector.slot.table = table
    size = len(differences) // _BLOCKS
    blocks = [
        statistics.median(differences[at : at + size]) for at in range(0, len(differences), size)
    ]
    return {
        "overhead_us": round(statistics.median(differences), 3),
        "overhead_us_blocks": [round(min(blocks), 3), round(max(blocks), 3)],
        "calls": len(differences) * _CALLS_A_PAIR,
    }


def _paired_us(
    ours: Callable[[Frame], Detections], bare: Callable[[Frame], Detections], frame: Frame
) -> Iterator[float]:
    """By how much a call through the detector is longer, pair by pair; who begins changes."""
    for number in range(_PAIRS):
        if number % 2 == 0:
            spent, least = _time_us(ours, frame), _time_us(bare, frame)
        else:
            least, spent = _time_us(bare, frame), _time_us(ours, frame)
        yield spent - least


def _time_us(call: Callable[[Frame], Detections], frame: Frame) -> float:
    clock = SystemClock()
    began_s = clock.monotonic_s()
    for _ in range(_CALLS_A_PAIR):
        call(frame)
    return (clock.monotonic_s() - began_s) * 1e6 / _CALLS_A_PAIR


@dataclass(slots=True)
class _Camera:
    """Asks frames in turn and writes down what it took and what came back."""

    detector: Detector
    frames: list[Frame]
    expected: Mapping[str, list[list[dict[str, object]]]]
    clock: SystemClock = field(default_factory=SystemClock)
    answered: int = 0
    mixed: int = 0
    peak_bytes: int = 0

    def ask(self) -> float:
        """One frame; gives its time in ms."""
        index = self.answered % len(self.frames)
        began_s = self.clock.monotonic_s()
        answer = self.detector.detect(self.frames[index])
        spent_ms = (self.clock.monotonic_s() - began_s) * 1000
        self.answered += 1
        right = self.expected[answer.release.digest][index]
        self.mixed += not same_detections(right, _json(answer))
        self.peak_bytes = max(self.peak_bytes, resident_bytes())
        self.clock.sleep_s(_PACE_S)
        return spent_ms


def _updates(traffic: Traffic, updates: int, say: Callable[[str], None]) -> dict[str, object]:
    frames = [render_plate(seed)[0] for seed in range(_FRAMES)]
    with Detector(f"{traffic.line}@1.0.0", workspace=traffic.workspace.root) as detector:
        expected = {traffic.digests[0]: _findings(detector, frames)}
        _must_switch(detector, traffic.digests[1])
        expected[traffic.digests[1]] = _findings(detector, frames)
        _must_switch(detector, traffic.digests[0])
        camera = _Camera(detector, frames, expected)
        give_memory_back()
        before = resident_bytes()
        steady_ms: list[float] = []
        update_ms: list[float] = []
        digests = islice(cycle((traffic.digests[1], traffic.digests[0])), updates)
        for number, digest in enumerate(digests):
            steady_ms += [camera.ask() for _ in range(_FRAMES)]
            update = detector.start_update(digest)
            while not update.done():
                update_ms.append(camera.ask())
            outcome = update.result()
            camera.mixed += detector.detect(frames[0]).release.digest != digest
            say(f"update {number + 1} of {updates}: {outcome.seconds:.2f} s")
        after = resident_bytes()
        rollback_ms = detector.rollback().seconds * 1000
    return {
        "updates": updates,
        "answers": camera.answered,
        "mixed": camera.mixed,
        "before_mib": round(before / _MIB, 1),
        "peak_mib": round(camera.peak_bytes / _MIB, 1),
        "after_mib": round(after / _MIB, 1),
        "grown_mib": round((after - before) / _MIB, 1),
        "rollback_ms": round(rollback_ms, 3),
        "steady_p50_ms": round(percentile(steady_ms, 0.50), 2),
        "steady_p99_ms": round(percentile(steady_ms, 0.99), 2),
        "update_p50_ms": round(percentile(update_ms, 0.50), 2),
        "update_p99_ms": round(percentile(update_ms, 0.99), 2),
        "bounds": {
            "overhead_us": OVERHEAD_MAX_US,
            "mixed": 0,
            "grown_mib": GROWN_MAX_MIB,
        },
    }


def _findings(detector: Detector, frames: list[Frame]) -> list[list[dict[str, object]]]:
    return [_json(detector.detect(frame)) for frame in frames]


def _json(answer: FrameAnswer) -> list[dict[str, object]]:
    return [dict(found) for found in detections_as_json(answer.detections, answer.classes)]


def _must_switch(detector: Detector, digest: str) -> None:
    outcome = detector.update(digest)
    if (refusal := outcome.refusal) is not None:
        raise ServingError(
            f"bench embedded: expected {digest[:12]} to be switched to, found: {refusal.message}",
            "update_refused",
        )

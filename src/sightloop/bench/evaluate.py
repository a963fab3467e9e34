"""What average precision costs, and how far it is from that of pycocotools.

The set is drawn: as many images as asked, a few labels each and a dozen detections scattered around
them. CPU time is that of this process, the best of three, because the processor is shared.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Final

from sightloop.testing.coco_oracle import CLASSES, drawn_set, oracle_precision
from sightloop.vision.average_precision import ApReport, evaluate
from sightloop.vision.detections import Detections, Labels

IMAGES: Final = 1000
CPU_MAX_S: Final = 0.5
DIFFERENCE_MAX: Final = 0.00005
"""Equal to four digits."""
_ROUNDS: Final = 3
_SEED: Final = 6


def bench_evaluate(say: Callable[[str], None], *, images: int = IMAGES) -> dict[str, object]:
    """Measure.

    Args:
        say: Progress, for people.
        images: How many images are judged.
    """
    labels, found = drawn_set(_SEED, images)
    costs_s = []
    for number in range(_ROUNDS):
        began = os.times()
        report = evaluate(labels, found, CLASSES)
        ended = os.times()
        costs_s.append(ended.user + ended.system - began.user - began.system)
        say(f"average precision, round {number + 1}: {costs_s[-1]:.2f} s")
    return {
        "bench": "evaluate",
        "images": images,
        "labels": sum(report.label_counts),
        "detections": sum(map(len, found)),
        "cpu_s": round(min(costs_s), 3),
        "map50": report.map50,
        "map50_95": report.map50_95,
        "difference": _difference(report, labels, found),
        "bounds": {"cpu_s": CPU_MAX_S, "difference": DIFFERENCE_MAX},
    }


def _difference(
    report: ApReport, labels: Sequence[Labels], found: Sequence[Detections]
) -> float | None:
    """The farthest of all AP figures from pycocotools'; None where it is not installed."""
    if importlib.util.find_spec("pycocotools") is None:
        return None
    oracle = oracle_precision(labels, found)
    known = [index for index in range(CLASSES) if report.ap50[index] is not None]
    pairs = [
        (report.map50, oracle[0][:, known].mean()),
        (report.map50_95, oracle[:, :, known].mean()),
        *((report.ap50[index], oracle[0, :, index].mean()) for index in known),
        *((report.ap50_95[index], oracle[:, :, index].mean()) for index in known),
    ]
    return max(abs(float(ours or 0.0) - float(theirs)) for ours, theirs in pairs)

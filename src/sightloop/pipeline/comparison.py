"""What a candidate lost against its parent, for people: a page, and the frames that show it.

Written into the run's folder beside the verdict, whatever the verdict is. Nothing is judged here:
what was lost is counted by the gate's own rule, one frame at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sightloop._support.files import write_bytes_atomic, write_json_atomic
from sightloop.gates.quality import MATCH_IOU, LabelledSet, QualityJudgement
from sightloop.pipeline.comparison_page import ComparisonFacts, render_comparison
from sightloop.pipeline.evaluation import Evaluation
from sightloop.pipeline.evaluation_page import WorstFrame, sentences_shown
from sightloop.vision.decode import decode_image, encode_jpeg
from sightloop.vision.draw_mistakes import draw_comparison
from sightloop.vision.mistakes import JudgedFrame, describe, judge_frame
from sightloop.vision.slices import input_scale

FOLDER_NAME: Final = "quality"
PAGE_NAME: Final = "quality.html"
JSON_NAME: Final = "quality.json"
LOST_MAX: Final = 12
_JPEG_QUALITY: Final = 88


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A release on the labelled set.

    Attributes:
        name: For people.
        evaluation: What it found, down to a low score.
        score: Its own operating threshold.
    """

    name: str
    evaluation: Evaluation
    score: float

    def judged(self) -> list[JudgedFrame]:
        """Each frame at the operating threshold."""
        pairs = zip(self.evaluation.labels, self.evaluation.found, strict=True)
        return [judge_frame(*pair, score=self.score, iou=MATCH_IOU) for pair in pairs]


def write_comparison(
    folder: Path,
    judgement: QualityJudgement,
    labelled: LabelledSet,
    *,
    champion: Side,
    candidate: Side,
    classes: tuple[str, ...],
) -> None:
    """Write quality.html, quality.json and `lost/01.jpg`, ... into `folder`.

    Args:
        folder: Made where it is not there.
        judgement: Of the gate.
        labelled: What both were judged on.
        champion: The parent.
        candidate: The new one.
        classes: Names by class index.
    """
    before, after = champion.judged(), candidate.judged()
    lost = [_lost(*pair) for pair in zip(before, after, strict=True)]
    order = _worst_first(judgement, labelled, lost)
    shown = []
    for place, number in enumerate(order[:LOST_MAX], start=1):
        item = champion.evaluation.items[number]
        picture = draw_comparison(
            decode_image(item.image.read_bytes()),
            (before[number], after[number]),
            classes,
            titles=(champion.name, candidate.name),
        )
        data = encode_jpeg(picture, quality=_JPEG_QUALITY)
        (folder / "lost").mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(folder / "lost" / f"{place:02d}.jpg", data)
        said = _sentences(after[number], lost[number], classes, score=candidate.score)
        shown.append(WorstFrame(item.name, data, sentences_shown(said)))
    facts = ComparisonFacts(
        judgement=judgement,
        names=(champion.name, candidate.name),
        reports=(champion.evaluation.report, candidate.evaluation.report),
        classes=classes,
        lost=tuple(shown),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(folder / PAGE_NAME, render_comparison(facts).encode())
    write_json_atomic(folder / JSON_NAME, _as_json(facts))


def _lost(before: JudgedFrame, after: JudgedFrame) -> frozenset[int]:
    """Labels that the champion found and the candidate does not."""
    return frozenset(before.pairs[:, 0].tolist()) - frozenset(after.pairs[:, 0].tolist())


def _worst_first(
    judgement: QualityJudgement, labelled: LabelledSet, lost: Sequence[frozenset[int]]
) -> list[int]:
    """Frames with lost labels; those of the slices that dropped count, where any dropped."""
    dropped = {one.counts.name for one in judgement.findings if one.dropped}
    named = [one for one in labelled.slices if one.name in dropped] or list(labelled.slices[:1])
    counts = []
    for number, labels in enumerate(labelled.labels):
        scale = input_scale(labelled.facts[number], side_px=labelled.side_px)
        held = np.zeros(len(labels), np.bool_)
        for one in named:
            held |= one.holds(number, labels.boxes, labels.classes, scale=scale)
        counts.append(sum(bool(held[index]) for index in lost[number]))
    chosen = [number for number, count in enumerate(counts) if count]
    return sorted(chosen, key=lambda number: (-counts[number], number))


def _sentences(
    after: JudgedFrame, lost: frozenset[int], classes: Sequence[str], *, score: float
) -> list[str]:
    return [
        describe(one, after, classes, score=score) for one in after.mistakes if one.label in lost
    ]


def _as_json(facts: ComparisonFacts) -> dict[str, object]:
    champion, candidate = facts.reports
    return {
        "verdict": facts.judgement.verdict.as_dict(),
        "champion": {"name": facts.names[0], "map50": champion.map50},
        "candidate": {"name": facts.names[1], "map50": candidate.map50},
        "slices": [
            {"name": one.counts.name, "dropped": one.dropped, **one.as_dict()}
            for one in facts.judgement.findings
        ],
        "lost": [{"image": one.name, "mistakes": one.sentences} for one in facts.lost],
    }

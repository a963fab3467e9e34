"""The gate `quality`: does a candidate find what the champion finds, on each slice of a set.

Both answered the same frames. A slice is refused when its recall has dropped by more than is
allowed *and* chance does not explain it; where the set is too small to show the drop that the
policy names, the verdict says so and how many labels would do. Invariant: the chance of refusing a
candidate that is no worse anywhere is at most `alpha`: half is for all labels together, half is
shared by the slices (Holm). The gate runs nothing and reads no file. False alarms are reported,
not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from sightloop.gates.evidence import above
from sightloop.release.verdict import Measurement, Outcome, Verdict
from sightloop.statistics.paired import (
    POWER,
    Design,
    boxes_needed,
    design_of,
    no_loss_p,
    smallest_detectable_drop,
)
from sightloop.statistics.several_tests import holm_rejects
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.matching import match
from sightloop.vision.slices import ALL, FrameFacts, Slice, input_scale

GATE: Final = "quality"
MATCH_IOU: Final = 0.5
DROP_MAX: Final = 0.05
DETECTABLE_DROP: Final = 0.1
ALPHA: Final = 0.05
TOO_FEW_LABELS: Final = "too_few_labels"
"""The reason of a labelled set that is too small as a whole."""
_SAID_MAX: Final = 6
OnInconclusive = Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """What an operator may set.

    Attributes:
        drop_max: Recall that a slice may lose against the champion, as a fraction of its labels.
        detectable_drop: The drop that a set must be able to show.
        alpha: Chance of refusing a candidate that is no worse anywhere.
        slices: Whether slices are judged, or all labels together alone.
        slices_inconclusive: Whether slices with too few labels refuse.
    """

    drop_max: float = DROP_MAX
    detectable_drop: float = DETECTABLE_DROP
    alpha: float = ALPHA
    slices: bool = True
    slices_inconclusive: OnInconclusive = "warn"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a release answered on the labelled frames.

    Attributes:
        found: By frame, frame px; at least down to the threshold.
        threshold: The release's own operating threshold.
    """

    found: tuple[Detections, ...]
    threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """What both are judged on.

    Attributes:
        labels: What people marked, by frame.
        facts: Of each frame.
        slices: `all` first.
        side_px: Side of the candidate's input, for the sizes.
    """

    labels: tuple[Labels, ...]
    facts: tuple[FrameFacts, ...]
    slices: tuple[Slice, ...]
    side_px: int


@dataclass(frozen=True, slots=True, eq=False)
class PairedCounts:
    """A slice's labels by who found them.

    Attributes:
        name: Of the slice.
        boxes: Labels of each frame.
        both: How many labels both found.
        lost: (frames,) found by the champion alone.
        gained: (frames,) found by the candidate alone.
        champion_false: Detections of the champion in the slice that are no label.
        candidate_false: The same of the candidate.
    """

    name: str
    boxes: tuple[int, ...]
    both: int
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]
    champion_false: int
    candidate_false: int

    @property
    def labels(self) -> int:
        """How many labels the slice has."""
        return sum(self.boxes)

    @property
    def drop(self) -> float:
        """Recall lost, as a fraction of the labels; negative where more is found."""
        lost = int(self.lost.sum()) - int(self.gained.sum())
        return lost / self.labels if self.labels else 0.0


@dataclass(frozen=True, slots=True)
class SliceFinding:
    """One slice's part of the verdict.

    Attributes:
        counts: Who found what.
        p_value: Chance of such a loss without a difference.
        dropped: Worse by more than is allowed, with evidence.
        smallest_drop: The smallest drop that the set would have shown.
        labels_needed: Labels that would show the policy's drop; None if beyond a million sets.
        conclusive: Whether the set would have shown the policy's drop.
    """

    counts: PairedCounts
    p_value: float
    dropped: bool
    smallest_drop: float
    labels_needed: int | None
    conclusive: bool

    def as_dict(self) -> dict[str, Measurement]:
        """The finding as plain values, for reports."""
        counts = self.counts
        lost, gained = int(counts.lost.sum()), int(counts.gained.sum())
        known = {} if self.labels_needed is None else {"labels_needed": self.labels_needed}
        return {
            "labels": counts.labels,
            "found_by_both": counts.both,
            "lost": lost,
            "gained": gained,
            "missed_by_both": counts.labels - counts.both - lost - gained,
            "champion_false": counts.champion_false,
            "candidate_false": counts.candidate_false,
            "recall_drop": counts.drop,
            "p_value": self.p_value,
            "smallest_detectable_drop": self.smallest_drop,
            **known,
        }


@dataclass(frozen=True, slots=True)
class QualityJudgement:
    """The verdict, and what it rests on.

    Attributes:
        verdict: Of the gate.
        findings: Of `all`, then of the slices that have labels.
    """

    verdict: Verdict
    findings: tuple[SliceFinding, ...]


def check_quality(
    labelled: LabelledSet, *, champion: Answers, candidate: Answers, policy: QualityPolicy
) -> QualityJudgement:
    """Hold a candidate against the champion on frames that both have answered.

    Args:
        labelled: Frames, labels and slices; the first slice is `all`.
        champion: What it answered.
        candidate: What it answered.
        policy: Bounds.

    Returns:
        FAIL where a slice has dropped, INCONCLUSIVE where the set is too small, else PASS; slices
        with too few labels are named in the message whatever the outcome.
    """
    counted = count_pairs(labelled, champion=champion, candidate=candidate)
    judged = counted if policy.slices else counted[:1]
    findings = _find(judged, policy)
    return QualityJudgement(_verdict(findings, policy), findings)


def count_pairs(
    labelled: LabelledSet, *, champion: Answers, candidate: Answers
) -> tuple[PairedCounts, ...]:
    """Who found which label, slice by slice; `all`, then those that have labels."""
    theirs = [_hits(*pair, champion.threshold) for pair in _pairs(labelled, champion)]
    ours = [_hits(*pair, candidate.threshold) for pair in _pairs(labelled, candidate)]
    counted = [_count(one, labelled, theirs, ours) for one in labelled.slices]
    return tuple(one for one in counted if one.labels or one.name == ALL)


@dataclass(frozen=True, slots=True, eq=False)
class _Hits:
    """A frame's answer: which labels it found, and its detections that are no label."""

    found: NDArray[np.bool_]
    false: Detections


def _pairs(labelled: LabelledSet, answers: Answers) -> zip[tuple[Labels, Detections]]:
    return zip(labelled.labels, answers.found, strict=True)


def _hits(labels: Labels, every: Detections, threshold: float) -> _Hits:
    shown = above(every, threshold)
    pairs = match(
        labels.boxes,
        labels.classes,
        shown.boxes,
        shown.classes,
        iou=MATCH_IOU,
        scores=shown.scores,
    )
    found, wrong = np.zeros(len(labels), np.bool_), np.ones(len(shown), np.bool_)
    found[pairs[:, 0]] = True
    wrong[pairs[:, 1]] = False
    return _Hits(found, Detections(shown.boxes[wrong], shown.scores[wrong], shown.classes[wrong]))


def _count(
    slice_: Slice, labelled: LabelledSet, theirs: Sequence[_Hits], ours: Sequence[_Hits]
) -> PairedCounts:
    boxes, lost, gained = [], [], []
    both = champion_false = candidate_false = 0
    for number, labels in enumerate(labelled.labels):
        scale = input_scale(labelled.facts[number], side_px=labelled.side_px)
        held = slice_.holds(number, labels.boxes, labels.classes, scale=scale)
        champion, candidate = theirs[number].found & held, ours[number].found & held
        boxes.append(int(held.sum()))
        both += int((champion & candidate).sum())
        lost.append(int((champion & ~candidate).sum()))
        gained.append(int((candidate & ~champion).sum()))
        champion_false += _held(slice_, number, theirs[number].false, scale)
        candidate_false += _held(slice_, number, ours[number].false, scale)
    return PairedCounts(
        name=slice_.name,
        boxes=tuple(boxes),
        both=both,
        lost=np.array(lost, np.int64),
        gained=np.array(gained, np.int64),
        champion_false=champion_false,
        candidate_false=candidate_false,
    )


def _held(slice_: Slice, number: int, found: Detections, scale: float) -> int:
    return int(slice_.holds(number, found.boxes, found.classes, scale=scale).sum())


def _find(counted: Sequence[PairedCounts], policy: QualityPolicy) -> tuple[SliceFinding, ...]:
    """The first is `all` and has half of alpha; the others share the other half."""
    alpha = policy.alpha / 2 if len(counted) > 1 else policy.alpha
    chances = [no_loss_p(one.lost - one.gained) for one in counted]
    sure = (chances[0] <= alpha, *holm_rejects(chances[1:], alpha=alpha))
    # A plan cannot know Holm's order: it takes the strictest level, so it promises too little.
    levels = [alpha, *(alpha / (len(counted) - 1) for _ in counted[1:])]
    return tuple(
        _finding(one, chance, worse and one.drop > policy.drop_max, level, policy)
        for one, chance, worse, level in zip(counted, chances, sure, levels, strict=True)
    )


def _finding(
    counts: PairedCounts, p_value: float, dropped: bool, alpha: float, policy: QualityPolicy
) -> SliceFinding:
    design: Design = design_of(counts.boxes, counts.lost, counts.gained)
    smallest = smallest_detectable_drop(design, alpha=alpha)
    return SliceFinding(
        counts=counts,
        p_value=p_value,
        dropped=dropped,
        smallest_drop=smallest,
        labels_needed=boxes_needed(design, drop=policy.detectable_drop, alpha=alpha),
        conclusive=smallest <= policy.detectable_drop,
    )


def _verdict(findings: tuple[SliceFinding, ...], policy: QualityPolicy) -> Verdict:
    whole, *slices = findings
    dropped = [one for one in findings if one.dropped]
    doubtful = [one for one in slices if not (one.conclusive or one.dropped)]
    figures = _measurements(findings, policy)
    note = f"; too few labels to judge: {_few(doubtful, policy)}" if doubtful else ""
    if dropped:
        reason = "quality_dropped" if whole.dropped else "slice_dropped"
        message = (
            f"expected recall to drop by at most {policy.drop_max:.3f} against the champion, found "
            f"{', '.join(map(_loss, dropped))}; train on more images of these{note}"
        )
        return Verdict(GATE, Outcome.FAIL, reason, message, figures)
    if doubtful and policy.slices_inconclusive == "refuse":
        message = f"too few labels to judge: {_few(doubtful, policy)}; label more images of these"
        return Verdict(GATE, Outcome.INCONCLUSIVE, "slice_too_few_labels", message, figures)
    if not whole.conclusive:
        message = (
            f"the labelled set is too small: {_few([whole], policy)}; label more images of the "
            "test split, or raise gate.quality_detectable_drop"
        )
        return Verdict(GATE, Outcome.INCONCLUSIVE, TOO_FEW_LABELS, message, figures)
    message = (
        f"recall against the champion {-whole.counts.drop:+.3f} on {whole.counts.labels} labels, "
        f"no drop beyond {policy.drop_max:.3f} in {len(findings)} slices; a drop of "
        f"{whole.smallest_drop:.3f} would have been seen{note}"
    )
    return Verdict(GATE, Outcome.PASS, "ok", message, figures)


def _loss(finding: SliceFinding) -> str:
    counts = finding.counts
    return (
        f"{counts.name}: {counts.drop:.3f} ({int(counts.lost.sum())} labels lost, "
        f"{int(counts.gained.sum())} gained of {counts.labels}, p {finding.p_value:.2g})"
    )


def _few(findings: Sequence[SliceFinding], policy: QualityPolicy) -> str:
    def said(one: SliceFinding) -> str:
        need = f"more than {one.counts.labels}"
        if one.labels_needed is not None:
            need = f"about {one.labels_needed}"
        return (
            f"{one.counts.name} ({one.counts.labels} labels show a drop of "
            f"{one.smallest_drop:.2f} or more, {need} are needed for "
            f"{policy.detectable_drop:.2f})"
        )

    more = f" and {len(findings) - _SAID_MAX} more" if len(findings) > _SAID_MAX else ""
    return ", ".join(map(said, findings[:_SAID_MAX])) + more


def _measurements(
    findings: Sequence[SliceFinding], policy: QualityPolicy
) -> dict[str, Measurement]:
    bounds: dict[str, Measurement] = {
        "drop_max": policy.drop_max,
        "detectable_drop": policy.detectable_drop,
        "alpha": policy.alpha,
        "power": POWER,
        "slices": len(findings),
    }
    by_slice = {
        f"{one.counts.name}.{name}": value
        for one in findings
        for name, value in one.as_dict().items()
    }
    return bounds | by_slice

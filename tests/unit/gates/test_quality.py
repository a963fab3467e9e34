from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sightloop.gates.quality import (
    Answers,
    LabelledSet,
    QualityJudgement,
    QualityPolicy,
    check_quality,
    count_pairs,
)
from sightloop.release.verdict import Outcome
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.slices import FrameFacts, make_slices

POLICY = QualityPolicy()
CLASSES = ("pit", "spot")
DARK, NORMAL = 20.0, 120.0


def _labels(count: int) -> Labels:
    """`count` boxes of 20 px in a row, classes in turn."""
    left = np.arange(count, dtype=np.float32) * 30
    boxes = np.stack([left, left * 0, left + 20, left * 0 + 20], axis=1)
    return Labels(boxes.astype(np.float32), np.arange(count) % 2)


def _set(frames: int, *, boxes: int = 2, dark: int = 0) -> LabelledSet:
    facts = tuple(FrameFacts(160, 160, DARK if i < dark else NORMAL) for i in range(frames))
    return LabelledSet(
        labels=tuple(_labels(boxes) for _ in range(frames)),
        facts=facts,
        slices=make_slices(facts, classes=CLASSES),
        side_px=160,
    )


def _answers(
    labelled: LabelledSet, missing: set[tuple[int, int]] | None = None, *, score: float = 0.9
) -> Answers:
    """Everything found but the labels (frame, box) in `missing`."""
    found = []
    for number, labels in enumerate(labelled.labels):
        kept = [box for box in range(len(labels)) if (number, box) not in (missing or set())]
        scores = np.full(len(kept), score, np.float32)
        found.append(Detections(labels.boxes[kept], scores, labels.classes[kept]))
    return Answers(tuple(found), 0.25)


def _judge(
    labelled: LabelledSet, missing: set[tuple[int, int]], policy: QualityPolicy = POLICY
) -> QualityJudgement:
    return check_quality(
        labelled,
        champion=_answers(labelled),
        candidate=_answers(labelled, missing),
        policy=policy,
    )


def _said(judgement: QualityJudgement) -> tuple[Outcome, str]:
    return judgement.verdict.outcome, judgement.verdict.reason


def test_as_good_a_candidate_passes_and_says_what_would_have_been_seen() -> None:
    judgement = _judge(_set(120), set())
    assert _said(judgement) == (Outcome.PASS, "ok")
    smallest = judgement.verdict.measurements["all.smallest_detectable_drop"]
    assert isinstance(smallest, float)
    assert 0.0 < smallest <= POLICY.detectable_drop
    assert f"{smallest:.3f} would have been seen" in judgement.verdict.message


def test_a_drop_beyond_the_allowed_one_is_refused() -> None:
    judgement = _judge(_set(120), {(frame, 0) for frame in range(30)})
    assert _said(judgement) == (Outcome.FAIL, "quality_dropped")
    assert "all: 0.125 (30 labels lost, 0 gained of 240" in judgement.verdict.message


def test_a_slice_that_is_worse_is_refused_though_the_whole_is_better() -> None:
    labelled = _set(200, dark=40)
    champion = _answers(labelled, {(frame, 1) for frame in range(100, 180)})
    candidate = _answers(labelled, {(frame, 0) for frame in range(20)})
    judgement = check_quality(labelled, champion=champion, candidate=candidate, policy=POLICY)
    assert _said(judgement) == (Outcome.FAIL, "slice_dropped")
    assert judgement.findings[0].counts.drop < 0
    assert [one.counts.name for one in judgement.findings if one.dropped] == [
        "light=dark",
        "class=pit",
    ]
    assert "to judge: light=dark" not in judgement.verdict.message


def test_slices_that_are_switched_off_refuse_nothing() -> None:
    labelled = _set(200, dark=40)
    missing = {(frame, 0) for frame in range(16)}
    assert _said(_judge(labelled, missing)) == (Outcome.FAIL, "slice_dropped")
    policy = replace(POLICY, slices=False)
    assert _said(_judge(labelled, missing, policy)) == (Outcome.PASS, "ok")


def test_an_allowed_drop_passes_however_sure_it_is() -> None:
    judgement = _judge(_set(400), {(frame, 0) for frame in range(0, 80, 2)})
    assert judgement.findings[0].p_value < 1e-6
    assert judgement.findings[0].counts.drop == 0.05
    wider = replace(POLICY, slices=False)
    assert _said(_judge(_set(400), {(f, 0) for f in range(0, 80, 2)}, wider))[0] is Outcome.PASS


def test_a_drop_that_chance_explains_is_not_refused() -> None:
    policy = replace(POLICY, detectable_drop=0.5)
    judgement = _judge(_set(15), {(0, 0), (1, 0), (2, 0), (3, 0)}, policy)
    assert judgement.findings[0].counts.drop > POLICY.drop_max
    assert _said(judgement)[0] is Outcome.PASS


def test_boxes_lost_in_one_frame_are_no_evidence_of_many() -> None:
    labelled = _set(60, boxes=20)
    missing = {(frame, box) for frame in range(4) for box in range(20)}
    judgement = _judge(labelled, missing)
    assert judgement.findings[0].counts.drop > POLICY.drop_max
    assert judgement.verdict.outcome is not Outcome.FAIL


def test_too_small_a_set_says_how_many_labels_are_needed() -> None:
    judgement = _judge(_set(10), set())
    assert _said(judgement) == (Outcome.INCONCLUSIVE, "too_few_labels")
    needed = judgement.verdict.measurements["all.labels_needed"]
    assert isinstance(needed, int)
    assert f"about {needed} are needed for 0.10" in judgement.verdict.message
    enough = _judge(_set(round(1.05 * needed / 2)), set())
    assert enough.findings[0].conclusive


def test_small_slices_are_named_and_refuse_only_if_the_policy_says_so() -> None:
    labelled = _set(150, dark=5)
    judgement = _judge(labelled, set())
    assert _said(judgement) == (Outcome.PASS, "ok")
    assert "too few labels to judge: light=dark (10 labels" in judgement.verdict.message
    strict = replace(POLICY, slices_inconclusive="refuse")
    refused = _judge(labelled, set(), strict)
    assert _said(refused) == (Outcome.INCONCLUSIVE, "slice_too_few_labels")


def test_every_label_is_counted_once() -> None:
    labelled = _set(10)
    champion = _answers(labelled, {(0, 0), (1, 0), (2, 0)})
    candidate = _answers(labelled, {(0, 0), (5, 1)})
    whole = count_pairs(labelled, champion=champion, candidate=candidate)[0]
    lost, gained = int(whole.lost.sum()), int(whole.gained.sum())
    assert (whole.labels, whole.both, lost, gained) == (20, 16, 1, 2)
    figures = check_quality(
        labelled, champion=champion, candidate=candidate, policy=POLICY
    ).verdict.measurements
    assert figures["all.missed_by_both"] == 1
    assert figures["all.recall_drop"] == pytest.approx(-0.05)


def test_each_release_answers_at_its_own_threshold() -> None:
    labelled = _set(10)
    shy = replace(_answers(labelled, score=0.4), threshold=0.5)
    counts = count_pairs(labelled, champion=_answers(labelled), candidate=shy)[0]
    assert int(counts.lost.sum()) == 20


def test_false_alarms_are_reported_for_both() -> None:
    labelled = _set(10)
    strange = Detections(
        np.array([[100, 100, 120, 120]], np.float32),
        np.array([0.9], np.float32),
        np.array([0], np.int64),
    )
    candidate = Answers((strange,) * 10, 0.25)
    counts = count_pairs(labelled, champion=_answers(labelled), candidate=candidate)
    by_name = {one.name: one for one in counts}
    assert (by_name["all"].champion_false, by_name["all"].candidate_false) == (0, 10)
    assert by_name["class=spot"].candidate_false == 0


def test_equal_candidates_are_refused_no_more_often_than_the_budget() -> None:
    random = np.random.default_rng(3)
    labelled = _set(40, boxes=3, dark=20)
    policy = replace(POLICY, alpha=0.2, drop_max=0.0)
    refused = 0
    for _ in range(200):
        missing = [
            {(f, b) for f in range(40) for b in range(3) if random.random() < 0.3} for _ in range(2)
        ]
        judgement = check_quality(
            labelled,
            champion=_answers(labelled, missing[0]),
            candidate=_answers(labelled, missing[1]),
            policy=policy,
        )
        refused += judgement.verdict.outcome is Outcome.FAIL
    assert refused / 200 <= 0.2

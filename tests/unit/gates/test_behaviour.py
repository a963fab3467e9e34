"""From evidence to verdict: a table, nothing is run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sightloop.gates.behaviour import ChampionRules, judge_behaviour
from sightloop.gates.evidence import Agreement, Offsets
from sightloop.gates.label_evidence import ColourEvidence
from sightloop.gates.measure import ChampionEvidence, Evidence, SelfEvidence
from sightloop.release.manifest import Tolerances
from sightloop.release.verdict import Outcome


def _agreement(
    found: int = 100,
    *,
    sure_expected: int = 100,
    score: float = 0.0,
    x: float = 0.0,
    y: float = 0.0,
    edges: int = 100,
) -> Agreement:
    offsets = Offsets(np.full(edges, x), np.full(edges, y))
    return Agreement(100, found, 100, sure_expected, np.full(found, score), offsets)


GOOD = Evidence(frames=20, checkpoint=_agreement(), labels=_agreement(80))
LABELS_ONLY = replace(
    GOOD, checkpoint=None, itself=SelfEvidence(ColourEvidence(60, 20), exchanged=())
)


def _beside(candidate: int, champion: int, x: float = 0.0) -> ChampionEvidence:
    return ChampionEvidence(_agreement(candidate), _agreement(champion), _agreement(x=x).offsets)


@pytest.mark.parametrize(
    ("evidence", "outcome", "reason"),
    [
        (GOOD, "PASS", "ok"),
        (replace(GOOD, checkpoint=_agreement(95)), "PASS", "ok"),
        (replace(GOOD, checkpoint=_agreement(94)), "FAIL", "expected_detections_missed"),
        (replace(GOOD, checkpoint=_agreement(sure_expected=94)), "FAIL", "unexpected_detections"),
        (replace(GOOD, checkpoint=_agreement(score=0.06)), "FAIL", "scores_shifted"),
        (replace(GOOD, checkpoint=_agreement(x=0.5)), "PASS", "ok"),
        (replace(GOOD, checkpoint=_agreement(x=0.6)), "FAIL", "systematic_offset"),
        (replace(GOOD, checkpoint=_agreement(y=-0.6)), "FAIL", "systematic_offset"),
        (replace(GOOD, checkpoint=_agreement(90, x=2.0)), "FAIL", "systematic_offset"),
        (replace(GOOD, checkpoint=_agreement(10, x=2.0)), "FAIL", "expected_detections_missed"),
        (replace(GOOD, checkpoint=_agreement(edges=7)), "INCONCLUSIVE", "too_few_matches"),
        (replace(GOOD, checkpoint=_agreement(0, edges=0)), "FAIL", "expected_detections_missed"),
        (replace(GOOD, labels=_agreement(29)), "FAIL", "labels_missed"),
        (replace(GOOD, labels=_agreement(80, x=5.0)), "PASS", "ok"),  # the checkpoint is exact
        (LABELS_ONLY, "PASS", "ok"),
        (replace(LABELS_ONLY, labels=_agreement(80, x=1.1)), "PASS", "ok"),
        (replace(LABELS_ONLY, labels=_agreement(80, x=1.3)), "FAIL", "systematic_offset"),
        (replace(LABELS_ONLY, labels=_agreement(80, edges=29)), "INCONCLUSIVE", "too_few_matches"),
        (
            replace(LABELS_ONLY, itself=SelfEvidence(ColourEvidence(20, 60), ())),
            "FAIL",
            "colours_swapped",
        ),
        (replace(LABELS_ONLY, itself=SelfEvidence(ColourEvidence(40, 50), ())), "PASS", "ok"),
        (
            replace(LABELS_ONLY, itself=SelfEvidence(ColourEvidence(60, 20), ("cat", "dog"))),
            "FAIL",
            "classes_exchanged",
        ),
        (replace(GOOD, champion=_beside(80, 90)), "PASS", "ok"),
        (replace(GOOD, champion=_beside(79, 90)), "FAIL", "worse_than_champion"),
        (replace(LABELS_ONLY, champion=_beside(80, 80, x=0.6)), "FAIL", "systematic_offset"),
        (replace(GOOD, champion=_beside(80, 80, x=0.6)), "PASS", "ok"),
    ],
)
def test_verdict_follows_the_bounds(evidence: Evidence, outcome: str, reason: str) -> None:
    verdict = judge_behaviour(evidence, Tolerances())
    assert (verdict.outcome.value, verdict.reason) == (outcome, reason)


def test_doubt_does_not_hide_a_failure() -> None:
    evidence = replace(GOOD, checkpoint=_agreement(edges=0), labels=_agreement(0))
    verdict = judge_behaviour(evidence, Tolerances())
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "labels_missed")


def test_release_that_comes_back_is_measured_beside_the_champion_and_not_judged() -> None:
    evidence = replace(GOOD, champion=_beside(50, 90))
    verdict = judge_behaviour(evidence, Tolerances(), rules=ChampionRules(binding=False))
    assert verdict.passed
    assert verdict.measurements["champion_binding"] is False
    assert verdict.measurements["candidate_recall_fraction"] == 0.5


def test_champion_with_a_handful_of_labels_proves_nothing() -> None:
    few = replace(_agreement(9), expected=9)
    none = replace(_agreement(0), expected=9)
    beside = ChampionEvidence(candidate=none, champion=few, paired=Offsets())
    assert judge_behaviour(replace(GOOD, champion=beside), Tolerances()).passed


def test_every_bound_stands_beside_its_figure() -> None:
    figures = judge_behaviour(replace(GOOD, champion=_beside(80, 80)), Tolerances()).measurements
    assert {
        "expected_found_fraction",
        "found_expected_fraction",
        "matched_min_fraction",
        "score_difference_median",
        "score_difference_max",
        "offset_x_px",
        "offset_y_px",
        "offset_max_px",
        "label_recall_fraction",
        "label_recall_min_fraction",
        "champion_recall_fraction",
        "candidate_recall_fraction",
        "recall_loss_max_fraction",
    } <= set(figures)

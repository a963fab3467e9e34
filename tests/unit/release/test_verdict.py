"""Verdicts travel as JSON."""

from __future__ import annotations

import json

import pytest

from sightloop.release.verdict import Outcome, Verdict, verdict_from_dict


@pytest.mark.parametrize("outcome", Outcome)
def test_verdict_survives_json(outcome: Outcome) -> None:
    verdict = Verdict("behaviour", outcome, "ok", "fine", {"offset_px": 0.25, "frames": 20})
    assert verdict_from_dict(json.loads(json.dumps(verdict.as_dict()))) == verdict


def test_only_pass_lets_through() -> None:
    passed = [outcome for outcome in Outcome if Verdict("g", outcome, "r", "m").passed]
    assert passed == [Outcome.PASS]

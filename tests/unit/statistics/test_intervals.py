from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.statistics.intervals import wilson_interval


def test_interval_is_that_of_the_literature() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    interval = wilson_interval(81, 263)
    assert interval is not None
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    interval = wilson_interval(0, 20)
    assert interval is not None
    assert (interval.low, round(interval.high, 4)) == (0.0, 0.1611)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 7), (50, 50), (420, 1000)])
def test_interval_agrees_with_scipy(successes: int, trials: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: no oracle")
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    interval = wilson_interval(successes, trials)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


@given(st.integers(1, 500), st.data())
def test_interval_holds_the_estimate_and_stays_a_share(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = wilson_interval(successes, trials)
    assert interval is not None
    assert 0.0 <= interval.low <= successes / trials <= interval.high <= 1.0
    assert interval.high > interval.low


def test_without_trials_there_is_no_interval() -> None:
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize(
    ("successes", "trials", "confidence"), [(3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1)]
)
def test_impossible_counts_are_refused(successes: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        wilson_interval(successes, trials, confidence=confidence)

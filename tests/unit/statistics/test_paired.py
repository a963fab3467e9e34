from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.statistics.paired import (
    Design,
    boxes_needed,
    design_of,
    no_loss_p,
    smallest_detectable_drop,
)


def _counts(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_p_value_is_the_share_of_signs_that_lose_as_much(losses: list[int]) -> None:
    signs = itertools.product((1, -1), repeat=len(losses))
    sums = [sum(s * v for s, v in zip(row, losses, strict=True)) for row in signs]
    expected = np.mean([value >= sum(losses) for value in sums])
    assert no_loss_p(_counts(*losses)) == pytest.approx(expected)


@pytest.mark.parametrize(("lost", "gained"), [(8, 1), (15, 10), (3, 3), (0, 6), (60, 30)])
def test_with_one_box_a_frame_it_is_mcnemars_exact_test(lost: int, gained: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: no oracle")
    expected = stats.binomtest(lost, lost + gained, alternative="greater").pvalue
    found = no_loss_p(_counts(*[1] * lost, *[-1] * gained, 0, 0))
    assert found == pytest.approx(expected)


def test_boxes_of_one_frame_are_one_vote() -> None:
    assert no_loss_p(_counts(12)) == 0.5
    assert no_loss_p(_counts(*[1] * 12)) == pytest.approx(0.5**12)


def test_without_any_frame_nothing_is_shown() -> None:
    assert no_loss_p(_counts()) == 1.0


def test_clumps_and_exchanges_are_read_off_the_comparison() -> None:
    design = design_of([4, 4, 0, 2], _counts(3, 0, 0, 0), _counts(0, 1, 0, 0))
    assert design.boxes_by_frame == {4: 2.0, 2: 1.0}
    assert design.clumping == pytest.approx((9 + 1) / 4)
    assert design.exchange_fraction == pytest.approx(2 / 10)


def test_same_answers_have_no_clumps_and_no_exchanges() -> None:
    design = design_of([1, 2], _counts(0, 0), _counts(0, 0))
    assert (design.clumping, design.exchange_fraction) == (1.0, 0.0)


def _power(design: Design, drop: float, *, alpha: float, rounds: int = 400) -> float:
    """Share of simulated sets of one box a frame in which the drop is found."""
    random = np.random.default_rng(11)
    frames = int(design.boxes)
    lost = drop + design.exchange_fraction / 2
    gained = design.exchange_fraction / 2
    draws = random.choice([1, -1, 0], (rounds, frames), p=[lost, gained, 1 - lost - gained])
    return float(np.mean([no_loss_p(row) <= alpha for row in draws]))


@pytest.mark.parametrize("frames", [60, 250])
@pytest.mark.parametrize("exchange", [0.0, 0.08])
def test_the_smallest_detectable_drop_is_found_four_times_in_five(
    frames: int, exchange: float
) -> None:
    design = Design({1: float(frames)}, exchange_fraction=exchange)
    smallest = smallest_detectable_drop(design, alpha=0.025)
    assert _power(design, smallest, alpha=0.025) >= 0.74
    assert _power(design, smallest * 0.6, alpha=0.025) < 0.75


def test_too_few_frames_show_nothing_however_many_boxes_they_hold() -> None:
    assert smallest_detectable_drop(Design({500: 5.0}), alpha=0.025) == 1.0
    assert smallest_detectable_drop(Design({1: 1000.0}), alpha=0.025) < 0.02


def test_clumped_boxes_count_for_less() -> None:
    apart = smallest_detectable_drop(Design({3: 100.0}, 1.0, 0.05), alpha=0.025)
    clumped = smallest_detectable_drop(Design({3: 100.0}, 2.5, 0.05), alpha=0.025)
    assert clumped > 1.3 * apart


@pytest.mark.parametrize("alpha", [0.025, 0.002])
def test_as_many_boxes_as_needed_show_the_drop_and_fewer_do_not(alpha: float) -> None:
    design = Design({1: 20.0, 3: 10.0}, 1.2, 0.05)
    needed = boxes_needed(design, drop=0.1, alpha=alpha)
    assert needed is not None
    enough = design.times(1.02 * needed / design.boxes)
    assert smallest_detectable_drop(enough, alpha=alpha) <= 0.1
    fewer = design.times(0.9 * needed / design.boxes)
    assert smallest_detectable_drop(fewer, alpha=alpha) > 0.1


def test_need_of_an_empty_slice_is_that_of_one_box_a_frame() -> None:
    empty = boxes_needed(Design({}), drop=0.1, alpha=0.025)
    assert empty == boxes_needed(Design({1: 8.0}), drop=0.1, alpha=0.025)


def test_a_drop_that_no_set_shows_has_no_need() -> None:
    assert boxes_needed(Design({1: 1.0}), drop=1e-9, alpha=0.025) is None

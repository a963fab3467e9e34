import sys

import pytest

from sightloop._support.clock import SystemClock
from sightloop.app.priority_probe import burn, low_priority_share, share_of


@pytest.mark.parametrize(
    ("spent_s", "share"),
    [((0.3, 0.0), 0.0), ((0.15, 0.15), 0.5), ((0.0, 0.3), 1.0), ((0.01, 0.01), None)],
)
def test_share_is_the_second_childs_part_unless_both_got_too_little(
    spent_s: tuple[float, float], share: float | None
) -> None:
    assert share_of(spent_s, window_s=0.3) == share


def test_child_that_does_not_start_gives_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert low_priority_share(SystemClock()) is None


def test_burning_uses_the_core_for_the_window_alone() -> None:
    clock = SystemClock()
    began_s = clock.monotonic_s()
    spent_s = burn(begin_s=began_s, end_s=began_s + 0.05, clock=clock)
    assert 0 < spent_s <= 0.06


def test_two_children_compete_for_one_core() -> None:
    share = low_priority_share(SystemClock(), window_s=0.1)
    assert share is None or 0 <= share <= 0.6

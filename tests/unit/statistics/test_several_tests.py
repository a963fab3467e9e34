from __future__ import annotations

import numpy as np
import pytest

from sightloop.statistics.several_tests import holm_rejects


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], ()),
        ([0.05], (True,)),
        ([0.051], (False,)),
        ([0.03, 0.02], (True, True)),  # 0.02 <= 0.05 / 2, then 0.03 <= 0.05
        ([0.03, 0.04], (False, False)),  # 0.03 > 0.05 / 2 ends it
        ([0.04, 0.001, 0.2], (False, True, False)),
    ],
)
def test_smallest_p_value_is_held_against_the_smallest_share(
    p_values: list[float], rejected: tuple[bool, ...]
) -> None:
    assert holm_rejects(p_values, alpha=0.05) == rejected


def test_false_alarms_of_many_tests_stay_within_the_budget() -> None:
    random = np.random.default_rng(5)
    alarms = [any(holm_rejects(random.random(20).tolist(), alpha=0.05)) for _ in range(4000)]
    assert np.mean(alarms) < 0.06

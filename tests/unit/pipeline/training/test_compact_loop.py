from __future__ import annotations

import pytest

from sightloop.pipeline.training.compact_loop import average_decay, rate_share
from sightloop.pipeline.training.trainer import Recipe


def test_rate_rises_then_falls_in_a_line_to_its_last_share() -> None:
    recipe = Recipe(warmup_epochs=2.0, final_rate_fraction=0.1)
    shares = [rate_share(recipe, epoch=epoch, epochs=10) for epoch in (0, 1, 2, 6, 10)]
    assert shares == pytest.approx([0.0, 0.5 * 0.91, 0.82, 0.46, 0.1])


def test_warmup_leaves_at_least_the_last_epoch() -> None:
    recipe = Recipe(warmup_epochs=5.0, final_rate_fraction=1.0)
    assert rate_share(recipe, epoch=1.0, epochs=2) == pytest.approx(1.0)
    assert rate_share(recipe, epoch=0.5, epochs=1) == pytest.approx(1.0)


def test_average_follows_closely_at_first_and_slowly_later() -> None:
    decays = [average_decay(steps) for steps in (1, 10, 100, 1000, 100_000)]
    assert decays == sorted(decays)
    assert decays[0] < 0.2
    assert decays[-1] == decays[-2] or decays[-1] == 0.998

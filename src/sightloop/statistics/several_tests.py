"""Several tests share one budget of false alarms.

Invariant: if nothing is wrong anywhere, the chance that one or more tests say so is at most the
budget, however the tests depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm_rejects(p_values: Sequence[float], *, alpha: float) -> tuple[bool, ...]:
    """Which of several hypotheses fall, the chance of any false one at most `alpha`.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979) 65-70: the smallest p-value is held against alpha / n, the next against
    alpha / (n - 1), up to the first that does not pass.

    Args:
        p_values: One for each hypothesis.
        alpha: The budget, 0..1.

    Returns:
        For each p-value, in the order given, whether its hypothesis is rejected.
    """
    rejected = [False] * len(p_values)
    for left, index in zip(
        range(len(p_values), 0, -1),
        sorted(range(len(p_values)), key=p_values.__getitem__),
        strict=True,
    ):
        if p_values[index] > alpha / left:
            break
        rejected[index] = True
    return tuple(rejected)

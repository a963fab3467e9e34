"""A candidate's bound on memory, in processes of their own: the limit is the process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sightloop.serving.trial_limits import allowance_bytes

MIB = 1 << 20

_TRIAL = """
import resource
from pathlib import Path
from sightloop.serving.trial_limits import on_trial

score = Path("/proc/self/oom_score_adj")
before = resource.getrlimit(resource.RLIMIT_DATA), score.read_text()
with on_trial({allowance}):
    small = bytearray(16 << 20)
    on_trial_score = score.read_text().strip()
    try:
        big = bytearray(256 << 20)
    except MemoryError:
        print("refused", on_trial_score)
    else:
        print("had", on_trial_score)
after = resource.getrlimit(resource.RLIMIT_DATA), score.read_text()
print("as before" if after == before else "changed")
serving = bytearray(256 << 20)
print("serves")
"""


def _said(allowance: int) -> list[str]:
    code = _TRIAL.format(allowance=allowance)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_memory_beyond_the_bound_is_refused_and_ready_lifts_the_bound() -> None:
    assert _said(64 * MIB) == ["refused 1000", "as before", "serves"]


def test_no_bound_changes_nothing() -> None:
    assert [line.split()[0] for line in _said(0)] == ["had", "as", "serves"]


@pytest.mark.parametrize(
    ("max_mib", "free_mib", "allowed_mib"), [(4096, 16384, 4096), (4096, 2048, 1024), (0, 2048, 0)]
)
def test_candidate_may_take_half_of_what_is_free_at_most(
    max_mib: int, free_mib: int, allowed_mib: int
) -> None:
    assert allowance_bytes(max_mib, free_bytes=free_mib * MIB) == allowed_mib * MIB


def test_free_memory_is_asked_of_the_machine() -> None:
    assert allowance_bytes(1 << 30) > 16 * MIB

"""Does a nice-19 thread of a child really give way here? Measured, not read off settings.

Two children compete for one core, as a champion's worker and a candidate's loader thread do: one
at the present priority, one whose thread is at nice 19. The share of the core that the second
gets is the answer: about 0.015 where nice levels count, 0.5 where they do not. It changes
nothing outside its children.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final

from sightloop._support.clock import Clock, SystemClock

LOW_NICE: Final = 19
WINDOW_S: Final = 0.3
_HEAD_START_S: Final = 0.02
_LEAST_FRACTION: Final = 0.25
"""Of the window that both together must get; below it other load hides the answer."""


def low_priority_share(clock: Clock, *, window_s: float = WINDOW_S) -> float | None:
    """Share of a contested core that a child's thread at nice 19 gets.

    Args:
        clock: The machine's; its monotonic time is the children's.
        window_s: How long they compete.

    Returns:
        0 to 1, or None: a child failed, or other work left too little of the core to tell.
    """
    core = max(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "sightloop.app.priority_probe", str(core)]
    children = [
        subprocess.Popen(
            [*command, str(nice)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for nice in (0, LOW_NICE)
    ]
    try:
        if not all(_line_of(child) == "ready" for child in children):
            return None
        begin_s = clock.monotonic_s() + _HEAD_START_S
        for child in children:
            assert child.stdin is not None, "opened as a pipe"
            child.stdin.write(f"{begin_s} {begin_s + window_s}\n")
            child.stdin.flush()
        return share_of([float(_line_of(child) or 0) for child in children], window_s=window_s)
    except BrokenPipeError:
        return None
    finally:
        for child in children:
            child.kill()
            child.communicate()


def share_of(spent_s: Sequence[float], *, window_s: float) -> float | None:
    """The second child's part of what both have spent; None: too little was spent to tell."""
    normal_s, low_s = spent_s
    if normal_s + low_s < _LEAST_FRACTION * window_s:
        return None
    return low_s / (normal_s + low_s)


def _line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None, "opened as a pipe"
    return child.stdout.readline().strip()


def burn(*, begin_s: float, end_s: float, clock: Clock) -> float:
    """Use the core from `begin_s` to `end_s`; returns the CPU seconds that it got."""
    while clock.monotonic_s() < begin_s:
        pass
    before_s = _cpu_s()
    while clock.monotonic_s() < end_s:
        pass
    return _cpu_s() - before_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """One child: `python -m sightloop.app.priority_probe CORE NICE`."""
    core, nice = (int(text) for text in sys.argv[1:])
    os.sched_setaffinity(0, {core})
    if nice:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    _say("ready")
    begin_s, end_s = (float(text) for text in sys.stdin.readline().split())
    _say(str(burn(begin_s=begin_s, end_s=end_s, clock=SystemClock())))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

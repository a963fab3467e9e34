from __future__ import annotations

import io

from rich.console import Console

from sightloop._support.clock import SystemClock
from sightloop.demo.screen import ConsoleScreen


class SteppingClock(SystemClock):
    """Each look at the clock is 65 s after the last."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic_s(self) -> float:
        self._now_s += 65.0
        return self._now_s


def test_acts_carry_the_time_since_the_start_and_notes_are_never_markup() -> None:
    out = io.StringIO()
    screen = ConsoleScreen(Console(file=out, width=100), SteppingClock())
    screen.act("first act")
    screen.note("[bold]kept[/] as it is")
    for done in range(1, 13):
        screen.progress(done, 12)
    lines = out.getvalue().splitlines()
    assert lines[0].split(maxsplit=1) == ["1:05", "first act"]
    assert lines[1].strip() == "[bold]kept[/] as it is"
    assert [line.strip() for line in lines[2:]] == ["5 of 12", "10 of 12", "12 of 12"]

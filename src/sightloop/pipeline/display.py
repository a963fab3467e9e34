"""What a run shows while it works: one line a step.

A display is told, it never asks and never fails a run. On a terminal the lines move; elsewhere
each event is one plain line, with progress at most every few seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from sightloop._support.clock import Clock

How = Literal["cached", "ran", "failed", "interrupted"]
_QUIET_S = 5.0
_SHOWN: dict[How, str] = {
    "cached": "[cyan]cached[/]",
    "ran": "[green]done[/]",
    "failed": "[red]failed[/]",
    "interrupted": "[yellow]interrupted[/]",
}


class Display(Protocol):
    """Where the progress of a run is shown."""

    def begin(self, steps: Sequence[str]) -> None:
        """A run of these steps starts."""

    def working(self, step: str, fraction: float, text: str) -> None:
        """A step is at `fraction` (0..1); `text` says with what."""

    def ended(self, step: str, how: How, seconds: float) -> None:
        """A step has ended."""

    def close(self) -> None:
        """The run is over, well or not."""


class SilentDisplay:
    """Shows nothing."""

    def begin(self, steps: Sequence[str]) -> None:
        """Nothing is shown."""

    def working(self, step: str, fraction: float, text: str) -> None:
        """Nothing is shown."""

    def ended(self, step: str, how: How, seconds: float) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing is shown."""


class PlainDisplay:
    """One line an event, for logs."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._last_s = float("-inf")

    def begin(self, steps: Sequence[str]) -> None:
        self._write(f"steps: {', '.join(steps)}")

    def working(self, step: str, fraction: float, text: str) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_s >= _QUIET_S:
            self._last_s = now_s
            self._write(f"{step}: {fraction:4.0%} {text}".rstrip())

    def ended(self, step: str, how: How, seconds: float) -> None:
        self._write(f"{step}: {how} in {seconds:.1f} s")

    def close(self) -> None:
        self._stream.flush()

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class TerminalDisplay:
    """One moving line a step, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def begin(self, steps: Sequence[str]) -> None:
        for step in steps:
            self._tasks[step] = self._progress.add_task(
                step, total=1.0, start=False, note="[dim]waiting[/]"
            )
        self._progress.start()

    def working(self, step: str, fraction: float, text: str) -> None:
        task = self._tasks[step]
        self._progress.start_task(task)
        self._progress.update(task, completed=min(fraction, 0.999), note=text)

    def ended(self, step: str, how: How, seconds: float) -> None:
        task = self._tasks[step]
        done = how in ("cached", "ran")
        note = f"{_SHOWN[how]} {seconds:.1f} s"
        self._progress.start_task(task)
        if done:
            self._progress.update(task, completed=1.0, note=note)
        else:
            self._progress.update(task, note=note)
        self._progress.stop_task(task)

    def close(self) -> None:
        self._progress.stop()

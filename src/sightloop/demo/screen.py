"""What a person sees while the demo runs, and the table at its end."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sightloop._support.clock import Clock
from sightloop.demo.outcome import Line, Outcome, lines_of

_EVERY = 5


class ConsoleScreen:
    """Writes plain lines, each act with the time since the start."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._began_s = clock.monotonic_s()

    def act(self, text: str) -> None:
        passed_s = int(self._clock.monotonic_s() - self._began_s)
        stamp = f"{passed_s // 60}:{passed_s % 60:02d}"
        self._console.print(f"[dim]{stamp:>5}[/]  [bold]{text}[/]", highlight=False)

    def note(self, text: str) -> None:
        self._console.print(f"       {text}", highlight=False, markup=False)

    def progress(self, done: int, total: int) -> None:
        if done % _EVERY == 0 or done == total:
            self.note(f"{done} of {total}")


def print_table(outcome: Outcome, console: Console) -> None:
    """Promises and targets, one a line."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "expected", "found", ""):
        table.add_column(name, no_wrap=True)
    lines = lines_of(outcome)
    for promise, title in ((True, "promises"), (False, "targets")):
        table.add_row(f"[bold]{title}[/]")
        for line in lines:
            if line.promise is promise:
                table.add_row(f"  {line.what}", line.expected, line.found, _mark(line))
    console.print()
    console.print(table)
    for one in outcome.refusals:
        if not one.as_expected:
            reasons = " or ".join(sorted(one.expected_reasons))
            console.print(
                f"[bold red]{one.candidate}[/]: expected {one.expected_gate} ({reasons}), found "
                f"{one.gate} ({one.reason}): {one.message}"
            )
    for fault in outcome.check.faults[:5]:
        console.print(f"[bold red]fault[/] {fault}", highlight=False)


def _mark(line: Line) -> str:
    if line.promise:
        return "[green]kept[/]" if line.kept else "[bold red]BROKEN[/]"
    return "[green]met[/]" if line.kept else "[yellow]missed[/]"

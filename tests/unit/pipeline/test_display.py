"""Rules of the progress display."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sightloop.pipeline.display import Display, PlainDisplay, SilentDisplay, TerminalDisplay


class _Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s

    def sleep_s(self, seconds: float) -> None:
        self.now_s += seconds


def _play(display: Display) -> None:
    display.begin(["ingest", "train"])
    display.working("ingest", 0.5, "half")
    display.ended("ingest", "cached", 0.1)
    display.working("train", 1.0, "epoch 3")
    display.ended("train", "failed", 61.25)
    display.close()


def test_plain_display_writes_a_line_an_event() -> None:
    stream = io.StringIO()
    _play(PlainDisplay(stream, _Clock()))
    assert stream.getvalue().splitlines() == [
        "steps: ingest, train",
        "ingest:  50% half",
        "ingest: cached in 0.1 s",
        "train: failed in 61.2 s",
    ]


def test_plain_display_is_quiet_between_and_speaks_again() -> None:
    stream, clock = io.StringIO(), _Clock()
    display = PlainDisplay(stream, clock)
    for _ in range(100):
        display.working("train", 0.1, "")
        clock.sleep_s(0.11)
    assert len(stream.getvalue().splitlines()) == 3


def test_terminal_display_has_a_line_a_step_with_its_end() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    _play(TerminalDisplay(console))
    text = stream.getvalue()
    for word in ("ingest", "cached 0.1 s", "train", "failed 61.2 s"):
        assert word in text


def test_silent_display_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _play(SilentDisplay())
    assert capsys.readouterr() == ("", "")

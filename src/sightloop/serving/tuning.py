"""How many workers and threads a line gets when `serve.workers` is "auto": what was measured here.

`sightloop bench tune` measures and keeps the result in the workspace; a server reads it. A result
counts on the hardware that it was measured on alone. The choice is pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from sightloop._support.files import write_json_atomic
from sightloop.errors import ConfigError

Goal = Literal["latency", "throughput"]
_WORTH_IT = 0.97
"""A setting with more processes must win by more than this, or their memory is not worth it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Workers of a release, and threads of each."""

    workers: int
    threads: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What one setting gave.

    Attributes:
        setting: Which.
        rps: Answers a second, with more connections than workers.
        p50_ms: Median latency with one connection.
    """

    setting: Setting
    rps: float
    p50_ms: float


def settings_for(cores: int) -> tuple[Setting, ...]:
    """The settings that are worth a try: powers of two that do not exceed the cores together."""
    powers = [1 << exponent for exponent in range(cores.bit_length())]
    return tuple(
        Setting(workers, threads)
        for workers in powers
        for threads in powers
        if workers * threads <= cores
    )


def choose(measured: Sequence[Measured], goal: Goal) -> Setting:
    """The best setting for a goal; the smaller one where two are about as good.

    Raises:
        ValueError: Nothing was measured.
    """
    small_first = sorted(measured, key=lambda one: (one.setting.workers, one.setting.threads))
    if not small_first:
        raise ValueError("tuning: expected at least one measured setting, found none")
    best = small_first[0]
    for one in small_first[1:]:
        if goal == "latency":
            better = one.p50_ms < best.p50_ms * _WORTH_IT
        else:
            better = one.rps * _WORTH_IT > best.rps
        best = one if better else best
    return best.setting


def untuned(cores: int, goal: Goal) -> Setting:
    """The setting of a line that nobody has measured: a worker a core, or one alone."""
    return Setting(cores if goal == "throughput" else 1, 1)


def keep_tuning(path: Path, line: str, *, hardware: str, measured: Sequence[Measured]) -> None:
    """Keep what was measured for a line; what is known of others stays."""
    known = _read(path)
    known[line] = {"hardware": hardware, "measured": [asdict(one) for one in measured]}
    write_json_atomic(path, known)


def tuned(path: Path, line: str, *, hardware: str, goal: Goal) -> Setting | None:
    """The measured choice for a line; None if it was not measured on this hardware.

    Raises:
        ConfigError: The file cannot be read (`tuning_unreadable`).
    """
    found = _read(path).get(line)
    if found is None or found["hardware"] != hardware:
        return None
    measured = [
        Measured(Setting(**one["setting"]), one["rps"], one["p50_ms"]) for one in found["measured"]
    ]
    return choose(measured, goal)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"tuning {path}: expected what `sightloop bench tune` wrote, found: {error}; run it "
            "again or delete the file",
            "tuning_unreadable",
        ) from error
